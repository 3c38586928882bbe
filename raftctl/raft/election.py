"""Elections: pre-vote, vote, and when to try again (Raft §5.2, §5.4.1; dissertation §9.6; vows: P2).

A pre-candidacy changes nothing anywhere; only a quorum that would vote lets the term rise, so a node that was
cut off does not depose a living leader when it comes back.
"""

from __future__ import annotations

from typing import Optional, Tuple

from raftctl.base.instants import Instant
from raftctl.raft import leadership, release, removal
from raftctl.raft.configuration import is_quorum
from raftctl.raft.inputs import CANDIDATE, FOLLOWER, LEADER, PRE_CANDIDATE
from raftctl.raft.messages import Instance, PreVote, PreVoteReply, Release, Vote, VoteReply
from raftctl.raft.state import MS, State

_AS_NEW = "as new"     # the one answer to a pre-vote that grants it


def election_alarm(state: State, now: Instant) -> None:
    """Campaign when the election timeout is over and nothing forbids it. At each alarm of a non-leader."""
    due = state.campaign_due
    if not now.reached(due) or not may_campaign(state, now):
        return
    late_ns = due.left_within(now)     # since the slower clock got there: only then did the timer ring
    if late_ns > state.timing.heartbeat and not state.election_was_late:
        # We were stopped, so the leader's words may wait unread: hear them first (pitfall 7.3).
        state.decide(f"election timer {late_ns // MS} ms late", "waits one more heartbeat")
        state.election_deadline = now.plus(state.timing.heartbeat)
        state.election_was_late = True
        return
    begin_pre_vote(state, now)


def may_campaign(state: State, now: Instant) -> bool:
    return state.can_campaign and state.role != LEADER and not state.is_vowed(now)


def begin_pre_vote(state: State, now: Instant) -> None:
    """Ask all voters whether they would vote for this node (dissertation §9.6)."""
    others = [peer for peer in state.configuration.voters if peer != state.own]
    leader, heard_ms = state.name(state.leader), now.since(state.heard_since) // MS
    cause = (f"heard no leader for {heard_ms} ms" if leader == "nobody"
             else f"{leader} silent for {heard_ms} ms")
    refusing = " ".join(state.name(peer) for peer in others if state.ballots.get(peer) is False)
    if refusing:
        cause += f", refused by {refusing}"
    if not others:
        cause = "is the only voter"
    # A pre-candidate that still named a leader would refuse its peers for it (pitfall 1.5).
    state.become_follower(now, state.term, None)
    state.role = PRE_CANDIDATE
    state.ballots = {state.own: True}
    state.set_election_deadline(now)
    if not now.reached(state.hurry_end):
        # After a proof of death all live voters know it in milliseconds: ask again at once (P4).
        state.hurry_election(now, 10, 12)
    asked = " ".join(state.name(peer) for peer in others)
    if state.repeats.is_due(now, "candidacy", (state.term, asked, refusing)):
        state.decide(cause, f"pre-candidate, asks {asked or 'nobody'} for term {state.term + 1}")
    for peer in others:
        state.send_now(peer, PreVote(state.term + 1, state.log.last))
    _count_pre_votes(state, now)


def link_up(state: State, peer: Instance) -> None:
    """Ask a voter that was not there when the others were asked: no timeout is waited for (P4)."""
    if peer in state.ballots or not state.configuration.is_voter(peer):
        return
    if state.role == PRE_CANDIDATE:
        state.send_now(peer, PreVote(state.term + 1, state.log.last))
    elif state.role == CANDIDATE:
        state.send(peer, Vote(state.term, state.log.last, state.token))


def receive_pre_vote(state: State, now: Instant, peer: Instance, message: PreVote) -> None:
    """Answer whether this node would vote for `peer`; grants mirror the request's term (pitfall 1.5)."""
    removal.tell(state, peer)
    kind, reason = _judge(state, now, message)
    granted = kind == _AS_NEW
    if state.repeats.is_due(now, ("pre-vote", peer), (kind, message)):
        state.decide(reason, f"{'grants' if granted else 'refuses'} pre-vote of {state.name(peer)}")
    term = message.term if granted else state.term
    state.send_now(peer, PreVoteReply(term, granted, state.vow_left(now)))


def _judge(state: State, now: Instant, message: PreVote) -> Tuple[str, str]:
    """Return the kind of answer, and its reason for people with numbers that differ each time."""
    if message.term <= state.term:
        return "term", f"is in term {state.term} already"
    if state.holds_lease(now):
        return "lease", f"holds the lease for {now.left_within(state.lease_end) // MS} ms"
    if state.is_vowed(now):
        return "vow", f"vow to {state.name(state.vow.to)} for {now.until(state.vow.end) // MS} ms"
    if message.last < state.log.last:
        return "log", f"log {message.last} is older than {state.log.last}"
    return _AS_NEW, f"log {message.last} is as new"


