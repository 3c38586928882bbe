"""Does a node still answer? Asked once a second, while it should (pitfall 9.4). Owns the count of silences.

Counted, not timed: a guardian that was stopped, or whose host was, counts one, as its node may have been too.
A node that hangs loses its lease by itself, which the board shows: its hooks end then, long before this.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, Optional

from raftctl import tether
from raftctl.host.loop import Loop, Timer

# So many questions in a row without an answer: the service manager hears no more that all is well; the
# node is killed.
UNWELL = 3
HUNG = 10


class Pulse:
    """All methods from the guardian's thread. `is_well`: is the service manager to hear so?"""

    def __init__(self, loop: Loop, on_hung: Callable[[], None]) -> None:
        """`on_hung` is called once for each process that does not answer."""
        self._loop, self._on_hung = loop, on_hung
        self._timer: Optional[Timer] = None
        self._silences = 0

    @property
    def is_well(self) -> bool:
        return self._silences < UNWELL

    def begin(self, send: Callable[[Dict[str, Any]], bool]) -> None:
        """Ask from now on, by `send`."""
        self.end()
        self._ask(send)

    def _ask(self, send: Callable[[Dict[str, Any]], bool]) -> None:
        if self._silences == HUNG:
            self._on_hung()
        self._silences += 1
        send({"kind": tether.PING, "pid": os.getpid()})
        self._timer = self._loop.after(tether.PULSE_NS, lambda: self._ask(send))

    def answered(self) -> None:
        self._silences = 0

    def end(self) -> None:
        """Ask no more: it has ended, or is about to, which has its own time limit."""
        self._silences = 0
        if self._timer:
            self._timer.cancel()
            self._timer = None
