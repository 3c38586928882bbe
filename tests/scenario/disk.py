"""A disk that keeps what was synced: one write at a time, after a delay; a crash loses the one in flight."""

from __future__ import annotations

from typing import List, Optional

from raftctl.base.errors import require
from raftctl.raft.messages import Entry, HardState, Write


class Disk:
    """What survives a crash of one node (P3). `delay_ns` None: stuck, the sync does not end."""

    def __init__(self, delay_ns: Optional[int]) -> None:
        self.delay_ns = delay_ns
        self.hard_state = HardState()
        self.entries: List[Entry] = []
        self.in_flight: Optional[Write] = None

    @property
    def last_index(self) -> int:
        return len(self.entries)

    def submit(self, write: Write) -> None:
        require(self.in_flight is None, "two writes at the disk", write.number)
        self.in_flight = write

    def sync(self) -> int:
        """Make the write in flight durable and return its number."""
        write = self.in_flight
        require(write is not None, "no write in flight")
        assert write is not None
        if write.hard_state is not None:
            self.hard_state = write.hard_state
        for entry in write.entries:
            require(entry.index <= len(self.entries) + 1, "a gap on the disk", entry.position)
            # A logical overwrite takes all behind it along (messages.Write).
            del self.entries[entry.index - 1:]
            self.entries.append(entry)
        self.in_flight = None
        return write.number

    def crash(self) -> None:
        self.in_flight = None
