"""The HTTP listener: one GET or HEAD a connection, for load balancers and monitoring (design §5 `http`).

Owns the conversation and its limits: the head of a request is read whole within a deadline and 8 KiB, before
http.server sees any of it, and the reply has a deadline as well. What a page says is `answer`'s. Nobody can
change anything here, so nobody proves anything; a stranger costs one of `CAP` threads until it is the oldest.
"""

from __future__ import annotations

import io
import logging
import socket
import time
from http.server import BaseHTTPRequestHandler
from typing import Any, Callable, NamedTuple, Optional

from raftctl.base.errors import PeerFault
from raftctl.net import binding
from raftctl.net.complaints import Complaints
from raftctl.net.serve import Servers, is_readable, name_of, part

CAP = 64
HEAD_S = 5.0
HEAD_LIMIT = 8192
_SEND_S = 5.0
_ENDS = (b"\r\n\r\n", b"\n\n")

_log = logging.getLogger(__name__)


class Page(NamedTuple):
    """A reply: HTTP status, content type, body."""

    status: int
    kind: str
    body: bytes


def text_page(status: int, word: str) -> Page:
    """Return a page of one line of text."""
    return Page(status, "text/plain; charset=utf-8", word.encode("utf-8") + b"\n")


Answer = Callable[[str], Optional[Page]]


class WebListener:
    """Binds in the constructor (`UsageError`); accepts from `start` on.

    `answer(path)`, without the query, returns the page or None where there is none; it runs in many threads
    at once and has to keep to a deadline of its own.
    """

    def __init__(self, host: str, port: int, answer: Answer, *, cap: int = CAP) -> None:
        self._answer = answer
        self._complaints = Complaints(_log)
        # Guarded or not: the pages are read-only and hold no secret, so they need none (P8).
        sockets = binding.bind_tcp([host], port, key="http", is_guarded=True)
        self.port = binding.place_of(sockets[0])[1]
        self._servers = Servers(sockets, self._serve, lambda sock: None, cap)

    def start(self) -> None:
        self._servers.start()

    def close(self, deadline_s: float) -> None:
        """Stop accepting, let requests under way be answered, cut the rest; all within `deadline_s`."""
        self._servers.close(deadline_s)

    def _serve(self, sock: socket.socket, place: Any) -> None:
        try:
            head = read_head(sock, time.monotonic() + HEAD_S)
            if head:
                sock.settimeout(_SEND_S)
                # The limit of `sendall` is for the whole of it.
                sock.sendall(reply_to(head, self._answer))
                part(sock)
        except PeerFault as fault:
            who = name_of(place)
            self._complaints.bad(place[0], str(fault), f"closed the HTTP connection of {who}: {fault}")
        except OSError as error:
            _log.debug("HTTP connection of %s ended: %s", name_of(place), error)


def read_head(sock: socket.socket, deadline_s: float) -> bytes:
    """Return the head of a request with its empty line, b"" where the stream ends before.

    `deadline_s` is on the monotonic clock. Raises `PeerFault` for what is too slow, too long or no HTTP.
    """
    head = b""
    while not any(end in head for end in _ENDS):
        if len(head) >= HEAD_LIMIT:
            raise PeerFault(f"a request head of more than {HEAD_LIMIT} bytes")
        if not is_readable(sock, deadline_s):
            raise PeerFault(f"no whole request within {HEAD_S:g} s")
        data = sock.recv(HEAD_LIMIT - len(head))
        if not data:
            return b""
        head += data
        if not head[:1].isalpha():
            # TLS, a peer, a scan: not a word.
            raise PeerFault("what it sends is no HTTP")
    return head


def reply_to(head: bytes, answer: Answer) -> bytes:
    """Return the whole reply to a request with this `head`."""
    request = _Request(head, answer)
    return request.wfile.getvalue()


class _Request(BaseHTTPRequestHandler):
    """http.server's parser and reply on bytes in memory: it never touches the socket."""

    # The second is for a request that can't be read: HTTP/0.9, the base's, would have no status line.
    protocol_version, default_request_version = "HTTP/1.1", "HTTP/1.0"
    error_message_format = "%(code)d %(message)s\n"
    error_content_type = "text/plain; charset=utf-8"

    def __init__(self, head: bytes, answer: Answer) -> None:
        # Not the base's: it would serve a socket until its end.
        self._answer = answer
        self.rfile, self.wfile = io.BytesIO(head), io.BytesIO()  # type: ignore[assignment]
        self.close_connection = True
        self.raw_requestline = self.rfile.readline()
        self.requestline, self.command = "", ""
        self.request_version = self.protocol_version
        if not self.parse_request():
            return
        if self.command in ("GET", "HEAD"):
            self._show(self.path.partition("?")[0])
        else:
            self.send_error(405)

    def _show(self, path: str) -> None:
        page = self._answer(path)
        if page is None:
            self.send_error(404)
            return
        self.send_response(page.status)
        self.send_header("Content-Type", page.kind)
        self.send_header("Content-Length", str(len(page.body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page.body)

    def version_string(self) -> str:
        return "raftctl"

    def handle_expect_100(self) -> bool:
        # What would be sent then is not read.
        return True

    def log_message(self, *args: Any) -> None:
        """Say nothing: a load balancer asks every second."""
