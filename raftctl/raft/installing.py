"""The follower's side of InstallSnapshot (Raft §7): chunks to the disk, then another log and another store.

Acknowledged is only what is durable (P3). Between the last chunk and its end at the disk the node is
*installing*: it follows and vows, but takes no entries and does not campaign; no change of leader undoes it,
as all that a snapshot holds is committed.
"""

from __future__ import annotations

from raftctl.base.instants import Instant
from raftctl.raft import following, snapshots
from raftctl.raft.messages import Install, InstallReply, Instance, SnapshotMark
from raftctl.raft.partial import Partial
from raftctl.raft.pledges import Acknowledgement
from raftctl.raft.state import State


def receive_install(state: State, now: Instant, peer: Instance, generation: int, message: Install) -> None:
    """Follow and vow to the sender, and take the next bytes of its snapshot (pitfall 4.3)."""
    if not following.heed(state, now, peer, generation, message):
        return
    if state.is_installing:
        _note_newest(state, peer, generation, message)
        return
    index = message.mark.position.index
    if index <= state.commit_index:
        state.partial = None
        state.owed = Acknowledgement(peer, generation, message.round, index)
        following.acknowledge(state)
        return
    partial = state.partial
    if partial is None or (partial.term, partial.mark) != (message.term, message.mark):
        state.partial = partial = Partial(message.term, message.mark, peer)
    _note_newest(state, peer, generation, message)
    if not partial.is_settled:
        return                                  # answered once what came before is durable
    if message.offset != partial.received:
        _acknowledge(state, partial)
        return
    if not partial.received:
        state.decide(f"{state.name(peer)} sends the snapshot {message.mark.position}",
                     f"takes its {message.mark.size} bytes")
    partial.receive(message.data)
    if partial.is_whole:
        _begin(state, message.mark)


def _note_newest(state: State, peer: Instance, generation: int, message: Install) -> None:
    partial = state.partial
    if partial and (partial.term, partial.mark, partial.leader) == (message.term, message.mark, peer):
        partial.generation, partial.round = generation, message.round


def _begin(state: State, mark: SnapshotMark) -> None:
    """All bytes are here. Entries behind the snapshot stay where the log holds its place (Raft §7)."""
    if state.log.holds(mark.position):
        return
    state.decide(f"log {state.log.last} has no {mark.position}", "begins a new log behind it")
    state.replace_log(mark.position)


def persisted(state: State, number: int) -> None:
    """Write `number` is durable: acknowledge the chunk in it; with the last one the snapshot is in force."""
    partial = state.partial
    if partial is None or not partial.persisted(number):
        return
    if not partial.is_whole:
        _acknowledge(state, partial)
        return
    mark = partial.mark
    state.partial = None
    snapshots.remember(state, mark)
    index = mark.position.index
    state.commit_index = max(state.commit_index, index)
    state.handed_out = index
    state.durable_index = max(state.durable_index, index)
    state.installed = mark
    state.decide(f"snapshot {mark.position} is durable", f"goes on behind {index}")
    if _still_follows(state, partial):
        state.owed = Acknowledgement(partial.leader, partial.generation, partial.round, index)


def _acknowledge(state: State, partial: Partial) -> None:
    if _still_follows(state, partial):
        state.send(partial.leader, InstallReply(state.term, partial.generation, partial.round,
                                                partial.mark.position, partial.durable))


def _still_follows(state: State, partial: Partial) -> bool:
    return (state.leader, state.term) == (partial.leader, partial.term)
