"""Where every other thread leaves work for the node thread: one lock, taken whole.

Frames are bounded in bytes a peer, the oldest dropped (Raft says everything again); what must not be lost
(the disk's and the alarm's words, links, clients, who are bounded by their connections) is never dropped.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, Deque, Dict, List, Tuple

FRAME_BYTES_LIMIT = 16 << 20
# What a frame costs in memory beside its body, so that the bound holds for many empty ones too.
FRAME_COST = 256
TURN_LIMIT = 1024


class Inbox:
    """`post` and `post_frame` from any thread, `take` from the node thread alone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Rung once for each wait, by whoever finds the taker waiting. A Condition does the same for any
        # number of takers, at a multiple of the cost.
        self._bell = threading.Lock()
        self._bell.acquire()
        self._is_awaited = False
        self._items: Deque[Any] = deque()
        self._frames: Dict[str, Deque[Tuple[int, Any]]] = {}
        self._bytes: Dict[str, int] = {}
        self.dropped = 0

    def post(self, item: Any) -> None:
        with self._lock:
            self._items.append(item)
            self._ring()

    def post_frame(self, peer: str, size: int, item: Any) -> None:
        """Leave a frame of `peer` with a body of `size` bytes."""
        with self._lock:
            queue = self._frames.setdefault(peer, deque())
            queue.append((size + FRAME_COST, item))
            held = self._bytes.get(peer, 0) + size + FRAME_COST
            while held > FRAME_BYTES_LIMIT and len(queue) > 1:
                held -= queue.popleft()[0]
                self.dropped += 1
            self._bytes[peer] = held
            self._ring()

    def _ring(self) -> None:
        if self._is_awaited:
            self._is_awaited = False
            self._bell.release()

    def take(self, timeout_s: float) -> List[Any]:
        """Return what is there, up to `TURN_LIMIT` of each queue; wait up to `timeout_s` where nothing is."""
        with self._lock:
            self._is_awaited = is_empty = not self._items and not self._frames
            if not is_empty:
                return self._taken()
        has_rung = self._bell.acquire(timeout=timeout_s)
        with self._lock:
            if not has_rung and not self._is_awaited:
                self._bell.acquire()       # it rang after all, between the two
            self._is_awaited = False
            return self._taken()

    def _taken(self) -> List[Any]:
        taken = [self._items.popleft() for _ in range(min(len(self._items), TURN_LIMIT))]
        for peer in list(self._frames):
            queue = self._frames[peer]
            for _ in range(min(len(queue), TURN_LIMIT)):
                size, item = queue.popleft()
                self._bytes[peer] -= size
                taken.append(item)
            if not queue:
                del self._frames[peer], self._bytes[peer]
        return taken
