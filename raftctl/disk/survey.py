"""What a data directory holds, for people: read only, without its lock, also beside a running node.

Judges by the same code as a start (`directory`, `segments`, `recovery`, `snapshots`), but mends nothing, and
goes on where a start would stop: what is sound up to a damage is shown. Of the log no more than two segments
are in memory, and no entry is kept; `walk` reads it again and hands them out one by one.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import Callable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from raftctl.base.errors import NotAllowed, RaftctlError, UsageError
from raftctl.disk import directory, records, snapshots
from raftctl.disk.files import SYSTEM, Files, PlacedFault, disk_fault, guarded
from raftctl.disk.holder import Holder, find_holder
from raftctl.disk.identity import Identity
from raftctl.disk.reading import Reading, read_head, read_segment, walk_again
from raftctl.disk.recovery import MEND
from raftctl.disk.segments import check_base, missing, segment_name, segment_numbers, take_segments
from raftctl.raft import configuration as configurations
from raftctl.raft.configuration import Configuration, Malformed
from raftctl.raft.messages import Entry, HardState, Position, SnapshotMark

SOUND, TORN, DAMAGED, AHEAD, UNREAD = "sound", "torn", "damaged", "made ahead", "not read"
SET_ASIDE, UNFINISHED = "set aside", "unfinished"
# A running node writes and removes while we read: what it did looks like damage, but not twice the same.
_LOOKS, _PAUSE_S = 6, 0.1


class SegmentFound(NamedTuple):
    """`first` and `last`: lowest and highest index in it, 0 for none. `used`: bytes with header, up to the
    damage if there is one; `torn`: bytes of a torn tail behind them."""

    name: str
    state: str
    size: int
    used: int = 0
    first: int = 0
    last: int = 0
    torn: int = 0


class SnapshotFound(NamedTuple):
    """`size` of the file; `mark` only of a sound one."""

    name: str
    state: str
    size: int
    mark: Optional[SnapshotMark] = None


class Members(NamedTuple):
    """The newest configuration. `is_committed` None: that is not known from one disk."""

    index: int
    value: Configuration
    is_committed: Optional[bool]


class Survey(NamedTuple):
    """`identity` None: there is none, or it is damaged. `base`, `last`: the log holds what is behind `base`,
    up to `last`. All of the log is as of its damage, if it has one."""

    path: str
    identity: Optional[Identity]
    is_given_up: bool
    holder: Holder
    hard_state: HardState
    members: Optional[Members]
    base: Position
    last: Position
    segments: Tuple[SegmentFound, ...]
    snapshots: Tuple[SnapshotFound, ...]
    damage: Tuple[PlacedFault, ...]
    log: Reading


def survey(path: str, files: Files = SYSTEM) -> Survey:
    """Look at the data directory `path`. Blocks for the disk, and reads all of log and snapshots.

    Raises `UsageError` where it is none, `NotAllowed` where this user may not read it, `RaftctlError` where
    the disk does not even list it; all else that is wrong is in `damage`.
    """
    path = os.path.abspath(path)
    before: List[str] = []
    for _ in range(_LOOKS):
        found = _look(path, files)
        damage = [str(fault) for fault in found.damage]
        if not damage or damage == before or found.holder.held is False:
            break
        before = damage
        time.sleep(_PAUSE_S)
    return found


def walk(found: Survey, take: Callable[[Entry], None], files: Files = SYSTEM) -> None:
    """Call `take` with each entry of the log of `found` that still holds, in order of index.

    Reads the log again; of a running node, what it has written since is left out, and what it has removed.
    Raises as `survey`, and `PlacedFault` where the log was changed in between.
    """
    try:
        walk_again(files, found.log, take)
    except PlacedFault as fault:
        _require_allowed(fault)
        raise


def _look(path: str, files: Files) -> Survey:
    faults: List[PlacedFault] = []
    _require_ours(path, files)
    holder, lock_path = Holder(None, None), os.path.join(path, "lock")
    with _gathered(lock_path, faults):
        holder = find_holder(files, lock_path)
    identity, is_given_up = None, False
    with _gathered(path, faults):
        found = directory.read_identity(files, path)
        if found is None:
            directory.require_no_data(files, path)
        else:
            identity, is_given_up = found
    # What is being given up may be half gone: nothing of it counts.
    kept: Tuple[SnapshotFound, ...] = ()
    log = Reading(os.path.join(path, "log"), "")
    segments: Tuple[SegmentFound, ...] = ()
    if not is_given_up:
        kept = tuple(_look_at_snapshots(os.path.join(path, "snapshots"), files, faults))
        log, segments = _look_at_log(os.path.join(path, "log"), identity, files, faults)
    marks = [one.mark for one in reversed(kept) if one.mark]
    with _gathered(path, faults):
        check_base(log.log_path, log.base, marks)
    members = None
    with _gathered(path, faults):
        members = _newest_members(log, marks)
    return Survey(path, identity, is_given_up, holder, log.hard_state, members, log.base, log.last, segments,
                  kept, tuple(faults), log)


def _require_ours(path: str, files: Files) -> None:
    """Raise `UsageError` unless `path` is a directory with something in it that raftctl puts there."""
    try:
        names = files.names(path)
        if "instance" in names or "lock" in names and not files.is_directory(os.path.join(path, "lock")):
            return
        for folder, is_ours in (("log", _is_segment), ("snapshots", snapshots.is_name)):
            inner = os.path.join(path, folder)
            if folder in names and files.is_directory(inner) and any(map(is_ours, files.names(inner))):
                return
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such directory; name a data directory, or its configuration "
                         "with -c") from None
    except NotADirectoryError:
        raise UsageError(f"{path}: is no directory; name a data directory") from None
    except PermissionError as error:
        raise _refusal(error.filename or path) from error
    except OSError as error:
        # Not what the disk is to blame for while a node runs (74): it is what was asked about.
        raise RaftctlError(str(disk_fault(path, "reading", error))) from error
    raise UsageError(f'{path}: is no data directory: it has no "instance", no "lock" and nothing of a log')


@contextlib.contextmanager
def _gathered(path: str, faults: List[PlacedFault]) -> Iterator[None]:
    """Add the fault of the block to `faults`; raise `NotAllowed` for what this user may not read."""
    try:
        with guarded(path, "reading"):
            yield
    except PlacedFault as fault:
        _require_allowed(fault)
        faults.append(fault)


def _require_allowed(fault: PlacedFault) -> None:
    if isinstance(fault.__cause__, PermissionError):
        raise _refusal(fault.path) from fault


def _refusal(path: str) -> NotAllowed:
    return NotAllowed(f"{path}: permission denied; look as root or as the daemon's user: sudo")


def _is_segment(name: str) -> bool:
    return name.isascii() and name.isdigit() and int(name) > 0 and name == segment_name(int(name))


def _look_at_snapshots(folder: str, files: Files, faults: List[PlacedFault]) -> Iterator[SnapshotFound]:
    """Yield what the directory of snapshots holds, by name: so the newest is the last."""
    names: List[str] = []
    with _gathered(folder, faults), contextlib.suppress(FileNotFoundError):
        names = files.names(folder)
    for name in names:
        path, size, state, mark = os.path.join(folder, name), 0, DAMAGED, None
        found: List[PlacedFault] = []
        with _gathered(path, found):
            size = _size(files, path)
            if name.endswith((snapshots.OWN, snapshots.INSTALLED)):
                state = UNFINISHED
            elif name.endswith(snapshots.DAMAGED):
                state = SET_ASIDE
            else:
                try:
                    mark, descriptor = snapshots.open_sound(files, folder, name)
                except Malformed as error:
                    raise PlacedFault(path, f"is damaged ({error})", "a start sets it aside and uses the one "
                                      "before it, with the log; check the disk") from error
                files.close(descriptor)
                state = SOUND
        if not any(map(_has_vanished, found)):
            faults += found
            yield SnapshotFound(name, state, size, mark)


def _has_vanished(fault: PlacedFault) -> bool:
    """Was it listed a moment ago, and removed or renamed by a running node since?"""
    return isinstance(fault.__cause__, FileNotFoundError)


def _look_at_log(log_path: str, identity: Optional[Identity], files: Files,
                 faults: List[PlacedFault]) -> Tuple[Reading, Tuple[SegmentFound, ...]]:
    """Look again at once where the oldest segments went before they were read: those behind stay longer."""
    for _ in range(_LOOKS):
        found: List[PlacedFault] = []
        log, segments = _look_once(log_path, identity, files, found)
        if not any(map(_has_vanished, found)):
            break
    faults += found
    return log, segments


def _look_once(log_path: str, identity: Optional[Identity], files: Files,
               faults: List[PlacedFault]) -> Tuple[Reading, Tuple[SegmentFound, ...]]:
    names: List[str] = []
    with _gathered(log_path, faults), contextlib.suppress(FileNotFoundError):
        names = files.names(log_path)
    must_exist = bool(identity and identity.cluster_id)
    log = Reading(log_path, identity.instance if identity else _writer(log_path, names, files))
    before = len(faults)
    with _gathered(log_path, faults):
        segment_numbers(log_path, names)
    with _gathered(log_path, faults):
        if must_exist and not names:
            raise missing(log_path)
        take_segments(log, log_path, _without_gap(names), lambda number: read_segment(files, log, number),
                      must_exist=must_exist)
    broken = [fault.path for fault in faults[before:]]
    found = []
    for name in filter(_is_segment, names):
        path, one = os.path.join(log_path, name), SegmentFound(name, DAMAGED, 0)
        # What is wrong with a broken one has been said.
        with _gathered(path, [] if path in broken else faults):
            one = _segment(log, name, broken, files)
        found.append(one)
    return log, tuple(found)


def _writer(log_path: str, names: Sequence[str], files: Files) -> str:
    """Return the instance that the log names itself: that of the directory is not known."""
    for number in _without_gap(names)[:1]:
        with contextlib.suppress(Malformed):
            with guarded(log_path, "reading"):
                head = read_head(files, os.path.join(log_path, segment_name(number)))
            return records.decode_segment(head)[0].instance
    return ""


def _without_gap(names: Sequence[str]) -> List[int]:
    """Return the numbers of the segments up to the first that is missing."""
    numbers = [int(name) for name in names if _is_segment(name)]
    return [number for at, number in enumerate(numbers) if number == numbers[0] + at]


def _segment(log: Reading, name: str, broken: Sequence[str], files: Files) -> SegmentFound:
    path, number = os.path.join(log.log_path, name), int(name)
    size, end = _size(files, path), dict(log.ends).get(number, 0)
    if path in broken:
        state = DAMAGED
    elif end:
        state = TORN if number == log.number and log.cut_bytes else SOUND
    else:
        state = UNREAD if any(read_head(files, path)) else AHEAD
    count, first, last = log.spans.get(number, (0, 0, 0))
    return SegmentFound(name, state, size, end, first, last, log.cut_bytes if state == TORN else 0)


def _newest_members(log: Reading, marks: Sequence[SnapshotMark]) -> Optional[Members]:
    """Return the configuration that a start would go by: of the log, or of the newest of `marks`."""
    known = log.configurations[-1:] + [(mark.configuration_index, mark.configuration) for mark in marks[:1]]
    if not known:
        return None
    index, body = max(known)
    try:
        value = configurations.decode(body)
    except Malformed as error:
        raise PlacedFault(log.log_path, f"entry {index}: {error}", MEND) from error
    is_committed = bool(marks) and index <= marks[0].position.index
    return Members(index, value, True if is_committed else None)


def _size(files: Files, path: str) -> int:
    descriptor = files.open(path, os.O_RDONLY)
    try:
        return files.size(descriptor)
    finally:
        files.close(descriptor)
