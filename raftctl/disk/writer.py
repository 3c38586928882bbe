"""The disk thread: one write at a time from the node thread to the journal, its number back once durable."""

from __future__ import annotations

import queue
import threading
from typing import Callable, Optional

from raftctl.base.errors import require
from raftctl.disk.journal import Journal
from raftctl.raft.messages import Write


class Writer:
    """`submit` by the node thread, `persisted` and `failed` are called by the disk thread."""

    def __init__(self, journal: Journal, persisted: Callable[[int], None],
                 failed: Callable[[BaseException], None]) -> None:
        self._journal, self._persisted, self._failed = journal, persisted, failed
        # At most one write is under way, and the word to stop behind it: SimpleQueue needs no bound.
        self._writes: "queue.SimpleQueue[Optional[Write]]" = queue.SimpleQueue()
        self._under_way = False
        self._thread = threading.Thread(target=self._run, name="disk", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, write: Write) -> None:
        """Hand over the next write; the one before must have been answered. Never blocks."""
        require(not self._under_way, "a second write while one is under way", write.number)
        self._under_way = True
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
            self._under_way = False
            self._persisted(write.number)

    def stop(self, deadline_s: float) -> bool:
        """Close the journal after the last write; False where the disk hangs for longer than `deadline_s`."""
        self._writes.put(None)
        self._thread.join(deadline_s)
        return not self._thread.is_alive()
