"""The thread that writes this node's own snapshots, in slices, and between them reads those that are sent.

Neither may hold up the log's writes or the node thread; a failed disk ends the node here too (P3).
"""

from __future__ import annotations

import logging
import queue
import threading
from typing import Any, Callable, Iterator, NamedTuple, Optional, Union

from raftctl.disk.files import DiskFull
from raftctl.disk.snapshots import OwnSnapshot, Snapshots
from raftctl.raft.messages import Install, SnapshotMark
from raftctl.raft.snapshots import CHUNK_BYTES
from raftctl.store.image import Image

_log = logging.getLogger(__name__)


class Taken(NamedTuple):
    """The own snapshot `mark` is durable; None: there was no room for it."""

    mark: Optional[SnapshotMark]


class ChunkRead(NamedTuple):
    """What was read for `peer`; `data` None: that snapshot is kept no more."""

    peer: str
    wanted: Install
    data: Optional[bytes]


class _Take(NamedTuple):
    mark: SnapshotMark
    image: Image


class _Read(NamedTuple):
    peer: str
    wanted: Install


class _Writing(NamedTuple):
    mark: SnapshotMark
    draft: OwnSnapshot
    slices: Iterator[bytes]


class Snapshotter:
    """`take` and `read` by the node thread, never blocking; `post` gets `Taken` and `ChunkRead`."""

    def __init__(self, snapshots: Snapshots, post: Callable[[Any], None],
                 failed: Callable[[BaseException], None]) -> None:
        self._snapshots, self._post, self._failed = snapshots, post, failed
        # One own snapshot at a time, and one chunk a peer: SimpleQueue needs no bound.
        self._jobs: queue.SimpleQueue[Optional[Union[_Take, _Read]]] = queue.SimpleQueue()
        self._writing: Optional[_Writing] = None
        self._thread = threading.Thread(target=self._run, name="snapshots", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def take(self, mark: SnapshotMark, image: Image) -> None:
        """Make a snapshot durable; the one before must have been answered."""
        self._jobs.put(_Take(mark, image))

    def read(self, peer: str, wanted: Install) -> None:
        self._jobs.put(_Read(peer, wanted))

    def _run(self) -> None:
        try:
            while True:
                try:
                    job = self._jobs.get(block=self._writing is None)
                except queue.Empty:
                    self._go_on()
                    continue
                if job is None:
                    break
                self._begin(job) if isinstance(job, _Take) else self._read(job)
            if self._writing:
                self._writing.draft.abandon()
            self._snapshots.close()
        except BaseException as error:   # whatever it is, the node must not go on without its disk
            self._failed(error)

    def _begin(self, job: _Take) -> None:
        try:
            self._writing = _Writing(job.mark, self._snapshots.begin(job.mark), job.image.slices())
        except DiskFull as fault:
            _log.warning("no snapshot, the log grows on: %s", fault)
            self._post(Taken(None))

    def _go_on(self) -> None:
        mark, draft, slices = self._writing  # type: ignore[misc]
        data = next(slices, None)
        if data is not None:
            draft.write(data)
            return
        draft.finish()
        self._writing = None
        self._post(Taken(mark))

    def _read(self, job: _Read) -> None:
        data = self._snapshots.read(job.wanted.mark, job.wanted.offset, CHUNK_BYTES)
        self._post(ChunkRead(job.peer, job.wanted, data))

    def stop(self, deadline_s: float) -> bool:
        """Give up what is being written, and close; False where the disk hangs beyond `deadline_s`."""
        self._jobs.put(None)
        self._thread.join(deadline_s)
        return not self._thread.is_alive()
