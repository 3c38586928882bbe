"""The bytes of a snapshot of the store: written and read in slices, so that nothing else waits (pitfall 4.4).

Records behind their length (u32): first format (u8), applied index and count of keys (u64 each), and the last
takeover record if there is one (format 1 had none); then a key each: revision (u64), key size (u16), key,
value; big-endian. Keys stand in the order of their revisions, which is that of a `Store`'s dictionary: so
equal stores have equal bytes, and nothing is sorted.
"""

from __future__ import annotations

import struct
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

from raftctl.store.commands import KEY_LIMIT, VALUE_LIMIT, Malformed, is_text
from raftctl.store.takeovers import Record, decode_record, encode_record

FORMAT = 2
_FORMATS = (1, FORMAT)
SLICE_BYTES = 64 * 1024

_LENGTH = struct.Struct("!I")
_HEADER = struct.Struct("!BQQ")
_KEY = struct.Struct("!QH")
_KEY_COST = _LENGTH.size + _KEY.size


class Contents(NamedTuple):
    """All that a store is: key → (value, revision) in the order of revisions; `bytes` of keys and values."""

    items: Dict[bytes, Tuple[bytes, int]]
    applied: int
    bytes: int
    takeover: Optional[Record] = None


class Image:
    """The snapshot of `contents`, which nobody changes any more. `size`: its bytes. Any thread."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        count = len(contents.items)
        self._takeover = encode_record(contents.takeover)
        self.size = _LENGTH.size + _HEADER.size + len(self._takeover) + count * _KEY_COST + contents.bytes

    def slices(self) -> Iterator[bytes]:
        """Return the bytes in parts of at most `SLICE_BYTES`."""
        header = _HEADER.pack(FORMAT, self._contents.applied, len(self._contents.items))
        header += self._takeover
        parts: List[bytes] = [_LENGTH.pack(len(header)), header]
        held = _LENGTH.size + len(header)
        for key, (value, revision) in self._contents.items.items():
            length = _KEY.size + len(key) + len(value)
            parts += [_LENGTH.pack(length), _KEY.pack(revision, len(key)), key, value]
            held += _LENGTH.size + length
            if held >= SLICE_BYTES:
                data = b"".join(parts)
                whole = held - held % SLICE_BYTES
                yield from (data[start:start + SLICE_BYTES] for start in range(0, whole, SLICE_BYTES))
                parts, held = [data[whole:]], held - whole
        if held:
            yield b"".join(parts)


class Loader:
    """Takes the bytes of an image as they come, any number at a time. After `Malformed` it is of no more use.

    The work of a call is in proportion to what it gets.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._count = -1
        self._items: Dict[bytes, Tuple[bytes, int]] = {}
        self._applied = self._bytes = self._revision = 0
        self._takeover: Optional[Record] = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        data = self._rest + data
        offset = 0
        while offset + _LENGTH.size <= len(data):
            (length,) = _LENGTH.unpack_from(data, offset)
            if length > _KEY.size + KEY_LIMIT + VALUE_LIMIT:
                raise Malformed(f"store image with a record of {length} bytes")
            start = offset + _LENGTH.size
            if start + length > len(data):
                break
            self._take(data[start:start + length])
            offset = start + length
        self._rest = data[offset:]

    def _take(self, record: bytes) -> None:
        if self._count < 0:
            self._take_header(record)
            return
        if len(record) < _KEY.size:
            raise Malformed(f"store image with a record of {len(record)} bytes")
        revision, size = _KEY.unpack_from(record)
        key, value = record[_KEY.size:_KEY.size + size], record[_KEY.size + size:]
        if not 0 < size <= KEY_LIMIT or len(key) != size or not is_text(key) or key in self._items:
            raise Malformed(f"store image with a bad key of {size} bytes")
        if not self._revision < revision <= self._applied or len(value) > VALUE_LIMIT:
            raise Malformed(f"store image with revision {revision} behind {self._revision}, "
                            f"a value of {len(value)} bytes")
        self._revision = revision
        self._items[key] = (value, revision)
        self._bytes += len(key) + len(value)

    def _take_header(self, record: bytes) -> None:
        if record[:1] and record[0] not in _FORMATS:
            raise Malformed(f"store image of format {record[0]}, this raftctl reads up to {FORMAT}")
        if len(record) < _HEADER.size or (record[0] != FORMAT and len(record) > _HEADER.size):
            raise Malformed(f"store image with a header of {len(record)} bytes")
        _, self._applied, self._count = _HEADER.unpack_from(record)
        self._takeover = decode_record(record[_HEADER.size:])

    def finish(self) -> Contents:
        """All bytes were fed: return what they say."""
        if self._rest or self._count != len(self._items):
            raise Malformed(f"store image ends with {len(self._items)} of {max(self._count, 0)} keys and "
                            f"{len(self._rest)} bytes")
        return Contents(self._items, self._applied, self._bytes, self._takeover)
