"""RELEASE: proof of death ends vows early (P4). What it ends and what it does not is all here."""

from __future__ import annotations

from typing import Tuple

from raftctl.base.instants import Instant
from raftctl.raft.configuration import Member
from raftctl.raft.messages import Instance, Release
from raftctl.raft.pledges import Vow
from raftctl.raft.standing import why_unfit
from raftctl.raft.state import MS, State


def receive_release(state: State, now: Instant, message: Release) -> None:
    """End the vow to that incarnation of terms up to `message.term`, and campaign by rank where it led.

    Nothing else ends: not a vow to another incarnation (a clone of the directory shows a later one while the
    original leads, pitfall 1.3) or to a later term, nor the start vow, which knows no leader.
    """
    proven = (message.instance, message.incarnation)
    if message.instance == state.own or message.term <= state.released.get(proven, 0):
        return
    owes = ends(state.vow, message)
    take(state, now, message)
    name = state.name(message.instance)
    if not owes or state.leader != message.instance:
        state.decide(f"{name} released term {message.term}", "goes on")
        return
    state.leader, state.owed = None, None
    state.repeats.forget()
    if not state.can_campaign:
        state.decide(f"{name} released term {message.term}", "waits for the next leader")
        return
    rank = _rank(state, message)
    wait = rank * 10 * MS + int(state.random() * 2 * MS)
    after = ""
    if state.configuration.is_voter(message.successor):
        # It campaigns now, and its vote takes a sync here and one there: competing would only split votes.
        wait += state.timing.heartbeat
        after = f", after {state.name(message.successor)}"
    state.hurry_end = now.plus(state.timing.election_min)
    state.election_deadline = now.plus(wait)
    state.election_was_late = False
    wait_ms = now.until(state.campaign_due) // MS
    state.decide(f"{name} released term {message.term}", f"campaigns in {wait_ms} ms, rank {rank}{after}")


def ends(vow: Vow, proof: Release) -> bool:
    """Is it owed to the proven incarnation, in a term up to the proven one?"""
    return (vow.to, vow.incarnation) == (proof.instance, proof.incarnation) and vow.term <= proof.term


def take(state: State, now: Instant, proof: Release) -> None:
    """End the vow that `proof` ends, and let no late words renew it."""
    _remember(state, proof)
    if ends(state.vow, proof):
        state.vow = state.vow._replace(end=now)


def why_ended(state: State, peer: Instance, incarnation: int, term: int) -> str:
    """Return why words of this leadership renew no vow, for people; empty where they do."""
    newest = state.incarnations.get(peer, 0)
    if incarnation < newest:
        return f"incarnation {newest} of {state.name(peer)} came after {incarnation}"
    if term <= state.released.get((peer, incarnation), 0):
        return f"{state.name(peer)} was released in term {term}"
    return ""


def _remember(state: State, proof: Release) -> None:
    for known in list(state.released):
        if known[0] == proof.instance and known[1] < state.incarnations.get(proof.instance, 0):
            del state.released[known]          # older words are ignored by the handshake that came since
    proven = (proof.instance, proof.incarnation)
    state.released[proven] = max(proof.term, state.released.get(proven, 0))


def _rank(state: State, proof: Release) -> int:
    """Return this node's place among the surviving voters: the others get 10 ms each before it.

    By priority, then address; who would be a caretaker, or stops, comes last.
    """
    def order(member: Member) -> Tuple[bool, int, str]:
        own = member.instance == state.own
        standing = state.standings.own if own else state.standings.of(member.instance)
        return bool(why_unfit(standing)), -standing.priority, member.address

    survivors = sorted((member for member in state.configuration.members
                        if member.voter and member.instance not in (proof.instance, proof.successor)),
                       key=order)
    return next((rank for rank, member in enumerate(survivors) if member.instance == state.own),
                len(survivors))
