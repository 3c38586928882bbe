"""Who is at the other end of a command connection, and may it change anything? (design §4.4, pitfall 11.1)

On the unix socket the kernel says who: root, the daemon's own user and the group raftctl may. Over TCP
whoever proves a secret may; without a secret configured, whoever reaches a loopback listener. Owns no
connection.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import socket
import struct
from typing import Any, NamedTuple, Optional, Tuple

from raftctl.base.errors import PeerFault
from raftctl.net import digest, protocol
from raftctl.net.error_codes import CommandError

GROUP = "raftctl"

# asm-generic/socket.h; the socket module has no name for it.
_SO_PEERGROUPS = 59
# Python's getsockopt gives no larger buffer.
_GROUPS_SIZE = 1024


class Caller(NamedTuple):
    """Who asks. `who` is for log lines ("root@h2", "tcp 127.0.0.1"); `transport` is "unix" or "tcp"."""

    may_change: bool
    who: str
    transport: str


def unix_caller(sock: socket.socket) -> Caller:
    """Return who connected to the unix socket, as of the moment of connecting."""
    _, user, group = struct.unpack("iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    may_change = user in (0, os.geteuid()) or is_of_group(sock, group, _group_number(GROUP))
    return Caller(may_change, f"{_user_name(user)}@{socket.gethostname()}", "unix")


def tcp_caller(place: Any, *, is_open: bool) -> Caller:
    """Return who connected over TCP; `is_open`: nothing needs to be proven here."""
    return Caller(is_open, f"tcp {place[0]}", "tcp")


def is_of_group(sock: socket.socket, primary: int, wanted: Optional[int]) -> bool:
    """Is `wanted` (None: no such group) among the groups of the process that connected?

    Of a process in more than 256 groups only the primary one counts.
    """
    if wanted is None or wanted == primary:
        return wanted is not None
    try:
        groups = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_SIZE)
    except OSError as error:
        if error.errno != errno.ERANGE:
            raise
        return False
    return (wanted,) in struct.iter_unpack("I", groups)


def _group_number(name: str) -> Optional[int]:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def _user_name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


class Challenge:
    """Proof of a secret over TCP: a nonce from `open`, used once. One connection's."""

    def __init__(self, secrets: Tuple[bytes, ...]) -> None:
        self._secrets = secrets
        self._nonce: Optional[str] = None

    def open(self) -> str:
        self._nonce = os.urandom(protocol.NONCE_SIZE).hex()
        return self._nonce

    def verify(self, proof: Any) -> None:
        """Raise `CommandError` for requests out of turn, `PeerFault` for a wrong one: the connection ends."""
        nonce, self._nonce = self._nonce, None
        if nonce is None:
            raise CommandError("bad_request", "authenticate without a challenge before it")
        if not isinstance(proof, str) or not proof.isascii():
            raise CommandError("bad_request", '"proof" is missing or no text')
        if not any(digest.is_equal(protocol.command_proof(secret, nonce), proof)
                   for secret in self._secrets):
            raise PeerFault("the secret differs")
