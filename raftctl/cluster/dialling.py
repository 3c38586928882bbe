"""Whom this node dials: members, whom founding or joining needs, and the file's list until there are members.

Pure. Owns no connection; the turn carries a changed answer to the links.
"""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

from raftctl.base.durations import SECOND
from raftctl.base.instants import Instant
from raftctl.raft.inputs import View
from raftctl.raft.messages import ORIGIN

# Of our cluster, but no members: so many are answered at a time, each for so long after its last word.
CALLER_LIMIT = 16
CALLER_NS = 10 * SECOND


class Dialling:
    """The addresses to dial. Node thread only."""

    def __init__(self, own_address: str, listed: Tuple[str, ...]) -> None:
        self._own, self._listed = own_address, listed
        self._introduced: Tuple[str, ...] = ()
        self._callers: Dict[str, Instant] = {}
        self._asked: Tuple[Any, ...] = ()
        self._targets: Tuple[str, ...] = ()

    def introduce(self, address: str) -> None:
        """Without a configuration yet, the leader at `address` speaks to us: our answers need a way back."""
        self._introduced = (address,)

    def called(self, now: Instant, address: str) -> None:
        """A former member at `address` speaks to us: that it is removed goes over a dial of our own."""
        if address in self._callers or len(self._callers) < CALLER_LIMIT:
            self._callers[address] = now

    def changed(self, now: Instant, view: View, needed: Tuple[str, ...]) -> Optional[Tuple[str, ...]]:
        """Return the addresses to dial from now on, None where they are those of the last call.

        `needed`: of others than members. A removed node dials nobody. Called each turn: the same questions
        are answered by comparison.
        """
        if self._callers:
            self._callers = {address: at for address, at in self._callers.items()
                             if now.since(at) < CALLER_NS}
        asked = (view.configuration, view.removed, self._introduced, tuple(self._callers), needed)
        if asked == self._asked:
            return None
        self._asked = asked
        members = tuple(member.address for member in view.configuration.members)
        wanted = (members or self._listed + self._introduced) + tuple(self._callers) + needed
        if view.removed != ORIGIN:
            wanted = ()
        targets = tuple(sorted({address: None for address in wanted if address != self._own}))
        if targets == self._targets:
            return None
        self._targets = targets
        return targets
