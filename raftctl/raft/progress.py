"""What a leader knows of one peer: how far its log is proven equal, what is on its way, the last answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from raftctl.base.instants import Instant
from raftctl.raft.messages import PLENTY

if TYPE_CHECKING:
    from raftctl.raft.snapshots import Transfer


class Progress:
    """`next_index` and `match_index` of Raft Figure 2, and the flow control around them.

    Probing: one append at a time until one is accepted. Otherwise appends follow each other without waiting,
    up to `IN_FLIGHT_LIMIT` bytes of entries unanswered, so that a slow peer costs the others nothing.
    `transfer`: the snapshot that it gets instead of entries (`snapshots.py`).
    """

    IN_FLIGHT_LIMIT = 1 << 20

    __slots__ = ("match_index", "next_index", "probing", "probe_sent", "acked_round", "last_ack",
                 "room", "_in_flight", "in_flight_bytes", "transfer")

    def __init__(self, next_index: int) -> None:
        self.match_index = 0
        self.next_index = next_index
        self.acked_round = 0
        self.last_ack: Optional[Instant] = None
        self.room = PLENTY               # of its disk, by its last acknowledgement
        self.transfer: Optional[Transfer] = None
        self.restart()

    def restart(self) -> None:
        """Begin anew on a new connection: whatever was on its way is lost."""
        self.probing = True
        self.probe_sent = False
        self._in_flight: list = []       # (last index of the append, its bytes), oldest first
        self.in_flight_bytes = 0
        if self.transfer:
            self.transfer.asked = None

    @property
    def may_send(self) -> bool:
        return not self.probe_sent if self.probing else self.in_flight_bytes < self.IN_FLIGHT_LIMIT

    @property
    def room_left(self) -> int:
        """Return how many bytes of entries its disk can take, besides those on their way."""
        return self.room if self.room == PLENTY else max(self.room - self.in_flight_bytes, 0)

    def sent(self, last_index: int, size: int) -> None:
        """Note an append with entries up to `last_index` of `size` bytes."""
        if self.probing:
            self.probe_sent = True
            return
        self.next_index = last_index + 1
        self._in_flight.append((last_index, size))
        self.in_flight_bytes += size

    def accepted(self, match: int) -> bool:
        """Note that all up to `match` is durable at the peer; return whether that is new."""
        is_new = match > self.match_index
        self.match_index = max(self.match_index, match)
        self.next_index = max(self.next_index, self.match_index + 1)
        self.probing = self.probe_sent = False
        while self._in_flight and self._in_flight[0][0] <= self.match_index:
            self.in_flight_bytes -= self._in_flight.pop(0)[1]
        return is_new

    def rejected(self, next_index: int) -> None:
        """Probe again from `next_index`, which never falls below what is proven."""
        self.next_index = max(next_index, self.match_index + 1)
        self.restart()
