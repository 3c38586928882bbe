"""Log lines about others, who must not be able to fill the log: once when it begins, changes or ends.

The same again is counted, and said with its count every five minutes. A source (a peer, or the host of a
stranger) that goes to and fro runs out of lines, and so do strangers from ever new hosts. Memory is bounded.
Owns no connection; who is a source, and what its reason is, the callers say.
"""

from __future__ import annotations

import collections
import logging
import threading
import time
from typing import Callable, Optional

SOURCES = 64
REPEAT_S = 300.0
# Lines about changes that one source may cause at once, and the time after which it may cause one more.
CHANGES = 20
CHANGE_S = 60.0
# The same for sources that were not known before.
NEWCOMERS = 10
NEWCOMER_S = 10.0
_LONGEST_REASON = 200


class _Allowance:
    """So many lines at once, and one more each `every_s`."""

    def __init__(self, most: int, every_s: float, now_s: float) -> None:
        self._most, self._every_s = most, every_s
        self._left, self._at_s = float(most), now_s

    def take(self, now_s: float) -> bool:
        self._left = min(self._most, self._left + (now_s - self._at_s) / self._every_s)
        self._at_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True


class _Source:
    def __init__(self, now_s: float) -> None:
        self.allowance = _Allowance(CHANGES, CHANGE_S, now_s)
        self.reason: Optional[str] = None       # of the last line; "" where that said that all is well
        self.again_s = 0.0
        self.held_back = 0

    def say(self, reason: str) -> str:
        held_back, self.held_back, self.reason = self.held_back, 0, reason
        return f" ({held_back} lines were left out before)" if held_back else ""


class Complaints:
    """All methods from any thread; they never wait."""

    def __init__(self, log: logging.Logger, now_s: Callable[[], float] = time.monotonic) -> None:
        """`now_s` returns s of a steady clock."""
        self._log, self._now_s = log, now_s
        self._lock = threading.Lock()
        self._sources: collections.OrderedDict[str, _Source] = collections.OrderedDict()
        self._newcomers = _Allowance(NEWCOMERS, NEWCOMER_S, now_s())
        self._strangers_held_back = 0
        # All lines that were not written, since the start.
        self.held_back = 0

    def bad(self, source: str, reason: str, line: str, level: int = logging.WARNING) -> None:
        """`source` does wrong or can't be had, for `reason`, which tells whether it is the same again."""
        with self._lock:
            addition = self._judge_bad(source, reason[:_LONGEST_REASON], self._now_s())
            if addition is None:
                self.held_back += 1
        if addition is not None:
            self._log.log(level, "%s%s", line, addition)

    def good(self, source: str, line: str, *, even_first: bool = False) -> None:
        """All is well with `source`: said where it was not before, or (`even_first`) nothing was known of it.
        """
        with self._lock:
            addition = self._judge_good(source, even_first, self._now_s())
        if addition is not None:
            self._log.info("%s%s", line, addition)

    def _judge_bad(self, source: str, reason: str, now_s: float) -> Optional[str]:
        """Return what to add to the line, None where it is held back."""
        others = 0
        found = self._sources.get(source)
        if found is None:
            if not self._newcomers.take(now_s):
                self._strangers_held_back += 1
                return None
            found = self._enter(source, now_s)
            others, self._strangers_held_back = self._strangers_held_back, 0
        self._sources.move_to_end(source)
        is_same = reason == found.reason
        if now_s < found.again_s if is_same else not found.allowance.take(now_s):
            found.held_back += 1
            return None
        found.again_s = now_s + REPEAT_S
        addition = found.say(reason)
        return f" ({others} lines about others were left out before)" if others else addition

    def _judge_good(self, source: str, even_first: bool, now_s: float) -> Optional[str]:
        found = self._sources.get(source)
        if found is None:
            if not even_first:
                return None
            found = self._enter(source, now_s)
        if found.reason == "" or not found.allowance.take(now_s):
            return None
        return found.say("")

    def _enter(self, source: str, now_s: float) -> _Source:
        found = self._sources[source] = _Source(now_s)
        if len(self._sources) > SOURCES:
            self._sources.popitem(last=False)
        return found
