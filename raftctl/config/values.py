"""One parser for each type of value in the file: JSON value in, ours out, `UsageError` says what to mend.

The caller puts file, node and key before the message. Paths stay as written here; `nodes.py` resolves them.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Tuple

from raftctl.base import addresses, durations
from raftctl.base.addresses import Address
from raftctl.base.errors import UsageError
from raftctl.base.hosts import is_wildcard, packed
from raftctl.config.spelling import nearest, shown

NODES_LIMIT = 7
LOG_LEVELS = ("debug", "info", "warning", "error")
_LABEL = re.compile(r"(?!-)[^\W.](?:[\w-]{0,61}\w)?\Z")
_SERVICE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:-]{0,199}\Z")
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,30}\$?\Z")


def text(value: Any, example: str) -> str:
    """Return `value` if it is text that is not blank; `example` is shown otherwise."""
    if not isinstance(value, str):
        raise UsageError(f"{shown(value)} is no text; write {example}")
    if not value.strip():
        raise UsageError(f"{shown(value)} is empty; write {example}, or leave the key out")
    return value


def host(value: Any) -> str:
    """A name, IPv4 or IPv6 address (brackets allowed) to listen on; 0.0.0.0 and :: are fine here."""
    written = text(value, '"0.0.0.0" or a name')
    bare = written[1:-1] if written.startswith("[") and written.endswith("]") else written
    if bare.startswith("tcp://") or (bare.count(":") == 1 and packed(bare) is None):
        raise UsageError(f"{shown(value)} has a port or a scheme; write the host alone")
    _check_host(bare, written)
    return bare.lower()


def _check_host(bare: str, written: str) -> None:
    if ":" in bare:
        fine = packed(bare) is not None
    elif re.fullmatch(r"[0-9.]+", bare):
        fine = bool(re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3}){3}", bare)) and packed(bare) is not None
    else:
        labels = bare[:-1].split(".") if bare.endswith(".") else bare.split(".")
        fine = len(bare) <= 253 and all(_LABEL.match(label) for label in labels)
    if not fine:
        raise UsageError(f'{shown(written)}: "{bare}" is no host name or IP address')


def address(value: Any, *, own: bool = False) -> Address:
    """An address that peers can dial: `tcp://host:port`, no wildcard."""
    written = text(value, '"tcp://HOST:8089"')
    parsed = addresses.parse(written)
    if is_wildcard(parsed.host):
        mend = "this host's name or IP" if own else "the host's name or IP"
        also = f', and "listen": "{parsed.host}"' if own else ""
        raise UsageError(f"peers can't dial {written}; write {mend}{also}")
    _check_host(parsed.host, written)
    return parsed


def own_address(value: Any) -> Address:
    return address(value, own=True)


def address_list(value: Any) -> Tuple[Address, ...]:
    """One to seven different addresses, sorted."""
    example = '["tcp://h1:8089", "tcp://h2:8089", "tcp://h3:8089"]'
    if not isinstance(value, list):
        raise UsageError(f"{shown(value)} is no list; write {example}")
    if not value:
        raise UsageError(f"[] is empty; write {example}, or leave the key out")
    listed = [address(item) for item in value]
    for position, one in enumerate(listed):
        if one in listed[:position]:
            raise UsageError(f"{one} stands twice; remove one")
    refuse_too_many(len(listed))
    return tuple(sorted(listed))


def refuse_too_many(count: int) -> None:
    if count > NODES_LIMIT:
        raise UsageError(f"{count} nodes are too many; at most {NODES_LIMIT} vote in a cluster")


def endpoint(value: Any) -> Address:
    """`host:port` to listen on, the host as in `host`, an IPv6 address in brackets."""
    example = '"127.0.0.1:9080"'
    written = text(value, example)
    if "://" in written:
        raise UsageError(f"{shown(value)} has a scheme; write host and port alone: {example}")
    bare, colon, digits = written.rpartition(":")
    if not colon or not bare or not re.fullmatch("[0-9]{1,9}", digits):
        raise UsageError(f"{shown(value)} is no host:port; write {example}")
    if ":" in bare and not (bare.startswith("[") and bare.endswith("]")):
        raise UsageError(f"{shown(value)}: an IPv6 address stands in brackets; write \"[::1]:9080\"")
    return Address(host(bare), port(int(digits)))


def port(value: Any) -> int:
    whole = number(value, 10000)
    if not 1 <= whole <= 65535:
        raise UsageError(f"port {whole} is out of range; use 1 to 65535")
    return whole


def priority(value: Any) -> int:
    whole = number(value, 100)
    if not 0 <= whole <= 255:
        raise UsageError(f"{whole} is out of range; use 0 to 255")
    return whole


def number(value: Any, example: int) -> int:
    if isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value):
        raise UsageError(f"{shown(value)} is text; write the number without quotes: {int(value)}")
    if isinstance(value, bool) or not isinstance(value, int):
        raise UsageError(f"{shown(value)} is no whole number; write a number such as {example}")
    return value


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"{shown(value)} is neither true nor false; write one of them, without quotes")
    return value


def span(shortest_ns: int, longest_ns: int) -> Callable[[Any], int]:
    """Return a parser of durations from `shortest_ns` to `longest_ns`, in ns."""

    def parse(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise UsageError(
                f'{shown(value)} is no duration; write "200 ms", "1.5 s" or a number of milliseconds'
            )
        parsed = durations.parse(value)
        if parsed < shortest_ns:
            raise UsageError(f"{shown(value)} is too short; at least {durations.render(shortest_ns)}")
        if parsed > longest_ns:
            raise UsageError(f"{shown(value)} is too long; at most {durations.render(longest_ns)}")
        return parsed

    return parse


def path(value: Any) -> str:
    """A file name as written; relative ones are relative to the configuration file. Nothing is expanded."""
    written = text(value, "a path")
    if written.startswith("~"):
        raise UsageError(f"{shown(written)}: ~ is not expanded; write the absolute path")
    return written


def level(value: Any) -> str:
    written = text(value, '"info"').lower()
    if written not in LOG_LEVELS:
        meant = nearest(written, LOG_LEVELS)
        hint = f'did you mean "{meant}"?' if meant else "write " + ", ".join(LOG_LEVELS[:-1]) + " or error"
        raise UsageError(f"{shown(value)} is no level; {hint}")
    return written


def name(value: Any) -> str:
    """What people call a node: no blanks, and nothing that `--node` would take for a port or an address."""
    written = text(value, '"h1"')
    if len(written) > 64 or re.search(r"\s", written) or written.isdigit() or "://" in written:
        raise UsageError(
            f"{shown(written)} is no name; at most 64 characters, no blanks, no bare number, no address"
        )
    return written


def service(value: Any) -> str:
    written = text(value, '"raftctl"')
    if not _SERVICE.match(written) or written.endswith(".service"):
        raise UsageError(
            f"{shown(written)} is no service name; use letters, digits and . _ - @ : only, without .service"
        )
    return written


def description(value: Any) -> str:
    return text(value, '"My cluster"')


def user(value: Any) -> str:
    written = text(value, '"raftctl"')
    if not _USER.match(written):
        raise UsageError(f"{shown(written)} is no user name")
    return written
