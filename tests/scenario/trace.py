"""The lines of a trace: `[ms] node cause -> effect`, times from the scenario's zero, rounded down."""

from __future__ import annotations

from typing import List

MS = 1_000_000


class Trace:
    """Collects lines; `take` hands them out once. Muted while a scenario's setting is made."""

    def __init__(self) -> None:
        self.origin_ns = 0
        self.muted = False
        self._lines: List[str] = []

    def note(self, true_ns: int, node: str, cause: str, effect: str) -> None:
        self.say(f"[{(true_ns - self.origin_ns) // MS:4d}] {node} {cause} -> {effect}")

    def say(self, line: str) -> None:
        if not self.muted:
            self._lines.append(line)

    def take(self) -> List[str]:
        lines, self._lines = self._lines, []
        return lines
