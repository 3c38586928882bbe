"""The directory of snapshots: which are kept, which is being installed, who reads one (P3, design §4.3).

The two newest are kept: where the newest turns out damaged, the older and the log behind it give the same.
A file is `snapshot_file.py`'s.
"""

from __future__ import annotations

import os
import threading
from typing import Dict, List, Optional, Tuple

from raftctl.base.errors import require
from raftctl.disk import snapshot_file
from raftctl.disk.files import SYSTEM, DiskFull, Files, PlacedFault, guarded, read_range
from raftctl.disk.snapshot_file import Draft, UnknownFormat
from raftctl.raft.configuration import Malformed
from raftctl.raft.messages import Chunk, SnapshotMark

KEPT = 2
OWN, INSTALLED, DAMAGED = ".own", ".part", ".damaged"
_FOREIGN = "use the raftctl that wrote it; if none did, move it out of the directory"


class Snapshots:
    """`marks`: of the kept ones, newest first, swapped whole. `warnings`: what the start found damaged.

    `write_chunk` is the disk thread's; one other thread at a time may have a snapshot begun. `read` may be
    called by any thread, and blocks as long as the disk does.
    """

    def __init__(self, path: str, files: Files) -> None:
        self.path, self._files = path, files
        self.marks: Tuple[SnapshotMark, ...] = ()
        self.warnings: List[str] = []
        self._lock = threading.Lock()
        self._publishing = threading.Lock()
        self._open_files: Dict[SnapshotMark, int] = {}
        self._part: Optional[Draft] = None

    @classmethod
    def open(cls, path: str, files: Files = SYSTEM) -> Snapshots:
        """Open or make the directory; raise `DiskFault` for a file that this release does not know.

        Every snapshot is read whole. One that is damaged gets another name, and a text in `warnings`; what an
        earlier process had not finished is removed.
        """
        snapshots = cls(path, files)
        try:
            snapshots._load()
        except BaseException:
            snapshots.close()
            raise
        return snapshots

    def _load(self) -> None:
        files, path = self._files, self.path
        with guarded(path, "opening the snapshots"):
            if not files.is_directory(path):
                files.make_directory(path)
            names = files.names(path)
            files.sync_directory(path)
            files.sync_directory(os.path.dirname(path))
        for name in names:
            if name.endswith((OWN, INSTALLED)):
                with guarded(os.path.join(path, name), "removing"):
                    files.unlink(os.path.join(path, name))
            elif not name.endswith(DAMAGED):
                self._examine(name)
        self._remove_others(also_damaged=False)

    def _examine(self, name: str) -> None:
        files, path = self._files, os.path.join(self.path, name)
        try:
            mark, descriptor = open_sound(files, self.path, name)
        except Malformed as error:
            with guarded(path, "renaming"):
                files.rename(path, path + DAMAGED)
                files.sync_directory(self.path)
            self.warnings.append(f"{path} is damaged ({error}): it is kept as {name}{DAMAGED}, and the "
                                 "snapshot before it is used; check the disk")
        else:
            self._add(mark, descriptor)

    # --- writing

    def begin(self, mark: SnapshotMark) -> OwnSnapshot:
        """Begin a snapshot of this node's own store; raise `DiskFull`, changing nothing, without the room."""
        return OwnSnapshot(self, self._draft(mark, OWN))

    def write_chunk(self, chunk: Chunk) -> bool:
        """Add a chunk of another node's snapshot; with the last one it is durable under its name.

        A chunk at offset 0 begins anew, and drops what is there of any other, unless an empty one has just
        made room for it. Returns False, with nothing begun, where there is no room for an empty one.
        """
        part = self._part
        is_begun = part is not None and (part.mark, part.length) == (chunk.mark, 0)
        if chunk.offset == 0 and not (is_begun and chunk.data):
            self._part = None
            if part:
                part.abandon()
            try:
                part = self._part = self._draft(chunk.mark, INSTALLED)
            except DiskFull:
                if chunk.data:
                    raise
                return False
        require(part is not None and (part.mark, part.length) == (chunk.mark, chunk.offset),
                "a chunk out of order", chunk.mark.position, chunk.offset)
        part.write(chunk.data)   # type: ignore[union-attr]
        if chunk.is_last:
            self._part = None
            self._publish(part)   # type: ignore[arg-type]
        return True

    def _draft(self, mark: SnapshotMark, suffix: str) -> Draft:
        return Draft(self._files, os.path.join(self.path, name_of(mark) + suffix), mark)

    def _publish(self, draft: Draft) -> None:
        """Give the finished draft its name, durably, and only then remove what is no longer kept."""
        files, path = self._files, os.path.join(self.path, name_of(draft.mark))
        draft.complete()
        with self._publishing:
            if any(mark.position == draft.mark.position for mark in self.marks):
                draft.abandon()      # the same store, of another maker
                return
            with guarded(path, "naming the snapshot"):
                files.rename(draft.path, path)
                files.sync_directory(self.path)
            self._add(draft.mark, draft.descriptor)
            self._remove_others(also_damaged=True)

    def _add(self, mark: SnapshotMark, descriptor: int) -> None:
        with self._lock:
            known = sorted((*self.marks, mark), key=_by_index, reverse=True)
            self.marks = tuple(known[:KEPT])
            # What was displaced stays open until the next one is: a transfer may be about to read it.
            for gone in [one for one in self._open_files if one not in known]:
                self._files.close(self._open_files.pop(gone))
            self._open_files[mark] = descriptor

    def _remove_others(self, *, also_damaged: bool) -> None:
        """Remove the files of all snapshots but `marks`."""
        kept = [name_of(mark) for mark in self.marks]
        with guarded(self.path, "removing older snapshots"):
            gone = [name for name in self._files.names(self.path) if name not in kept
                    and (is_name(name) or also_damaged and name.endswith(DAMAGED))]
            for name in gone:
                self._files.unlink(os.path.join(self.path, name))
            if gone:
                self._files.sync_directory(self.path)

    # --- reading

    def read(self, mark: SnapshotMark, offset: int, size: int) -> Optional[bytes]:
        """Return `size` bytes of the body from `offset`, fewer at its end; None where `mark` is long gone."""
        with self._lock:
            if mark not in self._open_files:
                return None
            size = max(min(size, mark.size - offset), 0)
            with guarded(os.path.join(self.path, name_of(mark)), "reading"):
                begin = snapshot_file.body_offset(mark) + offset
                return read_range(self._files, self._open_files[mark], begin, size)

    def close(self) -> None:
        """Close all files. Once nobody uses them any more."""
        for descriptor in self._open_files.values():
            self._files.close(descriptor)
        self._open_files.clear()
        if self._part:
            self._files.close(self._part.descriptor)


