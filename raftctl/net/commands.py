"""The command listener: JSON lines over TCP and a unix socket, one thread a connection (design §4.4).

Owns the conversation: lines, `id`, who may ask for what, the form of replies, and an end that the client sees
as one (pitfall 8.5). What an action does is `answer`'s, which may block in the connection's own thread up to
its deadline.
"""

from __future__ import annotations

import json
import logging
import socket
import struct
import time
from typing import Any, Callable, Dict, Optional, Tuple

from raftctl.base.errors import PeerFault, RaftctlError
from raftctl.base.objects import parse_object
from raftctl.net import access, binding, protocol
from raftctl.net.access import Caller
from raftctl.net.complaints import Complaints
from raftctl.net.error_codes import CommandError, from_error
from raftctl.net.frames import CLOSED, NEED_DATA
from raftctl.net.lines import LineReader
from raftctl.net.serve import CAP, Servers, is_readable, name_of, part

Answer = Callable[[Dict[str, Any], Caller], Dict[str, Any]]

# How long a stranger may take for its first line, and anybody to go on with a line that has begun.
LINE_S = 5.0
# A lone object without a newline counts as a request after so long a pause.
LONE_S = 0.2
_SEND_S = 10
_IDLE_S, _PROBE_S, _PROBES = 60, 15, 4

_encode = json.JSONEncoder(separators=(",", ":")).encode
_log = logging.getLogger(__name__)


class CommandListener:
    """Binds in the constructor (`UsageError`); accepts from `start` on.

    `tcp` is (host, port) or None, `unix` a path or None (the caller holds the directory's lock).
    `answer(request, caller)` returns the reply without "id" and "ok", or raises `CommandError`; it runs in
    many threads at once.
    """

    def __init__(
        self,
        tcp: Optional[Tuple[str, int]],
        unix: Optional[str],
        answer: Answer,
        secrets: Tuple[bytes, ...] = (),
        *,
        insecure: bool = False,
        cap: int = CAP,
    ) -> None:
        self._answer = answer
        self._secrets = secrets
        self._unix = unix
        self._complaints = Complaints(_log)
        self.port: Optional[int] = None
        sockets = []
        if tcp:
            sockets = binding.bind_tcp(
                [tcp[0]], tcp[1], key="command_port", is_guarded=bool(secrets) or insecure
            )
            self.port = binding.place_of(sockets[0])[1]
        # Never for all where other hosts can reach it, also not where the configuration says "insecure".
        self._is_open = not secrets and all(map(binding.is_loopback, sockets))
        try:
            self._listeners = [Servers(sockets, self._serve_tcp, self._refuse, cap)]
            if unix:
                # Its own room: strangers over TCP can't keep root out.
                self._listeners.append(Servers([binding.bind_unix(unix)], self._serve_unix, self._refuse,
                                               cap))
        except RaftctlError:
            self._listeners[0].close(0.0)
            raise

    def start(self) -> None:
        if self.port is not None and self._is_open:
            _log.warning("every user of this host may change the store over port %d: no secret is set; "
                         "add a secretFile", self.port)
        for listener in self._listeners:
            listener.start()

    def set_secrets(self, secrets: Tuple[bytes, ...]) -> None:
        """Use these from the next connection on; there were some and are some. Any thread."""
        self._secrets = secrets

    def close(self, deadline_s: float) -> None:
        """Stop accepting, let requests under way be answered, cut the rest; all within `deadline_s`."""
        end_s = time.monotonic() + deadline_s
        for listener in self._listeners:
            listener.close(max(0.0, end_s - time.monotonic()))
        if self._unix:
            try:
                binding.remove_stale(self._unix)
            except OSError as error:
                _log.debug("%s stays: %s", self._unix, error)

    def _serve_unix(self, sock: socket.socket, place: Any) -> None:
        room = self._listeners[-1].room
        self._converse(sock, access.unix_caller(sock), lambda: room.trust(sock), place)

    def _serve_tcp(self, sock: socket.socket, place: Any) -> None:
        room = self._listeners[0].room
        caller = access.tcp_caller(place, is_open=self._is_open)
        self._converse(sock, caller, lambda: room.trust(sock), place)

    def _converse(self, sock: socket.socket, caller: Caller, trust: Callable[[], None], place: Any) -> None:
        who = name_of(place)
        conversation = _Conversation(sock, caller, self._answer, self._secrets, trust)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _SEND_S, 0))
            if caller.transport == "tcp":
                _prepare_tcp(sock)
            conversation.run()
            part(sock)
        except PeerFault as fault:
            source = place[0] if isinstance(place, tuple) else caller.who
            self._complaints.bad(source, str(fault), f"closed the command connection of {who}: {fault}")
        except OSError as error:
            _log.debug("command connection of %s ended: %s", who, error)

    def _refuse(self, sock: socket.socket) -> None:
        error = CommandError("busy", "too many connections")
        try:
            sock.send(_line({"ok": False, "error": error.as_object()}), socket.MSG_DONTWAIT)
        except OSError as problem:
            _log.debug("busy not said: %s", problem)


