"""Client of the command protocol (raftctl-protocol(7)); light, because every cron job imports it."""

from __future__ import annotations

import json
import os
import socket
from typing import Any, Dict, Optional, Sequence, Tuple

from raftctl.base.errors import NotAllowed, OutcomeUnknown, Unreachable

# Unix socket paths have at most 107 bytes (unix(7)); longer ones go through /proc/self/fd.
_PATH_LIMIT = 107
_SCOPE = b"raftctl command "


class CommandClient:
    """`endpoints`: ("tcp", host, port) or ("unix", path), tried in order. One request at a time; one thread."""

    def __init__(self, endpoints: Sequence[tuple], *, secrets: Tuple[bytes, ...] = (), timeout_s: float = 5.0) -> None:
        self._endpoints, self._secrets, self._timeout_s = tuple(endpoints), secrets, timeout_s
        self._sock: Optional[socket.socket] = None
        self._buffer = b""

    def __enter__(self) -> "CommandClient":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def request(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """Return the reply, also one whose "ok" is false. `Unreachable`: nothing was sent; `OutcomeUnknown`: it was."""
        if self._sock is None:
            self._sock = self._connect()
        return self._exchange(request)

    def _exchange(self, request: Dict[str, Any]) -> Dict[str, Any]:
        try:
            self._sock.sendall(json.dumps(request, separators=(",", ":")).encode() + b"\n")  # type: ignore[union-attr]
            line = self._read_line()
            reply = json.loads(line)
        except (OSError, ValueError) as error:
            self.close()
            raise OutcomeUnknown(f"no answer from the daemon ({_words(error)}); the request was sent, "
                                 "read before you repeat it") from None
        if not isinstance(reply, dict):
            self.close()
            raise OutcomeUnknown("the daemon's answer is no JSON object; is that port raftctl's?")
        return reply

    def _read_line(self) -> bytes:
        while b"\n" not in self._buffer:
            part = self._sock.recv(65536)  # type: ignore[union-attr]
            if not part:
                raise OSError("connection closed")
            self._buffer += part
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line

    def _connect(self) -> socket.socket:
        problems = []
        for endpoint in self._endpoints:
            try:
                sock = _open(endpoint, self._timeout_s)
            except OSError as error:
                problems.append(f"{_shown(endpoint)} ({_words(error)})")
                continue
            self._sock, self._buffer = sock, b""
            if endpoint[0] == "tcp" and self._secrets:
                self._authenticate()
            return sock
        raise Unreachable(f"no daemon at {', '.join(problems)}; start one: raftctl start")

    def _authenticate(self) -> None:
        nonce = str(self._exchange({"action": "challenge"}).get("nonce", ""))
        mac = command_mac(self._secrets[0], nonce)
        if not self._exchange({"action": "authenticate", "mac": mac}).get("ok"):
            self.close()
            raise NotAllowed("the daemon does not know this secret; check secretFile on both sides")


def command_mac(secret: bytes, nonce: str) -> str:
    """Return what proves `secret` to the command listener that drew `nonce`: HMAC-SHA-256 in hex digits."""
    import hmac  # 2.7 ms that a `state` by the unix socket need not pay

    return hmac.digest(secret, _SCOPE + nonce.encode(), "sha256").hex()


def _open(endpoint: tuple, timeout_s: float) -> socket.socket:
    if endpoint[0] == "tcp":
        sock = socket.create_connection(endpoint[1:], timeout_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout_s)
        path = endpoint[1]
        if len(os.fsencode(path)) <= _PATH_LIMIT:
            sock.connect(path)
            return sock
        folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            sock.connect(f"/proc/self/fd/{folder}/{os.path.basename(path)}")
        finally:
            os.close(folder)
        return sock
    except BaseException:
        sock.close()
        raise


def _shown(endpoint: tuple) -> str:
    return str(endpoint[1]) if endpoint[0] == "unix" else f"{endpoint[1]}:{endpoint[2]}"


def _words(error: Exception) -> str:
    if isinstance(error, socket.timeout):
        return "timed out"
    return (error.strerror or str(error)).lower() if isinstance(error, OSError) else "no JSON"
