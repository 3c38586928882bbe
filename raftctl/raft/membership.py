"""Single-server membership changes (dissertation §4.1), effective when appended, one at a time.

No change takes the vote from a server that will hold the entry before it is committed: the leader does not
remove itself (it hands over, its successor removes it: design §6), and a voter is removed, not made a learner
(removed and then added it is one). A removed server gets no entry from its removal on (`add_progress`), and a
later change that adds it again waits for the commit of this one. So, invariant: *who is no voter in its own
newest configuration, but was one before it, holds that entry committed.*

Why: candidates and votes go by the newest configuration in a log. Were the entry uncommitted, its holder
could have the only newest log and not campaign, while all others lack the entry, need its vote, and are
refused for their older logs: stuck for ever with every voter up. With the invariant the newest log among the
voters of the last committed configuration is always that of a voter by its own configuration too, whose
quorum is among them. Dissertation §4.2.2 lets a server campaign outside its own configuration instead, and
then lead without counting itself and step down at the commit; that needs a second answer to "who may
campaign" that depends on a commit index which restarts forget.
"""

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
    entry = Entry(state.term, index, CONFIGURATION, configurations.encode(wanted))
    state.uncommitted_bytes += entry.size
    state.append(entry)
    replication.add_progress(state)
    state.accepted.append(Accepted(request, state.term, index))
    voters = " ".join(state.name(voter) for voter in wanted.voters)
    state.decide("change asked", f"appends configuration {state.log.last}, voters {voters}")


def _refusal(state: State, wanted: Configuration) -> Optional[str]:
    if state.role != LEADER or state.stopping:
        return "no_leader"
    if state.commit_index < state.term_start or state.configuration_index > state.commit_index:
        return "busy"
    if state.handover:
        return "busy"             # the successor would never catch up
    before, after = dict.fromkeys(state.configuration.voters), dict.fromkeys(wanted.voters)
    gone = [voter for voter in before if voter not in after]
    changed = gone + [voter for voter in after if voter not in before]
    if not after or len(changed) > 1 or wanted.cluster_id != state.configuration.cluster_id:
        return "refused"
    if state.own not in after or any(wanted.find(voter) for voter in gone):
        return "refused"          # its holder would lose the vote by an entry that may never be committed
    return None
