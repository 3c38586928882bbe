"""What the core remembers, and the few acts on it that all rules use: terms, sending, the disk's completions.

The rules live beside it, one idea a module; `core.py` dispatches to them. Nothing here reads a clock: `now`
is the instant of the step.
"""

from __future__ import annotations

from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

from raftctl.base.errors import require
from raftctl.base.instants import Instant, later
from raftctl.raft import configuration as configurations
from raftctl.raft import fullness
from raftctl.raft.configuration import NOBODY, Configuration
from raftctl.raft.inputs import (
    FOLLOWER,
    LEADER,
    Accepted,
    Decision,
    Refusal,
    Restored,
    Timing,
    Transferred,
)
from raftctl.raft.log import Log
from raftctl.raft.messages import (
    CONFIGURATION,
    ORIGIN,
    PLENTY,
    Entry,
    Install,
    Instance,
    Message,
    Position,
    Release,
    SnapshotMark,
    Standing,
    Write,
)
from raftctl.raft.partial import Partial
from raftctl.raft.pledges import Acknowledgement, Handover, Vow
from raftctl.raft.progress import Progress
from raftctl.raft.reads import Reads
from raftctl.raft.repeats import Repeats
from raftctl.raft.rounds import Rounds
from raftctl.raft.standing import Standings, why_reluctant

NEVER = Instant(0, 0)
MS = 1_000_000


class _AtDisk(NamedTuple):
    number: int
    last_index: int
    term: int


