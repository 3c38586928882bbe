"""The bare things that `write` compares with, and the clients that load them: all the same clients.

A server speaks lines; a client has one request under way at a time (closed loop) on a connection of its own.
The clients run in processes of their own, a few connections on one epoll each: threads would cost more than
they measure.
"""

from __future__ import annotations

import array
import contextlib
import multiprocessing
import os
import select
import socket
import time
from typing import Any, Dict, Iterator, List, NamedTuple, Tuple

from common import PATIENCE_S

# Processes are forked: what they need is in memory, and their death is their parent's.
_FORK = multiprocessing.get_context("fork")
GENERATORS = 2
VALUE = "v" * 100
RECORD = b"r" * 150
SYNC_BATCH = 16


class Load(NamedTuple):
    """What clients got: answers a second, and nanoseconds from request to answer."""

    per_second: float
    latencies_ns: List[int]
    refused: int


def sync_rate(folder: str, seconds: float) -> float:
    """Return appends of 150 bytes a second, each with fdatasync, to a preallocated file in `folder`."""
    path = os.path.join(folder, "bare")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        os.posix_fallocate(descriptor, 0, 16 << 20)
        os.fsync(descriptor)
        count, offset, began = 0, 0, time.monotonic()
        while time.monotonic() - began < seconds:
            for _ in range(SYNC_BATCH):
                os.pwrite(descriptor, RECORD, offset)
                os.fdatasync(descriptor)
                offset = (offset + len(RECORD)) % (15 << 20)
            count += SYNC_BATCH
        return count / (time.monotonic() - began)
    finally:
        os.close(descriptor)
        os.unlink(path)


# --- clients

