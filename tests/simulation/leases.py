"""P2 in a run: one lease holder; its lease covered by vows to its very end; answers of `state` in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Dict, List, NamedTuple, Optional, Tuple

from raftctl.base.instants import Instant
from raftctl.raft.configuration import decode, is_quorum
from raftctl.raft.messages import Instance

if TYPE_CHECKING:
    from simulation.node import Process
    from simulation.world import World


class Confirmed(NamedTuple):
    """A LEADER answer to `state` that a round sent after the question confirmed."""

    begin: int
    end: int
    host: str
    term: int


class Leases:
    """Looked at after every turn, start and end of a process, and at each moment when a lease ends."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._confirmed: List[Confirmed] = []
        self._seen: Dict[str, tuple] = {}
        self._reckoned: Dict[Tuple[str, str], Tuple[Optional[Instant], int, int]] = {}
        self._given_up: Dict[Tuple[Instance, int], int] = {}     # (instance, incarnation) → released term

    # --- lease holders

    def matters(self, process: Process) -> bool:
        """May this turn have changed who holds a lease, or what covers it to its end? A longer vow covers no less.

        Where clocks stood still time alone changes who is stale: then every turn matters.
        """
        state, board = process.turn.core._state, process.board
        seen = (board.lease_end, state.configuration, state.configuration_index <= state.commit_index)
        former, was_leading, before, vow = self._seen.get(process.key, (None, False, seen, state.vow.end))
        self._seen[process.key] = (process, board.leading, seen, state.vow.end)
        if former is not process or was_leading != board.leading or self._world.clocks_stopped:
            return True
        ended = (process.now.reached(state.vow.end) or state.vow.end.boot < vow.boot
                 or state.vow.end.raw < vow.raw)
        return ended or (board.leading and any(one is not other for one, other in zip(seen, before)))

    def given_up(self, instance: Instance, incarnation: int, term: int) -> None:
        """A RELEASE of this term has left: no lease is held in it any more (P4)."""
        self._given_up[instance, incarnation] = term

    def look(self) -> None:
        holders = [host.process for host in self._world.everyone if host.process and host.process.leases]
        if len(holders) > 1:
            # P2 is not promised where clocks stood still, but for how long it may fail is (pitfall 7.1).
            holders = [holder for holder in holders if not self._is_stale(holder)]
        if len(holders) > 1:
            self._world.fail("P2: two lease holders", " ".join(holder.host.name for holder in holders))
        for holder in holders:
            if holder.board.term <= self._given_up.get((holder.instance, holder.incarnation), 0):
                self._world.fail("P4: a lease in a released term", f"{holder.host.name} {holder.board.term}")
            if not holder.host.standing.priority or not holder.is_healthy:
                self._world.fail("a caretaker shows LEADER", holder.host.name)
        if holders and not self._is_stale(holders[0]):
            self._covered(holders[0])

    def _is_stale(self, holder: Process) -> bool:
        """Do its clocks stand, or did they less than 0.9 × election min of its own time ago?"""
        if holder.host.is_stopped:
            return True
        resumed = holder.host.clocks_resumed
        if resumed is None:
            return False
        return holder.now.within(resumed.plus(holder.timing.election_min * 9 // 10))

    def _covered(self, holder: Process) -> None:
        """Until the lease ends, a quorum can elect nobody else (this fails long before two leases do)."""
        state = holder.turn.core._state         # the product has no reason to show its log
        running = {host.process.instance: host.process for host in self._world.hosts if host.process}
        end = self._when(holder, holder.board.lease_end, holder.host.clock.first_reaches)
        voters = self._electorate(state)
        bound = [voter for voter in {voter: True for some in voters for voter in some}
                 if voter == holder.instance or self._is_bound(voter, running.get(voter), end)]
        # A change under way: one quorum of the old or of the new meets every quorum of both (dissertation §4.1).
        if not any(is_quorum(bound, some) for some in voters):
            self._world.fail("P2: a lease without a quorum of running vows",
                             f"{holder.host.name}: {' '.join(bound)} of {' '.join(voters[0])}")

    @staticmethod
    def _electorate(state) -> List[Tuple[Instance, ...]]:
        found = [state.configuration.voters]
        if state.configuration_index > state.commit_index:
            index, body = state.configuration_at(state.configuration_index - 1)
            found += [decode(body).voters] if index else []
        return found

    def _is_bound(self, voter: Instance, process: Optional[Process], end: int) -> bool:
        if process is None:
            # Dead: its next start begins with a vow as long as it promised.
            return self._world.checkers.has_promised(voter)
        if process.host.has_gone_back:
            return True     # refused by all that know; who lets it in for want of knowledge excuses what follows
        vow = process.turn.core._state.vow.end
        return not process.now.reached(vow) and self._when(process, vow, process.host.clock.reaches) >= end

    def _when(self, process: Process, instant: Instant, reaches: Callable[[int, Instant], int]) -> int:
        """Return the world's time at which `process` gets to `instant`; reckoned once for each."""
        known, changes, when = self._reckoned.get((process.key, reaches.__name__), (None, 0, 0))
        if known is not instant or changes != process.host.clock.changes:
            when = reaches(self._world.now, instant)
            self._reckoned[process.key, reaches.__name__] = (instant, process.host.clock.changes, when)
        return when

    # --- answers

    def confirmed(self, answer: Confirmed) -> None:
        """What `state` said once is never contradicted by what it says to a later question (pitfall 7.1)."""
        for other in self._confirmed:
            if other.end < answer.begin and (other.term, other.host) != (answer.term, answer.host):
                if other.term >= answer.term:
                    self._world.fail("P2: two confirmed LEADER answers", f"{other}, {answer}")
        self._confirmed.append(answer)

    @property
    def answers(self) -> int:
        return len(self._confirmed)
