"""What must hold after every turn: Raft's five properties (P1), the disk first (P3), one cluster (P7).

Leases and vows (P2) are in `leases.py`, what peers remember of each other (P7) in `remembering.py`.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple

from raftctl.raft.configuration import decode, is_quorum
from raftctl.raft.inputs import LEADER, Restored
from raftctl.raft.messages import (
    AppendReply,
    Entry,
    HardState,
    InstallReply,
    Position,
    Release,
    TimeoutNow,
    Vote,
    VoteReply,
)

from simulation.leases import Leases
from simulation.remembering import Remembering

if TYPE_CHECKING:
    from simulation.node import Process
    from simulation.world import World


class _OnDisk:
    """What a host's disk surely holds: all that its journal said was durable."""

    def __init__(self) -> None:
        self.hard = HardState()
        self.entries: List[Entry] = []       # from index 1: also those that a snapshot stands for
        self.chunks: Tuple[Optional[Position], int] = (None, 0)


class Checkers:
    def __init__(self, world: World) -> None:
        self._world = world
        self._disks: Dict[str, _OnDisk] = {}
        self._votes: Dict[Tuple[str, int], str] = {}
        self._leaders: Dict[int, str] = {}
        self._entries: Dict[Position, Tuple[Entry, int]] = {}
        self._committed: List[Entry] = []
        self._committed_in: List[int] = []       # the term in which each was seen to be committed, never falling
        self._checked: Dict[str, Tuple[int, Optional[Entry]]] = {}   # how far each log was looked at
        self._commits: Dict[str, int] = {}                           # and each commit_index
        self._roles: Dict[str, Tuple[str, int]] = {}
        self._bases: Dict[str, Position] = {}                        # behind which each log begins
        self._founding: Optional[Entry] = None
        self._digests: Dict[int, str] = {}                           # applied index → digest of the store
        self._applied: Dict[str, int] = {}
        self._changed = False
        self.leases = Leases(world)
        self.memory = Remembering(world)

    @property
    def committed(self) -> int:
        return len(self._committed)

    def _fail(self, rule: str, detail: object) -> None:
        self._world.fail(rule, detail)

    def _disk(self, process: Process) -> _OnDisk:
        return self._disks.setdefault(process.key, _OnDisk())

    # --- the disk (P3)

    def durable(self, process: Process, write: Any) -> None:
        disk = self._disk(process)
        if write.chunk:
            disk.chunks = (write.chunk.mark.position, write.chunk.offset + len(write.chunk.data))
        if write.hard_state:
            disk.hard = write.hard_state
        if write.base:
            disk.entries = self._covered_by(process, write.base)
        for entry in write.entries:
            del disk.entries[entry.index - 1:]
            disk.entries.append(entry)
        if write.memory is not None:
            self.memory.durable(process)

    def _covered_by(self, process: Process, position: Position) -> List[Entry]:
        """Return the entries that a snapshot of that place stands for: all of them are committed."""
        covered = self._committed[:position.index]
        if position.index and (len(covered) < position.index or covered[-1].position != position):
            self._fail("P1: a snapshot of what is not committed", f"{process.host.name}: {position}")
        return covered

    def recovered(self, process: Process, restored: Restored) -> None:
        """A start found this; what was durable must be in it (more may be: the write that was under way)."""
        hard = restored.hard_state
        entries = self._covered_by(process, restored.base) + list(restored.entries)
        for mark in restored.snapshots[-1:]:
            covered = self._covered_by(process, mark.position)
            entries = entries if entries[:len(covered)] == covered else covered
        disk = self._disk(process)
        self.memory.started(process)
        if process.host.has_gone_back:
            disk.hard, disk.entries = HardState(), []       # what the copy holds is all that it has (P7)
        if hard.term < disk.hard.term or (hard.term == disk.hard.term and disk.hard.vote
                                          and hard.vote != disk.hard.vote):
            self._fail("P3: a durable vote is lost", f"{process.host.name}: {disk.hard}, found {hard}")
        common = 0
        for mine, found in zip(disk.entries, entries):
            if mine != found:
                break
            common += 1
        replaced = len(entries) > common
        if common < len(disk.entries) and not replaced:
            self._fail("P3: durable entries are lost",
                       f"{process.host.name}: {len(disk.entries)} were durable, {common} found")
        disk.hard, disk.entries = hard, entries
        self._forget(process)

    def ended(self, process: Process) -> None:
        self._changed = True
        self._forget(process)
        self._roles.pop(process.key, None)

    def _forget(self, process: Process) -> None:
        self._checked.pop(process.key, None)
        self._commits.pop(process.key, None)
        self._applied.pop(process.key, None)
        self._bases.pop(process.key, None)

    # --- what leaves a node

    def sending(self, process: Process, target: Process, message: Any) -> None:
        kind = type(message)
        promises = kind is Vote or (kind is VoteReply and message.granted) or kind is AppendReply
        if promises and process.host.has_gone_back and self.memory.is_disowned(process):
            self._fail("P7: votes or acknowledges though a peer told it that it went back",
                       f"{process.host.name} to {target.host.name}: {message}")
        if kind is VoteReply and message.granted:
            self._vote(process, message.term, target.instance)
        elif kind is Vote and not process.host.is_copy:     # votes for a copy reach the original
            self._vote(process, message.term, process.instance)
            token = message.token
            if token and (token.term + 1, token.successor) != (message.term, process.instance):
                self._fail("P4: a token in another candidacy than its own", f"{process.host.name} {message}")
        elif kind is Release or kind is TimeoutNow:
            proof = message if kind is Release else message.token
            self.leases.given_up(proof.instance, proof.incarnation, proof.term)
        elif kind is AppendReply and message.accepted:
            self._acknowledged(process, target, message)
        elif kind is InstallReply:
            disk = self._disk(process)
            if message.offset > (disk.chunks[1] if disk.chunks[0] == message.position else 0):
                self._fail("P3: acknowledged a chunk beyond the disk", f"{process.host.name} {message}")

    def _vote(self, process: Process, term: int, candidate: str) -> None:
        hard = self._disk(process).hard
        if hard.term < term or (hard.term == term and hard.vote != candidate):
            self._fail("P3: a vote that is not durable", f"{process.host.name} {candidate} {term}, {hard}")
        voted = self._votes.setdefault((process.instance, term), candidate)
        if voted != candidate:
            self._fail("P1: two votes in a term", f"{process.host.name}: {voted}, {candidate} in {term}")

    def _acknowledged(self, process: Process, target: Process, message: AppendReply) -> None:
        disk = self._disk(process)
        theirs = target.turn.core._state
        if theirs.role == LEADER and theirs.term == message.term and message.match <= len(disk.entries):
            if message.match > theirs.log.base.index and disk.entries[message.match - 1] != theirs.log.entry(message.match):
                self._fail("P1: acknowledged what the leader has not",
                           f"{process.host.name} to {target.host.name}: {message}")
        if message.match > len(disk.entries) or disk.hard.term < message.term:
            self._fail("P3: acknowledged beyond the disk",
                       f"{process.host.name} {message}, {len(disk.entries)} entries, {disk.hard}")
        if not disk.hard.promise:
            self._fail("P2: a vow that is not on disk", f"{process.host.name} {message}")

    def released(self, process: Process, term: int) -> None:
        if process.is_alive:
            self._fail("P4: released while it lives", f"{process.host.name} term {term}")

    # --- after a turn (P1)

    def turned(self, process: Process) -> None:
        state = process.turn.core._state        # the product has no reason to show its log
        self._changed = self.leases.matters(process) or self._changed
        if state.log.base.index and self._bases.get(process.key) is not state.log.base:
            self._covered_by(process, state.log.base)
            self._bases[process.key] = state.log.base
        self._store(process)
        self._log_matching(process, state)
        if state.role == LEADER and self._roles.get(process.key) != (LEADER, state.term):
            self._leading(process, state)
        self._roles[process.key] = (state.role, state.term)
        self._commit(process, state)
        self.memory.turned(process)

    def _store(self, process: Process) -> None:
        """Stores that applied the same are the same, by entries or by a snapshot (pitfall 2.4)."""
        store = process.store
        if self._applied.get(process.key) == store.applied:
            return
        self._applied[process.key] = store.applied
        digest = store.digest()
        if self._digests.setdefault(store.applied, digest) != digest:
            self._fail("P1: stores differ", f"{process.host.name} at {store.applied}")

    def _log_matching(self, process: Process, state: Any) -> None:
        log = state.log
        length, last = self._checked.get(process.key, (0, None))
        is_same = length <= log.base.index or (length <= log.last_index and log.entry(length) is last)
        if log.last_index == length and is_same:
            return
        # Truncated: look at all of it again.
        length = max(length if is_same else 0, log.base.index)
        if not length and log.last_index:
            length = 1                          # entry 1: `_founding_entry`
        before = log.term_at(length)
        for index in range(length + 1, log.last_index + 1):
            entry = log.entry(index)
            known = self._entries.setdefault(Position(entry.term, index), (entry, before))
            if known != (entry, before):
                self._fail("P1: Log Matching", f"{process.host.name} at {entry.position}")
            before = entry.term
        newest = log.entry(log.last_index) if log.last_index > log.base.index else None
        self._checked[process.key] = (log.last_index, newest)

    def _founding_entry(self, process: Process, entry: Entry) -> None:
        """One cluster id: nor does a host that is told to join, or a wiped one, found its own (pitfall 3.12).

        Called once it is durable: until then its author may draw another cluster id after a crash.
        """
        self._founding = self._founding or entry
        if entry != self._founding:
            self._fail("P7: two clusters", f"{process.host.name}: {entry}, {self._founding}")

    def _leading(self, process: Process, state: Any) -> None:
        first = self._leaders.setdefault(state.term, process.instance)
        if first != process.instance:
            self._fail("P1: Election Safety", f"{first} and {process.instance} in term {state.term}")
        # The last that was committed in an earlier term; Log Matching says the same of all before it. Not the
        # last *of* an earlier term: votes may be read late, when a later leader has committed more.
        count = bisect_left(self._committed_in, state.term)
        if count and not state.log.holds(self._committed[count - 1].position):
            self._fail("P1: Leader Completeness",
                       f"{process.host.name} in term {state.term} has not {self._committed[count - 1]}")

    def _commit(self, process: Process, state: Any) -> None:
        seen = self._commits.get(process.key, 0)
        if state.commit_index == seen or not state.durable_index:
            return
        if not state.log.base.index:
            founding = state.log.entry(1)
            if state.commit_index > 1 or not self._world.bootstrapped:
                # Where `bootstrap` came beside a founding, one of the two never commits a second entry.
                self._founding_entry(process, founding)
            if state.commit_index == 1:
                self._founded(process, founding)
                return
        for index in range(max(seen, state.log.base.index) + 1, state.commit_index + 1):
            entry = state.log.entry(index)
            if index <= len(self._committed):
                if self._committed[index - 1] != entry:
                    self._fail("P1: State Machine Safety", f"{process.host.name} commits {entry.position}, "
                               f"{self._committed[index - 1].position} was")
                continue
            self._held_by_quorum(process, state, entry)
            self._committed.append(entry)
            self._committed_in.append(max([state.term, *self._committed_in[-1:]]))
        self._commits[process.key] = state.commit_index

    def _held_by_quorum(self, process: Process, state: Any, entry: Entry) -> None:
        if entry.index == 1:
            self._founded(process, entry)
            return
        voters = state.configuration.voters
        held = {voter: True for voter in voters if self._has(voter, entry)}
        if not is_quorum(held, voters):
            self._fail("P3: committed without a quorum of disks",
                       f"{process.host.name}: {entry.position} held by {' '.join(held)} of "
                       f"{' '.join(voters)}")

    def _founded(self, process: Process, entry: Entry) -> None:
        """Entry 1 is committed by unanimity: it names every listed node (design §6)."""
        named = tuple(sorted(member.address for member in decode(entry.body).members))
        listed = process.host.listed or named
        if self._world.bootstrapped and set(named) <= set(listed):
            return
        if named != listed or len(named) != len(process.host.listed or named[:1]):
            self._fail("P7: founded without all that are listed", f"{process.host.name}: {' '.join(named)}")

    def _has(self, instance: str, entry: Entry) -> bool:
        held = self._disks[instance].entries if instance in self._disks else []
        return len(held) >= entry.index and held[entry.index - 1] == entry

    # --- after every event (P2)

    def event(self) -> None:
        if self._changed:
            self._changed = False
            self.leases.look()

    def has_promised(self, instance: str) -> bool:
        """May a vow of this instance be open, by what its disk holds?"""
        return instance in self._disks and bool(self._disks[instance].hard.promise)
