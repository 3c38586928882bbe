"""What peer and command listener share: accepting on socketserver, a daemon thread a connection, caps, stop.

Owns the traps of design §4.1: no polling; at the cap it accepts and closes, since not accepting spins;
strangers make room for newcomers, oldest first (pitfall 11.2); running out of descriptors sheds connections;
a fault of ours in a handler ends the process. What is said on a connection is the listeners' own.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
import socketserver
import sys
import threading
import time
from typing import Any, Callable, Dict, List, Optional, Sequence

from raftctl.net import binding

CAP = 256
# Evicted connections end in a moment; until then they may exceed the cap by so many.
_LEEWAY = 32
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_EXHAUSTED_S = 0.05
_DRAIN_S = 1.0
_DRAIN_BYTES = 1024 * 1024

_log = logging.getLogger(__name__)

Serve = Callable[[socket.socket, Any], None]


class Room:
    """The open connections of one listener. A connection is a stranger's until `trust`; any thread."""

    def __init__(self, cap: int = CAP) -> None:
        self._cap = cap
        self._changed = threading.Condition()
        self._open: Dict[socket.socket, None] = {}
        self._strangers: Dict[socket.socket, None] = {}

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, sock: socket.socket) -> bool:
        """Admit a new connection, if need be in place of the oldest stranger's; False: close it."""
        with self._changed:
            count = len(self._open)
            if count >= self._cap and not self._evict():
                return False
            if count >= self._cap + _LEEWAY:
                return False
            self._open[sock] = None
            self._strangers[sock] = None
            return True

    def trust(self, sock: socket.socket) -> None:
        """The connection has proven itself: it is not given up for another any more."""
        with self._changed:
            self._strangers.pop(sock, None)

    def leave(self, sock: socket.socket) -> None:
        with self._changed:
            self._strangers.pop(sock, None)
            self._open.pop(sock, None)
            self._changed.notify_all()

    def evict(self) -> None:
        """End the oldest stranger's connection, if there is one."""
        with self._changed:
            self._evict()

    def _evict(self) -> bool:
        for sock in self._strangers:
            del self._strangers[sock]
            _shut(sock, socket.SHUT_RDWR)
            return True
        return False

    def clear(self, deadline_s: float) -> None:
        """Let each connection finish what it is at; after `deadline_s` seconds cut those that are left."""
        with self._changed:
            for sock in self._open:
                _shut(sock, socket.SHUT_RD)
            if not self._changed.wait_for(lambda: not self._open, deadline_s):
                for sock in self._open:
                    _shut(sock, socket.SHUT_RDWR)


def _shut(sock: socket.socket, how: int) -> None:
    try:
        sock.shutdown(how)
    except OSError:
        # The other side or our own handler was faster: it is shut.
        return


def part(sock: socket.socket) -> None:
    """End so that the client reads the last reply before the end: unread bytes would reset (pitfall 8.5)."""
    sock.shutdown(socket.SHUT_WR)
    end_s = time.monotonic() + _DRAIN_S
    left = _DRAIN_BYTES
    while left > 0 and is_readable(sock, end_s):
        data = sock.recv(65536)
        if not data:
            return
        left -= len(data)


def is_readable(sock: socket.socket, until_s: float) -> bool:
    """Wait for something to read until `until_s` of the monotonic clock."""
    poller = select.poll()
    poller.register(sock, select.POLLIN)
    return bool(poller.poll(max(0.0, until_s - time.monotonic()) * 1000))


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.server.serve(self.request, self.client_address)


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Accepts on one bound socket of any family; `serve(sock, peer)` runs in each connection's daemon thread.

    `refuse(sock)` may say a last word, without blocking, to a connection for which there is no room.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(
        self, sock: socket.socket, room: Room, serve: Serve, refuse: Callable[[socket.socket], None]
    ) -> None:
        socketserver.BaseServer.__init__(self, sock.getsockname(), _Handler)
        self.socket = sock
        self.serve = serve
        self._room = room
        self._refuse = refuse
        self._spare: Optional[int] = _spare_descriptor()
        self._thread = threading.Thread(target=self._run, name=f"accept-{self.server_address}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        self.serve_forever(poll_interval=None)

    def stop(self, deadline_s: float) -> None:
        """Accept no more; returns when the accepting thread has ended, at the latest after `deadline_s`."""
        if self._thread.ident is not None:
            # `shutdown` waits for the loop, which waits for a connection: the flag first, then the nudge. The
            # nudge alone would spin.
            threading.Thread(target=self.shutdown, name="stop-accepting", daemon=True).start()
            _shut(self.socket, socket.SHUT_RDWR)
            self._thread.join(deadline_s)
        self.server_close()
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    def get_request(self) -> Any:
        try:
            accepted = self.socket.accept()
        except OSError as error:
            if error.errno in _EXHAUSTED:
                self._shed()
            raise
        if self._spare is None:
            self._spare = _spare_descriptor()
        return accepted

    def _shed(self) -> None:
        """Out of descriptors: take the waiting connection by the spare one, close it, else the loop spins."""
        self._room.evict()
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None
        try:
            self.socket.accept()[0].close()
        except OSError as error:
            _log.debug("nothing to shed: %s", error)
            # The whole host has run out: the connection waits on, and the loop would take all of a processor.
            time.sleep(_EXHAUSTED_S)
        self._spare = _spare_descriptor()

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.enter(request):
            self._refuse(request)
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError as error:
            # No more threads: this connection's misfortune, no fault of ours.
            _log.warning("connection closed: %s", error)
            self._room.leave(request)
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.leave(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """What a listener did not expect of its peer is our fault; the daemon's excepthook ends with 70."""
        thread = threading.current_thread()
        threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), thread)))


def _spare_descriptor() -> Optional[int]:
    try:
        return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


class Servers:
    """The servers of one listener: one room, one start, one end."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        serve: Serve,
        refuse: Callable[[socket.socket], None],
        cap: int = CAP,
    ) -> None:
        self.room = Room(cap)
        self._servers: List[Server] = [Server(sock, self.room, serve, refuse) for sock in sockets]

    def start(self) -> None:
        for server in self._servers:
            server.start()

    def close(self, deadline_s: float) -> None:
        """Stop accepting, let connections finish, cut the rest; all within `deadline_s` seconds."""
        end_s = time.monotonic() + deadline_s
        for server in self._servers:
            server.stop(max(0.0, end_s - time.monotonic()))
        self.room.clear(max(0.0, end_s - time.monotonic()))


def name_of(place: Any) -> str:
    """Return `host:port` of a connected peer for people; a unix client has no name."""
    return f"{place[0]}:{place[1]}" if isinstance(place, tuple) else "a unix client"


def places_of(sockets: Sequence[socket.socket]) -> tuple:
    return tuple(binding.place_of(sock) for sock in sockets)
