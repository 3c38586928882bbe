"""A disk that keeps what was synced: one write at a time, after a delay; a crash loses the one in flight."""

from __future__ import annotations

from typing import Callable, Dict, List, Optional, Tuple

from raftctl.base.errors import require
from raftctl.raft.inputs import Persisted
from raftctl.raft.messages import ORIGIN, Chunk, Entry, HardState, Position, SnapshotMark, Write


def _nothing(upto: int) -> List[Entry]:
    return []


class Disk:
    """What survives a crash of one node (P3). `delay_ns` None: stuck, the sync does not end.

    `entries` is the log from index 1, for the invariants; a start gets only those behind `base`. What a
    snapshot brought in place of entries is taken from `committed(upto)`.
    """

    def __init__(self, delay_ns: Optional[int], committed: Callable[[int], List[Entry]] = _nothing) -> None:
        self.delay_ns = delay_ns
        self.hard_state = HardState()
        self.entries: List[Entry] = []
        self.base = ORIGIN
        self.snapshots: Dict[SnapshotMark, bytes] = {}
        self.in_flight: Optional[Write] = None
        self.has_room = True                  # for snapshots of others
        self._committed = committed
        self._partial: Tuple[Optional[SnapshotMark], bytes] = (None, b"")

    @property
    def last_index(self) -> int:
        return len(self.entries)

    @property
    def marks(self) -> Tuple[SnapshotMark, ...]:
        return tuple(self.snapshots)

    def submit(self, write: Write) -> None:
        require(self.in_flight is None, "two writes at the disk", write.number)
        self.in_flight = write

    def sync(self) -> Persisted:
        """Make the write in flight durable and return the word for it."""
        write = self.in_flight
        require(write is not None, "no write in flight")
        assert write is not None
        has_room = self.has_room or write.chunk is None or bool(write.chunk.data)
        if write.chunk is not None and has_room:
            self._take(write.chunk)
        if write.hard_state is not None:
            self.hard_state = write.hard_state
        if write.base is not None:
            require(any(mark.position == write.base for mark in self.marks), "a base without its snapshot")
            self.entries, self.base = self._committed(write.base.index), write.base
        for entry in write.entries:
            require(self.base.index < entry.index <= len(self.entries) + 1, "a gap on the disk",
                    entry.position)
            # A logical overwrite takes all behind it along (messages.Write).
            del self.entries[entry.index - 1:]
            self.entries.append(entry)
        if write.drop_upto > self.base.index:
            require(write.drop_upto <= len(self.entries), "dropped beyond the disk", write.drop_upto)
            self.base = self.entries[write.drop_upto - 1].position
        self.in_flight = None
        return Persisted(write.number, has_room)

    def keep(self, mark: SnapshotMark, data: bytes) -> None:
        """Keep a whole snapshot, and of all the two newest."""
        require(len(data) == mark.size, "a snapshot of another size", len(data), mark.size)
        self.snapshots[mark] = data
        newest = sorted(self.snapshots, key=lambda one: one.position.index)[-2:]
        self.snapshots = {one: self.snapshots[one] for one in newest}

    def received(self, position: Position) -> int:
        """Return how many bytes of a snapshot that is being installed are durable."""
        mark, data = self._partial
        return len(data) if mark and mark.position == position else 0

    def _take(self, chunk: Chunk) -> None:
        mark, data = self._partial if chunk.offset else (chunk.mark, b"")
        require((mark, len(data)) == (chunk.mark, chunk.offset), "a chunk that does not follow", chunk.offset)
        self._partial = (chunk.mark, data + chunk.data)
        if chunk.is_last:
            self.keep(chunk.mark, data + chunk.data)
            self._partial = (None, b"")

    def crash(self) -> None:
        self.in_flight = None
        self._partial = (None, b"")
