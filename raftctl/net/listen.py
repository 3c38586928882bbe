"""The peer listener: accepts, shakes hands, and posts what the diallers say. The acceptor only reads (design §4.1)."""

from __future__ import annotations

import logging
import socket
import time
from typing import Any, Callable, List, Sequence, Tuple

from raftctl.base.errors import PeerFault, UsageError
from raftctl.base.hosts import is_loopback
from raftctl.cluster.handshake import GUARDIAN, PING, RAFT, Hello
from raftctl.net import frames
from raftctl.net.auth import Established, Handshake, Judge
from raftctl.net.frames import CLOSED, NEED_DATA, FrameReader
from raftctl.net.links import FrameIn
from raftctl.net.serve import Server

_log = logging.getLogger(__name__)

# Before the handshake is over a stranger gets this long in all (pitfall 11.2).
HANDSHAKE_S = 5.0
_READ_SIZE = 256 * 1024
# One complaint a second about strangers: they must not fill the log.
_COMPLAINT_EVERY_S = 1.0


class PeerListener:
    """Binds in the constructor (`UsageError`: address in use …), accepts from `start` on; `post` by many threads."""

    def __init__(self, hosts: Sequence[str], port: int, own_hello: Callable[[str, int], Hello],
                 secrets: Tuple[bytes, ...], judge: Judge, post: Callable[[object], None], *, silence_ns: int,
                 insecure: bool = False, accepted: Callable[[Hello], None] = lambda hello: None) -> None:
        if not secrets and not insecure and not all(is_loopback(host) for host in hosts):
            raise UsageError(f"listening on {', '.join(hosts)} needs a secret (P8): add a secretFile, "
                             'or say "insecure": true')
        self._own_hello, self._secrets, self._judge, self._post = own_hello, secrets, judge, post
        self._silence_s, self._accepted = silence_ns / 1e9, accepted
        self._complained_s = 0.0
        self._servers = bind(hosts, port, self._serve)
        self.port: int = self._servers[0].socket.getsockname()[1]
        self.addresses: Tuple[Tuple[str, int], ...] = tuple(
            server.socket.getsockname()[:2] for server in self._servers)

    def start(self) -> None:
        for server in self._servers:
            server.start()

    def close(self, deadline_s: float) -> None:
        for server in self._servers:
            server.close(deadline_s)

    def _serve(self, sock: socket.socket, place: Any) -> None:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            established = self._shake(sock)
            self._accepted(established.theirs)
            sock.settimeout(self._silence_s)
            self._read(sock, established)
        except PeerFault as fault:
            self._complain(f"connection from {place[0]}: {fault}; closed")
        except OSError as error:
            self._complain(f"connection from {place[0]} ended ({error})")

    def _shake(self, sock: socket.socket) -> Established:
        handshake = Handshake(False, self._own_hello("", 0), self._secrets, self._judge)
        deadline_s = time.monotonic() + HANDSHAKE_S
        try:
            while True:
                sock.settimeout(max(deadline_s - time.monotonic(), 0.001))
                handshake.receive(sock.recv(4096))
                sock.sendall(handshake.outgoing())
                if handshake.result is not None:
                    return handshake.result
        except PeerFault:
            sock.sendall(handshake.outgoing())
            raise

    def _read(self, sock: socket.socket, established: Established) -> None:
        hello = established.theirs
        reader = FrameReader(frames.PART_SIZE + frames.MAC_SIZE, established.opener.open)
        buffer = memoryview(bytearray(_READ_SIZE))
        while True:
            reader.receive(buffer[:sock.recv_into(buffer)])
            while True:
                event = reader.next_event()
                if event is NEED_DATA:
                    break
                if event is CLOSED:
                    return
                if hello.role == GUARDIAN and event.kind != RAFT:
                    raise PeerFault(f"{hello.address}: a guardian may only release")
                if event.kind != PING:
                    self._post(FrameIn(hello, event.kind, event.body))

    def _complain(self, text: str) -> None:
        now_s = time.monotonic()
        if now_s - self._complained_s >= _COMPLAINT_EVERY_S:
            self._complained_s = now_s
            _log.warning("%s", text)


def bind(hosts: Sequence[str], port: int, serve: Callable[[socket.socket, Any], None]) -> List[Server]:
    """Return servers bound to all addresses of `hosts` at `port` (0: one free port for all of them)."""
    places = []
    for host in hosts:
        places += _resolve("*" if host in ("*", "") else host, port)
    servers: List[Server] = []
    try:
        for family, place in dict.fromkeys(places):
            if not port and servers:
                place = (place[0], servers[0].socket.getsockname()[1], *place[2:])
            servers.append(Server(family, place, serve, f"{place[0]}:{place[1]}"))
    except UsageError:
        # localhost is both loopbacks "where present": IPv6 may be switched off.
        if not servers or "localhost" not in hosts:
            for server in servers:
                server.close(0)
            raise
    return servers


def _resolve(host: str, port: int) -> List[Tuple[int, Any]]:
    if host == "localhost":
        return [(socket.AF_INET, ("127.0.0.1", port)), (socket.AF_INET6, ("::1", port, 0, 0))]
    try:
        found = socket.getaddrinfo(None if host == "*" else host, port, type=socket.SOCK_STREAM,
                                   flags=socket.AI_PASSIVE)
    except OSError as error:
        raise UsageError(f'the host "{host}" can\'t be looked up ({error.strerror}); check "address" and "listen"') from None
    return [(family, place) for family, _, _, _, place in found]
