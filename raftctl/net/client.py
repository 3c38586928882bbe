"""Client of the command protocol, for the command line. Light: a cron job's `state` is mostly its imports."""

from __future__ import annotations

import json
import socket
import time
from typing import Any, Dict, Optional, Sequence, Tuple

from raftctl.base.errors import NotAllowed, OutcomeUnknown, Unreachable
from raftctl.net import protocol

# ("tcp", host, port) or ("unix", path)
Endpoint = Tuple[Any, ...]


class CommandClient:
    """One connection to one of `endpoints`, tried in order, opened by the first request and kept.

    `timeout_s` bounds each request, connecting included: let the request's own "timeoutMs" be a little
    shorter, so that a definite answer arrives in time.
    `secrets`: the first is proven over TCP before the first request that needs it. One thread. A context
    manager.
    """

    def __init__(
        self, endpoints: Sequence[Endpoint], *, secrets: Tuple[bytes, ...] = (), timeout_s: float = 5.0
    ) -> None:
        self._endpoints = endpoints
        self._secrets = secrets
        self._timeout_s = timeout_s
        self._sock: Optional[socket.socket] = None
        self._transport = ""
        self._where = ""
        self._is_proven = False
        self._received = b""

    def __enter__(self) -> CommandClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    @property
    def where(self) -> str:
        """The endpoint that answered, for people."""
        return self._where

    def request(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """Send one request and return its reply, whether its "ok" is true or false.

        Raises `Unreachable` (nothing was changed), `OutcomeUnknown` (sent, no answer, and it may change
        something), `NotAllowed` (the secret was not accepted).
        """
        deadline_s = time.monotonic() + self._timeout_s
        if self._sock is None:
            self._connect(deadline_s)
        action = request.get("action")
        needs_proof = self._transport == "tcp" and self._secrets and not self._is_proven
        if needs_proof and action not in protocol.OPEN_ACTIONS:
            self._prove(deadline_s)
        return self._exchange(request, deadline_s, may_repeat=action in protocol.READING_ACTIONS)

    def _connect(self, deadline_s: float) -> None:
        problems = []
        for endpoint in self._endpoints:
            where = endpoint[1] if endpoint[0] == "unix" else f"{endpoint[1]}:{endpoint[2]}"
            try:
                self._sock = _connect(endpoint, deadline_s)
            except (OSError, UnicodeError) as error:
                problems.append(f"{where} ({_words(error)})")
                continue
            self._transport, self._where = endpoint[0], where
            self._is_proven = False
            self._received = b""
            return
        raise Unreachable(f"no daemon at {' or '.join(problems)}")

    def _prove(self, deadline_s: float) -> None:
        challenge = self._exchange({"action": "challenge"}, deadline_s, may_repeat=True)
        nonce = challenge.get("nonce")
        # A node without a secret has nothing to be proven; it decides by itself what it allows.
        if challenge.get("ok") and isinstance(nonce, str) and nonce.isascii():
            proof = protocol.command_proof(self._secrets[0], nonce)
            reply = self._exchange({"action": "authenticate", "proof": proof}, deadline_s, may_repeat=True)
            if not reply.get("ok"):
                self.close()
                raise NotAllowed(f"{self._where}: the secret is not the one of the node there; "
                                 "nothing was changed")
        self._is_proven = True

    def _exchange(self, request: Dict[str, Any], deadline_s: float, *, may_repeat: bool) -> Dict[str, Any]:
        data = json.dumps(request).encode("ascii") + b"\n"
        problem = self._send(data, deadline_s)
        try:
            # Also when sending failed: the node may have said why before it closed.
            line = self._read_line(deadline_s)
            reply = json.loads(line)
            if isinstance(reply, dict):
                return reply
            why = "its answer is no object"
        except (OSError, ValueError) as error:
            why = problem or (_words(error) if isinstance(error, OSError) else "its answer is no JSON")
        self.close()
        if may_repeat:
            raise Unreachable(f"no answer from {self._where} ({why})")
        raise OutcomeUnknown(
            f"no answer from {self._where} ({why}): the request may or may not have been carried out"
        )

    def _send(self, data: bytes, deadline_s: float) -> str:
        try:
            self._sock.settimeout(_left(deadline_s))
            self._sock.sendall(data)
        except OSError as error:
            return _words(error)
        return ""

    def _read_line(self, deadline_s: float) -> bytes:
        chunks = [self._received]
        size = len(self._received)
        while b"\n" not in chunks[-1]:
            if size > protocol.REPLY_LIMIT:
                raise ConnectionAbortedError(None, "its answer has no end")
            self._sock.settimeout(_left(deadline_s))
            data = self._sock.recv(65536)
            if not data:
                raise ConnectionAbortedError(None, "it closed the connection")
            chunks.append(data)
            size += len(data)
        line, _, self._received = b"".join(chunks).partition(b"\n")
        return line


def _left(deadline_s: float) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise socket.timeout("timed out")
    return left_s


def _connect(endpoint: Endpoint, deadline_s: float) -> socket.socket:
    if endpoint[0] == "tcp":
        sock = socket.create_connection((endpoint[1], endpoint[2]), timeout=_left(deadline_s))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(_left(deadline_s))
        protocol.connect_unix(sock, endpoint[1])
    except OSError:
        sock.close()
        raise
    return sock


def _words(error: Exception) -> str:
    if isinstance(error, socket.timeout):
        return "timed out"
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return "unknown name"
    return str(getattr(error, "strerror", None) or error).lower()
