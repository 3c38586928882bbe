"""Deadlines on threading.Timer: one at a time, posted to the inbox; owns nothing else.

A later deadline is only noted: the timer that fires early looks, and arms again. So a follower that hears a
heartbeat every 100 ms starts one thread an election timeout, not ten a second.
"""

from __future__ import annotations

import threading
from typing import Callable, Optional

from raftctl.base import clock
from raftctl.base.instants import Instant


class Alarm:
    """`ring` is called in the timer's thread when both clocks reached the deadline. Any thread may set it."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._lock = threading.Lock()
        self._deadline: Optional[Instant] = None
        self._timer: Optional[threading.Timer] = None
        self._fires: Optional[Instant] = None
        self._closed = False

    def set(self, deadline: Optional[Instant]) -> None:
        """Ring at `deadline`, None: not at all. Replaces the deadline before."""
        with self._lock:
            self._deadline = deadline
            if deadline is not None and (self._fires is None or deadline < self._fires):
                self._arm(deadline)

    def _arm(self, deadline: Instant) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._closed:
            return
        self._fires = deadline
        self._timer = threading.Timer(clock.now().until(deadline) / 1e9, self._look)
        self._timer.name = "alarm"
        self._timer.daemon = True
        self._timer.start()

    def _look(self) -> None:
        with self._lock:
            if threading.current_thread() is not self._timer:
                return                       # replaced while it fired
            self._timer = self._fires = None
            deadline = self._deadline
            if deadline is None:
                return
            if not clock.now().reached(deadline):
                self._arm(deadline)
                return
            self._deadline = None
        self._ring()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()
