"""What waits for one connection: order, parts, numbers and MACs of outgoing frames under one lock.

A frame is sealed when its bytes go to the kernel, not when it is queued: so urgent frames overtake, whole old
bulk frames can be dropped, and the numbers on the wire have no gap (pitfall 6.2). The queue is bounded by
bytes: the oldest bulk goes first (Raft retries), then the oldest urgent. Owns no socket: `attach` brings the
function that writes. Connecting, waiting for room and flushing in the background are net/links.py's.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Callable, Deque, NamedTuple, Optional, Tuple, Union

from raftctl.base.errors import require
from raftctl.net.auth import Sealer
from raftctl.net.frames import MESSAGE_LIMIT, MORE, PART, PART_SIZE

Write = Callable[[Union[bytes, memoryview]], int]

DEFAULT_LIMIT = 16 * 1024 * 1024
# What an empty frame costs in memory, so that the bound holds for many small ones too.
_FRAME_COST = 100
# The node thread seals and writes at most this much of a large frame itself.
_DIRECT_PARTS = 4


class _Item(NamedTuple):
    kind: int
    body: bytes

    @property
    def cost(self) -> int:
        return len(self.body) + _FRAME_COST


class Outbox:
    """The frames of one peer, over all its connections, one at a time.

    `put` is the node thread's and never blocks; `attach`, `detach` and `flush` are the out thread's. `wake`
    is called, under the lock, when frames begin to wait or the connection broke: it must not block either.
    """

    def __init__(self, wake: Callable[[], None], limit: int = DEFAULT_LIMIT) -> None:
        self._lock = threading.Lock()
        self._wake = wake
        self._limit = limit
        self._write: Optional[Write] = None
        self._sealer = Sealer(None)
        self._broken: Optional[OSError] = None
        self._clear()
        self.dropped = 0
        self.frames_put = 0

    def _clear(self) -> None:
        self._urgent: Deque[_Item] = deque()
        self._bulk: Deque[_Item] = deque()
        self._queued = 0
        # The bytes of sealed frames that the kernel has not taken yet: nothing may come before them.
        self._unsent: Union[bytes, memoryview] = b""
        # The bulk message of which some parts are sealed already, and where the next part begins.
        self._split: Optional[_Item] = None
        self._split_at = 0

    def attach(self, write: Write, sealer: Sealer) -> None:
        """Connected. `write(bytes)` returns the count taken or raises OSError (BlockingIOError: no room)."""
        with self._lock:
            self._clear()
            self._broken = None
            self._write = write
            self._sealer = sealer

    def detach(self) -> None:
        """The connection is over: whatever waited is gone (Raft retries), and `put` returns False."""
        with self._lock:
            self._write = None
            self._clear()

    @property
    def broken(self) -> Optional[OSError]:
        """The error of a write: the connection is to be closed."""
        return self._broken

    @property
    def is_waiting(self) -> bool:
        """Is there anything for `flush` to do?"""
        return bool(self._queued or self._unsent or self._split)

    def put(self, kind: int, body: bytes, urgent: bool = False) -> bool:
        """Send or queue a frame; False: no connection. Urgent: before all bulk, at most `PART_SIZE` bytes."""
        size = len(body)
        with self._lock:
            write = self._write
            if write is None or self._broken is not None:
                return False
            self.frames_put += 1
            if self.is_waiting:
                self._queue(_Item(kind, body), urgent)
                return True
            if size <= PART_SIZE:
                self._send(write, self._sealer.seal(kind, body))
            else:
                self._queue(_Item(kind, body), urgent)
                self._pump(_DIRECT_PARTS)
            if self.is_waiting or self._broken is not None:
                self._wake()
            return self._broken is None

    def flush(self) -> bool:
        """Write until the kernel takes no more or all is written; return True in the latter case."""
        while True:
            # The lock is free between chunks: the node thread never waits longer than one takes.
            with self._lock:
                if not self._pump(1):
                    return not self.is_waiting

    def _queue(self, item: _Item, urgent: bool) -> None:
        require(len(item.body) <= MESSAGE_LIMIT, "message over the limit", item.kind, len(item.body))
        # A message of several parts can't overtake one that is under way.
        queue = self._urgent if urgent and len(item.body) <= PART_SIZE else self._bulk
        queue.append(item)
        self._queued += item.cost
        while self._queued > self._limit:
            old = self._bulk if self._bulk else self._urgent
            self._queued -= old.popleft().cost
            self.dropped += 1

    def _pump(self, chunks: int) -> bool:
        """Write up to `chunks` chunks; return whether more can follow at once."""
        for _ in range(chunks):
            if self._write is None or self._broken is not None:
                return False
            chunk = self._unsent or self._next_chunk()
            if not chunk or not self._send(self._write, chunk):
                return False
        return True

    def _send(self, write: Write, data: Union[bytes, memoryview]) -> bool:
        """Return whether the kernel took all of it; the rest waits in `_unsent`."""
        try:
            sent = write(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._broken = error
            self._unsent = b""
            return False
        self._unsent = b"" if sent == len(data) else memoryview(data)[sent:]
        return not self._unsent

    def _next_chunk(self) -> bytes:
        """Return the next sealed frames, together about one part in size; empty when nothing waits."""
        sealed = []
        size = 0
        while size < PART_SIZE:
            found = self._next_frame(PART_SIZE - size)
            if found is None:
                break
            data = self._sealer.seal(*found)
            sealed.append(data)
            size += len(data)
        return b"".join(sealed)

    def _next_frame(self, room: int) -> Optional[Tuple[int, bytes]]:
        """Return kind and body of the frame that goes next, unless it would exceed a chunk that has begun."""
        if self._urgent:
            queue = self._urgent
        elif self._split is not None:
            return self._next_part() if room == PART_SIZE else None
        elif self._bulk:
            queue = self._bulk
        else:
            return None
        size = len(queue[0].body)
        if size > room and room < PART_SIZE:
            return None
        item = queue.popleft()
        self._queued -= item.cost
        if size <= PART_SIZE:
            return item
        self._split, self._split_at = item, 0
        return self._next_part()

    def _next_part(self) -> Tuple[int, bytes]:
        item, start = self._split, self._split_at
        end = start + PART_SIZE
        if end < len(item.body):
            self._split_at = end
            return item.kind | PART | MORE, item.body[start:end]
        self._split = None
        return item.kind | PART, item.body[start:end]
