"""The command listener: JSON lines over TCP and a unix socket (raftctl-protocol(7), design §4.4).

It reads lines, checks who may change something, echoes `id`, and turns errors into replies. What an action does is
`answer`'s. Caps and deadlines hold before anybody has proven anything (P8).
"""

from __future__ import annotations

import contextlib
import grp
import hmac
import json
import logging
import os
import pwd
import secrets as random_secrets
import select
import socket
import struct
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from raftctl.base.errors import RaftctlError, UsageError
from raftctl.base.hosts import is_loopback
from raftctl.base.objects import parse_object
from raftctl.net.client import command_mac
from raftctl.net.error_codes import CommandError, from_error
from raftctl.net.listen import bind
from raftctl.net.serve import Server

_log = logging.getLogger(__name__)

LINE_LIMIT = 1 << 20
# The first line of a stranger, and a lone object without a newline (the older Node client, printf | nc).
FIRST_LIMIT = 4096
FIRST_S = 5.0
LONE_S = 0.2
IDLE_S = 600.0
DRAIN_S = 1.0
GROUP = "raftctl"

_PATH_LIMIT = 107
_CREDENTIALS = struct.Struct("3i")
_FOR_ALL = ("state", "status", "version")
_Object = Dict[str, Any]


class Caller(NamedTuple):
    """Who asks. `who` is for logs: "root@unix", "tcp 127.0.0.1"; `transport` "unix" or "tcp"."""

    may_change: bool
    who: str
    transport: str


class CommandListener:
    """Binds in the constructor (`UsageError`), answers from `start` on, in a thread a connection."""

    def __init__(self, tcp: Optional[Tuple[str, int]], unix: Optional[str],
                 answer: Callable[[_Object, Caller], _Object], secrets: Tuple[bytes, ...] = (), *,
                 insecure: bool = False) -> None:
        self._answer, self._secrets = answer, secrets
        self._unix = unix
        self._tcp_is_open = insecure
        self._servers: List[Server] = []
        self.port: Optional[int] = None
        if tcp is not None:
            loopback = is_loopback(tcp[0])
            if not loopback and not secrets and not insecure:
                raise UsageError(f"commands on {tcp[0]}:{tcp[1]} need a secret (P8): add a secretFile, "
                                 'or say "insecure": true')
            self._tcp_is_open = insecure or (loopback and not secrets)
            self._servers += bind([tcp[0]], tcp[1], self._serve_tcp)
            self.port = self._servers[0].socket.getsockname()[1]
        if unix is not None:
            self._servers.append(_bind_unix(unix, self._serve_unix))

    def start(self) -> None:
        for server in self._servers:
            server.start()

    def close(self, deadline_s: float) -> None:
        for server in self._servers:
            server.close(deadline_s)
        if self._unix is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._unix)

    # --- who asks

    def _serve_tcp(self, sock: socket.socket, place: Any) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._serve(sock, Caller(self._tcp_is_open, f"tcp {place[0]}", "tcp"))

    def _serve_unix(self, sock: socket.socket, place: Any) -> None:
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, user, group = _CREDENTIALS.unpack(raw)
        name = _user_name(user)
        may_change = user in (0, os.geteuid()) or _is_in_group(name, group)
        self._serve(sock, Caller(may_change, f"{name}@unix", "unix"))

    # --- lines

    def _serve(self, sock: socket.socket, caller: Caller) -> None:
        try:
            _Conversation(sock, caller, self._answer, self._secrets).run()
        except (ConnectionError, socket.timeout) as error:
            _log.debug("command connection of %s ended: %s", caller.who, error)


