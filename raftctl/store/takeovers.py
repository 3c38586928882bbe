"""The last takeover record, part of the replicated state (P6): whose application may run, and for how long.

Pure functions of record and entry, as `machine.py` is. What a leader does by it is cluster/takeover.py's.
"""

from __future__ import annotations

import struct
from typing import NamedTuple, Optional

from raftctl.base.errors import require
from raftctl.store.commands import Malformed

OPEN = 1
DONE = 2

_OPEN = struct.Struct("!BQQ")
_DONE = struct.Struct("!BQ")
_RECORD = struct.Struct("!?QQQQ")
_INSTANCE_LIMIT = 64


class Record(NamedTuple):
    """`index`, of its log entry, is its name. `delay` and `limit` (of the outgoing work) in ns."""

    index: int
    term: int
    instance: str
    delay: int
    limit: int
    done: bool = False


def encode_open(instance: str, delay: int, limit: int) -> bytes:
    """Return the body of the entry with which `instance` opens a record."""
    require(0 < len(instance) <= _INSTANCE_LIMIT, "instance id too long", instance)
    return _OPEN.pack(OPEN, delay, limit) + instance.encode("ascii")


def encode_done(index: int) -> bytes:
    """Return the body of the entry that says: the outgoing work of record `index` has ended with status 0."""
    return _DONE.pack(DONE, index)


def follow(last: Optional[Record], index: int, term: int, body: bytes) -> Optional[Record]:
    """Return the last record after the committed entry `index`; raise `Malformed` for another body."""
    if body[:1] == bytes([OPEN]) and len(body) > _OPEN.size:
        _, delay, limit = _OPEN.unpack_from(body)
        return Record(index, term, _instance(body[_OPEN.size:]), delay, limit)
    if body[:1] != bytes([DONE]) or len(body) != _DONE.size:
        raise Malformed(f"takeover entry of {len(body)} bytes")
    (_, ended) = _DONE.unpack(body)
    # Of any other record: that one was replaced since, and says nothing about the last (pitfall 9.2).
    return last._replace(done=True) if last and last.index == ended else last


def encode_record(record: Optional[Record]) -> bytes:
    """Return what a snapshot holds of the last record; empty without one."""
    if record is None:
        return b""
    head = _RECORD.pack(record.done, record.index, record.term, record.delay, record.limit)
    return head + record.instance.encode("ascii")


def decode_record(data: bytes) -> Optional[Record]:
    """Return what `encode_record` wrote; raise `Malformed` for anything else."""
    if not data:
        return None
    if len(data) <= _RECORD.size:
        raise Malformed(f"takeover record of {len(data)} bytes")
    done, index, term, delay, limit = _RECORD.unpack_from(data)
    return Record(index, term, _instance(data[_RECORD.size:]), delay, limit, done)


def _instance(data: bytes) -> str:
    if len(data) > _INSTANCE_LIMIT or not data.isascii():
        raise Malformed(f"takeover record of an instance of {len(data)} bytes")
    return data.decode("ascii")
