"""The service manager's watchdog (WatchdogSec, sd_notify(3)): told that all is well, while it is.

It restarts the service when it was not told for too long: a guardian that hangs tells nothing, and one whose
node hangs must not.
"""

from __future__ import annotations

import os
from typing import Callable, Mapping

from raftctl.host.loop import Loop
from raftctl.host.notify import notify

# Told so many times within the limit.
_TIMES = 4


class Watchdog:
    """All from the guardian's thread."""

    def __init__(self, loop: Loop, environ: Mapping[str, str], is_well: Callable[[], bool]) -> None:
        """Tell from now on while `is_well()`, if `environ` says that the service manager waits for it."""
        self._loop, self._is_well = loop, is_well
        limit_us = environ.get("WATCHDOG_USEC", "")
        is_ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        if is_ours and limit_us.isascii() and limit_us.isdigit() and int(limit_us):
            self._every_ns = int(limit_us) * 1000 // _TIMES
            self._pat()

    def _pat(self) -> None:
        if self._is_well():
            notify("WATCHDOG=1")
        self._loop.after(self._every_ns, self._pat)
