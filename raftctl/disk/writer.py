"""The disk thread: one write at a time from the node thread to the journal, its number back once durable."""

from __future__ import annotations

import queue
import threading
from typing import Callable, Optional

from raftctl.base import clock
from raftctl.base.errors import require
from raftctl.base.instants import Instant
from raftctl.disk.journal import Journal
from raftctl.raft.messages import Write


class Writer:
    """`submit` by the node thread, `persisted` and `failed` are called by the disk thread.

    `in_flight_since`, for any thread to read: when the write now at the disk was handed over, None without
    one. After a failure it stays: that write never ends.
    """

    def __init__(self, journal: Journal, persisted: Callable[[int], None],
                 failed: Callable[[BaseException], None]) -> None:
        self._journal, self._persisted, self._failed = journal, persisted, failed
        # At most one write is under way, and the word to stop behind it: SimpleQueue needs no bound.
        self._writes: queue.SimpleQueue[Optional[Write]] = queue.SimpleQueue()
        self.in_flight_since: Optional[Instant] = None
        self._thread = threading.Thread(target=self._run, name="disk", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, write: Write) -> None:
        """Hand over the next write; the one before must have been answered. Never blocks."""
        require(self.in_flight_since is None, "a second write while one is under way", write.number)
        self.in_flight_since = clock.now()
        self._writes.put(write)

    def _run(self) -> None:
        while True:
            write = self._writes.get()
            if write is None:
                self._journal.close()
                return
            try:
                self._journal.append(write)
            except BaseException as error:   # whatever it is, the node must not go on without its disk
                self._failed(error)
                return
            self.in_flight_since = None
            self._persisted(write.number)
            try:
                self._journal.tidy()
            except BaseException as error:
                self._failed(error)
                return

    def stop(self, deadline_s: float) -> bool:
        """Close the journal after the last write; False where the disk hangs for longer than `deadline_s`."""
        self._writes.put(None)
        self._thread.join(deadline_s)
        return not self._thread.is_alive()