class OwnSnapshot:
    """A snapshot of this node's own store; ends with `finish` or `abandon`. One thread at a time."""

    def __init__(self, snapshots: Snapshots, draft: Draft) -> None:
        self._snapshots, self._draft = snapshots, draft

    def write(self, data: bytes) -> None:
        """Add the next part of the body; blocks for the disk."""
        self._draft.write(data)

    def finish(self) -> None:
        """Make it durable under its name; one of older ones is removed after that."""
        self._snapshots._publish(self._draft)

    def abandon(self) -> None:
        self._draft.abandon()


def open_sound(files: Files, folder: str, name: str) -> Tuple[SnapshotMark, int]:
    """Open the snapshot `name`, read all of it, and return its mark and the descriptor.

    Raises `Malformed` where it is damaged, `DiskFault` for a file that this release does not know.
    """
    path = os.path.join(folder, name)
    if not is_name(name):
        raise PlacedFault(path, "this raftctl knows no such file among snapshots", _FOREIGN)
    with guarded(path, "opening"):
        descriptor = files.open(path, os.O_RDONLY)
    try:
        mark = snapshot_file.examine(files, path, descriptor)
        if name_of(mark) != name:
            raise Malformed(f"is of {mark.position} by its header")
        return mark, descriptor
    except BaseException as error:
        files.close(descriptor)
        if isinstance(error, UnknownFormat):
            raise PlacedFault(path, str(error), _FOREIGN) from error
        raise


def name_of(mark: SnapshotMark) -> str:
    """Return the file name: index, then term."""
    return f"{mark.position.index:020d}-{mark.position.term:020d}"


def is_name(name: str) -> bool:
    """May `name` be that of a finished snapshot?"""
    index, _, term = name.partition("-")
    return len(index) == len(term) == 20 and name.isascii() and (index + term).isdigit()


def _by_index(mark: SnapshotMark) -> int:
    return mark.position.index
