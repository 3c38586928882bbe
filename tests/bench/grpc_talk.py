"""A client of etcd that speaks gRPC as etcd's own clients do, and costs about as much as one of raftctl's.

HTTP/2 (RFC 9113) as far as a closed loop needs it: a stream a request, one at a time on a connection. The
headers of the first request enter the server's table (RFC 7541), later ones are four indices, as a real
client sends them. A call that went well is told by what came before the trailers: a message of at least the
expected size; one that failed has none. Flow control never binds: the windows that we grant are of the
largest size, and what we send, at most a few hundred bytes at a time, was taken before the next.
"""

from __future__ import annotations

import struct
from typing import Optional

from load import VALUE, Talk, own_key

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
HEAD = 9
_WINDOW = (1 << 31) - 1
_INITIAL_WINDOW_SIZE = 4
_FRAME_LIMIT = 16384


def frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return struct.pack("!IBI", len(body) << 8 | kind, flags, stream) + body


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GREETING = (PREFACE + frame(SETTINGS, 0, 0, struct.pack("!HI", _INITIAL_WINDOW_SIZE, _WINDOW))
            + frame(WINDOW_UPDATE, 0, 0, struct.pack("!I", _WINDOW - 65535)))


def field(number: int, value: bytes) -> bytes:
    """Return a bytes field of a protocol buffer; `value` has at most 16383 bytes."""
    size = len(value)
    return bytes((number << 3 | 2, *((size,) if size < 128 else (size & 127 | 128, size >> 7)))) + value


def first_headers(path: str) -> bytes:
    """Return the block of a first request: POST, http, then what enters the server's table, in this order."""
    def text(value: str) -> bytes:
        return bytes((len(value),)) + value.encode("ascii")
    return (b"\x83\x86\x44" + text(path) + b"\x41" + text("localhost") + b"\x5f" + text("application/grpc")
            + b"\x40" + text("te") + text("trailers"))


# POST, http, and the four that the table holds, the oldest (:path) as the highest.
LATER_HEADERS = bytes((0x83, 0x86, 0x80 | 65, 0x80 | 64, 0x80 | 63, 0x80 | 62))


class Call(Talk):
    """The same unary call again and again; the answer's message has at least `least` bytes."""

    greeting = GREETING

    def __init__(self, path: str, message: bytes, least: int) -> None:
        self._headers = first_headers(path)
        self._message = b"\0" + struct.pack("!I", len(message)) + message
        if len(self._message) > _FRAME_LIMIT:
            raise ValueError(f"a message of {len(message)} bytes does not fit into one frame")
        self._least = least + 5
        self._stream = -1
        self._rest = b""
        self._got = 0

    def request(self) -> bytes:
        self._stream += 2
        self._got = 0
        headers, self._headers = self._headers, LATER_HEADERS
        return (frame(HEADERS, END_HEADERS, self._stream, headers)
                + frame(DATA, END_STREAM, self._stream, self._message))

    def receive(self, data: bytes) -> Optional[bool]:
        if self._rest:
            data = self._rest + data
        at, size, done = 0, len(data), None
        while size - at >= HEAD:
            length, kind, flags = int.from_bytes(data[at:at + 3], "big"), data[at + 3], data[at + 4]
            if size - at < HEAD + length:
                break
            if kind == DATA:
                self._got += length
            elif kind == HEADERS:
                if flags & END_STREAM and int.from_bytes(data[at + 5:at + 9], "big") == self._stream:
                    done = self._got >= self._least
            elif not flags & ACK and kind in (PING, SETTINGS):
                self.owed += frame(kind, ACK, 0, data[at + HEAD:at + HEAD + length] if kind == PING else b"")
            elif kind in (RST_STREAM, GOAWAY):
                raise ConnectionError(f"the server ended a call (frame type {kind})")
            at += HEAD + length
        self._rest = data[at:]
        return done


def puts(number: int, client: int) -> Call:
    """Put 100 bytes under the client's own key (`load.puts`, said to etcd)."""
    message = field(1, own_key(number, client).encode("ascii")) + field(2, VALUE.encode("ascii"))
    return Call("/etcdserverpb.KV/Put", message, least=1)


def gets(number: int, client: int, stale: bool = False) -> Call:
    """Read that key: linearizable, or serializable, which is etcd's word for `stale`."""
    message = field(1, own_key(number, client).encode("ascii")) + (b"\x38\x01" if stale else b"")
    return Call("/etcdserverpb.KV/Range", message, least=len(VALUE))
