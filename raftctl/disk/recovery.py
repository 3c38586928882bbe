"""What a start makes of the segments: the state, a torn tail to cut, or damage to refuse (design §4.3).

Pure. Cut is only a last batch, in the last segment that was begun, that runs past the end of the file or
lacks a whole sector: it was never acknowledged, as its sync never returned. All else is damage: what is
behind may have been acknowledged.
"""

from __future__ import annotations

from typing import List

from raftctl.disk import records
from raftctl.disk.files import PlacedFault
from raftctl.disk.records import Batch, Segment
from raftctl.raft.configuration import Malformed
from raftctl.raft.messages import ORIGIN, Entry, HardState, Position

MEND = "move the directory away and start: the node rejoins empty"


class Check:
    """What the segments taken so far amount to, but for the entries: `Replay` keeps them. `take` the segments
    in order, then read the attributes; after a `PlacedFault` they are what stands before the damage.

    `base`: the log begins behind it. In the last segment, `end` is where the next record goes, `chain` its
    checksum's beginning, `cut_bytes` the length of a torn tail from `end` to its last byte that is not zero.
    `tops`: for each segment, the highest index that the log may need of it, 0 for none; what was written over
    in the same segment does not count.
    """

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self.hard_state, self.memory = HardState(), b""
        self.base = self.last = ORIGIN
        self.number = self.end = self.chain = self.cut_bytes = 0
        self.tops: List[int] = []
        # The segments before the first were dropped: what it overwrites may have stood in one of them.
        self._lacks_some = False

    def take(self, path: str, number: int, data: bytes, *, is_last: bool) -> None:
        """Add the segment `number`, which stands at `path`; raise `PlacedFault` where it is damaged."""
        try:
            segment, chain = records.decode_segment(data[:records.SECTOR])
        except Malformed as error:
            raise PlacedFault(path, str(error), MEND, 0) from error
        if segment.instance != self._instance:
            raise PlacedFault(path, f"belongs to instance {segment.instance}, the directory to "
                              f"{self._instance}", MEND, 0)
        if segment.number != number:
            raise PlacedFault(path, f"is segment {segment.number} by its header",
                              f"give it that name back, or {MEND}", 0)
        self._follow(path, segment)
        self.number, self.chain, self.end = number, chain, records.SECTOR
        self.tops.append(0)
        self._replay(path, data, is_last)
        needs_record = not is_last or (len(self.tops) == 1 and number > 1)
        if self.end == records.SECTOR and needs_record:
            raise PlacedFault(path, "holds no whole record, and what it should repeat is nowhere else", MEND,
                              records.SECTOR)

    def _follow(self, path: str, segment: Segment) -> None:
        if not self.tops:
            self.base = self.last = segment.before
            self._lacks_some = segment.number > 1
        elif (segment.before, segment.previous) != (self.last, self.chain):
            raise PlacedFault(path, "does not follow the end of the segment before it, which is damaged or "
                              "of another time", MEND, 0)

    def _replay(self, path: str, data: bytes, is_last: bool) -> None:
        while any(data[self.end:self.end + records.HEAD_SIZE]):
            offset = self.end
            head = records.decode_head(data[offset:offset + records.HEAD_SIZE], self.chain)
            if head is None:
                break
            record = data[offset:offset + head.size]
            decoded = records.decode_record(record, self.chain) if len(record) == head.size else None
            if decoded is None:
                if len(record) == head.size and not records.is_torn(record, head, offset):
                    raise _damaged(path, offset, "its checksum is wrong and no sector of it is missing")
                self._cut(path, data, offset + len(record), is_last)
                return
            body, self.chain = decoded
            self._take_record(path, offset, body)
            self.end += head.size
        self._finish(path, data, is_last)

    def _take_record(self, path: str, offset: int, body: bytes) -> None:
        try:
            batch = records.decode_items(body)
        except Malformed as error:
            raise _damaged(path, offset, str(error)) from error
        if offset == records.SECTOR and (batch.hard_state is None or batch.memory is None):
            raise _damaged(path, offset, "it is a segment's first and does not repeat the hard state")
        if batch.base is not None:
            self._lacks_some = False
            self._begin(batch.base)
            self.tops = [0] * len(self.tops)
        for entry in batch.entries:
            self._take_entry(path, offset, entry)
        self._keep(batch)

    def _take_entry(self, path: str, offset: int, entry: Entry) -> None:
        self.tops[-1] = entry.index
        if entry.index <= self.base.index and self._lacks_some:
            # It overwrote an entry of a segment that was dropped, so a snapshot covers it: begin behind it.
            self._begin(entry.position)
            return
        if not self.base.index < entry.index <= self.last.index + 1:
            raise _damaged(path, offset, f"entry {entry.index} follows {self.last.index}")
        self._put(entry)

    def _begin(self, base: Position) -> None:
        """The log is empty, and begins behind `base`."""
        self.base = self.last = base

    def _put(self, entry: Entry) -> None:
        """A conflict is overwritten logically: a later entry replaces that one and all behind it."""
        self.last = entry.position

    def _keep(self, batch: Batch) -> None:
        self.hard_state = batch.hard_state or self.hard_state
        self.memory = self.memory if batch.memory is None else batch.memory

    def _finish(self, path: str, data: bytes, is_last: bool) -> None:
        offset = self.end
        if is_zeros(data[offset:]):
            return
        first_sector_end = offset - offset % records.SECTOR + records.SECTOR
        if len(data) - offset >= records.HEAD_SIZE and any(data[offset:first_sector_end]):
            raise _damaged(path, offset, "its head is damaged")
        # Without a head the batch's size is unknown: a sound head anywhere behind says that this sector was
        # once synced.
        if _has_later_record(data, offset + records.HEAD_SIZE):
            raise _damaged(path, offset,
                           "its first sector is zeros, but more records follow it, so it is no torn tail")
        self._cut(path, data, len(data), is_last)

    def _cut(self, path: str, data: bytes, record_end: int, is_last: bool) -> None:
        """Cut a torn last batch, unless more follows that no torn last batch could leave behind."""
        if not is_last:
            raise _damaged(path, self.end, "a later segment follows it, so it is no torn tail")
        if not is_zeros(data[record_end:]):
            raise _damaged(path, self.end, "more records follow it, so it is no torn tail")
        self.cut_bytes = max(len(data.rstrip(b"\x00")) - self.end, 0)


class Replay(Check):
    """As `Check`, with the `entries` behind `base`."""

    def __init__(self, instance: str) -> None:
        super().__init__(instance)
        self.entries: List[Entry] = []

    def _begin(self, base: Position) -> None:
        super()._begin(base)
        self.entries.clear()

    def _put(self, entry: Entry) -> None:
        super()._put(entry)
        del self.entries[entry.index - self.base.index - 1:]
        self.entries.append(entry)


def is_zeros(data: bytes) -> bool:
    return not data.rstrip(b"\x00")


def _has_later_record(data: bytes, begin: int) -> bool:
    found = data.find(records.BATCH, begin)
    while found != -1:
        if found % records.ALIGNMENT == 0:
            # The record before may be damaged; its checksum is taken as it stands: only the head must fit
            # to it.
            chain = records.chain_before(data, found)
            head = data[found:found + records.HEAD_SIZE]
            if chain is not None and records.decode_head(head, chain) is not None:
                return True
        found = data.find(records.BATCH, found + 1)
    return False


def _damaged(path: str, offset: int, why: str) -> PlacedFault:
    return PlacedFault(path, f"the record at byte {offset} is damaged: {why}", MEND, offset)
