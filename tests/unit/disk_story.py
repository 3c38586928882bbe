"""A node's disk from its first write to the third snapshot, step by step, and what must be there after each.

For the tests that end it at every operation. `Story` goes on until something stops it; `check` compares what
a start finds with what had been acknowledged.
"""

from __future__ import annotations

from raftctl.disk.files import DiskFull
from raftctl.disk.journal import Journal
from raftctl.disk.snapshots import Snapshots
from raftctl.raft.messages import COMMAND, ORIGIN, Chunk, Entry, HardState, Position, SnapshotMark, Write

DATA = "/var/data"
SEGMENT = 2048


def entry(index, term=1, size=300):
    return Entry(term, index, COMMAND, bytes([(index * 7 + term) % 251 + 1]) * size)


def mark(index, term, size):
    return SnapshotMark(Position(term, index), 1, b"configuration %d" % index, size)


def body(found):
    return bytes([found.position.index % 251 + 1]) * found.size


def entries(first, last, term, size=300):
    return tuple(entry(index, term, size) for index in range(first, last + 1))


def opened(disk, must_exist=False):
    snapshots = Snapshots.open(DATA + "/snapshots", disk)
    journal, found = Journal.open(DATA + "/log", "n1", disk, must_exist=must_exist, snapshots=snapshots)
    return journal, snapshots, found


class Model:
    """What the writes up to now amount to; `dropped` is the most that may be gone."""

    def __init__(self):
        self.hard, self.memory, self.base, self.entries, self.dropped = HardState(), b"", ORIGIN, [], 0

    def copy(self):
        other = Model()
        other.__dict__.update(self.__dict__, entries=list(self.entries))
        return other

    def apply(self, write):
        self.hard = write.hard_state or self.hard
        self.memory = self.memory if write.memory is None else write.memory
        if write.base:
            self.base, self.entries = write.base, []
        for each in write.entries:
            del self.entries[each.index - self.base.index - 1:]
            self.entries.append(each)
        self.dropped = max(self.dropped, write.drop_upto)

    def is_in(self, found):
        """Is `found` this state, save for what may have been dropped?"""
        if (found.hard_state, found.memory) != (self.hard, self.memory):
            return False
        gone = found.base.index - self.base.index
        places = [self.base, *(each.position for each in self.entries)]
        return (0 <= gone < len(places) and found.base == places[gone]
                and (not gone or found.base.index <= self.dropped)
                and list(found.entries) == self.entries[gone:])


class Story:
    """`acknowledged` and `under_way`: models without and with the write that may have been cut short."""

    def __init__(self, disk):
        self.disk, self.is_over = disk, False
        self.acknowledged = self.under_way = Model()
        self.marks = []         # durable, newest first
        self.maybe = None       # the snapshot that may have become so
        self.refused = 0        # snapshots for which there was no room
        self.full_seen = 0

    def begin(self):
        self.journal, self.snapshots, _ = opened(self.disk)

    def write(self, *several, **fields):
        """Write `fields`; `several` are the states in between that a large write passes through."""
        one = Write(1, fields.pop("hard", None), fields.pop("entries", ()), **fields)
        self.between, self.under_way = [], self.acknowledged.copy()
        for count in range(1, len(one.entries)):
            part = self.acknowledged.copy()
            part.apply(one._replace(entries=one.entries[:count]))
            self.between.append(part)
        self.under_way.apply(one)
        if one.chunk and one.chunk.is_last:
            self.maybe = one.chunk.mark
        taken = self.journal.append(one)
        self._durable(self.maybe)
        self.acknowledged = self.under_way
        self.journal.tidy()
        self.full_seen += bool(self.journal.full)
        return taken

    def _durable(self, found):
        if found:
            self.marks = sorted([found, *self.marks], key=lambda one: -one.position.index)[:2]
        self.maybe = None

    def own_snapshot(self, found):
        self.maybe = found
        try:
            writer = self.snapshots.begin(found)
        except DiskFull:
            self.refused += 1
            self.maybe = None
            return
        for offset in range(0, found.size, 400):
            writer.write(body(found)[offset:offset + 400])
        writer.finish()
        self._durable(found)

    def install(self, found, size, **last):
        while not self.write(chunk=Chunk(found, 0, b"")):
            self.refused += 1
        for offset in range(0, found.size, size):
            chunk = Chunk(found, offset, body(found)[offset:offset + size])
            self.write(chunk=chunk, **(last if chunk.is_last else {}))

    def run(self):
        self.begin()
        self.write(hard=HardState(1, "n1", 5), entries=entries(1, 2, 1), memory=b"one")
        self.write(entries=entries(3, 4, 1))
        self.write(hard=HardState(2, "n2", 5))
        self.write(entries=entries(5, 7, 2))                      # begins a segment
        self.own_snapshot(mark(4, 1, 1000))
        self.write(entries=entries(6, 9, 3), memory=b"two")       # overwrites, also in the segment before
        self.own_snapshot(mark(7, 3, 900))
        self.write(entries=entries(10, 11, 3), drop_upto=4)
        self.write(entries=entries(12, 24, 3))                    # more than two segments hold
        self.write(entries=(entry(20, 4),), drop_upto=4)          # far back, behind a segment's begin
        self.own_snapshot(mark(19, 3, 10))
        self.write(hard=HardState(5, None, 6), drop_upto=7)
        self.install(mark(60, 5, 1100), 500, base=Position(5, 60), entries=entries(61, 62, 5))
        self.write(entries=entries(63, 64, 5), drop_upto=19)
        self.own_snapshot(mark(63, 5, 0))
        self.write(entries=entries(65, 66, 5), memory=b"", drop_upto=60)
        self.write(hard=HardState(6, "n3", 6), entries=entries(66, 70, 6))
        self.is_over = True

    def check(self, disk):
        """A start on `disk` finds what was acknowledged; return (journal, snapshots, found)."""
        journal, snapshots, found = opened(disk)
        states = [self.acknowledged, *getattr(self, "between", ()), self.under_way]
        assert any(state.is_in(found) for state in states), (found, self.acknowledged.__dict__)
        self._check_marks(snapshots)
        return journal, snapshots, found

    def _check_marks(self, snapshots):
        kept = list(snapshots.marks)
        with_maybe = sorted(self.marks + [self.maybe] if self.maybe else self.marks,
                            key=lambda one: -one.position.index)[:2]
        assert kept in (self.marks, with_maybe), (kept, self.marks, self.maybe)
        assert not snapshots.warnings
        for one in kept:
            assert snapshots.read(one, 0, one.size + 1) == body(one)