def put_load(port: int, clients: int, warm_s: float, seconds: float) -> Load:
    """Let `clients` loops put 100-byte values over the command port; count after `warm_s` for `seconds`."""
    shares = [clients // GENERATORS + (number < clients % GENERATORS) for number in range(GENERATORS)]
    # CLOCK_MONOTONIC is one for all processes: they begin and end to count at the same instants.
    began = time.monotonic_ns() + 200_000_000
    window = (began + int(warm_s * 1e9), began + int((warm_s + seconds) * 1e9))
    running = []
    for number, share in enumerate(shares):
        if share:
            ours, theirs = _FORK.Pipe(duplex=False)
            process = _FORK.Process(target=_generate, args=(theirs, port, share, number, window), daemon=True)
            process.start()
            theirs.close()
            running.append((process, ours))
    latencies: List[int] = []
    refused = 0
    for process, ours in running:
        if not ours.poll(warm_s + seconds + PATIENCE_S):
            raise AssertionError("a load generator does not end")
        data, bad = ours.recv()
        latencies.extend(array.array("q", data))
        refused += bad
        process.join(PATIENCE_S)
    return Load(len(latencies) / seconds, latencies, refused)


def _generate(result: Any, port: int, clients: int, number: int, window: Tuple[int, int]) -> None:
    """Load generator process: every answer is looked at, only those that came in `window` count."""
    latencies, refused = array.array("q"), 0
    begin, end = window
    with select.epoll() as poller, contextlib.ExitStack() as stack:
        sockets: Dict[int, socket.socket] = {}
        lines, sent = {}, {}
        for client in range(clients):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            descriptor = sock.fileno()
            sockets[descriptor] = sock
            lines[descriptor] = (f'{{"action": "put", "key": "bench-{number}-{client}", "value": "{VALUE}", '
                                 '"timeoutMs": 30000}\n').encode("ascii")
            poller.register(descriptor, select.EPOLLIN)
        for descriptor, sock in sockets.items():
            sent[descriptor] = time.monotonic_ns()
            sock.sendall(lines[descriptor])
        parts: Dict[int, bytes] = {}
        now = 0
        while now < end:
            for descriptor, _ in poller.poll(PATIENCE_S):
                data = parts.pop(descriptor, b"") + sockets[descriptor].recv(65536)
                now = time.monotonic_ns()
                if not data.endswith(b"\n"):
                    if not data:
                        raise ConnectionError("the server closed a client's connection")
                    parts[descriptor] = data
                    continue
                if b'"ok": true' in data or b'"ok":true' in data:
                    if begin <= now < end:
                        latencies.append(now - sent[descriptor])
                else:
                    refused += 1
                sent[descriptor] = now
                sockets[descriptor].sendall(lines[descriptor])
    result.send((latencies.tobytes(), refused))


# --- the bare echo

@contextlib.contextmanager
def echo_servers() -> Iterator[int]:
    """The port of a bare leader: client -> leader -> two followers -> back at the first one's answer."""
    processes, listeners = [], [_listener() for _ in range(3)]
    ports = [listener.getsockname()[1] for listener in listeners]
    try:
        for listener, target in zip(listeners, (_follow, _follow, _lead)):
            processes.append(_FORK.Process(target=target, args=(listener, ports[:2]), daemon=True))
            processes[-1].start()
        for listener in listeners:
            listener.close()
        yield ports[2]
    finally:
        for process in processes:
            process.kill()
            process.join(PATIENCE_S)


def _listener() -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    return listener


def _follow(listener: socket.socket, ports: List[int]) -> None:
    sock = _accept(listener)
    with contextlib.suppress(ConnectionError):      # the bare leader has been ended
        while True:
            data = sock.recv(1 << 20)
            if not data:
                return
            sock.sendall(data)


def _accept(listener: socket.socket) -> socket.socket:
    sock = listener.accept()[0]
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class _Echo:
    """The bare leader: no parsing, no disk. A line is answered when one follower has sent its bytes back."""

    def __init__(self, listener: socket.socket, ports: List[int]) -> None:
        self._listener = listener
        self._poller = select.epoll()
        self._poller.register(listener, select.EPOLLIN)
        self._clients: Dict[int, socket.socket] = {}
        self._followers: Dict[int, socket.socket] = {}
        self._echoed: Dict[int, int] = {}
        for port in ports:
            sock = socket.create_connection(("127.0.0.1", port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._followers[sock.fileno()] = sock
            self._echoed[sock.fileno()] = 0
            self._poller.register(sock, select.EPOLLIN)
        self._written = 0
        # Bytes of the stream to followers that must be back, client.
        self._open: List[Tuple[int, int]] = []

    def run(self) -> None:
        while True:
            lines = []
            for descriptor, _ in self._poller.poll():
                if descriptor == self._listener.fileno():
                    client = _accept(self._listener)
                    self._clients[client.fileno()] = client
                    self._poller.register(client, select.EPOLLIN)
                elif descriptor in self._followers:
                    self._echoed[descriptor] += len(self._followers[descriptor].recv(1 << 20))
                    self._answer(max(self._echoed.values()))
                else:
                    lines.append(self._take(descriptor))
            if any(lines):
                batch = b"".join(lines)
                for follower in self._followers.values():
                    follower.sendall(batch)

    def _take(self, descriptor: int) -> bytes:
        try:
            data = self._clients[descriptor].recv(65536)
        except ConnectionError:      # a load that is over leaves answers unread
            data = b""
        if not data:
            self._poller.unregister(descriptor)
            self._clients.pop(descriptor).close()
            return b""
        self._written += len(data)
        if data.endswith(b"\n"):
            self._open.append((self._written, descriptor))
        return data

    def _answer(self, back: int) -> None:
        while self._open and self._open[0][0] <= back:
            client = self._clients.get(self._open.pop(0)[1])
            if client is not None:
                with contextlib.suppress(ConnectionError):     # the load is over
                    client.sendall(b'{"ok": true}\n')


def _lead(listener: socket.socket, ports: List[int]) -> None:
    _Echo(listener, ports).run()
