"""The only place that reads a clock: guardian and node measure leases and vows by the same function (P2)."""

from __future__ import annotations

import time

from raftctl.base.instants import Instant


def now() -> Instant:
    """Return this moment on CLOCK_BOOTTIME and CLOCK_MONOTONIC_RAW, in ns. Any thread."""
    return Instant(time.clock_gettime_ns(time.CLOCK_BOOTTIME),
                   time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW))


def wall_text(seconds: float) -> str:
    """Return Unix time `seconds` as RFC 3339 UTC with milliseconds, for people and JSON, never to decide."""
    whole = int(seconds)
    milliseconds = int((seconds - whole) * 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{milliseconds:03d}Z"
