"""The guardian's one thread: what is readable, which deadline has passed, which signal came.

Owns the selector, the timers and the wake-up of signals; turns the handle and knows nothing of nodes or
hooks. It waits in `select` alone, and a callback must not block. An exception of a callback ends the loop: it
is ours.
"""

from __future__ import annotations

import heapq
import itertools
import selectors
import signal
import socket
import time
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE
_WAKE_SIZE = 4096


class Timer:
    """A deadline of `Loop.at`. `cancel` may come at any time, also after it fired."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback: Optional[Callable[[], None]] = callback

    def cancel(self) -> None:
        self._callback = None

    def fire(self) -> None:
        callback, self._callback = self._callback, None
        if callback:
            callback()


class Loop:
    """Callbacks by file, deadline and signal. All methods from the thread of `run`, the main thread."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: List[Tuple[int, int, Timer]] = []
        self._number = itertools.count()
        self._signals: Dict[int, int] = {}
        self._former: Dict[int, Any] = {}
        self._former_wakeup = -1
        self._wake_in, self._wake_out = socket.socketpair()
        for end in (self._wake_in, self._wake_out):
            end.setblocking(False)
        self.watch(self._wake_in, READ, self._drain_wakeups)
        self.on_signal: Callable[[int], None] = lambda number: None

    @staticmethod
    def now() -> int:
        """Return ns of the clock that `at` counts in."""
        return time.monotonic_ns()

    def watch(self, source: Any, events: int, callback: Callable[[], None]) -> None:
        """Call `callback` when `source` (descriptor or object with one) is ready; replaces a former watch."""
        if self.is_watched(source):
            self._selector.modify(source, events, callback)
        else:
            self._selector.register(source, events, callback)

    def is_watched(self, source: Any) -> bool:
        return source in self._selector.get_map()

    def forget(self, source: Any) -> None:
        """End the watch, before `source` is closed; harmless where there is none."""
        if self.is_watched(source):
            self._selector.unregister(source)

    def at(self, when_ns: int, callback: Callable[[], None]) -> Timer:
        """Call `callback` once `now()` has reached `when_ns`."""
        timer = Timer(callback)
        heapq.heappush(self._timers, (when_ns, next(self._number), timer))
        return timer

    def after(self, span_ns: int, callback: Callable[[], None]) -> Timer:
        return self.at(self.now() + span_ns, callback)

    def catch(self, numbers: Iterable[int]) -> None:
        """Hand these signals to `on_signal` until `close`, a call for each (some of a kind may be merged)."""
        self._former_wakeup = signal.set_wakeup_fd(self._wake_out.fileno(), warn_on_full_buffer=False)
        for number in numbers:
            self._former[number] = signal.signal(number, self._note)

    def _note(self, number: int, frame: Any) -> None:
        self._signals[number] = self._signals.get(number, 0) + 1

    def _drain_wakeups(self) -> None:
        # Only a wake-up: which signals came is noted by their handlers, so a full buffer loses none.
        try:
            while self._wake_in.recv(_WAKE_SIZE):
                pass
        except BlockingIOError:
            pass

    def run(self, until: Callable[[], bool]) -> None:
        """Turn until `until()`; it is asked after each turn, and before the first."""
        while not until():
            self.turn()

    def turn(self) -> None:
        """Wait for the next signal, file or deadline, and serve all that are due."""
        for key, _ in self._selector.select(self._pause()):
            # A callback of this very turn may have ended this watch, or put another in its place.
            if self._selector.get_map().get(key.fd) is key:
                key.data()
        signals, self._signals = self._signals, {}
        for number in sorted(signals):
            for _ in range(signals[number]):
                self.on_signal(number)
        self._fire_timers()

    def _pause(self) -> Optional[float]:
        if self._signals:
            return 0
        if not self._timers:
            return None
        return max(0, self._timers[0][0] - self.now()) / 1e9

    def _fire_timers(self) -> None:
        now = self.now()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2].fire()

    def close(self) -> None:
        """Give the signals back and forget all."""
        if self._former:
            for number, handler in self._former.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(self._former_wakeup)
        self._former.clear()
        self._selector.close()
        self._wake_in.close()
        self._wake_out.close()
