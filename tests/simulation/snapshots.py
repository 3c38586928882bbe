"""What `node/snapshotter.py` is on a real host: own snapshots written step by step, and chunks read.

Also the traps that spring when a chunk of an install goes to a disk.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Callable, Iterator, List, Optional

from unit.fake_disk import Died

from raftctl.base.errors import DiskFault
from raftctl.disk.files import DiskFull
from raftctl.raft.messages import Install, SnapshotMark
from raftctl.store.image import Image

if TYPE_CHECKING:
    from simulation.hosts import Host
    from simulation.node import Process

MS = 1_000_000


class Snapshotter:
    """Of one process. Each step is an event of its own, as long after the last as a sync takes."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._draft: Any = None
        self._mark: Optional[SnapshotMark] = None
        self._slices: Iterator[bytes] = iter(())

    def take(self, mark: SnapshotMark, image: Image) -> None:
        self._mark, self._slices = mark, image.slices()
        self._later(self._begin)

    def _later(self, step: Callable[[], None]) -> None:
        host = self._process.host
        host.world.after(host.disk_span(), self._do, step)

    def _do(self, step: Callable[[], None]) -> None:
        host = self._process.host
        if host.process is not self._process:
            return
        if host.is_frozen:
            host.world.after(10 * MS, self._do, step)
            return
        try:
            step()
        except DiskFault as fault:
            host.disk_failed(fault)

    def _begin(self) -> None:
        try:
            self._draft = self._process.snapshots.begin(self._mark)
        except DiskFull:
            self._process.post(("taken", None))
            return
        self._later(self._go_on)

    def _go_on(self) -> None:
        data = next(self._slices, None)
        if data is not None:
            self._draft.write(data)
            self._later(self._go_on)
            return
        self._draft.finish()
        self._draft = None
        self._process.post(("taken", self._mark))

    def interrupt(self, host: Host) -> None:
        """The process was killed: what it wrote got as far as it got."""
        if self._draft is None or host.draws.chance(0.3):
            return
        host.disk.die_at = host.disk.count + host.draws.between(1, 7)
        with contextlib.suppress(Died, DiskFault):
            for data in self._slices:
                self._draft.write(data)
            self._draft.finish()

    def read(self, peer: str, wanted: Install) -> None:
        self._later(lambda: self._read(peer, wanted))

    def _read(self, peer: str, wanted: Install) -> None:
        size = self._process.world.profile.chunk_bytes
        data = self._process.snapshots.read(wanted.mark, wanted.offset, size)
        self._process.post(("chunk_read", peer, wanted, data))


class Traps:
    """Acts that wait for so many more chunks, wherever they go."""

    def __init__(self) -> None:
        self._waiting: List[List[Any]] = []

    def set(self, count: int, act: Callable[[Host], None]) -> None:
        self._waiting.append([count, act])

    def chunk(self, host: Host) -> None:
        """A chunk goes to the disk of `host`."""
        for trap in self._waiting:
            trap[0] -= 1
        sprung = [trap for trap in self._waiting if trap[0] <= 0]
        self._waiting = [trap for trap in self._waiting if trap[0] > 0]
        for _, act in sprung:
            # Not within the turn: whose process it is ends there.
            host.world.after(0, act, host)
