"""The bare things that the benchmarks compare with: a disk's syncs, and an echo without parsing or disk."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from typing import Callable, Dict, Iterator, List, Tuple

import grpc_talk
from common import PATIENCE_S
from load import FORK

RECORD = b"r" * 150
SYNC_BATCH = 16


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


# --- a server that does next to nothing

@contextlib.contextmanager
def server(answer: Callable[[bytes], bytes]) -> Iterator[int]:
    """The port of a server that sends `answer(what it read)`: what clients get there is what they can get."""
    listener = _listener()
    process = FORK.Process(target=_serve, args=(listener, answer), daemon=True)
    process.start()
    try:
        yield listener.getsockname()[1]
    finally:
        process.kill()
        process.join(PATIENCE_S)
        listener.close()


def _serve(listener: socket.socket, answer: Callable[[bytes], bytes]) -> None:
    clients: Dict[int, socket.socket] = {}
    with select.epoll() as poller:
        poller.register(listener, select.EPOLLIN)
        while True:
            for descriptor, _ in poller.poll():
                if descriptor == listener.fileno():
                    client = _accept(listener)
                    clients[client.fileno()] = client
                    poller.register(client, select.EPOLLIN)
                    continue
                try:
                    data = clients[descriptor].recv(65536)
                    if data:
                        clients[descriptor].sendall(answer(data))
                        continue
                except ConnectionError:      # a load that is over leaves answers unread
                    data = b""
                poller.unregister(descriptor)
                clients.pop(descriptor).close()


def answer_line(data: bytes) -> bytes:
    """Answer as raftctl does. A client's request, small and sent at once, comes as one piece."""
    return b'{"ok":true,"revision":1234}\n' if data.endswith(b"\n") else b""


def answer_call(data: bytes) -> bytes:
    """Answer as etcd does: headers, a message of 30 bytes, trailers."""
    at, answers = len(grpc_talk.PREFACE) if data.startswith(grpc_talk.PREFACE) else 0, []
    while at < len(data):
        if data[at + 3] == grpc_talk.DATA:
            stream = int.from_bytes(data[at + 5:at + 9], "big")
            answers.append(grpc_talk.frame(grpc_talk.HEADERS, grpc_talk.END_HEADERS, stream, b"\x88")
                           + grpc_talk.frame(grpc_talk.DATA, 0, stream, bytes(35))
                           + grpc_talk.frame(grpc_talk.HEADERS, grpc_talk.END_HEADERS | grpc_talk.END_STREAM,
                                             stream, b"\x00\x0bgrpc-status\x010"))
        at += grpc_talk.HEAD + int.from_bytes(data[at:at + 3], "big")
    return b"".join(answers)


# --- the bare echo

@contextlib.contextmanager
def echo_servers() -> Iterator[int]:
    """The port of a bare leader: client -> leader -> two followers -> back at the first one's answer."""
    processes, listeners = [], [_listener() for _ in range(3)]
    ports = [listener.getsockname()[1] for listener in listeners]
    try:
        for listener, target in zip(listeners, (_follow, _follow, _lead)):
            processes.append(FORK.Process(target=target, args=(listener, ports[:2]), daemon=True))
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
