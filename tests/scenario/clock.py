"""A host's two clocks as functions of simulated time; rates in parts per million, offsets differ a host."""

from __future__ import annotations

from raftctl.base.instants import Instant

PPM = 1_000_000


class Clock:
    """Both clocks of one host. True time is in ns; rates may change at any moment, readings never fall."""

    def __init__(self, true_ns: int, start: Instant) -> None:
        self._since, self._start = true_ns, start
        self.boot_ppm = self.raw_ppm = PPM

    def read(self, true_ns: int) -> Instant:
        passed = true_ns - self._since
        return Instant(self._start.boot + passed * self.boot_ppm // PPM,
                       self._start.raw + passed * self.raw_ppm // PPM)

    def set_rates(self, true_ns: int, boot_ppm: int, raw_ppm: int) -> None:
        self._start, self._since = self.read(true_ns), true_ns
        self.boot_ppm, self.raw_ppm = boot_ppm, raw_ppm

    def true_time_of(self, true_ns: int, end: Instant) -> int:
        """Return the first true time, not before `true_ns`, at which both clocks have reached `end`."""
        boot = -(-(end.boot - self._start.boot) * PPM // self.boot_ppm)
        raw = -(-(end.raw - self._start.raw) * PPM // self.raw_ppm)
        return max(true_ns, self._since + max(boot, raw))
