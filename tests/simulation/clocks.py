"""The two clocks of one host, each with a rate of its own, and what stops one of them (suspend) or both."""

from __future__ import annotations

from raftctl.base.instants import Instant

# Far from zero, and from each other: no clock of one host means anything on another.
BOOT_ORIGIN = 10_000_000_000
RAW_ORIGIN = 7_000_000_000


class HostClock:
    """BOOTTIME and MONOTONIC_RAW as functions of the world's time (ns). Rates are in clock ns a world ns."""

    def __init__(self, boot_rate: float = 1.0, raw_rate: float = 1.0) -> None:
        self.boot_rate, self.raw_rate = boot_rate, raw_rate
        self._since = 0
        self._boot, self._raw = float(BOOT_ORIGIN), float(RAW_ORIGIN)
        self._runs_boot = self._runs_raw = True
        self._cached_at, self._cached = -1, Instant(0, 0)
        self.changes = 0               # how often they were stopped or let go on

    def at(self, now: int) -> Instant:
        if now != self._cached_at:
            span = now - self._since
            boot = self._boot + (span * self.boot_rate if self._runs_boot else 0)
            raw = self._raw + (span * self.raw_rate if self._runs_raw else 0)
            self._cached_at, self._cached = now, Instant(int(boot), int(raw))
        return self._cached

    def change(self, now: int, *, runs_raw: bool = True, runs_boot: bool = True) -> None:
        """From `now` on, let MONOTONIC_RAW run or stand (suspend), or both (a hypervisor pause)."""
        span = now - self._since
        self._boot += span * self.boot_rate if self._runs_boot else 0
        self._raw += span * self.raw_rate if self._runs_raw else 0
        self._since, self._cached_at = now, -1
        self._runs_boot, self._runs_raw = runs_boot, runs_raw
        self.changes += 1

    def reaches(self, now: int, deadline: Instant) -> int:
        """Return the world's time at which both clocks have reached `deadline` if they run on from now."""
        here = self.at(now)
        boot = (deadline.boot - here.boot) / self.boot_rate
        raw = (deadline.raw - here.raw) / self.raw_rate
        return now + max(int(boot) + 1, int(raw) + 1, 0)

    def first_reaches(self, now: int, deadline: Instant) -> int:
        """Return the world's time at which the first of the two has reached `deadline`, at latest."""
        here = self.at(now)
        return now + max(min(int((deadline.boot - here.boot) / self.boot_rate),
                             int((deadline.raw - here.raw) / self.raw_rate)), 0)
