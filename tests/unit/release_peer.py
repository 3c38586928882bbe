"""A peer for tests of RELEASE: an acceptor that speaks the real handshake and notes what comes."""

from __future__ import annotations

import socket
import threading

from raftctl.base.errors import PeerFault
from raftctl.cluster import handshake
from raftctl.cluster.handshake import PEER, VERSION, Hello
from raftctl.host.release import Endpoint
from raftctl.net.auth import Handshake
from raftctl.net.frames import NEED_DATA, FrameReader
from raftctl.raft.encoding import decode_message


class Peer:
    """An acceptor in a thread of its own: shakes hands once and notes the frames and hellos that come."""

    def __init__(self, address, secrets=(), host="127.0.0.1"):
        self.address = address
        self.frames, self.hellos, self.problems = [], [], []
        self._secrets = secrets
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        self._listener.settimeout(10)
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def endpoint(self, *ips):
        return Endpoint(self.address, ips or ("127.0.0.1",), self.port)

    def join(self):
        self._thread.join(10)
        self._listener.close()
        return self

    def _serve(self):
        try:
            connection, _ = self._listener.accept()
            with connection:
                connection.settimeout(10)
                self._receive(connection)
        except (OSError, PeerFault) as error:
            self.problems.append(str(error))

    def _receive(self, connection):
        own = Hello(VERSION, PEER, "c" * 32, self.address, "", "n2", 5, "f" * 16)
        shake = Handshake(False, own, self._secrets,
                          lambda a, b: handshake.judge(a, b, lambda instance: None))
        while shake.result is None:
            try:
                shake.receive(connection.recv(4096))
            finally:
                connection.sendall(shake.outgoing())
        self.hellos.append(shake.result.theirs)
        reader = FrameReader(4096)
        while True:
            data = connection.recv(4096)
            if not data:
                return
            reader.receive(data)
            event = reader.next_event()
            while event is not NEED_DATA:
                self.frames.append((event.kind,
                                    decode_message(shake.result.opener.open(event.kind, event.body))))
                event = reader.next_event()
