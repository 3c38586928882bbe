"""What a follower has of a snapshot that a leader sends: how much has arrived, how much is durable.

Bound to the leader's term and the mark (pitfall 4.3): bytes of another leader or snapshot never follow these.
"""

from __future__ import annotations

from typing import Optional

from raftctl.raft.messages import Chunk, Instance, SnapshotMark


class Partial:
    """`received` bytes arrived in order, the first `durable` of them are on disk. `generation` and `round`:
    of the newest message about it, for its acknowledgement to echo. `early`: bytes from 0 on that came before
    the disk had made room.
    """

    __slots__ = ("term", "mark", "leader", "generation", "round", "received", "durable", "has_room", "early",
                 "_chunk", "_number")

    def __init__(self, term: int, mark: SnapshotMark, leader: Instance) -> None:
        self.term, self.mark, self.leader = term, mark, leader
        self.generation = self.round = 0
        self.received = self.durable = 0
        self.has_room, self.early = False, b""
        self._chunk: Optional[Chunk] = Chunk(mark, 0, b"")
        self._number = 0

    @property
    def is_whole(self) -> bool:
        return self.received == self.mark.size

    @property
    def is_settled(self) -> bool:
        """Is all that arrived durable, and room for more?"""
        return self.has_room and self.received == self.durable

    @property
    def has_chunk(self) -> bool:
        """Does a chunk wait for the next write?"""
        return self._chunk is not None

    def receive(self, data: bytes) -> None:
        """Take the next bytes; all before them is durable."""
        self._chunk = Chunk(self.mark, self.received, data)
        self.received += len(data)

    def take_chunk(self, number: int) -> Optional[Chunk]:
        """Return what goes into write `number`, None where nothing waits."""
        taken, self._chunk = self._chunk, None
        if taken is not None:
            self._number = number
        return taken

    def persisted(self, number: int) -> bool:
        """Note that write `number` is durable; return whether it had a chunk of this snapshot."""
        if number != self._number:
            return False
        self._number, self.durable = 0, self.received
        return True
