"""Which entry of a shared list is this host? The one it can bind: so the same file can lie on every host."""

from __future__ import annotations

import socket
from typing import Callable, List, Optional, Sequence

from raftctl.base.addresses import Address
from raftctl.base.errors import UsageError

# None: this host can bind the name; else the reason why not.
CanBind = Callable[[str], Optional[str]]


def why_not_here(host: str) -> Optional[str]:
    """Return None if `host` is an address of this host, else the reason, for people.

    Looks the name up and binds a free port at each result. May take as long as the resolver does.
    """
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return "unknown name"
    for family, _, _, _, place in found:
        if _is_here(family, place):
            return None
    return "not on this host" if found[0][4][0] == host else f"{found[0][4][0]} is not on this host"


def _is_here(family: int, place: tuple) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind(place)
    except OSError:
        return False
    return not _binds_anything() or _routes_to_itself(family, place)


def _binds_anything() -> bool:
    # Hosts of keepalived and haproxy set these, and then a bind to any address works.
    for family in ("ipv4", "ipv6"):
        try:
            with open(f"/proc/sys/net/{family}/ip_nonlocal_bind", "rb") as setting:
                if setting.read(1) == b"1":
                    return True
        except OSError:
            continue
    return False


def _routes_to_itself(family: int, place: tuple) -> bool:
    """Would the kernel send to `place` from the same address? A connected UDP socket tells."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((place[0], 9, *place[2:]))
            source = probe.getsockname()[0]
    except OSError:
        return False
    return source == place[0] or place[0].startswith("127.")


def own_address(listed: Sequence[Address], can_bind: CanBind) -> Address:
    """Return the one entry of `listed` that this host can bind; `UsageError` if none or several are."""
    reasons: List[str] = []
    here: List[Address] = []
    for one in listed:
        reason = can_bind(one.host)
        if reason is None:
            here.append(one)
        else:
            reasons.append(f"{one}: {reason}")
    if len(here) == 1:
        return here[0]
    if here:
        both = ", ".join(map(str, here))
        raise UsageError(
            f'this host can bind {len(here)} entries of "clusterNodes" ({both}); '
            f'say which one it is: "address": "{here[0]}"'
        )
    raise NoneIsHere(
        f'this host can bind no entry of "clusterNodes" ({", ".join(reasons)}); '
        'add it, or say which one it is: "address": "tcp://HOST:PORT"'
    )


class NoneIsHere(UsageError):
    """No entry of the list is this host, now: at boot that can change when the network comes up."""
