"""How fit each member is to lead: priority, health, stopping, preempt (design §4.2). Decides nothing.

A member is taken for an ordinary, healthy one until it says otherwise, and again when a later incarnation
shakes hands. Nothing here forbids a vote, and what is known of others only orders or delays: so a standing
that is old or was never heard costs time, never a leader.
"""

from __future__ import annotations

from typing import Dict, Iterable, Optional

from raftctl.base.instants import Instant
from raftctl.raft.messages import Instance, Standing

ORDINARY = Standing()


class Standings:
    """The own standing, and what the peers said of theirs.

    `told_at`: when all peers were told the own one. `next_move`: before it, a leader begins no other transfer
    by its own wish.
    """

    def __init__(self, own: Standing) -> None:
        self.own = own
        self.has_more_to_say = own != ORDINARY     # than what peers assume; from then on it is repeated
        self.told_at: Optional[Instant] = None
        self.next_move: Optional[Instant] = None
        self._peers: Dict[Instance, Standing] = {}

    def change(self, **fields: object) -> bool:
        """Change the own standing; return whether it is another one."""
        before, self.own = self.own, self.own._replace(**fields)  # type: ignore[arg-type]
        self.has_more_to_say = self.has_more_to_say or self.own != before
        return self.own != before

    def of(self, peer: Instance) -> Standing:
        return self._peers.get(peer, ORDINARY)

    def note(self, peer: Instance, standing: Standing) -> bool:
        """Remember what `peer` says; return whether it is news."""
        is_news = self.of(peer) != standing
        self._peers[peer] = standing
        return is_news

    def shook_hands(self, peer: Instance, incarnation: int) -> None:
        """Forget what an older incarnation of `peer` said: this one may have nothing to say."""
        if self.of(peer).incarnation < incarnation:
            self._peers.pop(peer, None)

    def place(self, fraction: float, rivals: Iterable[Instance]) -> float:
        """Return `fraction` squeezed into this node's part of [0, 1): the higher the priority, the earlier.

        One part for each priority among `rivals` and this node; those who would only be caretakers have none.
        A fifth of each is left free at its end: the next should not campaign before this one is heard.
        """
        fit = [self.of(peer).priority for peer in rivals if not why_unfit(self.of(peer))]
        priorities = sorted(dict.fromkeys(fit + [self.own.priority]), reverse=True)
        if len(priorities) == 1:
            return fraction
        return (priorities.index(self.own.priority) + fraction * 0.8) / len(priorities)


def why_unfit(standing: Standing) -> str:
    """Return why this one should not lead, for people; empty where it may."""
    if standing.stopping:
        return "is stopping"
    return why_reluctant(standing)


def why_reluctant(standing: Standing) -> str:
    """Return why this one would lead as caretaker only; empty where it would be LEADER."""
    if not standing.priority:
        return "has priority 0"
    return "" if standing.healthy else "is unhealthy"
