"""Rounds of a leader's words, and when each was first sent: lease and reads rest on it (P2, pitfall 8.1)."""

from __future__ import annotations

from typing import Dict, Optional

from raftctl.base.instants import Instant


class Rounds:
    """Numbered from 1 in one leadership. An ack of round N proves that the peer vowed after N was sent."""

    def __init__(self) -> None:
        self.current = 0
        self._sent: Dict[int, Instant] = {}

    def begin(self, now: Instant) -> int:
        """Return the number of a new round, sent first at `now`."""
        self.current += 1
        self._sent[self.current] = now
        return self.current

    def sent_at(self, number: int) -> Optional[Instant]:
        """Return when round `number` was first sent; None if forgotten: a lease from then is over anyway."""
        return self._sent.get(number)

    @property
    def last_sent(self) -> Instant:
        return self._sent[self.current]

    def forget_before(self, number: int) -> None:
        """Drop what can't count any more: rounds before the newest one that a quorum acknowledged."""
        for old in list(self._sent):
            if old >= number:
                return
            del self._sent[old]
