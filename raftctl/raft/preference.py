"""Where leadership should be: with the fit, and with the higher priority where that preempts (design §4.2).

Priority and health never refuse a vote and never keep a cluster without a leader (pitfall 1.8). A witness
(priority 0) or unhealthy node campaigns one election max later than others, and if it wins then, for example
because it alone has the newest log, it leads as *caretaker*: writes and membership work, but it shows no
LEADER, and it hands over as soon as a fit voter has caught up. Among the fit, leadership stays where it is
unless a voter with a higher priority wants it (`preempt`).
"""

from __future__ import annotations

from typing import Optional

from raftctl.base.instants import Instant
from raftctl.raft import lease, transfer
from raftctl.raft.inputs import LEADER
from raftctl.raft.messages import Instance, Standing
from raftctl.raft.standing import why_reluctant
from raftctl.raft.state import State

# A leadership lasts so many election max before a higher priority takes it over, so that one whose host comes
# and goes does not move it to and fro all the time.
CALM = 5


def set_health(state: State, now: Instant, *, ok: bool, cause: str = "") -> None:
    """Note what the host's check, or an operator, says of it."""
    if not state.standings.change(healthy=ok):
        return
    state.decide(cause or ("check passes" if ok else "check fails"), "is healthy" if ok else "is unhealthy")
    tell(state, now)
    if state.role == LEADER:
        lease.show(state, now)
        consider(state, now)


def stop(state: State, now: Instant) -> None:
    """Show no LEADER and campaign no more; a leader's heartbeats go on until it resigns (pitfall 9.7)."""
    state.standings.change(stopping=True)
    tell(state, now)
    transfer.wait_for_outgoing_work(state)
    lease.show(state, now)


def receive_standing(state: State, now: Instant, peer: Instance, message: Standing) -> None:
    """Remember how fit `peer` is to lead, unless an older incarnation of it says so."""
    if state.configuration.find(peer) is None or message.incarnation < state.incarnations.get(peer, 0):
        return
    if state.standings.note(peer, message) and state.role == LEADER:
        consider(state, now)


def link_up(state: State, peer: Instance) -> None:
    """Begin a connection with it, as the peer may have forgotten, or heard nothing."""
    if state.standings.has_more_to_say:
        _say(state, peer)


def _say(state: State, peer: Instance) -> None:
    state.send_now(peer, state.standings.own._replace(incarnation=state.incarnation))


def tell(state: State, now: Instant) -> None:
    """Tell all peers how fit this node is."""
    state.standings.told_at = now
    for peer in state.peers:
        _say(state, peer)


def repeat(state: State, now: Instant) -> None:
    """Tell it again once every election max: a word that was lost or overtaken counts no longer than that."""
    standings = state.standings
    if not standings.has_more_to_say:
        return
    if standings.told_at is None or now.reached(standings.told_at.plus(state.timing.election_max)):
        tell(state, now)


def consider(state: State, now: Instant) -> None:
    """As leader: begin a transfer to who should rather lead. With each heartbeat, and at news."""
    if state.handover or state.stopping or state.commit_index < state.term_start:
        return
    standings = state.standings
    if standings.next_move and not now.reached(standings.next_move):
        return
    reason = why_reluctant(standings.own)
    successor = transfer.best_successor(state, now) if reason else _preempting(state, now)
    if successor is None:
        return
    pause = 1 if reason else CALM
    standings.next_move = now.plus(pause * state.timing.election_max)      # if this one comes to nothing
    cause = reason or f"{state.name(successor)} has priority {standings.of(successor).priority}"
    transfer.begin(state, now, successor, cause)


def _preempting(state: State, now: Instant) -> Optional[Instance]:
    if not now.reached(state.heard_since.plus(CALM * state.timing.election_max)):
        return None
    return transfer.best_successor(state, now, above=state.standings.own.priority)
