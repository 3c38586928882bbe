"""The journal: one batch, one record, one fdatasync; nothing depending on it leaves before (P3, design §4.3).

Segments of one size, each reserved on the disk while the one before is still being filled: so a full disk is
met when a segment is made, in `tidy`, and never when a vote must be written. What a start makes of the files
is `segments.py`, and of their bytes `recovery.py`.
"""

from __future__ import annotations

import os
from typing import List, NamedTuple, Optional, Tuple

from raftctl.base.errors import require
from raftctl.disk import records
from raftctl.disk.files import SYSTEM, DiskFull, Files, guarded, read_range, reserve, write_all
from raftctl.disk.records import Batch, Segment
from raftctl.disk.recovery import Replay
from raftctl.disk.segments import check_base, missing, segment_name, segment_numbers, take_segments
from raftctl.disk.snapshots import Snapshots
from raftctl.raft.messages import ORIGIN, Entry, HardState, Position, Write

SEGMENT_SIZE = 16 << 20
# Of a full disk's last segment, the part that only votes and terms are for.
VOTES_SHARE = 16
_NOTHING = Batch(None, ())


class Recovered(NamedTuple):
    """What the journal held at the start; the log begins behind `base` (ORIGIN: with index 1).

    `cut_bytes`: length of a torn tail that was cut, 0 for none; the zeros reserved behind that tail do not
    count. `memory`: of the members (P7), b"" for none.
    """

    hard_state: HardState
    entries: Tuple[Entry, ...]
    cut_bytes: int
    memory: bytes
    base: Position


