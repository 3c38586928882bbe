"""The journal: one batch, one record, one fdatasync; nothing depending on it leaves before (P3, design §4.3).

One segment that grows, preallocated in steps, so that fdatasync seldom has a new size to write. What a start
makes of the bytes is `recovery.py`.
"""

from __future__ import annotations

import os
from typing import List, NamedTuple, Tuple

from raftctl.base.errors import DiskFault, require
from raftctl.disk import records, recovery
from raftctl.disk.files import SYSTEM, Files, disk_fault, guarded
from raftctl.disk.records import Batch
from raftctl.raft.messages import Entry, HardState, Write

SEGMENT_NAME = f"{1:010d}"
STEP = 4 << 20


class Recovered(NamedTuple):
    """What the journal held at the start. `cut_bytes`: length of a torn tail that was cut, 0 for none.

    The zeros of preallocation behind that tail do not count. `memory`: of the members (P7), b"" for none.
    """

    hard_state: HardState
    entries: Tuple[Entry, ...]
    cut_bytes: int
    memory: bytes = b""


class Journal:
    """The open segment. `append` by the disk thread alone; blocks as long as the disk does."""

    def __init__(
        self, path: str, descriptor: int, end: int, chain: int, allocated: int, files: Files
    ) -> None:
        self.path = path
        self._descriptor, self._files = descriptor, files
        self._end, self._chain, self._allocated = end, chain, allocated
        self._failed = False

    @classmethod
    def open(cls, log_path: str, instance: str, files: Files = SYSTEM, *,
             must_exist: bool = False) -> Tuple[Journal, Recovered]:
        """Open or make the journal in the directory `log_path`; raise `DiskFault` where it can't be trusted.

        `must_exist`: the directory belongs to a cluster, so its votes and entries can't be missing. All that
        is returned is durable, whatever the process before left unsynced.
        """
        path = os.path.join(log_path, SEGMENT_NAME)
        with guarded(log_path, "making the journal"):
            if not files.is_directory(log_path) and not must_exist:
                files.make_directory(log_path)
            _refuse_unknown(log_path, files.names(log_path) if files.is_directory(log_path) else [])
            descriptor = cls._open_segment(path, files, must_exist)
        try:
            return cls._load(path, descriptor, instance, files, must_exist)
        except BaseException:
            files.close(descriptor)
            raise

    @staticmethod
    def _open_segment(path: str, files: Files, must_exist: bool) -> int:
        try:
            return files.open(path, os.O_RDWR | (0 if must_exist else os.O_CREAT))
        except FileNotFoundError as error:
            raise _missing(path) from error

    @classmethod
    def _load(cls, path: str, descriptor: int, instance: str, files: Files,
              must_exist: bool) -> Tuple[Journal, Recovered]:
        with guarded(path, "syncing what the last process left"):
            # Killed between write and sync, it left pages that only the cache has: they count below, so they
            # must be on disk. The names as well: their maker may have been killed before they were durable.
            files.sync(descriptor)
            files.sync_directory(os.path.dirname(path))
            files.sync_directory(os.path.dirname(os.path.dirname(path)))
        with guarded(path, "reading"):
            # A failed sync marks its pages clean: what the cache holds may never have reached the disk
            # (pitfall 5.1).
            files.forget_cached(descriptor)
            data = _read(files, descriptor)
        found = recovery.recover(path, data, instance)
        if found.is_new and must_exist:
            raise _missing(path)
        if found.is_new:
            _write_all(files, path, descriptor, [records.encode_segment(instance, 1)], 0)
            with guarded(path, "syncing"):
                files.sync(descriptor)
        if found.cut_bytes:
            # Zeros over the torn tail: nothing of it may fit behind a later, shorter write (pitfall 5.3).
            _write_all(files, path, descriptor, [bytes(found.cut_bytes)], found.end)
            with guarded(path, "syncing"):
                files.sync(descriptor)
        journal = cls(path, descriptor, found.end, found.chain, len(data), files)
        return journal, Recovered(found.hard_state, found.entries, found.cut_bytes, found.memory)

    def append(self, write: Write) -> None:
        """Make `write` durable. After a failure every later append is refused: the process must end (P3)."""
        require(not self._failed, "append after a failed one", write.number)
        self._failed = True
        parts = records.encode_items(Batch(write.hard_state, write.entries, write.memory))
        buffers, size, chain = records.encode_record(parts, self._end, self._chain)
        self._preallocate(self._end + size)
        _write_all(self._files, self.path, self._descriptor, list(buffers), self._end)
        with guarded(self.path, "syncing"):
            self._files.sync(self._descriptor)
        self._end, self._chain = self._end + size, chain
        self._failed = False

    def _preallocate(self, end: int) -> None:
        if end <= self._allocated:
            return
        target = end - end % STEP + STEP
        try:
            self._files.allocate(self._descriptor, self._allocated, target - self._allocated)
        except OSError as error:
            if error.errno is not None and error.errno in recovery.NOT_SUPPORTED:
                self._allocated = end
                return
            raise disk_fault(self.path, f"growing to {target} bytes", error) from error
        self._allocated = target

    def close(self) -> None:
        self._files.close(self._descriptor)


def _refuse_unknown(log_path: str, names: List[str]) -> None:
    """Refuse a log with a file that this release does not know: without it, it may lack what it holds."""
    for name in names:
        if name != SEGMENT_NAME:
            raise DiskFault(f"{os.path.join(log_path, name)}: this raftctl knows no such file in a log; use "
                            "the raftctl that wrote it; if none did, move it out of the directory")


def _missing(path: str) -> DiskFault:
    return DiskFault(f"{path}: the log is missing, but the directory belongs to a cluster; put it back, or "
                     "move the directory away and start: the node rejoins empty")


def _read(files: Files, descriptor: int) -> bytes:
    size = files.size(descriptor)
    parts, offset = [], 0
    while offset < size:
        part = files.read(descriptor, min(size - offset, 1 << 20), offset)
        if not part:
            break
        parts.append(part)
        offset += len(part)
    return b"".join(parts)


def _write_all(files: Files, path: str, descriptor: int, buffers: list, offset: int) -> None:
    total = sum(map(len, buffers))
    with guarded(path, f"writing {total} bytes"):
        written = files.write(descriptor, buffers, offset)
        if written == total:
            return
        left = memoryview(b"".join(buffers))[written:]
        while left:
            taken = files.write(descriptor, [left], offset + total - len(left))
            if not taken:
                raise DiskFault(f"{path}: the disk takes no more bytes; "
                                "free space there, then start the node again")
            left = left[taken:]
