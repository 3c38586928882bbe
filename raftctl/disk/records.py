"""The bytes of a segment: its header, and records of one batch each. Pure: no file, no decision about damage.

    segment:  header (one sector of 512 bytes), records, zeros to the end of the file
    header:   magic, format version u32, segment number u64, term u64 and index u64 of the last entry before
              this segment, last checksum of the segment before u32, instance (length u8, ASCII), zeros,
              CRC-32 u32
    record:   "btch", length u32, zero sectors u32, CRC-32 u32   16 bytes, at a multiple of 16
              items: kind u8, size u32, bytes                   `length` bytes
              zeros up to 8 bytes below the next multiple of 16
              CRC-32 u32, "end\\n"

A segment whose header is still zeros was made ahead and holds nothing. The first record of each repeats hard
state and members' memory, so that the segments before it can be dropped. Items stand in the order hard state,
base, entries, memory.

All integers are big-endian. Both checksums of a record go on from the checksum of the record before (the
first from the header's), so old bytes never fit behind a new record (pitfall 5.3).

One batch, which is synced before the next is written, is one record: so nothing valid can stand behind a torn
one, in whatever order the disk wrote its sectors. A disk writes whole sectors, thus a torn record lacks whole
sectors, and they read as zeros. The format makes that visible: the head and the tail of a record never cross
a sector's edge and are never all zeros, the head has a checksum of its own, and it tells how many sectors
between the two are zeros by nature. A record with more of them is torn; one whose checksum is wrong without
that is damaged, however little.
"""

from __future__ import annotations

import struct
import zlib
from typing import List, NamedTuple, Optional, Sequence, Tuple

from raftctl.base.errors import require
from raftctl.raft.configuration import Malformed
from raftctl.raft.encoding import (
    ENTRY_HEAD_SIZE,
    decode_entry,
    decode_hard_state,
    encode_entry,
    encode_hard_state,
)
from raftctl.raft.messages import Entry, HardState, Position

SECTOR = 512
ALIGNMENT = 16
# 1 was one file that grew; no release wrote it.
FORMAT_VERSION = 2
MAGIC = b"raftctl\x00log\x00\x00\x00\x00\x00"
BATCH = b"btch"
END = b"end\n"
# A batch is bounded by the node (bytes a turn); this only keeps lengths and their sums far from 32 bits.
BATCH_LIMIT = 1 << 30

_ZEROS = bytes(SECTOR)
_HEAD = struct.Struct("!4sII")
_WORD = struct.Struct("!I")
HEAD_SIZE = _HEAD.size + _WORD.size
_TAIL = struct.Struct("!I4s")
TAIL_SIZE = _TAIL.size
_ITEM = struct.Struct("!BI")
_HARD_STATE, _ENTRY, _MEMORY, _BASE = 1, 2, 3, 4
_POSITION = struct.Struct("!QQ")
_SEGMENT = struct.Struct("!16sIQQQIB")
_INSTANCE_LIMIT = 64


class Segment(NamedTuple):
    """A segment's header. `before`: the last entry when it was begun (where no earlier segment is left, the
    log begins behind it). `previous`: the chain at the end of the segment before (0: it is the first)."""

    instance: str
    number: int
    before: Position
    previous: int


class Head(NamedTuple):
    """A record's head that passed its checksum. `size`: whole record in bytes; `zero_sectors`: see above."""

    length: int
    zero_sectors: int
    size: int


class Batch(NamedTuple):
    """What one record holds. `hard_state`, `base` (the log begins anew behind it) and `memory` (P7) may be
    None: unchanged."""

    hard_state: Optional[HardState]
    entries: Tuple[Entry, ...]
    memory: Optional[bytes] = None
    base: Optional[Position] = None


def encode_segment(segment: Segment) -> bytes:
    """Return the first sector of a segment. Its last 4 bytes are the checksum with which the chain begins."""
    raw = segment.instance.encode("ascii")
    require(0 < len(raw) <= _INSTANCE_LIMIT, "no instance id", segment.instance)
    fields = _SEGMENT.pack(MAGIC, FORMAT_VERSION, segment.number, *segment.before, segment.previous,
                           len(raw)) + raw
    content = fields.ljust(SECTOR - _WORD.size, b"\x00")
    return content + _WORD.pack(zlib.crc32(content))


def decode_segment(sector: bytes) -> Tuple[Segment, int]:
    """Return the header and the chain's first checksum; raise `Malformed` with the reason.

    The version is judged before the checksum: where a later one puts that is not known here.
    """
    if len(sector) < SECTOR:
        raise Malformed(f"{len(sector)} bytes are no segment")
    magic, version, number, term, index, previous, length = _SEGMENT.unpack_from(sector)
    if magic != MAGIC:
        raise Malformed("the file is no raftctl log, or its header is damaged")
    if version != FORMAT_VERSION:
        raise Malformed(f"format {version} is unknown here (this raftctl reads {FORMAT_VERSION}), or damaged")
    (crc,) = _WORD.unpack_from(sector, SECTOR - _WORD.size)
    if crc != zlib.crc32(sector[:SECTOR - _WORD.size]) or length > _INSTANCE_LIMIT:
        raise Malformed("the header is damaged")
    instance = sector[_SEGMENT.size:_SEGMENT.size + length].decode("ascii")
    return Segment(instance, number, Position(term, index), previous), crc


