"""Being leader: begin with a no-op, keep a lease (Raft §5.2, §8; dissertation §6.2, §6.4; P2).

The lease itself is in `lease.py`, what goes to the peers in `replication.py`, the end by own will in
`transfer.py`.
"""

from __future__ import annotations

from raftctl.base.instants import Instant
from raftctl.raft import lease, replication
from raftctl.raft.inputs import LEADER
from raftctl.raft.messages import NOOP, Entry
from raftctl.raft.reads import Reads
from raftctl.raft.rounds import Rounds
from raftctl.raft.standing import why_reluctant
from raftctl.raft.state import MS, State


def begin(state: State, now: Instant, votes: int) -> None:
    """Lead in the present term. The no-op lets entries of earlier terms be committed (Raft §8)."""
    total = len(state.configuration.voters)
    state.role, state.leader, state.ballots = LEADER, state.own, {}
    state.rounds, state.reads, state.progress = Rounds(), Reads(), {}
    state.lease_end = state.heard_since = now
    state.repeats.forget()
    state.term_start = state.log.last_index + 1
    waiting = state.log.between(state.handed_out, state.log.last_index)
    state.uncommitted_bytes = sum(entry.size for entry in waiting)
    state.append(Entry(state.term, state.term_start, NOOP, b""))
    # Whom this node vowed to before is deposed by the votes: no promise is open any more (P2, start vow).
    state.set_hard(promise=0)
    role = "caretaker" if why_reluctant(state.standings.own) else "leader"
    state.decide(f"votes {votes}/{total}", f"{role} term {state.term}, appends no-op {state.log.last}")
    replication.add_progress(state)
    replication.begin_round(state, now)


def leader_alarm(state: State, now: Instant) -> None:
    """Step down after election max without a lease, else send the heartbeat that is due (CheckQuorum, P2)."""
    lease.show(state, now)
    if now.reached(state.lease_end.plus(state.timing.election_max)):
        # Heartbeats without a lease would renew vows for ever where only the way out works.
        silence = ", ".join(_last_heard(state, now, peer) for peer in state.progress)
        state.decide(f"no quorum for {state.timing.election_max // MS} ms" + (silence and f" ({silence})"),
                     "follower")
        state.become_follower(now, state.term, None)
        return
    if now.reached(state.rounds.last_sent.plus(state.timing.heartbeat)):
        replication.begin_round(state, now)
        lease.renew(state, now)


def _last_heard(state: State, now: Instant, peer: str) -> str:
    last = state.progress[peer].last_ack
    return f"{state.name(peer)} " + (f"acked {now.since(last) // MS} ms ago" if last else "never acked")
