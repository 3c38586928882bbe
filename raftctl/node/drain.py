"""Whether an operator has drained this node: a file in its data directory, so that it outlives restarts."""

from __future__ import annotations

import os
import threading

from raftctl.base.files import write_atomic

_NAME = "drained"


class Drain:
    """Any thread. `is_on` is what was asked last and is on disk."""

    def __init__(self, data_dir: str) -> None:
        self._path = os.path.join(data_dir, _NAME)
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
