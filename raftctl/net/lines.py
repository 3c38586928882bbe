"""Lines of the command protocol out of a byte stream. Sans-io; what a line means is net/commands.py's."""

from __future__ import annotations

from typing import Union

from raftctl.base.errors import PeerFault
from raftctl.net.frames import CLOSED, NEED_DATA, Token


class LineReader:
    """`receive` bytes, then take `next_line` until NEED_DATA or CLOSED. `limit` may be raised at any time."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._buffer = bytearray()
        self._scanned = 0
        self._ended = False

    def receive(self, data: bytes) -> None:
        """Take what came from the socket; empty: the stream has ended."""
        if data:
            self._buffer += data
        else:
            self._ended = True

    def next_line(self) -> Union[bytes, Token]:
        """Return a line without its end, NEED_DATA, or CLOSED; `PeerFault` for one over the limit.

        What stands behind the last newline when the stream ends is a line too.
        """
        end = self._buffer.find(b"\n", self._scanned)
        if end < 0:
            self._scanned = len(self._buffer)
            self._check(self._scanned)
            if not self._ended:
                return NEED_DATA
            return self.take_rest() if self._buffer else CLOSED
        self._check(end)
        line = bytes(memoryview(self._buffer)[:end])
        del self._buffer[: end + 1]
        self._scanned = 0
        return line

    def _check(self, size: int) -> None:
        if size > self.limit:
            raise PeerFault(f"line of more than {self.limit} bytes")

    @property
    def held(self) -> int:
        """How many bytes stand there, of lines not taken yet."""
        return len(self._buffer)

    @property
    def rest(self) -> bytes:
        """What stands there without a newline so far."""
        return bytes(self._buffer)

    def take_rest(self) -> bytes:
        """Return `rest` as a line, and forget it."""
        line = bytes(self._buffer)
        self._buffer.clear()
        self._scanned = 0
        return line
