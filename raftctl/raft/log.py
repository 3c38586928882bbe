"""The log in memory: positions, agreement, truncation, compaction. `state.py` knows what of it is durable.

Behind its *base* (Raft §7: last included index and term) it holds every entry; up to the base a snapshot
stands for them. All up to the base is committed, so each later leader's log agrees with it (Leader
Completeness).
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Iterable, List, Tuple

from raftctl.base.errors import require
from raftctl.raft.messages import CONFIGURATION, ORIGIN, Entry, Position

# What an entry takes in memory beside its body, so that `size` bounds many small ones too.
ENTRY_COST = 200


class Log:
    """Entries from `base.index` + 1 without a gap; terms never fall."""

    def __init__(self, entries: Iterable[Entry] = (), base: Position = ORIGIN) -> None:
        self.base = base
        self._entries: List[Entry] = []
        self._run_terms: List[int] = [base.term]      # runs of equal terms: their terms …
        self._run_starts: List[int] = [base.index]    # … and the index at which each begins
        self._configurations: List[int] = []          # indexes of the CONFIGURATION entries
        self.size = 0                                 # bytes in memory, about
        for entry in entries:
            self.append(entry)

    @property
    def last_index(self) -> int:
        return self.base.index + len(self._entries)

    @property
    def last(self) -> Position:
        return self.position(self.last_index)

    def term_at(self, index: int) -> int:
        """Return the term of the entry at `index`, which is from the base to `last_index`."""
        return self.position(index).term

    def position(self, index: int) -> Position:
        """Return the place of the entry at `index`, which is from the base to `last_index`."""
        if index == self.base.index:
            return self.base
        return Position(self.entry(index).term, index)

    def entry(self, index: int) -> Entry:
        require(index > self.base.index, "an entry that only the snapshot holds", index, self.base)
        return self._entries[index - self.base.index - 1]

    def holds(self, position: Position) -> bool:
        """Is there an entry of just this index and term? (Log Matching: then all before it agree too.)

        Yes below the base for whatever a leader says: what is committed is the same in its log.
        """
        if position.index < self.base.index:
            return True
        return position.index <= self.last_index and self.term_at(position.index) == position.term

    def append(self, entry: Entry) -> None:
        require(entry.index == self.last_index + 1, "entry does not follow the log", entry.position,
                self.last)
        if entry.term != self._run_terms[-1]:
            require(entry.term > self._run_terms[-1], "terms of a log fall", entry.position, self.last)
            self._run_terms.append(entry.term)
            self._run_starts.append(entry.index)
        if entry.kind == CONFIGURATION:
            self._configurations.append(entry.index)
        self._entries.append(entry)
        self.size += len(entry.body) + ENTRY_COST

    def truncate_from(self, index: int) -> None:
        """Forget the entry at `index`, which is behind the base, and all behind it."""
        require(index > self.base.index, "truncation of what a snapshot holds", index, self.base)
        first = index - self.base.index - 1
        self.size -= _size(self._entries[first:])
        del self._entries[first:]
        while self._run_starts[-1] >= index:
            self._run_starts.pop()
            self._run_terms.pop()
        while self._configurations and self._configurations[-1] >= index:
            self._configurations.pop()

    def compact(self, upto: int) -> None:
        """Forget the entries up to `upto`, which a snapshot holds; it becomes the base and keeps its term."""
        gone = upto - self.base.index
        self.base = self.position(upto)
        self.size -= _size(self._entries[:gone])
        del self._entries[:gone]
        runs = bisect_right(self._run_starts, upto)
        self._run_terms = [self.base.term] + self._run_terms[runs:]
        self._run_starts = [upto] + self._run_starts[runs:]
        self._configurations = self._configurations[bisect_right(self._configurations, upto):]

    def configuration_index(self, index: int) -> int:
        """Return the index of the newest CONFIGURATION entry up to `index`; 0: none behind the base."""
        found = bisect_right(self._configurations, index)
        return self._configurations[found - 1] if found else 0

    def between(self, after: int, upto: int) -> Tuple[Entry, ...]:
        """Return the entries behind `after`, which is not below the base, up to and with `upto`."""
        require(after >= self.base.index, "entries that only the snapshot holds", after, self.base)
        return tuple(self._entries[after - self.base.index:max(upto - self.base.index, 0)])

    def chunk(self, after: int, byte_limit: int) -> Tuple[Entry, ...]:
        """Return entries behind `after`, at least one if any, that take `byte_limit` bytes at most."""
        taken: List[Entry] = []
        size = 0
        for place in range(after - self.base.index, len(self._entries)):
            entry = self._entries[place]
            size += entry.size
            if taken and size > byte_limit:
                break
            taken.append(entry)
        return tuple(taken)

    def last_not_newer(self, index: int, term: int) -> int:
        """Return the highest index, at most `index`, whose term is at most `term`, as far as is known.

        What both sides of a rejected append jump by: whole terms instead of single entries (Raft §5.3).
        Below the base terms are forgotten: there the answer is only no lower than the true one.
        """
        index = min(index, self.last_index)
        run = bisect_right(self._run_terms, term)
        if run == len(self._run_terms):
            return index
        return max(min(index, self._run_starts[run] - 1), 0)


def _size(entries: List[Entry]) -> int:
    return sum(len(entry.body) + ENTRY_COST for entry in entries)