class State:
    """All mutable state of one core. Owned by the thread that steps the core."""

    def __init__(self, own: Instance, incarnation: int, timing: Timing, restored: Restored, now: Instant,
                 random: Callable[[], float], standing: Standing) -> None:
        self.own, self.incarnation, self.timing, self.random = own, incarnation, timing, random
        self._restore(restored)
        self.configuration, self.configuration_index = self._find_configuration()
        self.role = FOLLOWER
        self.leader: Optional[Instance] = None
        self.standings = Standings(standing)
        self.links: Dict[Instance, int] = {}             # peer → generation of our own connection
        self.incarnations: Dict[Instance, int] = {}      # the newest that shook hands with us
        self.released: Dict[Tuple[Instance, int], int] = {}   # (peer, incarnation) → last term, given up (P4)

        self.commit_index = self.snapshot_index
        self.handed_out = self.snapshot_index            # committed entries given to the store
        self.durable_index = self.log.last_index
        self.submitted_index = self.log.last_index       # entries that a write took along
        self.durable_term = self.hard.term
        self.hard_number = 0                             # the write that carries the present hard state
        self.write_number = self.persisted_number = 0
        self.at_disk: Optional[_AtDisk] = None
        self.room = self.disk_left = PLENTY              # see `fullness.py`
        self._held: List[Tuple[int, Instance, Message]] = []

        self.vow = Vow(None, 0, 0, now.plus(self.hard.promise))
        self.heard_since = now
        self.election_deadline = now
        self.election_was_late = False
        self.hurry_end = NEVER                           # until then a candidacy is retried in 10–30 ms (P4)
        self.ballots: Dict[Instance, bool] = {}          # answers to the present (pre-)candidacy
        self.token: Optional[Release] = None             # of the present candidacy, where it was told to lead
        self.owed: Optional[Acknowledgement] = None

        self.progress: Dict[Instance, Progress] = {}     # leader only, and so the rest
        self.rounds = Rounds()
        self.reads = Reads()
        self.uncommitted_bytes = 0                       # of entries and held proposals the store has not got
        self.handover: Optional[Handover] = None
        self.term_start = 0                              # index of the no-op of this leadership
        self.lease_end = now
        self.shows_leader = False
        self.resigned_term = 0                           # term with a RELEASE: never leased in it again

        self.messages: List[Tuple[Instance, Message]] = []
        self.decisions: List[Decision] = []
        self.repeats = Repeats()
        self.accepted: List[Accepted] = []
        self.refused: List[Refusal] = []
        self.transferred: List[Transferred] = []
        self.confirmed_reads: List[Tuple[int, int]] = []
        self.chunks: List[Tuple[Instance, Install]] = []

    def _restore(self, restored: Restored) -> None:
        self.log = Log(restored.entries, restored.base)
        self.hard, self.hard_dirty = restored.hard_state, False
        self.snapshots = restored.snapshots               # the two newest that are durable, the older first
        self.partial: Optional[Partial] = None            # what a leader is installing here
        self.installed: Optional[SnapshotMark] = None     # the store must become this one
        self.new_base: Optional[Position] = None          # for the next write: the log begins behind it
        self.durable_before = restored.base               # see `replace_log`
        self.drop_upto = self.dropped_upto = 0            # what the disk may drop, what it was told so far
        if len(self.snapshots) == 2:
            self.drop_upto = self.snapshots[0].position.index
        require(self.snapshot_index >= self.log.base.index, "a log that begins behind the newest snapshot",
                self.snapshot_index, self.log.base)
        if self.snapshots and not self.log.holds(self.snapshots[-1].position):
            # Its last step was missing: what it says is committed, so the log can only lack or contradict it.
            self._reset_log(self.snapshots[-1].position)

    # --- names and configuration

    @property
    def term(self) -> int:
        return self.hard.term

    @property
    def is_voter(self) -> bool:
        return self.configuration.is_voter(self.own)

    @property
    def stopping(self) -> bool:
        return self.standings.own.stopping

    @property
    def is_reluctant(self) -> bool:
        """Would this node be a caretaker only, and are there others to campaign before it (design §4.2)?"""
        return bool(why_reluctant(self.standings.own)) and self.configuration.voters != (self.own,)

    @property
    def can_campaign(self) -> bool:
        """Is this node one of those that may lead, once no vow forbids it (pitfalls 3.10, 9.7)?

        Not while a whole snapshot is on its way to the disk: until then there is nothing behind its log.
        """
        return self.is_voter and not self.stopping and not self.is_removed and not self.is_installing

    @property
    def is_removed(self) -> bool:
        """Did a member show that the cluster names this node no more (`removal.py`)?"""
        return self.hard.removed != ORIGIN

    @property
    def campaign_due(self) -> Instant:
        """The first moment at which the election timeout is over and no vow forbids a candidacy."""
        due = self.election_deadline
        if self.role == FOLLOWER and self.is_reluctant:
            due = due.plus(self.timing.election_max)
        return later(due, self.vow.end)

    @property
    def peers(self) -> Tuple[Instance, ...]:
        return tuple(member.instance for member in self.configuration.members if member.instance != self.own)

    def name(self, instance: Optional[Instance]) -> str:
        """Return how people know a member: its address without the scheme, else the head of its instance."""
        member = self.configuration.find(instance) if instance else None
        if member is None:
            return instance[:8] if instance else "nobody"
        return member.address.replace("tcp://", "")

    def decide(self, cause: str, effect: str) -> None:
        self.decisions.append(Decision(cause, effect))

    def refuse(self, request: int, code: str, reason: str = "") -> None:
        self.refused.append(Refusal(request, code, reason))

    def _find_configuration(self) -> Tuple[Configuration, int]:
        # The newest in the log rules, committed or not (dissertation §4.1); after truncation the one before.
        index, body = self.configuration_at(self.log.last_index)
        return (configurations.decode(body), index) if index else (NOBODY, 0)

    def _configure(self) -> None:
        self.configuration, self.configuration_index = self._find_configuration()
        if self.is_removed and self.configuration.find(self.own):
            self.set_hard(removed=ORIGIN)

    def configuration_at(self, index: int) -> Tuple[int, bytes]:
        """Return (index, body) of the newest configuration up to `index`, which is not below the base."""
        found = self.log.configuration_index(index)
        if found:
            return found, self.log.entry(found).body
        if self.is_installing:
            return self.partial.mark.configuration_index, self.partial.mark.configuration  # type: ignore
        if not self.snapshots:
            return 0, b""
        return self.snapshots[-1].configuration_index, self.snapshots[-1].configuration

    # --- snapshots (Raft §7); the rules are in `snapshots.py` and `installing.py`

    @property
    def snapshot_index(self) -> int:
        return self.snapshots[-1].position.index if self.snapshots else 0

    @property
    def is_installing(self) -> bool:
        """Has a whole snapshot arrived that is not durable yet?"""
        return self.partial is not None and self.partial.is_whole

    def _reset_log(self, base: Position) -> None:
        self.log = Log((), base)
        self.new_base = base

    # --- the log

    def append(self, entry: Entry) -> None:
        """Add one entry behind the log; a configuration takes effect at once."""
        self.log.append(entry)
        if entry.kind == CONFIGURATION:
            self._configure()

    def truncate_from(self, index: int) -> None:
        """Forget a suffix conflicting with the leader's log; nothing committed (Raft §5.3, pitfall 2.2)."""
        require(index > self.commit_index, "truncation of committed entries", index, self.commit_index)
        self.log.truncate_from(index)
        self.durable_index = min(self.durable_index, index - 1)
        self.submitted_index = min(self.submitted_index, index - 1)
        if self.at_disk and self.at_disk.last_index >= index:
            # The late answer for replaced entries must mean nothing (pitfall 2.3).
            self.at_disk = self.at_disk._replace(last_index=index - 1)
        if self.configuration_index >= index:
            self.configuration, self.configuration_index = self._find_configuration()

    def replace_log(self, base: Position) -> None:
        """Give up the log for one that begins behind `base`, whose snapshot is on its way to the disk.

        Until that is durable, what is committed and on disk here goes on counting, and nothing more.
        """
        require(base.index > self.commit_index, "a new log for what is committed", base, self.commit_index)
        self.durable_before = self.log.position(self.durable_index)
        self.durable_index = min(self.durable_index, self.commit_index)
        self._reset_log(base)
        self.submitted_index = base.index
        if self.at_disk:
            last = min(self.at_disk.last_index, self.commit_index)
            self.at_disk = self.at_disk._replace(last_index=last)
        self.owed = None
        self._configure()

    @property
    def durable_position(self) -> Position:
        """The last entry as a restart would find it."""
        if self.durable_index < self.log.base.index:
            return self.durable_before
        return self.log.position(self.durable_index)

    # --- hard state and the disk

    def set_hard(self, **changes: object) -> None:
        """Change term, vote or promise; what is sent by `send` from now on waits until that is durable."""
        changed = self.hard._replace(**changes)  # type: ignore[arg-type]
        if changed != self.hard:
            require(changed.term >= self.hard.term, "term falls", self.hard, changed)
            self.hard = changed
            self.hard_dirty = True

    @property
    def hard_is_durable(self) -> bool:
        return not self.hard_dirty and self.persisted_number >= self.hard_number

    def take_write(self) -> Optional[Write]:
        """Return the next batch for the disk: None while one is there, or where there is nothing to write."""
        if self.at_disk is not None:
            return None
        entries = fullness.next_batch(self)
        has_chunk = self.partial is not None and self.partial.has_chunk
        may_free = self.room != PLENTY and self.drop_upto > self.dropped_upto
        if not (self.hard_dirty or entries or has_chunk or self.new_base or may_free):
            return None
        self.write_number += 1
        chunk = self.partial.take_chunk(self.write_number) if self.partial else None
        base, self.new_base = self.new_base, None
        drop_upto = self.drop_upto if self.drop_upto > self.dropped_upto else 0
        self.dropped_upto = self.drop_upto
        hard = self.hard if self.hard_dirty else None
        if hard is not None:
            self.hard_number = self.write_number
        self.hard_dirty = False
        self.at_disk = _AtDisk(self.write_number, self.submitted_index, self.hard.term)
        return Write(self.write_number, hard, entries, None, chunk, base, drop_upto)

    def persisted(self, number: int) -> None:
        """Note that write `number` is durable, and let go what waited for it."""
        require(self.at_disk is not None and self.at_disk.number == number, "unexpected end of a write",
                number)
        self.durable_index = max(self.durable_index, self.at_disk.last_index)  # type: ignore[union-attr]
        self.durable_term = self.at_disk.term  # type: ignore[union-attr]
        self.at_disk, self.persisted_number = None, number
        self.messages += [(peer, message) for need, peer, message in self._held if need <= number]
        self._held = [item for item in self._held if item[0] > number]

    # --- messages

    def send_now(self, peer: Instance, message: Message) -> None:
        """Send what promises nothing that is not yet durable."""
        self.messages.append((peer, message))

    def send(self, peer: Instance, message: Message) -> None:
        """Send as soon as the present hard state is durable (P3)."""
        if self.hard_is_durable:
            self.messages.append((peer, message))
            return
        need = self.write_number + 1 if self.hard_dirty else self.hard_number
        self._held.append((need, peer, message))

    # --- terms and vows

    def is_vowed(self, now: Instant) -> bool:
        """Does P2 forbid this node a vote now: by a vow, or as the holder of the lease?"""
        return not now.reached(self.vow.end) or self.holds_lease(now)

    def vow_left(self, now: Instant) -> int:
        """Return the ns for which P2 forbids this node a vote, as far as it knows now (`is_vowed`)."""
        lease_left = now.left_within(self.lease_end) if self.holds_lease(now) else 0
        return max(now.until(self.vow.end), lease_left)

    def holds_lease(self, now: Instant) -> bool:
        return self.lease_end != NEVER and now.within(self.lease_end)

    def set_election_deadline(self, now: Instant) -> None:
        """Draw the randomized election timeout anew (Raft §5.2), earlier for a higher priority."""
        least, most = self.timing.election_min, self.timing.election_max
        rivals = [voter for voter in self.configuration.voters if voter not in (self.own, self.leader)]
        place = self.standings.place(self.random(), rivals)
        self.election_deadline = now.plus(least + int(place * (most - least)))
        self.election_was_late = False

    def hurry_election(self, now: Instant, least_ms: int, most_ms: int) -> None:
        """Campaign in `least_ms` to `most_ms`, unless it would be earlier anyway."""
        wait = least_ms * MS + int(self.random() * (most_ms - least_ms) * MS)
        if now.until(self.election_deadline) > wait:
            self.election_deadline = now.plus(wait)
            self.election_was_late = False

    def become_follower(self, now: Instant, term: int, leader: Optional[Instance]) -> None:
        """Follow in `term` (Raft §5.1): a leadership ends, a newer term has no vote yet."""
        if term > self.term:
            self.set_hard(term=term, vote=None)
            # What was proven equal to a leader's log of before need not be so to the same node's of now.
            self.owed = None
        if self.role != FOLLOWER:
            self._leave_role(now)
        if leader != self.leader or leader is None:
            self.owed = None
        self.leader = leader

    def _leave_role(self, now: Instant) -> None:
        if self.role == LEADER:
            self.heard_since = now      # until now there was a leader: this node
        self.role = FOLLOWER
        self.ballots = {}
        self.lease_end = NEVER
        self.shows_leader = False
        self.progress = {}
        for request in self.reads.drop():
            self.refuse(request, "no_leader")
        handover, self.handover = self.handover, None
        for held in handover.held if handover else ():
            self.refuse(held.request, "no_leader")
        if handover and handover.request is not None:
            self.refuse(handover.request, "no_leader", "lost leadership before anybody was told to lead")
        self.set_election_deadline(now)
