"""The words that members of a cluster say to each other, as values (Raft Figure 2; design: P2, P4).

A member is named by its *instance*: the id made with its data directory, a short ASCII text. All integers are
unsigned; indexes and terms start at 1, and 0 is before the first. Spans are in ns.
"""

from __future__ import annotations

from typing import NamedTuple, Optional, Tuple, Union

Instance = str

NOOP = 0
COMMAND = 1
CONFIGURATION = 2
TAKEOVER = 3


class Position(NamedTuple):
    """A place in a log. Tuples compare as §5.4.1 asks: the later term first, then the longer log."""

    term: int
    index: int

    def __str__(self) -> str:
        return f"{self.term}:{self.index}"


ORIGIN = Position(0, 0)


# What an entry takes in an append beside its body: length, kind, term, index.
ENTRY_OVERHEAD = 21


class Entry(NamedTuple):
    """One log entry. `kind`: NOOP, COMMAND, TAKEOVER (bodies: the store's) or CONFIGURATION
    (`configuration.encode`)."""

    term: int
    index: int
    kind: int
    body: bytes

    @property
    def position(self) -> Position:
        return Position(self.term, self.index)

    @property
    def size(self) -> int:
        """How many bytes of an append it takes: limits go by it, so that empty entries can't overrun them."""
        return ENTRY_OVERHEAD + len(self.body)


class HardState(NamedTuple):
    """What must be on disk before anything depending on it leaves (Raft §5.1, Figure 2 "persistent state").

    `vote` is the instance voted for in `term`, or None. `promise` is the longest vow in ns that this
    directory may still have open (P2, start vow); 0 says that there is none. `removed` is the committed
    position at which the cluster no longer named this node (pitfall 3.10); `ORIGIN` where it does.
    """

    term: int = 0
    vote: Optional[Instance] = None
    promise: int = 0
    removed: Position = ORIGIN


class SnapshotMark(NamedTuple):
    """Which snapshot: the store after applying `position`, `size` bytes as `store/image.py` writes them.

    `configuration` is the body of the newest CONFIGURATION entry at or before `position` (Raft §7), and
    `configuration_index` that entry's index.
    """

    position: Position
    configuration_index: int
    configuration: bytes
    size: int


class Chunk(NamedTuple):
    """Bytes of another node's snapshot for the disk, in order from `offset` 0 to `mark.size`.

    First an empty one: the disk makes room for all of it, or answers that there is none (P3: a full disk
    costs nobody a vote).
    """

    mark: SnapshotMark
    offset: int
    data: bytes

    @property
    def is_last(self) -> bool:
        return self.offset + len(self.data) == self.mark.size


class Write(NamedTuple):
    """One batch for the disk, in order: chunk, hard state (None: unchanged), base, entries, then one sync.

    An entry at or below the last written index replaces that one and all behind it (logical overwrite).
    `number` rises by one a write; the disk answers with it once everything is durable. `memory` (None:
    unchanged) is not the core's: what the peers showed (P7, cluster/memory.py) goes along. `chunk` goes into
    the snapshot that is being installed; with its last one that snapshot is durable under its name before
    anything else of this write. `base`: the log begins anew behind this place, which that snapshot covers
    (its entries conflicted, or ended before). `drop_upto`: whole segments with entries up to this index are
    needed no more.
    """

    number: int
    hard_state: Optional[HardState]
    entries: Tuple[Entry, ...]
    memory: Optional[bytes] = None
    chunk: Optional[Chunk] = None
    base: Optional[Position] = None
    drop_upto: int = 0


class Release(NamedTuple):
    """Proof that `instance` in `incarnation` leads no more in any term up to `term` (P4).

    `successor`: whom it told to lead in the next term; empty where it told nobody. In a `TimeoutNow`, and in
    the `Vote` that follows, it is the *token* of that one candidacy.
    """

    instance: Instance
    incarnation: int
    term: int
    successor: Instance = ""


