"""The follower's side of AppendEntries, and the vow that comes with it (Raft §5.3; P2)."""

from __future__ import annotations

from typing import Union

from raftctl.base.errors import require
from raftctl.base.instants import Instant
from raftctl.raft import fullness, release
from raftctl.raft.inputs import FOLLOWER, LEADER
from raftctl.raft.messages import ORIGIN, PLENTY, Append, AppendReply, Install, Instance, Position
from raftctl.raft.pledges import Acknowledgement, Vow
from raftctl.raft.state import State


def heed(state: State, now: Instant, peer: Instance, generation: int,
         message: Union[Append, Install]) -> bool:
    """Follow the sender and vow to it, if its leadership is neither of an older term nor known to be over."""
    if message.term < state.term:
        # Answered with our term, else a leader that is behind would never learn it (pitfall 1.5). In round 0:
        # the sender may lead again by now, in just this term, and nothing was vowed here (P2).
        state.send(peer, AppendReply(state.term, generation, 0, False, 0, ORIGIN))
        return False
    ended = release.why_ended(state, peer, message.incarnation, message.term)
    if ended:
        if state.repeats.is_due(now, ("ended", peer), ended):
            state.decide(ended, "ignores its append")
        return False
    if message.term == state.term and state.role == LEADER:
        state.decide(f"{state.name(peer)} also claims term {message.term}", "ignores its append")
        return False
    _follow(state, now, peer, message)
    return True


def receive_append(state: State, now: Instant, peer: Instance, generation: int, message: Append) -> None:
    """Follow the sender, vow to it, and take what its log has more than ours."""
    if not heed(state, now, peer, generation, message):
        return
    if state.is_installing:
        # Nothing of it is proven while the log is being replaced; the vow is as good as ever.
        state.send(peer, AppendReply(state.term, generation, message.round, True, 0, ORIGIN, state.room))
        return
    proved = _take_entries(state, message)
    if proved is None:
        hint = _hint(state, message.previous)
        # A leader that our answer does not reach asks the same with each heartbeat.
        if state.repeats.is_due(now, ("append", peer), (state.log.last, message.previous, hint)):
            state.decide(f"log {state.log.last} has no {message.previous} of {state.name(peer)}",
                         f"refuses, hints {hint}")
        state.send(peer, AppendReply(state.term, generation, message.round, False, 0, hint))
        return
    # Not min(commit, last index): entries behind this message may be a dead leader's (pitfall 2.1).
    state.commit_index = max(state.commit_index, min(message.commit, proved))
    state.owed = Acknowledgement(peer, generation, message.round, proved)
    if proved <= state.durable_index or not message.entries:
        acknowledge(state)


def _follow(state: State, now: Instant, peer: Instance, message: Union[Append, Install]) -> None:
    if message.term > state.term or state.leader != peer or state.role != FOLLOWER:
        state.decide(f"append of {state.name(peer)} in term {message.term}", f"follows {state.name(peer)}")
        state.repeats.forget()
    state.become_follower(now, message.term, peer)
    state.vow = Vow(peer, message.incarnation, message.term, now.plus(message.election_min))
    # On disk before the first ack under it: a restart begins with a vow as long as this may be (start vow).
    state.set_hard(promise=message.election_min)
    state.heard_since = now
    state.set_election_deadline(now)


def _take_entries(state: State, message: Append):
    """Return the index up to which our log is now proven equal to the leader's; None where they differ."""
    if not state.log.holds(message.previous):
        require(message.previous.index > state.commit_index, "a committed entry conflicts", message.previous)
        return None
    fresh = 0
    for entry in message.entries:
        if not state.log.holds(entry.position):
            break
        fresh += 1
    new = fullness.fitting(message.entries[fresh:], state.room)
    if new and new[0].index <= state.log.last_index:
        state.decide(f"{state.log.position(new[0].index)} conflicts with {new[0].position}",
                     f"truncates from {new[0].index}")
        state.truncate_from(new[0].index)
    for entry in new:
        state.append(entry)
    if state.room != PLENTY:
        state.room = max(state.room - fullness.size(new), 0)
    return message.previous.index + fresh + len(new)


def _hint(state: State, previous: Position) -> Position:
    """Return the last position here that could agree with a log that has `previous` (Raft §5.3)."""
    index = state.log.last_not_newer(previous.index, previous.term)
    return state.log.position(max(index, state.commit_index))


def acknowledge(state: State) -> None:
    """Send the ack that is owed: all that is both proven equal and durable (P3)."""
    owed = state.owed
    if owed is None:
        return
    match = min(owed.proved, state.durable_index)
    state.send(owed.leader, AppendReply(state.term, owed.generation, owed.round, True, match, ORIGIN,
                                        state.room))
    if match >= owed.proved:
        state.owed = None
