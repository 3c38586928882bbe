"""Whether an operator has drained this node: a file in its data directory, so that it outlives restarts.

A drained node votes and stores, but does not campaign, and is no LEADER (as one whose check fails).
"""

from __future__ import annotations

import os
import threading

from raftctl.base.files import write_atomic
from raftctl.node.inbox import Inbox
from raftctl.node.loop import Call
from raftctl.raft.inputs import Health

_NAME = "drained"
_CAUSE = {True: "drained by an operator", False: "undrained by an operator"}


class Drain:
    """Any thread. `is_on` is what was asked last and is on disk."""

    def __init__(self, data_dir: str, inbox: Inbox) -> None:
        self._path, self._inbox = os.path.join(data_dir, _NAME), inbox
        self._lock = threading.Lock()
        self.is_on = os.path.exists(self._path)

    def keep(self, is_on: bool) -> None:
        """Put it on disk; raise `OSError` with nothing changed."""
        with self._lock:
            if is_on:
                write_atomic(self._path, b"")
            elif self.is_on:
                os.unlink(self._path)
            self.is_on = is_on

    def apply(self) -> None:
        """Let the node act by it."""
        is_on = self.is_on
        self._inbox.post(Call(lambda turn, now: turn.core.step(now, Health(not is_on, _CAUSE[is_on]))))
