"""RELEASE: proof of death ends vows early (P4). What it ends and what it does not is all here."""

from __future__ import annotations

from raftctl.base.instants import Instant
from raftctl.raft.inputs import LEADER
from raftctl.raft.messages import Release
from raftctl.raft.state import MS, State


def receive_release(state: State, now: Instant, message: Release) -> None:
    """End the vow to that incarnation of terms up to `message.term`, and campaign by rank where it led.

    Nothing else ends: not a vow to another incarnation or a later term, and not the start vow, which does not
    know to whom it is owed. What the released one still says in those terms renews nothing (`following.py`).
    """
    proven = (message.incarnation, message.term)
    if message.instance == state.own or proven <= state.released.get(message.instance, (0, 0)):
        return
    state.released[message.instance] = proven
    name = state.name(message.instance)
    vow = state.vow
    if vow.to == message.instance and vow.incarnation == message.incarnation and vow.term <= message.term:
        state.vow = vow._replace(end=now)
    if state.leader != message.instance or state.term > message.term or state.role == LEADER:
        state.decide(f"{name} released term {message.term}", "goes on")
        return
    state.leader, state.owed = None, None
    state.repeats.forget()
    if not state.can_campaign:
        state.decide(f"{name} released term {message.term}", "waits for the next leader")
        return
    rank = _rank(state, message.instance)
    wait = rank * 10 * MS + int(state.random() * 2 * MS)
    state.hurry_end = now.plus(state.timing.election_min)
    state.election_deadline = now.plus(wait)
    state.election_was_late = False
    state.decide(f"{name} released term {message.term}", f"campaigns in {wait // MS} ms, rank {rank}")


def _rank(state: State, dead: str) -> int:
    """Return this node's place among the surviving voters by address: the others get 10 ms each before it."""
    survivors = sorted((member.address, member.instance) for member in state.configuration.members
                       if member.voter and member.instance != dead)
    return next((rank for rank, (_, instance) in enumerate(survivors) if instance == state.own),
                len(survivors))
