"""The files of a log, as a start takes them: their names, their order, and what must be there (design §4.3).

For the journal, and for whoever only looks. Reads nothing itself; the bytes are `recovery.py`'s.
"""

from __future__ import annotations

import os
from typing import Callable, List, Sequence

from raftctl.disk.files import PlacedFault
from raftctl.disk.recovery import MEND, Check, is_zeros
from raftctl.raft.messages import Position, SnapshotMark


def segment_name(number: int) -> str:
    return f"{number:010d}"


def segment_numbers(log_path: str, names: Sequence[str]) -> List[int]:
    """Return the numbers of the segments, `names` sorted; refuse a log with a file that this release does not
    know, or a gap: it may lack what was acknowledged."""
    numbers: List[int] = []
    for name in names:
        number = int(name) if name.isascii() and name.isdigit() else 0
        if not number or name != segment_name(number):
            raise PlacedFault(os.path.join(log_path, name), "this raftctl knows no such file in a log",
                              "use the raftctl that wrote it; if none did, move it out of the directory")
        if numbers and number != numbers[-1] + 1:
            raise PlacedFault(os.path.join(log_path, segment_name(numbers[-1] + 1)),
                              "is missing between segments that are there", f"put it back, or {MEND}")
        numbers.append(number)
    return numbers


def take_segments(check: Check, log_path: str, numbers: Sequence[int], read: Callable[[int], bytes], *,
                  must_exist: bool) -> None:
    """Give `check` the segments `numbers`, whose bytes `read` returns; no more than two of them are held.

    `must_exist`: the log can't be empty. Raises `PlacedFault` where it can't be trusted.
    """
    numbers = list(numbers)
    last = read(numbers[-1]) if numbers else b""
    if numbers and is_zeros(last):
        # Made ahead, and the one before it was not full.
        if len(numbers) == 1 and (must_exist or numbers != [1]):
            raise missing(log_path)
        numbers = numbers[:-1]
        last = read(numbers[-1]) if numbers else b""
    for number in numbers[:-1]:
        check.take(_path(log_path, number), number, read(number), is_last=False)
    if numbers:
        check.take(_path(log_path, numbers[-1]), numbers[-1], last, is_last=True)


def missing(log_path: str) -> PlacedFault:
    """Return the fault of a directory that belongs to a cluster and has no log."""
    return PlacedFault(_path(log_path, 1), "the log is missing, but the directory belongs to a cluster",
                       f"put it back, or {MEND}")


def check_base(log_path: str, base: Position, marks: Sequence[SnapshotMark]) -> None:
    """Raise `PlacedFault` unless a snapshot reaches as far as the begin of the log; `marks`: newest first."""
    if base.index > (marks[0].position.index if marks else 0):
        raise PlacedFault(log_path, f"the log begins behind entry {base.index}, and no sound snapshot "
                          "reaches as far", f"put the snapshots back, or {MEND}")


def _path(log_path: str, number: int) -> str:
    return os.path.join(log_path, segment_name(number))
