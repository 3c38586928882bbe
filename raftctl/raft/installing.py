"""The follower's side of InstallSnapshot (Raft §7): chunks to the disk, then another log and another store.

Acknowledged is only what is durable (P3). Between the last chunk and its end at the disk the node is
*installing*: it follows and vows, but takes no entries and does not campaign; no change of leader undoes it,
as all that a snapshot holds is committed.
"""

from __future__ import annotations

from raftctl.base.instants import Instant
from raftctl.raft import following, snapshots
from raftctl.raft.inputs import Persisted
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
    if not partial.has_room and message.offset == 0:
        partial.early = message.data
    if not partial.is_settled:
        return                                  # answered once what came before is durable
    if message.offset != partial.received:
        _acknowledge(state, partial)
    else:
        _take(state, partial, message.data)


def _take(state: State, partial: Partial, data: bytes) -> None:
    mark = partial.mark
    if not partial.received:
        state.decide(f"{state.name(partial.leader)} sends the snapshot {mark.position}",
                     f"takes its {mark.size} bytes")
    partial.receive(data)
    if partial.is_whole:
        _begin(state, mark)


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


def persisted(state: State, now: Instant, done: Persisted) -> None:
    """A write is durable: acknowledge the chunk in it; with the last one the snapshot is in force."""
    partial = state.partial
    if partial is None or not partial.persisted(done.number):
        return
    if not partial.has_room:
        _begin_with_room(state, now, partial, has_room=done.has_room)
    elif partial.is_whole:
        _complete(state, partial)
    else:
        _acknowledge(state, partial)


def _begin_with_room(state: State, now: Instant, partial: Partial, *, has_room: bool) -> None:
    """The disk has made room for the snapshot, or has none: then the leader's next try may find some."""
    mark = partial.mark
    if not has_room:
        state.partial = None
        if state.repeats.is_due(now, "room", mark.position):
            state.decide(f"no room for the snapshot {mark.position} of {mark.size} bytes", "waits for some")
        return
    partial.has_room = True
    if partial.early and _still_follows(state, partial):
        _take(state, partial, partial.early)
    else:
        _acknowledge(state, partial)
    partial.early = b""


def _complete(state: State, partial: Partial) -> None:
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