def receive_pre_vote_reply(state: State, now: Instant, peer: Instance, message: PreVoteReply) -> None:
    """Count an answer to the present pre-candidacy; a refusal tells how long to wait."""
    if not message.granted and message.term > state.term:
        state.become_follower(now, message.term, None)
        return
    if state.role != PRE_CANDIDATE or (message.granted and message.term != state.term + 1):
        return
    state.ballots[peer] = message.granted
    if message.granted:
        _count_pre_votes(state, now)
    elif message.vow_left and not now.reached(state.hurry_end):
        state.hurry_election(now, 10, 30)
    else:
        wait_ms = message.vow_left // MS
        state.hurry_election(now, wait_ms + 50, wait_ms + 150)


def _count_pre_votes(state: State, now: Instant) -> None:
    granted = {peer: True for peer, ballot in state.ballots.items() if ballot}
    if is_quorum(granted, state.configuration.voters):
        begin_candidacy(state, now, f"pre-votes {len(granted)}/{len(state.configuration.voters)}")


def begin_candidacy(state: State, now: Instant, cause: str, token: Optional[Release] = None) -> None:
    """Campaign in the next term; `token` lets the voters of this one candidacy end their vows (P4)."""
    # Raft §5.2: increment the term, vote for oneself. Own vote and requests count once that is durable.
    state.set_hard(term=state.term + 1, vote=state.own)
    state.role, state.ballots, state.token = CANDIDATE, {}, token
    # Not hurried: votes take a sync here and one there. A refusal hurries it (`receive_vote_reply`).
    state.set_election_deadline(now)
    state.decide(cause, f"candidate term {state.term}")
    for peer in state.configuration.voters:
        if peer != state.own:
            state.send(peer, Vote(state.term, state.log.last, token))


def receive_vote(state: State, now: Instant, peer: Instance, message: Vote) -> None:
    """RequestVote (Raft §5.2, §5.4.1). Under a vow neither a vote nor a term is taken from it (P2)."""
    removal.tell(state, peer)
    if message.term < state.term:
        state.send(peer, VoteReply(state.term, False))
        return
    if message.token and message.token.term + 1 == message.term:
        release.take(state, now, message.token)
    if state.is_vowed(now):
        state.decide(f"vow to {state.name(state.vow.to)} for {now.until(state.vow.end) // MS} ms"
                     if state.role != LEADER else "holds the lease", f"refuses vote of {state.name(peer)}")
        state.send(peer, VoteReply(state.term, False))
        return
    if message.term > state.term:
        state.become_follower(now, message.term, None)
    reason, granted = _may_vote(state, peer, message)
    state.decide(reason, f"votes {state.name(peer)} in term {state.term}" if granted
                 else f"refuses vote of {state.name(peer)}")
    if granted:
        if state.role != FOLLOWER:
            state.become_follower(now, state.term, None)
        state.set_hard(vote=peer)
        state.set_election_deadline(now)
    state.send(peer, VoteReply(state.term, granted))


def _may_vote(state: State, peer: Instance, message: Vote) -> tuple:
    if state.hard.vote not in (None, peer):       # a candidate's and a leader's is their own
        return f"voted {state.name(state.hard.vote)} in term {state.term}", False
    if message.last < state.log.last:
        return f"log {message.last} is older than {state.log.last}", False
    return f"no vote in term {state.term}, log {message.last} is as new", True


def receive_vote_reply(state: State, now: Instant, peer: Instance, message: VoteReply) -> None:
    """Count a vote for the present candidacy only: a pre-vote answer is none (pitfall 1.6)."""
    if message.term > state.term:
        state.become_follower(now, message.term, None)
        return
    if state.role != CANDIDATE or message.term < state.term:
        return
    state.ballots[peer] = message.granted
    if not message.granted:
        state.hurry_election(now, *((10, 30) if not now.reached(state.hurry_end) else (50, 150)))
        return
    count_votes(state, now)


def count_votes(state: State, now: Instant) -> None:
    """Lead when a quorum voted for this node, its own durable vote among them."""
    if state.role != CANDIDATE or not state.hard_is_durable:
        return
    state.ballots[state.own] = True
    granted = {peer: True for peer, ballot in state.ballots.items() if ballot}
    if is_quorum(granted, state.configuration.voters):
        leadership.begin(state, now, len(granted))
