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

# How often it is tried whether a full disk has room again.
RETRY_NS = 1_000_000_000
RETRY_S = RETRY_NS / 1e9


class Writer:
    """`submit` by the node thread; `persisted`, `failed` and `room` are called by the disk thread.

    `in_flight_since`, for any thread to read: when the write now at the disk was handed over, None without
    one. After a failure it stays: that write never ends.
    """

    def __init__(self, journal: Journal, persisted: Callable[[int, bool], None],
                 failed: Callable[[BaseException], None], room: Callable[[Optional[int], str], None]) -> None:
        """`persisted` gets a write's number, and what `Journal.append` returned.

        `room` is told how many bytes of entries still fit while the disk is full, and why it is; None, "": as
        many as come. At the start it is told only where it is full.
        """
        self._journal, self._persisted, self._failed, self._tell_room = journal, persisted, failed, room
        # At most one write is under way, and the word to stop behind it: SimpleQueue needs no bound.
        self._writes: queue.SimpleQueue[Optional[Write]] = queue.SimpleQueue()
        self.in_flight_since: Optional[Instant] = None
        self._room: Optional[int] = None
        self._next_try = clock.now()
        self._thread = threading.Thread(target=self._run, name="disk", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, write: Write) -> None:
        """Hand over the next write; the one before must have been answered. Never blocks."""
        require(self.in_flight_since is None, "a second write while one is under way", write.number)
        self.in_flight_since = clock.now()
        self._writes.put(write)

    def _run(self) -> None:
        try:
            self._show_room()
            while True:
                try:
                    write = self._writes.get(timeout=RETRY_S if self._journal.full else None)
                except queue.Empty:
                    self._tidy()
                    continue
                if write is None:
                    self._journal.close()
                    return
                has_room = self._journal.append(write)
                self.in_flight_since = None
                self._persisted(write.number, has_room)
                self._tidy()
        except BaseException as error:   # whatever it is, the node must not go on without its disk
            self._failed(error)

    def _tidy(self) -> None:
        is_due = not self._journal.full or clock.now().reached(self._next_try)
        self._journal.tidy(may_grow=is_due)
        if is_due:
            self._next_try = clock.now().plus(RETRY_NS)
        self._show_room()

    def _show_room(self) -> None:
        room = self._journal.room
        if room != self._room:
            self._room = room
            self._tell_room(room, self._journal.full)

    def stop(self, deadline_s: float) -> bool:
        """Close the journal after the last write; False where the disk hangs for longer than `deadline_s`."""
        self._writes.put(None)
        self._thread.join(deadline_s)
        return not self._thread.is_alive()
