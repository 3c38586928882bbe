"""Dialling one peer: resolve, connect, shake hands, all of it with deadlines and ended at once by a waker.

Owns socket options and the words for what went wrong. Who dials whom, and when again, is net/links.py's.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
import struct
import time
from typing import Callable, List

from raftctl.base.addresses import Address
from raftctl.base.errors import PeerFault
from raftctl.net.auth import Established, Handshake

CONNECT_S = 2.0
HANDSHAKE_S = 5.0

# Few bytes in the kernel that a heartbeat can't overtake any more (pitfall 6.2).
_SEND_BUFFER = 256 * 1024
_NOT_SENT = 16 * 1024
_MS_NS = 1_000_000

_log = logging.getLogger(__name__)

_WORDS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.ETIMEDOUT: "timed out",
    errno.EHOSTUNREACH: "no route to host",
    errno.ENETUNREACH: "no route to host",
    errno.EPIPE: "connection closed",
}


class Woken(Exception):
    """A wait was ended by the waker, which is set for good."""


class Waker:
    """Ends a wait in poll from another thread. `wake` never blocks; a thread not waiting finds it later."""

    def __init__(self) -> None:
        self._inner, self._outer = socket.socketpair()
        self._inner.setblocking(False)
        self._outer.setblocking(False)

    def fileno(self) -> int:
        return self._inner.fileno()

    def wake(self) -> None:
        try:
            self._outer.send(b"w")
        except OSError:
            # Full: it is awake already. Closed: nobody waits any more.
            return

    def clear(self) -> None:
        """Forget all wakes so far."""
        try:
            self._inner.recv(4096)
        except BlockingIOError:
            return

    def close(self) -> None:
        self._inner.close()
        self._outer.close()


def words(error: Exception) -> str:
    """Return why a connection failed, for people."""
    if isinstance(error, socket.gaierror):
        is_unknown = error.errno in (socket.EAI_NONAME, socket.EAI_NODATA)
        return "unknown name" if is_unknown else "name look-up failed"
    if isinstance(error, socket.timeout):
        return "timed out"
    if isinstance(error, OSError) and error.errno is not None:
        return _WORDS.get(error.errno) or os.strerror(error.errno).lower()
    return str(error)


def wait(
    sock: socket.socket, mask: int, deadline_s: float, waker: Waker, must_end: Callable[[], bool]
) -> None:
    """Return when `sock` is ready for `mask` or has failed; `socket.timeout` at `deadline_s` (monotonic)."""
    poller = select.poll()
    poller.register(sock, mask)
    poller.register(waker, select.POLLIN)
    while True:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            raise socket.timeout("timed out")
        ready = dict(poller.poll(left_s * 1000 + 1))
        if waker.fileno() in ready:
            waker.clear()
            if must_end():
                raise Woken
        if sock.fileno() in ready:
            return


def connect(address: Address, silence_ns: int, waker: Waker, must_end: Callable[[], bool]) -> socket.socket:
    """Return a connected, non-blocking socket to `address`; raise OSError of the last attempt, or `Woken`.

    The name is resolved anew each time. The look-up alone can't be ended before its own time-out.
    """
    problem: OSError = OSError(errno.EHOSTUNREACH, "no address")
    for family, kind, number, _, place in _resolve(address):
        sock = socket.socket(family, kind, number)
        try:
            _prepare(sock, silence_ns)
            _connect_one(sock, place, waker, must_end)
            return sock
        except OSError as error:
            sock.close()
            problem = error
        except BaseException:
            sock.close()
            raise
    raise problem


def _resolve(address: Address) -> List[tuple]:
    try:
        return socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except ValueError:
        # A label that is empty or too long, or a zero byte, fails before any look-up.
        raise socket.gaierror(socket.EAI_NONAME, "no such name") from None


def _connect_one(sock: socket.socket, place: tuple, waker: Waker, must_end: Callable[[], bool]) -> None:
    code = sock.connect_ex(place)
    if code == errno.EINPROGRESS:
        wait(sock, select.POLLOUT, time.monotonic() + CONNECT_S, waker, must_end)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))
    if sock.getsockname() == sock.getpeername():
        # TCP met itself on a free port of the ephemeral range; kept, it would hold the port that the peer is
        # to bind.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise OSError(errno.ECONNREFUSED, "connected to itself")


def _prepare(sock: socket.socket, silence_ns: int) -> None:
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(1, silence_ns // _MS_NS))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _NOT_SENT)


def shake(
    sock: socket.socket, handshake: Handshake, waker: Waker, must_end: Callable[[], bool]
) -> Established:
    """Do the dialler's handshake on a connected socket; raises OSError, `PeerFault`, `Refused` or `Woken`."""
    deadline_s = time.monotonic() + HANDSHAKE_S
    try:
        while handshake.result is None:
            _write(sock, handshake.outgoing())
            wait(sock, select.POLLIN, deadline_s, waker, must_end)
            handshake.receive(sock.recv(4096))
    except PeerFault:
        _say_why(sock, handshake.outgoing())
        raise
    return handshake.result


def _write(sock: socket.socket, data: bytes) -> None:
    # The first few KiB of a connection always fit into the kernel's buffer.
    if data and sock.send(data) != len(data):
        raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))


def _say_why(sock: socket.socket, refusal: bytes) -> None:
    try:
        _write(sock, refusal)
    except OSError as error:
        # The fault itself is on its way up and must not be lost behind this.
        _log.debug("refusal not sent: %s", error)
