"""Snapshots: which are kept, how far the log is compacted, what a leader sends of them (Raft §7).

Two are kept, so that a damaged newest one is no loss: the log begins behind the *older* (pitfall 4.1). What
lies between the two is also what a peer that is a bit behind still gets as entries.

A peer that needs entries from before the log gets the newest snapshot, one acknowledged chunk at a time; a
lost connection resumes it where the peer says. While that goes on the log behind that snapshot stays, and no
third snapshot displaces it: else a slow peer would need the next one for ever (pitfall 4.2). The bound: who
takes a snapshot more slowly than as many bytes are written, twice, can't catch up by any means.
"""

from __future__ import annotations

from typing import List, Optional

from raftctl.base.errors import require
from raftctl.base.instants import Instant
from raftctl.raft.messages import Install, Instance, Position, SnapshotMark
from raftctl.raft.progress import Progress
from raftctl.raft.state import State

# Bytes of one chunk: with all that stands around them they fit into one frame, which heartbeats can overtake.
CHUNK_BYTES = 60 * 1024
# What a transfer may hold in the log, besides the size of its snapshot, before it is given up. Twice.
HELD_BYTES = 32 << 20
# A peer that is silent for so many election max holds nothing.
SILENT_ELECTIONS = 10
# Entries forgotten at a time: freeing more in one go would hold up the node's words.
COMPACT_STEP = 4096


class Transfer:
    """One snapshot on its way to one peer, who has the bytes up to `offset`. `asked`: for more, None: not."""

    __slots__ = ("mark", "offset", "asked")

    def __init__(self, mark: SnapshotMark) -> None:
        self.mark, self.offset = mark, 0
        self.asked: Optional[Instant] = None


def taken(state: State, mark: SnapshotMark) -> None:
    """Note an own snapshot that is durable. A leader too only takes what its own disk has (pitfall 4.1)."""
    require(mark.position.index <= min(state.durable_index, state.handed_out),
            "a snapshot of what is not here", mark.position, state.durable_index, state.handed_out)
    remember(state, mark)
    kept = f"needs no entry up to {state.drop_upto}" if state.drop_upto else "keeps all entries as well"
    state.decide(f"snapshot {mark.position} of {mark.size} bytes", kept)


def remember(state: State, mark: SnapshotMark) -> None:
    """Count `mark` among the two newest; what the log holds up to the older is needed no more."""
    others = [one for one in state.snapshots if one.position != mark.position]
    known = sorted(others + [mark], key=lambda one: one.position.index)
    state.snapshots = tuple(known[-2:])
    if len(state.snapshots) == 2:
        state.drop_upto = state.snapshots[0].position.index


def compact(state: State) -> None:
    """Forget entries that a snapshot stands for, some at each call."""
    base = state.log.base.index
    if state.drop_upto <= base:
        return
    held = [transfer.mark.position.index for transfer in _transfers(state)]
    upto = min([state.drop_upto, base + COMPACT_STEP] + held)
    if upto > base:
        state.log.compact(upto)


def may_take(state: State) -> bool:
    """May another snapshot be taken: is the older of the two, which it would displace, not being sent?

    While one is being installed there is nothing to take one of.
    """
    if state.is_installing:
        return False
    return (len(state.snapshots) < 2
            or not any(transfer.mark == state.snapshots[0] for transfer in _transfers(state)))


def _transfers(state: State) -> List[Transfer]:
    return [progress.transfer for progress in state.progress.values() if progress.transfer]


def must_install(state: State, progress: Progress) -> bool:
    """Does the peer need entries that the log has no more?"""
    return progress.next_index <= state.log.base.index


def send(state: State, now: Instant, peer: Instance, progress: Progress) -> None:
    """Ask for the next bytes for `peer`, unless they are under way; again after election max in silence."""
    transfer = progress.transfer
    if transfer is None:
        mark = state.snapshots[-1]
        progress.transfer = transfer = Transfer(mark)
        state.decide(f"{state.name(peer)} needs {progress.next_index}, log begins behind {state.log.base}",
                     f"sends it the snapshot {mark.position} of {mark.size} bytes")
    if transfer.asked and now.since(transfer.asked) < state.timing.election_max:
        return
    transfer.asked = now
    state.chunks.append((peer, Install(state.term, state.incarnation, state.timing.election_min,
                                       state.rounds.current, transfer.mark, transfer.offset, b"")))


def give_up_slow(state: State, now: Instant) -> None:
    """End transfers that hold more than they may, or to peers that have been silent for long."""
    silence_ns = SILENT_ELECTIONS * state.timing.election_max
    for peer, progress in state.progress.items():
        transfer = progress.transfer
        if transfer is None:
            continue
        silent_since = progress.last_ack or state.heard_since
        if peer not in state.links and now.since(silent_since) > silence_ns:
            progress.transfer = None
        elif (transfer.mark != state.snapshots[-1]
              and state.log.size > 2 * (HELD_BYTES + transfer.mark.size)):
            state.decide(f"{state.name(peer)} takes snapshot {transfer.mark.position} too slowly",
                         "sends it the newest instead")
            progress.transfer = None


def received(transfer: Transfer, position: Position, offset: int) -> None:
    """Take a peer's word how much of the snapshot it has; a late word changes nothing."""
    if transfer.mark.position != position or offset == transfer.offset or offset >= transfer.mark.size:
        return
    transfer.offset, transfer.asked = offset, None
