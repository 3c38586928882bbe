"""One snapshot's file: a header that says which it is, the body, and a checksum over both.

    header:   magic, format version u32, term u64 and index u64 that it reaches, index of the configuration
              u64, size of the body u64, configuration (size u32, bytes), CRC-32 u32
    body
    CRC-32 u32 of header and body

Big-endian. A file has its final name only once all of it is durable, so a file of that name that is not
intact is damaged.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import Optional, Tuple

from raftctl.base.errors import require
from raftctl.disk.files import DiskFull, Files, disk_fault, guarded, read_range, reserve, write_all
from raftctl.raft.configuration import Malformed
from raftctl.raft.messages import Position, SnapshotMark

MAGIC = b"raftctl\x00snapshot"
FORMAT_VERSION = 1
SLICE = 1 << 20
# What is written without a sync in between, so that none takes long and the log's syncs don't wait for it.
SYNC_BYTES = 4 << 20

_HEAD = struct.Struct("!16sIQQQQI")
_WORD = struct.Struct("!I")
_CONFIGURATION_LIMIT = 1 << 20


class UnknownFormat(Malformed):
    """Of another release, or damaged just there."""


def encode_head(mark: SnapshotMark) -> bytes:
    length = len(mark.configuration)
    require(length <= _CONFIGURATION_LIMIT, "configuration too large", length)
    fields = _HEAD.pack(MAGIC, FORMAT_VERSION, *mark.position, mark.configuration_index, mark.size,
                        length) + mark.configuration
    return fields + _WORD.pack(zlib.crc32(fields))


def file_size(mark: SnapshotMark) -> int:
    return _HEAD.size + len(mark.configuration) + _WORD.size + mark.size + _WORD.size


def body_offset(mark: SnapshotMark) -> int:
    return _HEAD.size + len(mark.configuration) + _WORD.size


class Draft:
    """A snapshot that is being written under a temporary name. One thread at a time; blocks for the disk."""

    def __init__(self, files: Files, path: str, mark: SnapshotMark) -> None:
        """Reserve room for all of it; raise `DiskFull` where there is none, and nothing has changed then."""
        self.path, self.mark, self.length = path, mark, 0
        self._files, self._unsynced = files, 0
        head = encode_head(mark)
        with guarded(path, "making the file"):
            self.descriptor = files.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            reserve(files, path, self.descriptor, file_size(mark))
        except DiskFull:
            self.abandon()
            raise
        self._offset, self._crc = 0, 0
        self._put(head)

    def write(self, data: bytes) -> None:
        """Add `data` to the body."""
        require(self.length + len(data) <= self.mark.size, "a snapshot longer than its mark says", self.mark)
        self._put(data)
        self.length += len(data)
        if self._unsynced >= SYNC_BYTES:
            self._sync()

    def complete(self) -> None:
        """Make all of it durable under its temporary name."""
        require(self.length == self.mark.size, "a snapshot shorter than its mark says", self.length)
        self._put(_WORD.pack(self._crc))
        self._sync()

    def abandon(self) -> None:
        self._files.close(self.descriptor)
        with guarded(self.path, "removing"):
            self._files.unlink(self.path)

    def _put(self, data: bytes) -> None:
        with guarded(self.path, f"writing {len(data)} bytes"):
            if data:
                write_all(self._files, self.path, self.descriptor, [data], self._offset)
        self._offset += len(data)
        self._unsynced += len(data)
        self._crc = zlib.crc32(data, self._crc)

    def _sync(self) -> None:
        with guarded(self.path, "syncing"):
            self._files.sync(self.descriptor)
        self._unsynced = 0


def examine(files: Files, path: str, descriptor: int) -> SnapshotMark:
    """Read all of the file in slices; return its mark, raise `Malformed` with what is wrong with it."""
    try:
        # What the cache holds may never have reached the disk (pitfall 5.1).
        files.forget_cached(descriptor)
        mark, head = _read_head(files, descriptor)
        offset, left, crc = len(head), mark.size, zlib.crc32(head)
        if files.size(descriptor) != file_size(mark):
            raise Malformed(f"has {files.size(descriptor)} bytes instead of {file_size(mark)}")
        while left:
            part = read_range(files, descriptor, offset, min(SLICE, left))
            if not part:
                raise Malformed(f"ends at byte {offset}")
            crc = zlib.crc32(part, crc)
            offset, left = offset + len(part), left - len(part)
        if read_range(files, descriptor, offset, _WORD.size) != _WORD.pack(crc):
            raise Malformed("its checksum is wrong")
        return mark
    except OSError as error:
        raise disk_fault(path, "reading", error) from error


def _read_head(files: Files, descriptor: int) -> Tuple[SnapshotMark, bytes]:
    raw = read_range(files, descriptor, 0, _HEAD.size)
    if len(raw) < _HEAD.size:
        raise Malformed(f"{len(raw)} bytes are no snapshot")
    magic, version, term, index, configuration_index, size, length = _HEAD.unpack(raw)
    if magic != MAGIC:
        raise Malformed("the file is no raftctl snapshot, or its header is damaged")
    if version != FORMAT_VERSION:
        raise UnknownFormat(f"format {version} is unknown here (this raftctl reads {FORMAT_VERSION}), or "
                            "damaged")
    rest: Optional[bytes] = None
    if length <= _CONFIGURATION_LIMIT:
        rest = read_range(files, descriptor, _HEAD.size, length + _WORD.size)
    if rest is None or rest[length:] != _WORD.pack(zlib.crc32(raw + rest[:length])):
        raise Malformed("its header is damaged")
    return SnapshotMark(Position(term, index), configuration_index, rest[:length], size), raw + rest
