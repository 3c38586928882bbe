"""Opening the sockets that others connect to: names, the rule for open ports (P8), one line for what fails.

Owns no thread and accepts nothing: net/serve.py does.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from typing import List, NamedTuple, Sequence, Tuple

from raftctl.base import hosts as host_words
from raftctl.base.errors import UsageError

BACKLOG = 128
_PORT_TRIES = 8

_MENDS = {
    errno.EADDRINUSE: "address in use; stop what uses it, or take another port",
    errno.EADDRNOTAVAIL: 'this host has no such address; set "{key}" to one that it has',
    errno.EACCES: "permission denied; ports below 1024 are root's, take a higher one",
}
# Where the host of a key's listener is written.
_HOST_KEYS = {"address": "listen", "command_port": "command_host"}
# What may end by itself, when the network comes up.
_LATER = (errno.EADDRNOTAVAIL, errno.ENODEV)
# A family or address that a host may well lack, beside another that it has.
_ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class NotHere(UsageError):
    """This host does not have the address, now: at boot that can change when the network comes up."""


class _Place(NamedTuple):
    family: int
    host: str


def bind_tcp(hosts: Sequence[str], port: int, *, key: str, is_guarded: bool) -> List[socket.socket]:
    """Return listening sockets for all addresses of `hosts` on one port (0, for tests: any that is free).

    `localhost` is 127.0.0.1 and, where present, ::1. Without `is_guarded` (a secret, or "insecure") only
    loopback is bound (P8). Raises `UsageError` that names `key` of the configuration, `NotHere` where this
    host does not have the address, or the name, yet; nothing stays open then.
    """
    places = _places(hosts, key)
    for place in places:
        if not is_guarded and not host_words.is_loopback(place.host):
            raise UsageError(
                f'"{key}": {place.host} can be reached from other hosts, but there is no secret; '
                'set "secretFile", or "insecure": true'
            )
    for attempt in range(_PORT_TRIES):
        try:
            return _bind_all(places, port)
        except OSError as error:
            # A free port of the one family may be taken in the other.
            if port == 0 and error.errno == errno.EADDRINUSE and attempt + 1 < _PORT_TRIES:
                continue
            why = (_MENDS.get(error.errno or 0) or str(error.strerror).lower()).format(
                key=_HOST_KEYS.get(key, key))
            kind = NotHere if error.errno in _LATER else UsageError
            raise kind(f'"{key}": cannot listen at {" ".join(hosts)} port {port}: {why}') from None
    raise AssertionError("unreachable")


def is_loopback(sock: socket.socket) -> bool:
    """Can only this host reach the bound TCP socket?"""
    return host_words.is_loopback(sock.getsockname()[0])


def _places(hosts: Sequence[str], key: str) -> List[_Place]:
    found: List[_Place] = []
    for host in hosts:
        for place in _resolve(host, key):
            if place not in found:
                found.append(place)
    return found


def _resolve(host: str, key: str) -> List[_Place]:
    if host.lower() in ("localhost", "localhost."):
        return [_Place(socket.AF_INET, "127.0.0.1"), _Place(socket.AF_INET6, "::1")]
    try:
        # None is the wildcard, of both families.
        answers = socket.getaddrinfo(None if host == "*" else host, 0, type=socket.SOCK_STREAM,
                                     flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise NotHere(f'"{key}": the name {host} is unknown here; write an address of this host') from None
    return [_Place(family, place[0]) for family, _, _, _, place in answers]


def _bind_all(places: Sequence[_Place], port: int) -> List[socket.socket]:
    bound: List[socket.socket] = []
    absent = OSError(errno.EADDRNOTAVAIL, "no address")
    try:
        for place in places:
            try:
                sock = _bind_one(place, port)
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise
                absent = error
                continue
            bound.append(sock)
            port = sock.getsockname()[1]
        if not bound:
            raise absent
    except OSError:
        for sock in bound:
            sock.close()
        raise
    return bound


def _bind_one(place: _Place, port: int) -> socket.socket:
    sock = socket.socket(place.family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if place.family == socket.AF_INET6:
            # Else :: would take the port of 0.0.0.0 as well, and the two could not stand side by side.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((place.host, port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def bind_unix(path: str) -> socket.socket:
    """Return a listening unix socket at `path`, open to every user: who may do what is judged later.

    A stale one is replaced: the caller holds the lock of the data directory. A missing last folder is made
    (0755). The path may be longer than the 107 bytes of sockaddr_un. Raises `UsageError`.
    """
    try:
        parent, name = os.path.split(os.path.abspath(path))
        if not os.path.isdir(parent):
            os.mkdir(parent)
            os.chmod(parent, 0o755)
        remove_stale(path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _bind_in(sock, parent, name)
            os.chmod(path, 0o666)
            sock.listen(BACKLOG)
            sock.setblocking(False)
        except OSError:
            sock.close()
            raise
    except OSError as error:
        raise UsageError(f"{path}: cannot make the command socket: {str(error.strerror).lower()}") from None
    return sock


def _bind_in(sock: socket.socket, parent: str, name: str) -> None:
    folder = os.open(parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sock.bind(f"/proc/self/fd/{folder}/{name}")
    finally:
        os.close(folder)


def remove_stale(path: str) -> None:
    """Remove the socket at `path` if there is one; OSError(EEXIST) if something else stands there."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "something that is no socket stands there")
    os.unlink(path)


def place_of(sock: socket.socket) -> Tuple[str, int]:
    """Return host and port of a bound TCP socket."""
    return sock.getsockname()[:2]