def encode_items(batch: Batch) -> List[bytes]:
    """Return the parts of a record's body."""
    parts: List[bytes] = []
    if batch.hard_state is not None:
        raw = encode_hard_state(batch.hard_state)
        parts += (_ITEM.pack(_HARD_STATE, len(raw)), raw)
    if batch.base is not None:
        parts += (_ITEM.pack(_BASE, _POSITION.size), _POSITION.pack(*batch.base))
    for entry in batch.entries:
        raw = encode_entry(entry)
        parts += (_ITEM.pack(_ENTRY, len(raw)), raw)
    if batch.memory is not None:
        parts += (_ITEM.pack(_MEMORY, len(batch.memory)), batch.memory)
    return parts


def decode_items(body: bytes) -> Batch:
    """Return the batch in a record's body; raise `Malformed` on what `encode_items` never writes."""
    hard_state: Optional[HardState] = None
    base: Optional[Position] = None
    entries: List[Entry] = []
    memory: Optional[bytes] = None
    offset = 0
    while offset < len(body):
        if offset + _ITEM.size > len(body):
            raise Malformed(f"item cut short at byte {offset} of the record")
        kind, size = _ITEM.unpack_from(body, offset)
        start = offset + _ITEM.size
        offset = start + size
        if offset > len(body):
            raise Malformed(f"item of {size} bytes at byte {start} of a record of {len(body)}")
        if kind == _ENTRY:
            entries.append(decode_entry(body[start:offset]))
        elif kind == _MEMORY and offset == len(body):
            memory = body[start:offset]
        elif kind == _HARD_STATE and start == _ITEM.size:
            hard_state = decode_hard_state(body[start:offset])
        elif kind == _BASE and size == _POSITION.size and base is None and not entries:
            base = Position(*_POSITION.unpack_from(body, start))
        else:
            raise Malformed(f"item of kind {kind} at byte {start} of the record")
    return Batch(hard_state, tuple(entries), memory, base)


def entry_size(entry: Entry) -> int:
    """Return how many bytes of a record's body the entry takes."""
    return _ITEM.size + ENTRY_HEAD_SIZE + len(entry.body)


def record_size(length: int) -> int:
    """Return the size in the file of a record whose body has `length` bytes."""
    bare = HEAD_SIZE + length + TAIL_SIZE
    return bare + -bare % ALIGNMENT


def encode_record(
    parts: Sequence[bytes], offset: int, chain: int
) -> Tuple[Tuple[bytes, bytes, bytes], int, int]:
    """Return the buffers to write at `offset` of the file, their size in all, and the chain for the next."""
    require(offset % ALIGNMENT == 0, "record off its alignment", offset)
    length = sum(map(len, parts))
    require(0 < length <= BATCH_LIMIT, "record without or with too large a body", length)
    size = record_size(length)
    body = b"".join((*parts, _ZEROS[:size - HEAD_SIZE - length - TAIL_SIZE]))
    fields = _HEAD.pack(BATCH, length, zero_sectors(body, offset))
    head = fields + _WORD.pack(zlib.crc32(fields, chain))
    crc = zlib.crc32(body, zlib.crc32(head, chain))
    return (head, body, _TAIL.pack(crc, END)), size, crc


def decode_head(data: bytes, chain: int) -> Optional[Head]:
    """Return the head in the first 16 bytes of `data`, None where its checksum or any field is wrong."""
    if len(data) < HEAD_SIZE:
        return None
    fields = data[:_HEAD.size]
    kind, length, zeros = _HEAD.unpack(fields)
    if kind != BATCH or not 0 < length <= BATCH_LIMIT:
        return None
    if _WORD.unpack_from(data, _HEAD.size)[0] != zlib.crc32(fields, chain):
        return None
    return Head(length, zeros, record_size(length))


def decode_record(record: bytes, chain: int) -> Optional[Tuple[bytes, int]]:
    """Return the body and the next chain of a whole record whose head was sound, None if it is not intact."""
    crc, end = _TAIL.unpack_from(record, len(record) - TAIL_SIZE)
    if end != END or crc != zlib.crc32(record[:-TAIL_SIZE], chain):
        return None
    return record[HEAD_SIZE:HEAD_SIZE + _HEAD.unpack_from(record)[1]], crc


def chain_before(data: bytes, at: int) -> Optional[int]:
    """Return the checksum in the record tail that ends at `at` of `data`, None where no tail ends there."""
    if at < TAIL_SIZE:
        return None
    crc, end = _TAIL.unpack_from(data, at - TAIL_SIZE)
    return crc if end == END else None


def zero_sectors(body: bytes, offset: int) -> int:
    """Count the sectors of zeros between the sector of the head and that of the tail.

    `offset` is the record's place in its file, `body` all between head and tail.
    """
    last_byte = offset + HEAD_SIZE + len(body) + TAIL_SIZE - 1
    first = SECTOR - offset % SECTOR - HEAD_SIZE
    last = last_byte - last_byte % SECTOR - offset - HEAD_SIZE
    if last <= first or 0 not in body[first:last:SECTOR]:
        return 0
    return sum(1 for at in range(first, last, SECTOR) if not body[at] and body[at:at + SECTOR] == _ZEROS)


def is_torn(record: bytes, head: Head, offset: int) -> bool:
    """Does a whole record that is not intact lack a sector? (Its head is sound, so that sector is there.)"""
    last_byte = offset + len(record) - 1
    last_sector = record[max(0, last_byte - last_byte % SECTOR - offset):]
    return not any(last_sector) or zero_sectors(record[HEAD_SIZE:-TAIL_SIZE], offset) > head.zero_sectors
