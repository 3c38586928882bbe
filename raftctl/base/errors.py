"""Two kinds of fault: ours ends the process, everybody else's is an exception with one line for people.

`require` guards what only a bug of ours can break; it raises `OurFault`, which nothing catches but the
outermost handler of a process or thread (exit status 70). Bytes, files, users and peers raise a
`RaftctlError`: its text is the whole message (what, where, what to do; one line), `exit_status` what the
command line returns for it.
"""

from __future__ import annotations

from typing import Any

DONE = 0
NO = 1
USAGE = 2
UNREACHABLE = 3
NO_LEADER = 4
UNKNOWN = 5
NOT_ALLOWED = 6
FAULT = 70
DISK = 74
# Not for users: a node ends with it to be started again at once (it gave up its cluster to join).
AGAIN = 75


class OurFault(Exception):
    """A broken invariant of ours: the state can no longer be trusted and the process must end."""


def require(condition: Any, message: str, *details: Any) -> None:
    """Raise `OurFault` unless `condition` holds; unlike `assert` it can't be compiled away."""
    if not condition:
        raise OurFault(": ".join([message, *map(repr, details)]))


class RaftctlError(Exception):
    """Something outside our code is wrong; `str(error)` is a line for people, with no `raftctl: ` prefix."""

    exit_status = NO


class UsageError(RaftctlError):
    """The command line or the configuration can't be used (P9); nothing was changed."""

    exit_status = USAGE


class Unreachable(RaftctlError):
    """No daemon answered at the address."""

    exit_status = UNREACHABLE


class NoLeader(RaftctlError):
    """No leader or no quorum in time; nothing was changed."""

    exit_status = NO_LEADER


class OutcomeUnknown(RaftctlError):
    """The request was sent and no answer came: it may or may not have been done."""

    exit_status = UNKNOWN


class NotAllowed(RaftctlError):
    """Refused: no permission, or the data directory is locked by another daemon."""

    exit_status = NOT_ALLOWED


class PeerFault(RaftctlError):
    """A peer or client sent what no honest one sends; its connection is closed, nothing else changes (P8)."""


class DiskFault(RaftctlError):
    """A read, write or sync failed, or what was read is damaged: the node ends, nobody restarts it (P3)."""

    exit_status = DISK
