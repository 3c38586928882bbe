"""A full disk refuses new writes and never a vote (P3; pitfall 5.5): what a leader and a follower still take.

A disk is full from the moment at which it can't reserve another segment of the log. In the last one there is
*room* for what is on its way by then, and behind that for votes: entries that do not fit wait in memory and
hold up no vote. The leader lets nothing new in while its own disk is full, or so many others that no quorum
could take it; a follower takes what fits, and says how much more that is with each acknowledgement, so that
nobody sends in vain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Iterable, Tuple

from raftctl.raft.configuration import quorum_size
from raftctl.raft.messages import PLENTY, Entry

if TYPE_CHECKING:
    from raftctl.raft.state import State

# Bytes of one write: so few that what is at the disk when it turns out full, and what follows at once, fits.
WRITE_BYTES = 4 << 20
# Bytes that an entry takes on disk beside its body, at most: a record of its own.
ENTRY_COST = 80


def note_room(state: State, room: int) -> None:
    """The disk says how many bytes of entries fit behind what it has (`PLENTY`: it is not full)."""
    if (room == PLENTY) != (state.room == PLENTY):
        if room == PLENTY:
            state.decide("the disk has room again", "takes new writes")
        else:
            state.decide("the disk is full", "takes no new writes")
    state.room = state.disk_left = room
    if room != PLENTY:
        behind = max(state.durable_index, state.log.base.index)
        state.room = max(room - size(state.log.between(behind, state.log.last_index)), 0)
        state.disk_left = max(room - size(state.log.between(behind, state.submitted_index)), 0)


def next_batch(state: State) -> Tuple[Entry, ...]:
    """Take the entries for the next write: those that the disk was not given yet, as far as they fit."""
    waiting = state.log.between(state.submitted_index, state.log.last_index)
    batch = fitting(waiting, min(WRITE_BYTES, state.disk_left)) if waiting else ()
    if state.disk_left == PLENTY:
        batch = batch or waiting[:1]
    if batch:
        state.submitted_index = batch[-1].index
    if state.disk_left != PLENTY:
        state.disk_left -= size(batch)
    return batch


def why_refused(state: State) -> str:
    """Return why this leader lets nothing new in, "" where it does."""
    if state.room != PLENTY:
        return "the disk of the leader is full; nothing was changed"
    voters = state.configuration.voters
    full = sum(1 for peer, progress in state.progress.items() if peer in voters and progress.room != PLENTY)
    if full and len(voters) - full < quorum_size(voters):
        return f"the disks of {full} of {len(voters)} voters are full; nothing was changed"
    return ""


def fitting(entries: Tuple[Entry, ...], room: int) -> Tuple[Entry, ...]:
    """Return the first of `entries`, as many as `room` bytes of disk can take."""
    if room == PLENTY or size(entries) <= room:
        return entries
    count = 0
    for entry in entries:
        room -= size((entry,))
        if room < 0:
            break
        count += 1
    return entries[:count]


def size(entries: Iterable[Entry]) -> int:
    """Return how many bytes of disk the entries take, at most."""
    return sum(len(entry.body) + ENTRY_COST for entry in entries)
