"""`get`, `put`, `del`: the store from the shell. Values are any bytes, keys UTF-8 text."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any, Dict

from raftctl.base.errors import DONE, RaftctlError, UsageError
from raftctl.cli import endpoint, output
from raftctl.store.commands import VALUE_LIMIT, check_key, check_value


def get(options: argparse.Namespace) -> int:
    """Print the value's bytes, and a newline only on a terminal; with --json the whole reply."""
    answer = endpoint.ask(options, {"action": "get", "key": _key(options.key), "stale": options.stale})
    if options.json:
        output.show_json(answer)
    else:
        output.write(_decode(answer) + (b"\n" if output.is_terminal() else b""))
    return DONE


def put(options: argparse.Namespace) -> int:
    """Store VALUE, or standard input for "-", and print the revision."""
    if options.if_absent and options.if_rev is not None:
        raise UsageError("--if-absent and --if-rev exclude each other; --if-absent is --if-rev 0")
    request = {"action": "put", "key": _key(options.key), **_encode(_value(options.value))}
    if options.if_absent:
        request["ifAbsent"] = True
    return _change(options, request)


def delete(options: argparse.Namespace) -> int:
    """Remove the key and print the revision of the change."""
    return _change(options, {"action": "del", "key": _key(options.key)})


def _change(options: argparse.Namespace, request: Dict[str, Any]) -> int:
    if options.if_rev is not None:
        request["ifRev"] = options.if_rev
    answer = endpoint.ask(options, request)
    if options.json:
        output.show_json(answer)
    else:
        output.line(f"revision {answer['revision']}")
    return DONE


def _key(text: str) -> str:
    check_key(os.fsencode(text))
    return os.fsencode(text).decode()


def _value(text: str) -> bytes:
    if text != "-":
        value = os.fsencode(text)
    elif sys.stdin is None:
        raise UsageError("standard input is closed; give the value as argument")
    else:
        # One byte more than allowed is enough to see that it is too large.
        value = sys.stdin.buffer.read(VALUE_LIMIT + 1)
    if text == "-" and len(value) > VALUE_LIMIT:
        raise UsageError(
            f"standard input holds more than {VALUE_LIMIT} bytes, the most that a value may have"
        )
    check_value(value)
    return value


def _encode(value: bytes) -> Dict[str, str]:
    try:
        return {"value": value.decode()}
    except UnicodeDecodeError:
        # Not at the top: nearly all values are text.
        import binascii

        return {"value": binascii.b2a_base64(value, newline=False).decode(), "encoding": "base64"}


def _decode(answer: Dict[str, Any]) -> bytes:
    if answer.get("encoding") is None:
        return answer["value"].encode()
    if answer["encoding"] != "base64":
        raise RaftctlError(f'the daemon sent an unknown encoding "{answer["encoding"]}"; it may be newer')
    import binascii

    return binascii.a2b_base64(answer["value"])
