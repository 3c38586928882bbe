"""Single-server membership changes (dissertation §4.1), effective when appended, one at a time."""

from __future__ import annotations

from typing import Optional

from raftctl.base.instants import Instant
from raftctl.raft import configuration as configurations
from raftctl.raft import replication
from raftctl.raft.configuration import Configuration
from raftctl.raft.inputs import LEADER, Accepted
from raftctl.raft.messages import CONFIGURATION, Entry
from raftctl.raft.state import State


def ask_change(state: State, now: Instant, request: int, wanted: Configuration) -> None:
    """Append `wanted` as the next configuration, or refuse with a code.

    Only after an entry of the own term is committed (the 2015 bug, pitfall 3.7), and not while another change
    is uncommitted; that is read off the log, not off a flag.
    """
    code = _refusal(state, wanted)
    if code:
        state.refuse(request, code)
        return
    index = state.log.last_index + 1
    body = configurations.encode(wanted)
    state.uncommitted_bytes += len(body)
    state.append(Entry(state.term, index, CONFIGURATION, body))
    replication.add_progress(state)
    state.accepted.append(Accepted(request, state.term, index))
    voters = " ".join(state.name(voter) for voter in wanted.voters)
    state.decide("change asked", f"appends configuration {state.log.last}, voters {voters}")


def _refusal(state: State, wanted: Configuration) -> Optional[str]:
    if state.role != LEADER or state.stopping:
        return "no_leader"
    if state.commit_index < state.term_start or state.configuration_index > state.commit_index:
        return "busy"
    before, after = dict.fromkeys(state.configuration.voters), dict.fromkeys(wanted.voters)
    gone = [voter for voter in before if voter not in after]
    changed = gone + [voter for voter in after if voter not in before]
    if not after or len(changed) > 1 or wanted.cluster_id != state.configuration.cluster_id:
        return "refused"
    return None