class _Conversation:
    """One connection, in its own thread."""

    def __init__(
        self,
        sock: socket.socket,
        caller: Caller,
        answer: Answer,
        secrets: Tuple[bytes, ...],
        trust: Callable[[], None],
    ) -> None:
        self._sock = sock
        self._caller = caller
        self._answer = answer
        self._challenge = access.Challenge(secrets) if secrets and caller.transport == "tcp" else None
        self._trust: Optional[Callable[[], None]] = trust
        self._lines = LineReader(protocol.LINE_LIMIT if caller.may_change else protocol.STRANGER_LIMIT)
        self._answered = 0
        self._is_last = False

    def run(self) -> None:
        """Answer line after line until the client has ended or made a fault."""
        deadline_s = time.monotonic() + LINE_S
        while not self._is_last:
            try:
                line = self._lines.next_line()
            except PeerFault as fault:
                self._refuse_long(fault)
                return
            if line is CLOSED:
                return
            if line is NEED_DATA:
                self._receive(deadline_s)
                continue
            self._reply_to(line)
            deadline_s = time.monotonic() + LINE_S

    def _refuse_long(self, fault: PeerFault) -> None:
        if not self._lines.rest.startswith(b"{"):
            raise fault
        self._send({"ok": False}, CommandError("too_large", str(fault)))

    def _receive(self, deadline_s: float) -> None:
        """Read once. Between two requests there is no limit; a line that has begun must go on."""
        held = self._lines.held
        if self._answered and not held:
            self._lines.receive(self._sock.recv(65536))
            return
        if self._caller.may_change and held:
            deadline_s = time.monotonic() + LINE_S
        # A long line is not copied again for each byte of it that comes.
        rest = self._lines.rest if not self._answered and held <= protocol.STRANGER_LIMIT else b""
        pause_s = min(deadline_s, time.monotonic() + LONE_S)
        if (rest.rstrip().endswith(b"}") and not is_readable(self._sock, pause_s)
                and _is_object(rest)):
            self._is_last = True
            self._reply_to(self._lines.take_rest())
            return
        if not is_readable(self._sock, deadline_s):
            raise PeerFault(f"no whole line within {LINE_S:.0f} s")
        self._lines.receive(self._sock.recv(65536))

    def _reply_to(self, line: bytes) -> None:
        self._answered += 1
        try:
            request = parse_object(line)
        except ValueError as error:
            if not line.lstrip().startswith(b"{"):
                # A browser, a port scan: not a word (pitfall 11.1).
                raise PeerFault("its line is no JSON object") from None
            self._is_last = True
            self._send({"ok": False}, CommandError("bad_request", f"the line is no JSON object: {error}"))
            return
        head = {"id": request["id"]} if "id" in request else {}
        try:
            reply = self._reply(request)
        except RaftctlError as error:
            if isinstance(error, PeerFault):
                self._is_last = True
                error = CommandError("not_allowed", str(error))
            self._send({**head, "ok": False}, from_error(error))
            return
        if request["action"] == "state":
            # "state" comes first, for whoever cuts it out of the text.
            self._sock.sendall(_line({**reply, **head, "ok": True}))
        else:
            self._sock.sendall(_line({**head, "ok": True, **reply}))

    def _send(self, head: Dict[str, Any], error: CommandError) -> None:
        self._sock.sendall(_line({**head, "error": error.as_object()}))

    def _reply(self, request: Dict[str, Any]) -> Dict[str, Any]:
        action = request.get("action")
        if not isinstance(action, str):
            raise CommandError("bad_request", '"action" is missing or no text')
        if not isinstance(request.get("id", ""), (str, int)):
            raise CommandError("bad_request", '"id" is neither text nor a number')
        if action == "challenge":
            return self._open_challenge()
        if action == "authenticate":
            return self._authenticate(request)
        if action not in protocol.OPEN_ACTIONS and not self._caller.may_change:
            raise CommandError("not_allowed", f'"{action[:40]}" is not for {self._caller.who}')
        reply = self._answer(request, self._caller)
        if self._trust and self._caller.may_change:
            self._trust()
            self._trust = None
        return reply

    def _open_challenge(self) -> Dict[str, Any]:
        if self._challenge is None:
            raise CommandError("bad_request", "there is no secret to prove here")
        return {"nonce": self._challenge.open()}

    def _authenticate(self, request: Dict[str, Any]) -> Dict[str, Any]:
        if self._challenge is None:
            raise CommandError("bad_request", "there is no secret to prove here")
        self._challenge.verify(request.get("proof"))
        self._caller = self._caller._replace(may_change=True)
        self._lines.limit = protocol.LINE_LIMIT
        return {}


def _prepare_tcp(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # A host that vanished between two requests must not keep its place for the kernel's two hours.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _IDLE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)


def _line(reply: Dict[str, Any]) -> bytes:
    return _encode(reply).encode("ascii") + b"\n"


def _is_object(data: bytes) -> bool:
    try:
        parse_object(data)
    except ValueError:
        return False
    return True
