"""A world of two nodes for the tests of net/: hellos, a place where posts arrive, sockets with deadlines."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

from raftctl.base.addresses import parse
from raftctl.cluster.handshake import GUARDIAN, PEER, VERSION, Hello
from raftctl.net.auth import Handshake
from raftctl.net.frames import NEED_DATA, FrameReader

DEADLINE_S = 10.0
SECRET = b"s" * 32
OTHER = b"o" * 32


def hello(name="h1", **changes):
    """The hello of a member of cluster c: address tcp://NAME:8089, instance i-NAME."""
    made = Hello(VERSION, PEER, "c", f"tcp://{name}:8089", "", f"i-{name}", 1, f"s-{name}", nonce=b"n" * 16)
    return made._replace(**changes)


def guardian(name="h1", **changes):
    return hello(name, role=GUARDIAN, start_id="", **changes)


def admit(own, theirs):
    return None


class Posts:
    """What was posted, by any thread. `wait(found)` returns the first event for which `found` is true."""

    def __init__(self):
        self.events = []
        self._changed = threading.Condition()

    def __call__(self, event):
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def wait(self, found, count=1):
        with self._changed:
            assert self._changed.wait_for(lambda: sum(map(found, self.events)) >= count,
                                          DEADLINE_S), self.events
            return [event for event in self.events if found(event)][count - 1]

    def wait_kind(self, kind, count=1):
        return self.wait(lambda event: isinstance(event, kind), count)


def await_true(question):
    """For what nothing announces: the state of a socket or of another thread."""
    end_s = time.monotonic() + DEADLINE_S
    while not question():
        assert time.monotonic() < end_s
        threading.Event().wait(0.005)


def connect(port, host="127.0.0.1"):
    sock = socket.create_connection((host, port), DEADLINE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def read_all(sock):
    """Return all that comes until the end; a reset counts as one."""
    parts = []
    with contextlib.suppress(ConnectionError):
        while True:
            part = sock.recv(65536)
            if not part:
                break
            parts.append(part)
    return b"".join(parts)


def read_line(sock):
    line = b""
    while not line.endswith(b"\n"):
        part = sock.recv(65536)
        if not part:
            break
        line += part
    return line


def dial(port, own, secrets=(), judge=admit):
    """Shake hands as a dialler and return (socket, Established)."""
    sock = connect(port)
    return sock, shake(sock, Handshake(True, own, secrets, judge))


def shake(sock, side):
    while side.result is None:
        sock.sendall(side.outgoing())
        side.receive(sock.recv(4096))
    sock.sendall(side.outgoing())
    return side.result


def run_handshake(dialler, acceptor, between=lambda data: data):
    """Pass bytes to and fro until both are done; `between` may alter what the dialler says."""
    for _ in range(4):
        acceptor_hears = between(dialler.outgoing())
        if acceptor_hears:
            acceptor.receive(acceptor_hears)
        dialler_hears = acceptor.outgoing()
        if dialler_hears:
            dialler.receive(dialler_hears)
    return dialler.result, acceptor.result


def events_of(reader, data):
    """Feed `data` and return all events up to NEED_DATA."""
    reader.receive(data)
    found = []
    while True:
        event = reader.next_event()
        if event is NEED_DATA:
            return found
        found.append(event)


class Acceptor:
    """A bare peer listener on a free port of 127.0.0.1 that the test drives by hand."""

    def __init__(self, own=None, secrets=(), port=0):
        self.own = own or hello("h2")
        self.secrets = secrets
        self._sock = socket.socket()
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._sock.bind(("127.0.0.1", port))
        self._sock.listen(8)
        self._sock.settimeout(DEADLINE_S)
        self.port = self._sock.getsockname()[1]
        self.address = parse(f"tcp://127.0.0.1:{self.port}")

    def accept(self):
        sock, _ = self._sock.accept()
        sock.settimeout(DEADLINE_S)
        return sock

    def welcome(self, judge=admit):
        """Accept and shake hands; return (socket, Established)."""
        sock = self.accept()
        side = Handshake(False, self.own, self.secrets, judge)
        try:
            while side.result is None:
                side.receive(sock.recv(4096))
                sock.sendall(side.outgoing())
        except Exception:
            sock.sendall(side.outgoing())
            sock.close()
            raise
        return sock, side.result

    def close(self):
        self._sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Incoming:
    """Reads the messages of an established connection from a socket."""

    def __init__(self, sock, established):
        self.sock = sock
        self._reader = FrameReader(1 << 20, established.opener.open)
        self._waiting = []

    def next(self, *, skip=()):
        while True:
            while not self._waiting:
                self._waiting = events_of(self._reader, self.sock.recv(1 << 16))
            frame = self._waiting.pop(0)
            if frame.kind not in skip:
                return frame


