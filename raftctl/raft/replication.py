"""The leader's side of AppendEntries: who gets what, and what a quorum has (Raft §5.3, §5.4.2)."""

from __future__ import annotations

from typing import Optional, Tuple, Union

from raftctl.base.instants import Instant
from raftctl.raft import fullness, lease, snapshots
from raftctl.raft.configuration import quorum_index
from raftctl.raft.inputs import LEADER
from raftctl.raft.messages import ORIGIN, Append, AppendReply, Entry, InstallReply, Instance, Position
from raftctl.raft.progress import Progress
from raftctl.raft.state import State

# Bytes of the entries in one append; larger ones would hold up heartbeats behind them (pitfall 6.2).
CHUNK_BYTES = 64 * 1024


def add_progress(state: State) -> None:
    """Give every peer of the newest configuration a progress, and drop those of others."""
    peers = state.peers
    state.progress = {peer: state.progress.get(peer) or Progress(state.log.last_index) for peer in peers}


def begin_round(state: State, now: Instant) -> None:
    """Send every linked peer a heartbeat or what it lacks. Reads that came before are bound to it."""
    number = state.rounds.begin(now)
    snapshots.give_up_slow(state, now)
    if state.commit_index >= state.term_start:
        state.reads.join_round(number, state.commit_index)
    for peer, progress in state.progress.items():
        if peer in state.links:
            _send_append(state, peer, progress, with_entries=progress.may_send)


def flush(state: State, now: Instant) -> None:
    """Send what was appended since; called once a turn, so that many proposals travel in one append."""
    if state.reads.wait_for_round and state.commit_index >= state.term_start:
        begin_round(state, now)
        lease.renew(state, now)       # a cluster of one has its quorum at once
    for peer, progress in state.progress.items():
        if peer not in state.links:
            continue
        if snapshots.must_install(state, progress):
            snapshots.send(state, now, peer, progress)
            continue
        while (progress.may_send and progress.next_index <= state.log.last_index
               and _next_entries(state, progress)):
            _send_append(state, peer, progress, with_entries=True)


def _send_append(state: State, peer: Instance, progress: Progress, *, with_entries: bool) -> None:
    if snapshots.must_install(state, progress):
        # Heartbeats go on; of the peer's log they presume nothing.
        state.send_now(peer, _append(state, ORIGIN, ()))
        return
    previous = min(progress.next_index - 1, state.log.last_index)
    entries = _next_entries(state, progress) if with_entries else ()
    state.send_now(peer, _append(state, state.log.position(previous), entries))
    if with_entries and (entries or progress.probing):
        progress.sent(previous + len(entries), sum(entry.size for entry in entries))


def _next_entries(state: State, progress: Progress) -> Tuple[Entry, ...]:
    """Return what the peer lacks, as much as goes into one append and onto its disk."""
    previous = min(progress.next_index - 1, state.log.last_index)
    return fullness.fitting(state.log.chunk(previous, CHUNK_BYTES), progress.room_left)


def _append(state: State, previous: Position, entries: Tuple[Entry, ...]) -> Append:
    return Append(state.term, state.incarnation, state.timing.election_min, state.rounds.current, previous,
                  state.commit_index, entries)


def link_up(state: State, peer: Instance, generation: int) -> None:
    """A new connection: acks of the old one count no more, what it carried is lost (P2)."""
    state.links[peer] = generation
    progress = state.progress.get(peer)
    if state.role == LEADER and progress:
        progress.restart()
        _send_append(state, peer, progress, with_entries=True)


def receive_append_reply(state: State, now: Instant, peer: Instance, message: AppendReply) -> None:
    """Take an answer to entries or to a heartbeat."""
    progress = _count(state, now, peer, message)
    if progress is None:
        return
    if message.accepted:
        progress.room = message.room
        if progress.accepted(min(message.match, state.log.last_index)):
            advance_commit(state)
        if not snapshots.must_install(state, progress):
            progress.transfer = None
    else:
        _back_up(state, now, peer, progress, message)
    lease.renew(state, now)


def receive_install_reply(state: State, now: Instant, peer: Instance, message: InstallReply) -> None:
    """Take an answer to a chunk of a snapshot."""
    progress = _count(state, now, peer, message)
    if progress is None:
        return
    if progress.transfer:
        snapshots.received(progress.transfer, message.position, message.offset)
    lease.renew(state, now)


def _count(state: State, now: Instant, peer: Instance,
           message: Union[AppendReply, InstallReply]) -> Optional[Progress]:
    """Count an answer of the present term and connection (P2, pitfall 1.2); None where it is of another."""
    if message.term > state.term:
        state.decide(f"{state.name(peer)} is in term {message.term}", "follower")
        state.become_follower(now, message.term, None)
        return None
    progress = state.progress.get(peer)
    if state.role != LEADER or progress is None or message.term < state.term or not message.round:
        return None
    if message.generation != state.links.get(peer):
        state.decide(f"ack of {state.name(peer)} from connection {message.generation}", "counts nothing")
        return None
    progress.last_ack = now
    progress.acked_round = max(progress.acked_round, min(message.round, state.rounds.current))
    return progress


def _back_up(state: State, now: Instant, peer: Instance, progress: Progress, message: AppendReply) -> None:
    # Fast back-up by whole terms (Raft §5.3): the last entry of ours that is not newer than the peer's hint.
    agreed = state.log.last_not_newer(message.hint.index, message.hint.term)
    if agreed < progress.match_index:
        # In this very term it said that it holds more, so its disk went back (P7): below that it is never
        # probed, and asking again at once would get the same answer for ever.
        if state.repeats.is_due(now, ("went back", peer), progress.match_index):
            state.decide(f"{state.name(peer)} acknowledged {progress.match_index}, but its log differs after "
                         f"{agreed}", "its data directory went back: sends it heartbeats alone")
        return
    if agreed + 1 >= progress.next_index:
        return      # answers an append of before the last back-up: a refused probe leads further back
    state.decide(f"{state.name(peer)} refused, its log could agree at {message.hint}",
                 f"probes it at {agreed}")
    progress.rejected(agreed + 1)
    _send_append(state, peer, progress, with_entries=True)


def advance_commit(state: State) -> None:
    """Commit what a quorum has on disk, the leader's own included, if it is of this term (Raft §5.4.2)."""
    held = {peer: progress.match_index for peer, progress in state.progress.items()}
    held[state.own] = state.durable_index
    index = quorum_index(held, state.configuration.voters)
    if index <= state.commit_index or state.log.term_at(index) != state.term:
        return
    if state.commit_index < state.term_start:
        state.decide(f"{state.log.position(index)} on a quorum", f"commits {index}")
    state.commit_index = index