class PreVote(NamedTuple):
    """Would you vote for me in `term` (my term + 1)? Changes nothing anywhere (dissertation §9.6)."""

    term: int
    last: Position


class PreVoteReply(NamedTuple):
    """`term`: the request's on a grant (pitfall 1.5), else the voter's.

    `vow_left`: the rest of its vow, or as leader of its lease, in ns.
    """

    term: int
    granted: bool
    vow_left: int


class Vote(NamedTuple):
    """RequestVote (Raft §5.2, §5.4.1).

    `token`: the leader of the term before told this candidate to lead (dissertation §3.10); it counts only
    where its term is `term` - 1.
    """

    term: int
    last: Position
    token: Optional[Release] = None


class VoteReply(NamedTuple):
    term: int
    granted: bool


class Append(NamedTuple):
    """AppendEntries, with or without entries (Raft §5.3); a heartbeat is one without.

    `incarnation`, `election_min` and `round` belong to the vow (P2): who acknowledges any of these vows for
    `election_min` ns to that incarnation and term. Rounds are numbered by the leader within its term; a round
    is counted from the moment of its first send.
    """

    term: int
    incarnation: int
    election_min: int
    round: int
    previous: Position
    commit: int
    entries: Tuple[Entry, ...]


# Room on a disk that is not full, in bytes.
PLENTY = 2**64 - 1


class AppendReply(NamedTuple):
    """`round` is the append's, 0 where that was refused for a stale term: this acknowledges nothing.

    `generation` is that of the connection on which it came (P2 counts no other).

    accepted: all up to `match` is durable here and equal to the leader's log.
    refused (the logs differ at `previous`): `match` is 0, `hint` is the last position here that could agree:
    the leader goes back by whole terms (Raft §5.3, last paragraphs). `term` above the leader's ends its
    leadership. `room`: how many bytes of entries the disk here can take (`fullness.py`).
    """

    term: int
    generation: int
    round: int
    accepted: bool
    match: int
    hint: Position
    room: int = PLENTY


class Install(NamedTuple):
    """InstallSnapshot (Raft §7): bytes of the snapshot `mark` from `offset` on, one message at a time.

    A leader's word as `Append` is, so its acknowledgement vows (P2).
    """

    term: int
    incarnation: int
    election_min: int
    round: int
    mark: SnapshotMark
    offset: int
    data: bytes


class InstallReply(NamedTuple):
    """So many bytes of the snapshot of `position` are durable here: go on at `offset`.

    Once the whole snapshot is durable, and the log that it may have replaced, an accepted `AppendReply` up to
    its index is the answer, as it is to a snapshot of what is committed here already.
    """

    term: int
    generation: int
    round: int
    position: Position
    offset: int


class TimeoutNow(NamedTuple):
    """The leader of `token` has released its term: campaign at once in the next (dissertation §3.10).

    `last` is what the leader knows to be durable at the receiver; who holds it no more must not campaign.
    """

    token: Release
    last: Position


class Removed(NamedTuple):
    """You are no member: up to `position` all is committed, and `configuration` (an entry's body) holds.

    Said to one that asks for votes (pitfall 3.10). Promises nothing, carries no term.
    """

    position: Position
    configuration: bytes


class Standing(NamedTuple):
    """How fit its sender is to lead (design §4.2); the defaults are what is assumed of who said nothing.

    `priority`: 0 to 255; 0 is a witness, which never shows LEADER. `healthy`: its host's check passes.
    `stopping`: it campaigns no more. `preempt`: it wants leadership moved to it from a lower priority.
    `incarnation` is set where it is said: late words of an older one count nothing.
    """

    priority: int = 100
    healthy: bool = True
    stopping: bool = False
    preempt: bool = False
    incarnation: int = 0


Message = Union[PreVote, PreVoteReply, Vote, VoteReply, Append, AppendReply, Install, InstallReply, Release,
                TimeoutNow, Standing, Removed]
