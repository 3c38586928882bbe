"""What the two listeners share: socketserver without polling, a cap on connections, an end with a deadline.

Stopping: `shutdown()` in a thread first (it waits until serve_forever looks), then `shutdown` of the socket wakes
that; alone, the latter makes serve_forever spin (design §4.1).
"""

from __future__ import annotations

import os
import socket
import socketserver
import sys
import threading
from typing import Any, Callable, Set

from raftctl.base.errors import UsageError

CONNECTION_LIMIT = 256


class Server(socketserver.ThreadingMixIn, socketserver.BaseServer):
    """One bound stream socket; each connection is handled by `serve(socket, peer)` in a daemon thread of its own."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, family: int, place: Any, serve: Callable[[socket.socket, Any], None], shown: str) -> None:
        super().__init__(place, None)  # type: ignore[arg-type]
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self._serve = serve
        self._lock = threading.Lock()
        self._open: Set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, args=(None,), name=f"listen-{shown}", daemon=True)
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            self.socket.bind(place)
            self.socket.listen(128)
        except OSError as error:
            self.socket.close()
            reason = os.strerror(error.errno).lower() if error.errno else str(error)
            raise UsageError(f"{shown} can't be bound ({reason}); stop what uses it, or change the file") from None

    def fileno(self) -> int:
        return self.socket.fileno()

    def start(self) -> None:
        self._thread.start()

    def get_request(self) -> Any:
        return self.socket.accept()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """At the cap accept and close: not accepting would spin, and leave the stranger waiting."""
        with self._lock:
            if len(self._open) >= CONNECTION_LIMIT:
                return False
            self._open.add(request)
            return True

    def finish_request(self, request: Any, client_address: Any) -> None:
        self._serve(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        # socketserver swallows a handler's exception: a fault of ours must end the process like any thread's.
        arguments = (*sys.exc_info(), threading.current_thread())
        threading.excepthook(threading.ExceptHookArgs(arguments))

    def close(self, deadline_s: float) -> None:
        """Accept no more, end all connections, and return within about `deadline_s`."""
        if self._thread.is_alive():
            stopper = threading.Thread(target=self.shutdown, name="stop-listening", daemon=True)
            stopper.start()
            _shutdown(self.socket)
            stopper.join(deadline_s)
            self._thread.join(deadline_s)
        with self._lock:
            waiting = list(self._open)
        for each in waiting:
            _shutdown(each)
        self.socket.close()


def _shutdown(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        return      # not connected, or closed by its own thread a moment ago
