"""A log of any length, read only and in bounded memory: what holds of it, and then its entries one by one.

A later entry replaces an earlier one and all behind it, so who reads forward can't know which entries hold.
The first reading notes where that happened, the second hands out the others.
"""

from __future__ import annotations

import os
from typing import Callable, Dict, List, Optional, Tuple

from raftctl.disk import records
from raftctl.disk.files import Files, PlacedFault, guarded, read_range
from raftctl.disk.recovery import Check
from raftctl.disk.segments import segment_name
from raftctl.raft.messages import CONFIGURATION, Entry, Position

Place = Tuple[int, int]


class Reading(Check):
    """The first reading.

    `ends`: number and sound end of each segment that was begun. `spans`: of each segment with entries, how
    many they are, and the lowest and highest index. `cuts`: a place in the log (segment, number of the entry
    in it) and an index: entries before that place hold only below that index. The indexes rise: a cut that a
    later one outdoes is left out. `configurations`: index and body of those that hold.
    """

    def __init__(self, log_path: str, instance: str) -> None:
        super().__init__(instance)
        self.log_path, self.instance = log_path, instance
        self.ends: List[Tuple[int, int]] = []
        self.spans: Dict[int, Tuple[int, int, int]] = {}
        self.cuts: List[Tuple[Place, int]] = []
        self.configurations: List[Tuple[int, bytes]] = []

    def path_of(self, number: int) -> str:
        return os.path.join(self.log_path, segment_name(number))

    def take(self, path: str, number: int, data: bytes, *, is_last: bool) -> None:
        try:
            super().take(path, number, data, is_last=is_last)
        finally:
            if self.number == number:
                self.ends.append((number, self.end))

    @property
    def place(self) -> Place:
        """Return where the entry stands that was read last."""
        return self.number, self.spans.get(self.number, (0, 0, 0))[0]

    def _take_entry(self, path: str, offset: int, entry: Entry) -> None:
        count, lowest, highest = self.spans.get(self.number, (0, entry.index, entry.index))
        self.spans[self.number] = count + 1, min(lowest, entry.index), max(highest, entry.index)
        super()._take_entry(path, offset, entry)

    def _begin(self, base: Position) -> None:
        super()._begin(base)
        number, count = self.place
        self._note((number, count + 1), 0)

    def _put(self, entry: Entry) -> None:
        if entry.index <= self.last.index:
            self._note(self.place, entry.index)
        super()._put(entry)
        if entry.kind == CONFIGURATION:
            self.configurations.append((entry.index, entry.body))

    def _note(self, place: Place, index: int) -> None:
        while self.cuts and self.cuts[-1][1] >= index:
            self.cuts.pop()
        self.cuts.append((place, index))
        while self.configurations and self.configurations[-1][0] >= index:
            self.configurations.pop()


class _Again(Reading):
    """The second reading: calls `give` with the entries that hold by the cuts of the first."""

    def __init__(self, first: Reading, give: Callable[[Entry], None]) -> None:
        super().__init__(first.log_path, first.instance)
        self._to_come, self._give = list(reversed(first.cuts)), give

    def _put(self, entry: Entry) -> None:
        super()._put(entry)
        while self._to_come and self._to_come[-1][0] <= self.place:
            self._to_come.pop()
        if not self._to_come or entry.index < self._to_come[-1][1]:
            self._give(entry)


def walk_again(files: Files, first: Reading, give: Callable[[Entry], None]) -> None:
    """Read what `first` found sound again, and call `give` with each entry that holds, in order of index.

    A segment that was removed in between is left out: a snapshot covers its entries. Raises `PlacedFault`.
    """
    again = _Again(first, give)
    # A segment without a record can only be the last.
    ends = [(number, end) for number, end in first.ends if end > records.SECTOR]
    for number, end in ends:
        try:
            data = read_segment(files, first, number, end)
        except PlacedFault as fault:
            if isinstance(fault.__cause__, FileNotFoundError):
                continue
            raise
        again.take(first.path_of(number), number, data, is_last=(number, end) == ends[-1])


def read_segment(files: Files, log: Reading, number: int, end: Optional[int] = None) -> bytes:
    """Return the bytes of a segment, or those before `end`; raise `PlacedFault` where that can't be read."""
    path = log.path_of(number)
    with guarded(path, "reading"):
        descriptor = files.open(path, os.O_RDONLY)
        try:
            # What the cache holds may never have reached the disk (pitfall 5.1).
            files.forget_cached(descriptor)
            return read_range(files, descriptor, 0, files.size(descriptor) if end is None else end)
        finally:
            files.close(descriptor)


def read_head(files: Files, path: str) -> bytes:
    """Return the first sector of a segment; raises `OSError`."""
    descriptor = files.open(path, os.O_RDONLY)
    try:
        return read_range(files, descriptor, 0, records.SECTOR)
    finally:
        files.close(descriptor)
