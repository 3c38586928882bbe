"""The bytes of a store command in a log entry, and the limits of keys and values.

Layout: operation u8 (1 put, 2 delete), flags u8 (bit 0: if_revision follows), [if_revision u64], key size
u16, key, then for a put the value up to the end; big-endian. Both sides check the same properties; what no
writer of ours produces is `Malformed`, and whoever applies it must stop: to skip an entry would let the
members drift apart (pitfall 2.4, 10.2).
"""

from __future__ import annotations

import struct
from typing import NamedTuple, Optional, Tuple

from raftctl.base.errors import UsageError, require

KEY_LIMIT = 1024
VALUE_LIMIT = 256 * 1024

PUT = 1
DELETE = 2

_HEAD = struct.Struct("!BB")
_REVISION = struct.Struct("!Q")
_KEY_SIZE = struct.Struct("!H")
_CONDITIONAL = 1
_REVISION_END = 1 << 64


class Malformed(ValueError):
    """Bytes that no encoder of ours writes; a node that finds them in a committed entry must stop."""


class TooLarge(UsageError):
    """A key or value over its limit; nothing was changed. Error code `too_large` of the command protocol."""


class Command(NamedTuple):
    """`operation` is PUT or DELETE. `if_revision` None: unconditional; 0: only if the key is absent; else
    only if the key's revision is that one. `value` of a DELETE is empty.
    """

    operation: int
    key: bytes
    value: bytes
    if_revision: Optional[int]


def check_key(key: bytes) -> None:
    """Raise `UsageError` (`TooLarge` where it is that) unless `key` is 1 to 1024 bytes of UTF-8 text."""
    if not key:
        raise UsageError("the key is empty")
    if len(key) > KEY_LIMIT:
        raise TooLarge(f"the key has {len(key)} bytes, at most {KEY_LIMIT} are allowed")
    if not is_text(key):
        raise UsageError(f"the key {key[:40]!r} is no UTF-8 text")


def check_value(value: bytes) -> None:
    """Raise `TooLarge` unless `value`, any bytes, has at most 262144 of them."""
    if len(value) > VALUE_LIMIT:
        raise TooLarge(f"the value has {len(value)} bytes, at most {VALUE_LIMIT} are allowed")


def encode_put(key: bytes, value: bytes, if_revision: Optional[int] = None) -> bytes:
    """Return the body of a put. The caller checked key and value; `if_revision` is None or below 2^64."""
    require(len(value) <= VALUE_LIMIT, "a value over the limit", len(value))
    return _encode_key(PUT, key, if_revision) + value


def encode_delete(key: bytes, if_revision: Optional[int] = None) -> bytes:
    """Return the body of a delete; as `encode_put`."""
    return _encode_key(DELETE, key, if_revision)


def _encode_key(operation: int, key: bytes, if_revision: Optional[int]) -> bytes:
    require(0 < len(key) <= KEY_LIMIT and is_text(key), "a key outside its limits", key[:40])
    if if_revision is None:
        return _HEAD.pack(operation, 0) + _KEY_SIZE.pack(len(key)) + key
    require(0 <= if_revision < _REVISION_END, "a revision out of range", if_revision)
    return _HEAD.pack(operation, _CONDITIONAL) + _REVISION.pack(if_revision) + _KEY_SIZE.pack(len(key)) + key


def decode(body: bytes) -> Command:
    """Return the command in `body`; raise `Malformed` where it is none."""
    try:
        return _decode(body)
    except struct.error as error:
        raise Malformed(f"store command cut short at {len(body)} bytes") from error


def _decode(body: bytes) -> Command:
    operation, flags = _HEAD.unpack_from(body)
    if operation not in (PUT, DELETE) or flags not in (0, _CONDITIONAL):
        raise Malformed(f"store command of unknown operation {operation} or flags {flags}")
    if_revision, offset = _decode_revision(body, flags)
    (size,) = _KEY_SIZE.unpack_from(body, offset)
    start = offset + _KEY_SIZE.size
    key, value = body[start : start + size], body[start + size :]
    if not 0 < size <= KEY_LIMIT or len(key) != size or not is_text(key):
        raise Malformed(f"store command with a bad key of {size} bytes")
    if len(value) > VALUE_LIMIT or (operation == DELETE and value):
        raise Malformed(f"store command with {len(value)} bytes behind the key")
    return Command(operation, key, value, if_revision)


def _decode_revision(body: bytes, flags: int) -> Tuple[Optional[int], int]:
    if not flags:
        return None, _HEAD.size
    return _REVISION.unpack_from(body, _HEAD.size)[0], _HEAD.size + _REVISION.size


def is_text(key: bytes) -> bool:
    """Is `key` UTF-8?"""
    try:
        key.decode()
    except UnicodeDecodeError:
        return False
    return True
