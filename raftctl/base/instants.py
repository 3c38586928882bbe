"""Instants on two clocks at once, because no single clock bounds elapsed time from both sides (P2).

CLOCK_BOOTTIME counts suspend and is slewed by NTP; CLOCK_MONOTONIC_RAW is not slewed. What must not last too
long (a lease) is measured by whichever ran faster, what must not end too early (a vow) by whichever ran
slower.
"""

from __future__ import annotations

from typing import NamedTuple


class Instant(NamedTuple):
    """One moment of one host, in ns on two clocks. Never compared with an instant of another host or boot."""

    boot: int
    raw: int

    def plus(self, span_ns: int) -> Instant:
        return Instant(self.boot + span_ns, self.raw + span_ns)

    def within(self, end: Instant) -> bool:
        """Is `end` still ahead on both clocks? The cautious question about a lease that ends there."""
        return self.boot < end.boot and self.raw < end.raw

    def reached(self, end: Instant) -> bool:
        """Have both clocks passed `end`? The cautious question about a vow or a timer that ends there."""
        return self.boot >= end.boot and self.raw >= end.raw

    def until(self, end: Instant) -> int:
        """Return the ns until `reached(end)`, 0 when it is reached."""
        return max(end.boot - self.boot, end.raw - self.raw, 0)

    def left_within(self, end: Instant) -> int:
        """Return the ns for which `within(end)` still holds, 0 when it does not."""
        return max(min(end.boot - self.boot, end.raw - self.raw), 0)

    def since(self, start: Instant) -> int:
        """Return the ns elapsed since `start` as a lease counts them: the larger of the two clocks."""
        return max(self.boot - start.boot, self.raw - start.raw)


def later(one: Instant, other: Instant) -> Instant:
    """Return the instant that is reached when both are."""
    return Instant(max(one.boot, other.boot), max(one.raw, other.raw))