class _Conversation:
    """One connection: reads lines, answers each."""

    def __init__(self, sock: socket.socket, caller: Caller, answer: Callable, secrets: Tuple[bytes, ...]) -> None:
        self._sock, self._caller, self._answer, self._secrets = sock, caller, answer, secrets
        self._buffer = bytearray()
        self._nonce = ""

    def run(self) -> None:
        deadline_s = time.monotonic() + FIRST_S
        line, is_lone = self._read_line(FIRST_LIMIT if not self._caller.may_change else LINE_LIMIT, deadline_s,
                                        may_be_lone=True)
        while line is not None:
            if not line.lstrip().startswith(b"{"):
                return       # A browser's POST, or garbage: not a word back (pitfall 11.1).
            self._sock.sendall(self._reply(line))
            if is_lone:
                self._end()
                return
            limit = LINE_LIMIT if self._caller.may_change else FIRST_LIMIT
            line, is_lone = self._read_line(limit, time.monotonic() + IDLE_S, may_be_lone=False)

    def _read_line(self, limit: int, deadline_s: float, *, may_be_lone: bool) -> Tuple[Optional[bytes], bool]:
        """Return (line, is it a lone object without a newline); line None: close."""
        scanned = 0
        while True:
            found = self._buffer.find(b"\n", scanned)
            if found >= 0:
                line = bytes(self._buffer[:found])
                del self._buffer[:found + 1]
                if line.strip():
                    return line, False
                scanned = 0
                continue
            scanned = len(self._buffer)
            if scanned > limit:
                self._sock.sendall(_encode(None, CommandError("too_large", f"a line of more than {limit} bytes")))
                self._end()
                return None, False
            complete = may_be_lone and scanned <= FIRST_LIMIT and _is_object(self._buffer)
            wait_s = min(LONE_S, deadline_s - time.monotonic()) if complete else deadline_s - time.monotonic()
            self._sock.settimeout(max(wait_s, 0.001))
            try:
                part = self._sock.recv(65536)
            except socket.timeout:
                return (bytes(self._buffer), True) if complete else (None, False)
            if not part:
                return (bytes(self._buffer), True) if complete else (None, False)
            self._buffer += part

    def _reply(self, line: bytes) -> bytes:
        request_id = None
        try:
            try:
                request = parse_object(line)
            except ValueError as error:
                raise CommandError("bad_request", f"the line is no JSON object: {error}") from None
            request_id = request.get("id")
            reply = self._act(request)
        except RaftctlError as error:
            return _encode(request_id, from_error(error))
        return _encode(request_id, reply)

    def _act(self, request: _Object) -> _Object:
        action = request.get("action")
        if action == "challenge":
            self._nonce = random_secrets.token_hex(16)
            return {"nonce": self._nonce}
        if action == "authenticate":
            return self._authenticate(request)
        if action not in _FOR_ALL and not self._caller.may_change:
            raise CommandError("not_allowed", f"{action} is not allowed for {self._caller.who}")
        return self._answer(request, self._caller)

    def _authenticate(self, request: _Object) -> _Object:
        nonce, self._nonce = self._nonce, ""       # good for one try
        mac = request.get("mac")
        known = nonce and isinstance(mac, str) and any(
            hmac.compare_digest(mac.encode("utf-8", "replace"), command_mac(secret, nonce).encode())
            for secret in self._secrets)
        if not known:
            raise CommandError("not_allowed", "the secret differs")
        self._caller = self._caller._replace(may_change=True)
        return {}

    def _end(self) -> None:
        """Answer, shutdown, drain, close: unread bytes would turn the close into a reset (pitfall 8.5)."""
        self._sock.shutdown(socket.SHUT_WR)
        deadline_s = time.monotonic() + DRAIN_S
        while time.monotonic() < deadline_s:
            readable, _, _ = select.select([self._sock], [], [], max(deadline_s - time.monotonic(), 0))
            if not readable or not self._sock.recv(65536):
                return


def _encode(request_id: Any, reply: Any) -> bytes:
    """Return the line of a reply; "state" stays first in the answer to `state`."""
    if isinstance(reply, CommandError):
        body: _Object = {"ok": False, "error": reply.as_object()}
    else:
        first = {"state": reply["state"]} if isinstance(reply.get("state"), str) else {}
        body = {**first, "ok": True, **reply}
    if request_id is not None:
        body["id"] = request_id
    return json.dumps(body, separators=(",", ":")).encode() + b"\n"


def _is_object(data: bytearray) -> bool:
    try:
        parse_object(bytes(data))
    except ValueError:
        return False
    return True


def _user_name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _is_in_group(name: str, group: int) -> bool:
    try:
        found = grp.getgrnam(GROUP)
    except KeyError:
        return False
    return group == found.gr_gid or name in found.gr_mem


def _bind_unix(path: str, serve: Callable[[socket.socket, Any], None]) -> Server:
    """Bind `path`, readable for all (credentials decide). A stale socket is removed: the caller holds the lock."""
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"{path} can't be made ({os.strerror(error.errno or 0).lower()})") from None
    try:
        is_long = len(os.fsencode(path)) > _PATH_LIMIT
        place = f"/proc/self/fd/{folder}/{os.path.basename(path)}" if is_long else path
        server = Server(socket.AF_UNIX, place, serve, path)
        os.chmod(path, 0o666)
        return server
    finally:
        os.close(folder)
