"""The log in memory: positions, agreement, truncation. What is durable or committed `state.py` knows."""

from __future__ import annotations

from bisect import bisect_right
from typing import Iterable, List, Tuple

from raftctl.base.errors import require
from raftctl.raft.messages import ORIGIN, Entry, Position


class Log:
    """Entries from index 1 without a gap; terms never fall."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries: List[Entry] = []
        self._run_terms: List[int] = []    # runs of equal terms: their terms …
        self._run_starts: List[int] = []   # … and the index at which each begins
        for entry in entries:
            self.append(entry)

    @property
    def last_index(self) -> int:
        return len(self._entries)

    @property
    def last(self) -> Position:
        return self.position(len(self._entries))

    def term_at(self, index: int) -> int:
        """Return the term of the entry at `index` (0 for index 0); `index` is at most `last_index`."""
        return self._entries[index - 1].term if index else 0

    def position(self, index: int) -> Position:
        return Position(self._entries[index - 1].term, index) if index else ORIGIN

    def entry(self, index: int) -> Entry:
        return self._entries[index - 1]

    def holds(self, position: Position) -> bool:
        """Is there an entry of just this index and term? (Log Matching: then all before it agree too.)"""
        return position.index <= len(self._entries) and self.term_at(position.index) == position.term

    def append(self, entry: Entry) -> None:
        require(entry.index == len(self._entries) + 1, "entry does not follow the log", entry.position,
                self.last)
        if not self._run_terms or entry.term != self._run_terms[-1]:
            require(entry.term >= self.term_at(len(self._entries)), "terms of a log fall", entry.position,
                    self.last)
            self._run_terms.append(entry.term)
            self._run_starts.append(entry.index)
        self._entries.append(entry)

    def truncate_from(self, index: int) -> None:
        """Forget the entry at `index` and all behind it."""
        del self._entries[index - 1:]
        while self._run_starts and self._run_starts[-1] >= index:
            self._run_starts.pop()
            self._run_terms.pop()

    def between(self, after: int, upto: int) -> Tuple[Entry, ...]:
        """Return the entries behind `after` up to and with `upto`."""
        return tuple(self._entries[after:upto])

    def chunk(self, after: int, byte_limit: int) -> Tuple[Entry, ...]:
        """Return entries behind `after`, at least one if any, that take `byte_limit` bytes at most."""
        taken: List[Entry] = []
        size = 0
        for index in range(after, len(self._entries)):
            entry = self._entries[index]
            size += entry.size
            if taken and size > byte_limit:
                break
            taken.append(entry)
        return tuple(taken)

    def last_not_newer(self, index: int, term: int) -> int:
        """Return the highest index, at most `index`, whose term is at most `term` (0: none).

        What both sides of a rejected append jump by: whole terms instead of single entries (Raft §5.3).
        """
        index = min(index, len(self._entries))
        run = bisect_right(self._run_terms, term)
        if run == len(self._run_terms):
            return index
        return min(index, self._run_starts[run] - 1)
