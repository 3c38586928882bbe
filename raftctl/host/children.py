"""A node process as its guardian sees it: phases in one table, start, verdict on its end, back-off.

Owns the process, its end of the tether and its board. What a phase makes the guardian do is host/keeper.py's.
"""

from __future__ import annotations

import os
import socket
import subprocess
from typing import Any, Dict, List, Mapping, Optional, Sequence

from raftctl import tether
from raftctl.base.errors import AGAIN, DISK, NOT_ALLOWED, USAGE
from raftctl.host.hooks import BY_SHELL
from raftctl.tether import Board, Line

# Phases.
DOWN = "down"            # no process; one is to be started
STARTING = "starting"    # a process that has not said ready
UP = "up"
STOPPING = "stopping"    # told to stop; it has not answered
OUTGOING = "outgoing"    # it leads no more and waits for the outgoing hooks
ENDING = "ending"        # told that they have ended; it ends itself
LEAVING = "leaving"      # no process, and there will be none; outgoing hooks
GONE = "gone"

# Events.
SPAWNED = "spawned"
READY = "ready"
STOP = "stop"            # by the user
SAID_STOPPING = "said stopping"
HOOKS_DONE = "hooks done"
DIED = "died"            # reaped, to be started again
LEFT = "left"            # reaped, not to be started again

# (phase, event) → next phase. A pair that is not here does not concern that phase.
TRANSITIONS = {
    (DOWN, SPAWNED): STARTING,      (DOWN, STOP): LEAVING,            (DOWN, DIED): DOWN,
    (STARTING, READY): UP,          (STARTING, STOP): STOPPING,       (STARTING, SAID_STOPPING): OUTGOING,
    (STARTING, DIED): DOWN,         (STARTING, LEFT): LEAVING,
    (UP, STOP): STOPPING,           (UP, SAID_STOPPING): OUTGOING,
    (UP, DIED): DOWN,               (UP, LEFT): LEAVING,
    (STOPPING, SAID_STOPPING): OUTGOING,                              (STOPPING, LEFT): LEAVING,
    (OUTGOING, STOP): OUTGOING,     (OUTGOING, HOOKS_DONE): ENDING,
    (OUTGOING, DIED): DOWN,         (OUTGOING, LEFT): LEAVING,
    (ENDING, STOP): ENDING,         (ENDING, DIED): DOWN,             (ENDING, LEFT): LEAVING,
    (LEAVING, STOP): LEAVING,       (LEAVING, HOOKS_DONE): GONE,
}  # fmt: skip

GIVE_UP = "give up"
AT_ONCE = "at once"
BACK_OFF = "back off"

_FIRST_DELAY_NS = 100_000_000
_LONGEST_DELAY_NS = 5_000_000_000
_STEADY_NS = 10_000_000_000


def verdict(status: int, was_ready: bool, ever_ready: bool) -> str:
    """Return what follows the end of a node with exit `status` that nobody asked for.

    `was_ready`: this process was; `ever_ready`: any process of this node was. A directory that is locked at
    the first start is another daemon's; later, it is our own former process that has not quite gone.
    """
    if status in (USAGE, DISK) or (status == NOT_ALLOWED and not ever_ready):
        return GIVE_UP
    return AT_ONCE if status == AGAIN and was_ready else BACK_OFF


class Backoff:
    """How long to wait before the next start: not at all the first time, then 0.1 s, doubled up to 5 s."""

    def __init__(self) -> None:
        self._failures = 0

    def next_ns(self, up_ns: int) -> int:
        """Count one end after `up_ns` of life and return the wait; 10 s up and all before is forgotten."""
        if up_ns >= _STEADY_NS:
            self._failures = 0
        self._failures += 1
        if self._failures == 1:
            return 0
        return min(_FIRST_DELAY_NS << min(self._failures - 2, 16), _LONGEST_DELAY_NS)


def node_argv(
    program: Sequence[str], config: Optional[str], address: str, tether_fd: int, board_fd: int
) -> List[str]:
    """Return what to execute for the hidden command `node`."""
    chosen = ["-c", config] if config else []
    return [*BY_SHELL, *program, *chosen, "node", "--node", address, "--tether-fd", str(tether_fd),
            "--board-fd", str(board_fd)]


class Child:
    """One node process with its tether and board. Guardian's thread."""

    def __init__(
        self, program: Sequence[str], config: Optional[str], address: str, environ: Mapping[str, str]
    ) -> None:
        """Start it; raise `OSError` on failure. It inherits its two descriptors and standard error only."""
        self.board = Board.create()
        self.tether, theirs = socket.socketpair()
        self.line = Line()
        try:
            argv = node_argv(program, config, address, theirs.fileno(), self.board.fd)
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=_standard_error(), env=dict(environ),
                start_new_session=True, pass_fds=(theirs.fileno(), self.board.fd))
        except BaseException:
            self.close()
            raise
        finally:
            theirs.close()
        self.tether.setblocking(False)

    @property
    def pid(self) -> int:
        return self._process.pid

    def reap(self) -> Optional[int]:
        """Return the exit status once it has ended (minus the signal that ended it), None while it lives."""
        return self._process.poll()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def send(self, message: Dict[str, Any]) -> bool:
        """Send one message without waiting; False where the node takes none (hung, or its end is closed)."""
        data = tether.encode(message)
        try:
            return self.tether.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL) == len(data)
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            return False

    def close(self) -> None:
        """Close tether and board; the process must have ended, or it will for this reason."""
        self.tether.close()
        self.board.close()


def _standard_error() -> int:
    """Where a node's stray output goes: standard output is the guardian's, and may be data."""
    try:
        os.fstat(2)
    except OSError:
        return subprocess.DEVNULL
    return 2
