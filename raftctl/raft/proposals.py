"""Proposals: appended by the leader, held while it hands over, refused where disks or memory are full."""

from __future__ import annotations

from raftctl.raft import fullness
from raftctl.raft.inputs import LEADER, Accepted, Proposed
from raftctl.raft.messages import ENTRY_OVERHEAD, TAKEOVER, Entry
from raftctl.raft.state import State

# Bytes of entries that a leader may have uncommitted; beyond it clients are told "busy", nothing is proposed.
UNCOMMITTED_LIMIT = 64 << 20


def propose(state: State, given: Proposed) -> None:
    """Append `given`, answer it by a refusal, or hold it until the transfer that is under way has ended."""
    if state.role != LEADER:
        state.refuse(given.request, "no_leader")
        return
    # Like a no-op, a takeover record is small, rare, and what a leadership begins with (P6).
    full = fullness.why_refused(state) if given.kind != TAKEOVER else ""
    if full:
        state.refuse(given.request, "store_full", full)
        return
    if state.uncommitted_bytes >= UNCOMMITTED_LIMIT and given.kind != TAKEOVER:
        state.refuse(given.request, "busy")
        return
    state.uncommitted_bytes += ENTRY_OVERHEAD + len(given.body)
    if state.handover:
        state.handover.held.append(given)     # refused with "no_leader" at the RELEASE: the next leader's
    else:
        append(state, given)


def append(state: State, given: Proposed) -> None:
    """Append what was let in: at once, or when the transfer it waited for has come to nothing."""
    index = state.log.last_index + 1
    state.append(Entry(state.term, index, given.kind, given.body))
    state.accepted.append(Accepted(given.request, state.term, index))