class Journal:
    """The open log. `append` and `tidy` by the disk thread alone; both block as long as the disk does."""

    def __init__(self, log_path: str, instance: str, files: Files, snapshots: Optional[Snapshots]) -> None:
        self._log_path, self._instance, self._files, self._snapshots = log_path, instance, files, snapshots
        self.path = log_path
        self._descriptor: Optional[int] = None
        self._next: Optional[int] = None
        self._number = self._end = self._chain = self._size = 0
        self._hard, self._memory = HardState(), b""
        self._last = ORIGIN
        self._tops: List[int] = []      # of each segment, see `Replay`
        self._drop_upto = 0
        self._failed = False
        self.full = ""

    @classmethod
    def open(cls, log_path: str, instance: str, files: Files = SYSTEM, *, must_exist: bool = False,
             snapshots: Optional[Snapshots] = None) -> Tuple[Journal, Recovered]:
        """Open or make the journal in the directory `log_path`; raise `DiskFault` where it can't be trusted.

        `must_exist`: the directory belongs to a cluster, so its votes and entries can't be missing. All that
        is returned is durable, whatever the process before left unsynced. A log that begins behind its first
        entry needs one of `snapshots` that reaches as far.
        """
        journal = cls(log_path, instance, files, snapshots)
        try:
            recovered = journal._load(must_exist)
            check_base(log_path, recovered.base, snapshots.marks if snapshots else ())
            journal.tidy()
        except BaseException:
            journal.close()
            raise
        return journal, recovered

    def _load(self, must_exist: bool) -> Recovered:
        files, log_path = self._files, self._log_path
        with guarded(log_path, "making the journal"):
            if not files.is_directory(log_path) and not must_exist:
                files.make_directory(log_path)
            names = files.names(log_path) if files.is_directory(log_path) else []
            if not names and must_exist:
                raise missing(log_path)
            # The names as well: who made them may have been killed before they were durable.
            files.sync_directory(log_path)
            files.sync_directory(os.path.dirname(log_path))
        replay = Replay(self._instance)
        take_segments(replay, log_path, segment_numbers(log_path, names), self._read, must_exist=must_exist)
        self._hard, self._memory, self._last = replay.hard_state, replay.memory, replay.last
        self._number, self._tops = replay.number, replay.tops
        self._end, self._chain = replay.end, replay.chain
        if self._number:
            self._go_on(replay.cut_bytes)
        else:
            self._make_next()
            self._rotate()
        return Recovered(replay.hard_state, tuple(replay.entries), replay.cut_bytes, replay.memory,
                         replay.base)

    def _read(self, number: int) -> bytes:
        """Return the bytes of a segment as they are on the disk."""
        files, path = self._files, self._segment_path(number)
        with guarded(path, "opening"):
            descriptor = files.open(path, os.O_RDWR)
        try:
            with guarded(path, "syncing what the last process left"):
                # Killed between write and sync, it left pages that only the cache has: they count below, so
                # they must be on disk.
                files.sync(descriptor)
            with guarded(path, "reading"):
                # A failed sync marks its pages clean: what the cache holds may never have reached the disk
                # (pitfall 5.1).
                files.forget_cached(descriptor)
                return read_range(files, descriptor, 0, files.size(descriptor))
        finally:
            files.close(descriptor)

    def _go_on(self, cut_bytes: int) -> None:
        self.path = self._segment_path(self._number)
        with guarded(self.path, "opening"):
            self._descriptor = self._files.open(self.path, os.O_RDWR)
            self._size = self._files.size(self._descriptor)
        if cut_bytes:
            # Zeros over the torn tail: nothing of it may fit behind a later, shorter write (pitfall 5.3).
            self._write([bytes(cut_bytes)])

    # --- writing

    def append(self, write: Write) -> bool:
        """Make `write` durable; False where there is no room for the snapshot that its chunk begins.

        After a failure every later append is refused: the process must end (P3).
        """
        require(not self._failed, "append after a failed one", write.number)
        self._failed = True
        has_room = True
        if write.chunk:
            require(self._snapshots is not None, "a chunk without snapshots", write.number)
            has_room = self._snapshots.write_chunk(write.chunk)   # type: ignore[union-attr]
        self._drop_upto = max(self._drop_upto, write.drop_upto)
        batch = Batch(write.hard_state, write.entries, write.memory, write.base)
        if batch != _NOTHING:
            self._put(batch)
        self._failed = False
        return has_room

    def _put(self, batch: Batch) -> None:
        while True:
            if self._end == records.SECTOR:
                batch = batch._replace(hard_state=batch.hard_state or self._hard,
                                       memory=self._memory if batch.memory is None else batch.memory)
            parts = records.encode_items(batch)
            if self._end + records.record_size(sum(map(len, parts))) <= self._size:
                break
            if self._end > records.SECTOR:
                self._rotate()
                continue
            # Larger than a whole segment: the first entries alone. Nobody is told before all are durable.
            first, batch = _split(batch, self._size - records.SECTOR)
            self._put_record(first, records.encode_items(first))
        self._put_record(batch, parts)

    def _put_record(self, batch: Batch, parts: List[bytes]) -> None:
        buffers, size, chain = records.encode_record(parts, self._end, self._chain)
        self._write(list(buffers))
        self._end, self._chain = self._end + size, chain
        if batch.hard_state is not None:
            self._hard = batch.hard_state
        if batch.memory is not None:
            self._memory = batch.memory
        if batch.base is not None:
            self._last = batch.base
            self._tops = [0] * len(self._tops)
        if batch.entries:
            self._last = batch.entries[-1].position
            self._tops[-1] = self._last.index

    def _write(self, buffers: List[bytes]) -> None:
        with guarded(self.path, f"writing {sum(map(len, buffers))} bytes"):
            write_all(self._files, self.path, self._descriptor, buffers, self._end)
        with guarded(self.path, "syncing"):
            self._files.sync(self._descriptor)

    def _rotate(self) -> None:
        """Begin the next segment. Its header is durable before anything behind it is written."""
        if self._next is None:
            self._make_next()
        header = records.encode_segment(Segment(self._instance, self._number + 1, self._last, self._chain))
        if self._descriptor is not None:
            self._files.close(self._descriptor)
        self._descriptor, self._next = self._next, None
        self._number += 1
        self._tops.append(0)
        self.path, self._end = self._segment_path(self._number), 0
        self._size = self._files.size(self._descriptor)
        self._write([header])
        self._end, self._chain = records.SECTOR, records.decode_segment(header)[1]

    # --- between writes

    def tidy(self, *, may_grow: bool = True) -> None:
        """Remove segments that nobody needs; reserve the next one (`may_grow`), or say in `full` why not.

        For the time after a write was answered. Costs nothing where there is nothing to do, else some syncs.
        """
        require(not self._failed, "work on a failed journal")
        self._failed = True
        # What an earlier segment repeats is durable in a later one only once that has a record.
        while len(self._tops) > 1 and self._tops[0] <= self._drop_upto and self._end > records.SECTOR:
            path = self._segment_path(self._number - len(self._tops) + 1)
            with guarded(path, "removing"):
                self._files.unlink(path)
                # One by one: a gap in the numbers would look like a loss.
                self._files.sync_directory(self._log_path)
            self._tops.pop(0)
        if self._next is None and may_grow:
            try:
                self._make_next()
                self.full = ""
            except DiskFull as fault:
                self.full = str(fault)
        self._failed = False

    @property
    def room(self) -> Optional[int]:
        """Return for how many bytes of entries a full disk still has room; None: it is not full.

        What is left behind them is for votes.
        """
        return max(self._size - self._size // VOTES_SHARE - self._end, 0) if self.full else None

    def _make_next(self) -> None:
        files, path = self._files, self._segment_path(self._number + 1)
        with guarded(path, "making the next segment"):
            descriptor = files.open(path, os.O_RDWR | os.O_CREAT)
        try:
            reserve(files, path, descriptor, SEGMENT_SIZE)
            with guarded(path, "syncing"):
                files.sync(descriptor)
                files.sync_directory(self._log_path)
        except BaseException as error:
            files.close(descriptor)
            if isinstance(error, DiskFull):
                with guarded(path, "removing"):
                    files.unlink(path)
            raise
        self._next = descriptor

    def close(self) -> None:
        for descriptor in (self._descriptor, self._next):
            if descriptor is not None:
                self._files.close(descriptor)
        self._descriptor = self._next = None

    def _segment_path(self, number: int) -> str:
        return os.path.join(self._log_path, segment_name(number))


def _split(batch: Batch, size: int) -> Tuple[Batch, Batch]:
    """Return as much of `batch` as a record of `size` bytes takes, and the rest."""
    rest = batch._replace(entries=())
    taken = records.record_size(sum(map(len, records.encode_items(rest)))) + records.ALIGNMENT
    count = 0
    for entry in batch.entries:
        taken += records.entry_size(entry)
        if taken > size:
            break
        count += 1
    require(count > 0, "an entry or memory that no segment can hold", size)
    return batch._replace(entries=batch.entries[:count]), Batch(None, batch.entries[count:])
