"""Length-prefixed frames between peers: bytes in, whole messages out. Sans-io; a reader touches no socket.

A frame is: length u32 (of all that follows), kind u8, body. A message larger than `PART_SIZE` travels as
several frames, so that a heartbeat fits between them (pitfall 6.2): each has PART in its kind, all but the
last MORE. The frames of two such messages never mix; whole frames may stand between them. Owns cutting,
limits and joining; numbers and MACs are net/auth.py's, kinds cluster/handshake.py's.
"""

from __future__ import annotations

import struct
from typing import Callable, NamedTuple, Optional, Union

from raftctl.base.errors import PeerFault, require

PART_SIZE = 64 * 1024
MESSAGE_LIMIT = 8 * 1024 * 1024
MAC_SIZE = 16
# What a wire frame may have behind its kind once the handshake is over.
FRAME_LIMIT = PART_SIZE + MAC_SIZE

MORE = 0x80
PART = 0x40
_KIND = 0x3F

_HEAD = struct.Struct(">IB")


class Frame(NamedTuple):
    kind: int
    body: bytes


class Token:
    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


NEED_DATA = Token("NEED_DATA")
CLOSED = Token("CLOSED")


def encode(kind: int, body: bytes) -> bytes:
    """Return one wire frame; `kind` may carry PART and MORE. The caller keeps `body` within the limits."""
    return _HEAD.pack(len(body) + 1, kind) + body


def _unsealed(kind: int, body: bytes) -> bytes:
    return body


class FrameReader:
    """Turns a byte stream into messages: `receive` bytes, then take `next_event` until NEED_DATA or CLOSED.

    `limit` bounds one frame's body on the wire, `message_limit` what its parts may come to. `unseal(kind,
    body)` returns the body without its MAC or raises `PeerFault`; it sees each frame once, in order. After a
    `PeerFault` the reader is of no more use. One thread.
    """

    def __init__(
        self, limit: int, unseal: Callable[[int, bytes], bytes] = _unsealed,
        message_limit: int = MESSAGE_LIMIT,
    ) -> None:
        self._limit = limit
        self._message_limit = message_limit
        self._unseal = unseal
        self._buffer = bytearray()
        self._start = 0
        self._ended = False
        self._parts: Optional[bytearray] = None
        self._parts_kind = 0

    def receive(self, data: Union[bytes, memoryview]) -> None:
        """Take what came from the socket; empty: the stream has ended."""
        if len(data):
            require(not self._ended, "bytes after the end of the stream")
            self._buffer += data
        else:
            self._ended = True

    def next_event(self) -> Union[Frame, Token]:
        """Return the next whole `Frame`, NEED_DATA, or CLOSED after a clean end; `PeerFault` for all else."""
        while True:
            frame = self._cut()
            if frame is None:
                return self._wait()
            kind, body = frame
            body = self._unseal(kind, body)
            if kind <= _KIND:
                return Frame(kind, body)
            whole = self._join(kind, body)
            if whole is not None:
                return whole

    def _cut(self) -> Optional[Frame]:
        start = self._start
        held = len(self._buffer) - start
        if held < 5:
            # A length is judged as soon as it is there: garbage must not wait for a fifth byte.
            if held == 4:
                self._check_length(int.from_bytes(self._buffer[start:], "big"))
            return None
        length, kind = _HEAD.unpack_from(self._buffer, start)
        self._check_length(length)
        end = start + 4 + length
        if end > len(self._buffer):
            return None
        self._start = end
        return Frame(kind, bytes(memoryview(self._buffer)[start + 5 : end]))

    def _check_length(self, length: int) -> None:
        if not 1 <= length <= self._limit + 1:
            raise PeerFault(f"frame of {length} bytes; at most {self._limit + 1} are allowed here")

    def _wait(self) -> Token:
        del self._buffer[: self._start]
        self._start = 0
        if not self._ended:
            return NEED_DATA
        if self._buffer:
            raise PeerFault("stream ended inside a frame")
        if self._parts is not None:
            raise PeerFault("stream ended inside a message of several frames")
        return CLOSED

    def _join(self, kind: int, body: bytes) -> Optional[Frame]:
        if not kind & PART:
            raise PeerFault(f"frame kind {kind} is not known")
        if self._parts is None:
            self._parts = bytearray()
            self._parts_kind = kind & _KIND
        if kind & _KIND != self._parts_kind:
            raise PeerFault(f"parts of kinds {self._parts_kind} and {kind & _KIND} are mixed")
        if len(self._parts) + len(body) > self._message_limit:
            raise PeerFault(f"message of more than {self._message_limit} bytes")
        self._parts += body
        if kind & MORE:
            return None
        whole = Frame(self._parts_kind, bytes(self._parts))
        self._parts = None
        return whole
