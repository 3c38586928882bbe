"""The peer listener: accepted connections, which only bring frames (in-<peer> threads).

Each is proven within 5 s and 4 KiB a frame, then read until it ends or is silent too long; its messages are
posted with the dialler's `Hello`. What is not authentic, too large or malformed closes its connection and
changes nothing (P8). How much of a peer may wait is bounded by the inbox behind `post`.
"""

from __future__ import annotations

import logging
import socket
import struct
import threading
import time
from typing import Any, Callable, Sequence, Tuple

from raftctl.base.errors import PeerFault
from raftctl.cluster import handshake
from raftctl.cluster.handshake import Hello
from raftctl.net import binding, digest
from raftctl.net.auth import Established, Handshake, Judge, Refused, printable, read_refusal
from raftctl.net.complaints import Complaints
from raftctl.net.dial import HANDSHAKE_S
from raftctl.net.frames import CLOSED, FRAME_LIMIT, NEED_DATA, Frame, FrameReader
from raftctl.net.links import FrameIn
from raftctl.net.serve import CAP, Servers, name_of, places_of

_RECEIVE_SIZE = 256 * 1024
_SECOND_NS = 1_000_000_000

_log = logging.getLogger(__name__)


class PeerListener:
    """Binds in the constructor (`UsageError`: address in use, no secret …); accepts from `start` on.

    `own_hello("", 0)` is asked for each connection; `judge` is the `auth.Witness` that the links have as
    well. From threads of its own it calls `post(FrameIn)` and, after each good handshake of a peer,
    `accepted(hello)`, and `pinged(hello)` for each PING; none may block for long. `silence_ns`: how long a
    connection may bring nothing.
    """

    def __init__(
        self,
        hosts: Sequence[str],
        port: int,
        own_hello: Callable[[str, int], Hello],
        secrets: Tuple[bytes, ...],
        judge: Judge,
        post: Callable[[object], None],
        *,
        silence_ns: int,
        insecure: bool = False,
        accepted: Callable[[Hello], None] = lambda hello: None,
        pinged: Callable[[Hello], None] = lambda hello: None,
        cap: int = CAP,
    ) -> None:
        if secrets:
            digest.prepare()
        sockets = binding.bind_tcp(hosts, port, key="address", is_guarded=bool(secrets) or insecure)
        self.addresses: Tuple[Tuple[str, int], ...] = places_of(sockets)
        self.port = self.addresses[0][1]
        self._own_hello = own_hello
        self._secrets = secrets
        self._judge = judge
        self._post = post
        self._accepted = accepted
        self._pinged = pinged
        self._silence = struct.pack("ll", silence_ns // _SECOND_NS, silence_ns % _SECOND_NS // 1000)
        self._complaints = Complaints(_log)
        self._servers = Servers(sockets, self._serve, self._refuse, cap)

    def start(self) -> None:
        self._servers.start()

    def set_secrets(self, secrets: Tuple[bytes, ...]) -> None:
        """Use these from the next connection on; there were some and are some. Any thread."""
        self._secrets = secrets

    def close(self, deadline_s: float) -> None:
        """Stop accepting and end all connections, within `deadline_s` seconds."""
        self._servers.close(deadline_s)

    def _refuse(self, sock: socket.socket) -> None:
        self._complaints.bad("", "cap", f"a connection is closed, {len(self._servers.room)} are open already")

    def _serve(self, sock: socket.socket, place: Any) -> None:
        who = name_of(place)
        try:
            established = self._shake(sock)
            hello = established.theirs
            who = hello.address
            threading.current_thread().name = f"in-{who.partition('//')[2]}"
            if hello.role == handshake.PEER:
                self._accepted(hello)
            self._read(sock, established, lambda: self._complaints.good(place[0], f"{who} is let in again"))
        except Refused as refusal:
            self._complaints.bad(place[0], refusal.code, f"refused {who}: {refusal}")
        except PeerFault as fault:
            self._complaints.bad(place[0], str(fault), f"closed the connection of {who}: {fault}")
        except OSError as error:
            _log.debug("connection of %s ended: %s", who, error)

    def _shake(self, sock: socket.socket) -> Established:
        side = Handshake(False, self._own_hello("", 0), self._secrets, self._judge)
        deadline_s = time.monotonic() + HANDSHAKE_S
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while side.result is None:
                # Also with nothing left: a moment, so that bytes which are there already are not judged late.
                sock.settimeout(max(0.001, deadline_s - time.monotonic()))
                data = sock.recv(4096)
                if time.monotonic() >= deadline_s:
                    raise PeerFault(f"no handshake within {HANDSHAKE_S:.0f} s")
                side.receive(data)
                if side.result is not None:
                    # Before the dialler hears of it: it must not be evicted any more.
                    self._servers.room.trust(sock)
                sock.sendall(side.outgoing())
        except PeerFault:
            _say_why(sock, side.outgoing())
            raise
        return side.result

    def _read(self, sock: socket.socket, established: Established, praise: Callable[[], None]) -> None:
        """Deliver what comes until the end; `praise` with the first frame: before it, it may still refuse us.
        """
        # The kernel's own time-out: one system call a read, where Python's would poll first.
        sock.settimeout(None)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, self._silence)
        hello = established.theirs
        reader = FrameReader(FRAME_LIMIT, established.opener.open)
        deliver = self._deliver_guardian if hello.role == handshake.GUARDIAN else self._deliver_peer
        room = memoryview(bytearray(_RECEIVE_SIZE))
        is_praised = False
        while True:
            try:
                count = sock.recv_into(room)
            except BlockingIOError:
                _log.info("%s was silent too long; its connection is closed", hello.address)
                return
            reader.receive(room[:count])
            while True:
                event = reader.next_event()
                if event is NEED_DATA:
                    break
                if event is CLOSED:
                    return
                deliver(hello, event)
                if not is_praised:
                    is_praised = True
                    praise()

    def _deliver_peer(self, hello: Hello, frame: Frame) -> None:
        if frame.kind >= handshake.RAFT:
            self._post(FrameIn(hello, frame.kind, frame.body))
        elif frame.kind == handshake.REFUSED:
            code, message, _ = read_refusal(frame.body)
            raise Refused(code, f"it refuses this node: {printable(message)}")
        elif frame.kind == handshake.PING:
            self._pinged(hello)
        else:
            raise PeerFault(f"frame kind {frame.kind} after the handshake")

    def _deliver_guardian(self, hello: Hello, frame: Frame) -> None:
        if frame.kind not in (handshake.RAFT, handshake.PING, handshake.OUTGOING):
            raise PeerFault(f"frame kind {frame.kind} from a guardian")
        self._deliver_peer(hello, frame)


def _say_why(sock: socket.socket, refusal: bytes) -> None:
    try:
        sock.sendall(refusal)
    except OSError as error:
        # The fault itself is on its way up and must not be lost behind this.
        _log.debug("refusal not sent: %s", error)
