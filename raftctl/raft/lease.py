"""The lease of a leader (P2; dissertation §6.2, §6.4): what LEADER, hooks and reads rest on.

A quorum acknowledged a round that was sent less than 0.9 × election min ago, an entry of the own term is
committed, and no RELEASE was emitted in this term. Whoever acknowledged vowed for a whole election min from
later on, so nobody can win before the lease is over, even where clock rates differ by 10 %.
"""

from __future__ import annotations

from raftctl.base.instants import Instant
from raftctl.raft.configuration import quorum_index
from raftctl.raft.inputs import LEADER
from raftctl.raft.standing import why_unfit
from raftctl.raft.state import MS, State


def renew(state: State, now: Instant) -> None:
    """Count the acknowledged rounds: confirm reads, and move the end of the lease."""
    acked = {peer: progress.acked_round for peer, progress in state.progress.items()}
    acked[state.own] = state.rounds.current      # a voter counts itself as of now (P2)
    number = quorum_index(acked, state.configuration.voters)
    if not number:
        return
    state.confirmed_reads += state.reads.take_confirmed(number)
    sent = state.rounds.sent_at(number)
    if sent is None:
        # A new voter answered only rounds that its elders had left behind: no quorum proves anything newer.
        return
    state.rounds.forget_before(number)
    end = sent.plus(state.timing.election_min * 9 // 10)
    if state.commit_index >= state.term_start and end > state.lease_end:
        state.lease_end = end
    show(state, now)


def may_show_leader(state: State) -> bool:
    return state.role == LEADER and state.resigned_term < state.term and not why_unfit(state.standings.own)


def show(state: State, now: Instant) -> None:
    """Note for people when LEADER begins or ends to be shown."""
    shows = may_show_leader(state) and state.commit_index >= state.term_start and state.holds_lease(now)
    if shows and not state.shows_leader:
        state.decide(f"leased for {now.left_within(state.lease_end) // MS} ms", "shows LEADER")
    elif state.shows_leader and not shows:
        state.decide(why_unfit(state.standings.own) or "lease over", "shows CANDIDATE")
    state.shows_leader = shows
