"""What goes into the core and what comes out: `step(now, input)` and `ready()` speak in these values.

Completions (the disk's, the link's) are inputs too. A `Ready` is taken: asking twice gives it once.
"""

from __future__ import annotations

from typing import NamedTuple, Optional, Tuple, Union

from raftctl.base.instants import Instant
from raftctl.raft.configuration import Configuration
from raftctl.raft.messages import (
    ORIGIN,
    Entry,
    HardState,
    Install,
    Instance,
    Message,
    Position,
    SnapshotMark,
    Write,
)

FOLLOWER = "follower"
PRE_CANDIDATE = "pre-candidate"
CANDIDATE = "candidate"
LEADER = "leader"


class Timing(NamedTuple):
    """Spans in ns: heartbeat < election_min ≤ election_max."""

    heartbeat: int
    election_min: int
    election_max: int


class Restored(NamedTuple):
    """What the disk remembers: hard state, snapshots (up to two, the older first), the log behind `base`.

    The newest snapshot is at or after the base. Where it is not in the log, which then ends before it or
    conflicts, an installation was cut short between its two steps: it is completed.
    """

    hard_state: HardState
    entries: Tuple[Entry, ...]
    base: Position = ORIGIN
    snapshots: Tuple[SnapshotMark, ...] = ()


class Received(NamedTuple):
    """A message of `peer`. `generation` is that of the connection which brought it; an ack echoes it (P2)."""

    peer: Instance
    generation: int
    message: Message


class Proposed(NamedTuple):
    """Append an entry as leader. Answered once in `Ready.accepted` or `Ready.refused`."""

    request: int
    kind: int
    body: bytes


class ChangeAsked(NamedTuple):
    """Append `wanted` as the next configuration (dissertation §4.1). Answered like `Proposed`."""

    request: int
    wanted: Configuration


class ReadAsked(NamedTuple):
    """A linearizable read (ReadIndex, dissertation §6.4). Answered once in `Ready.reads` or `.refused`."""

    request: int


class Transfer(NamedTuple):
    """Hand leadership over to the voter `to` (None: the best). Answered once in `Ready.transferred`, when it
    was told to lead, or in `Ready.refused`, when nothing has changed."""

    request: int
    to: Optional[Instance]


class Alarm(NamedTuple):
    """The deadline of the last `Ready` may have come; the core looks at the clocks itself."""


class DiskRoom(NamedTuple):
    """The disk is full, with room for `room` bytes of entries behind what is durable; `PLENTY`: not full."""

    room: int


class Persisted(NamedTuple):
    """Write `number` and all before it are durable; `has_room`: save for a snapshot that its chunk begins."""

    number: int
    has_room: bool = True


class SnapshotTaken(NamedTuple):
    """The snapshot `mark` of what this node itself applied is durable."""

    mark: SnapshotMark


class LinkUp(NamedTuple):
    """Our own connection to `peer` is up; acks that echo an older `generation` count no more (P2).

    `incarnation` is what the peer showed in this handshake: words of an older one renew no vow any more (P4).
    """

    peer: Instance
    generation: int
    incarnation: int


class LinkDown(NamedTuple):
    """Our own connection to `peer` has ended."""

    peer: Instance


class Founded(NamedTuple):
    """The configuration of a new cluster: entry 1, the same on every founder and committed by that (§6)."""

    configuration: Configuration


class Campaign(NamedTuple):
    """Begin an election now (the author of a founding, §6), unless a vow forbids it."""


class Stopping(NamedTuple):
    """Hold no lease and campaign no more; a leader's heartbeats go on until `Resigned` (pitfall 9.7)."""


class Health(NamedTuple):
    """What the check of this host says, or an operator, by `cause`; healthy until told otherwise (design
    §4.2)."""

    ok: bool
    cause: str = ""


class Resigned(NamedTuple):
    """The outgoing work of this host has ended: RELEASE all vows to us, irrevocably (P4)."""


Input = Union[Received, Proposed, ChangeAsked, ReadAsked, Transfer, Alarm, Persisted, DiskRoom,
              SnapshotTaken, LinkUp, LinkDown, Founded, Campaign, Stopping, Health, Resigned]


class Decision(NamedTuple):
    """Why the core did what it did, for the log, `status` and the scenarios: `cause -> effect`."""

    cause: str
    effect: str


class Refusal(NamedTuple):
    """A request that changed nothing; `code` is one of the error codes of the command protocol.

    `reason` says more for people, where there is more to say.
    """

    request: int
    code: str
    reason: str = ""


class Accepted(NamedTuple):
    """A proposal stands in the leader's log at this place; it is done when that entry is committed there."""

    request: int
    term: int
    index: int


class Transferred(NamedTuple):
    """A transfer: this node released its term and told `successor` to lead. Who wins, the next term shows."""

    request: int
    successor: Instance


class View(NamedTuple):
    """What others read of the core, swapped whole. `lease_end`: holder of the lease while `now.within` it.

    `removed`: as in `HardState`. `snapshot_index`: of the newest snapshot, 0 without one. `log_count`,
    `log_bytes`: the log in memory. `is_full`: is the disk of this node?
    """

    role: str
    term: int
    leader: Optional[Instance]
    lease_end: Instant
    commit_index: int
    last_index: int
    configuration: Configuration
    removed: Position = ORIGIN
    snapshot_index: int = 0
    log_count: int = 0
    log_bytes: int = 0
    is_full: bool = False


class Ready(NamedTuple):
    """What must happen now.

    `messages` may go at once: what depends on the disk is held back until its `Persisted`. `write` is given
    only when the one before it is durable, so that one batch is at the disk and the next collects.
    `installed`: the store becomes this snapshot, whose chunks the writes before had, ahead of `committed`: to
    apply, in order. `chunks`: read these bytes of these snapshots, at most `snapshots.CHUNK_BYTES`, and send
    the messages with them. `reads`: answer when applied up to that index. `deadline`: the moment for the next
    `Alarm`; None: no need.
    """

    messages: Tuple[Tuple[Instance, Message], ...]
    write: Optional[Write]
    committed: Tuple[Entry, ...]
    reads: Tuple[Tuple[int, int], ...]
    accepted: Tuple[Accepted, ...]
    refused: Tuple[Refusal, ...]
    transferred: Tuple[Transferred, ...]
    decisions: Tuple[Decision, ...]
    deadline: Optional[Instant]
    view: View
    installed: Optional[SnapshotMark] = None
    chunks: Tuple[Tuple[Instance, Install], ...] = ()
