"""What peers say of this node's own data directory: that it went back, or is used twice (P7, pitfall 3.5).

Each peer refuses what it knows better, but one that was not there when a vote or an ack was given can't know.
So a node that a peer of its cluster has told it says no word of Raft to anybody, and hears none, until that
peer lets it in: it could vote twice in a term, or elect one that lacks what it acknowledged. Twice in a row,
as a hello that crossed a newer ack is refused once though nothing went back (`memory.py`).
"""

from __future__ import annotations

from typing import Dict, Tuple

from raftctl.raft.inputs import Decision

TIMES = 2


class Disowning:
    """By the own dials of one process. Node thread only."""

    def __init__(self) -> None:
        self._refusals: Dict[str, int] = {}      # address → refusals in a row, bounded by whom we dial

    @property
    def is_disowned(self) -> bool:
        """Does a peer say that this is an old self?"""
        return any(count >= TIMES for count in self._refusals.values())

    def accepted(self, address: str) -> None:
        """The peer there let our dial in."""
        self._refusals.pop(address, None)

    def refused(self, address: str) -> Tuple[Decision, ...]:
        """The peer there said that our directory went back; return what follows, where that is new."""
        count = self._refusals[address] = self._refusals.get(address, 0) + 1
        if count != TIMES:
            return ()
        return (Decision(f"{address} says that this data directory went back or is used twice",
                         "neither votes nor acknowledges nor leads, until it is let in there"),)
