"""Fewer faults, same violation: leave out halves, then quarters …, as long as the same rule breaks."""

from __future__ import annotations

from typing import Tuple

from simulation.faults import Fault
from simulation.run import Result, run


def shrink(result: Result) -> Tuple[Fault, ...]:
    """Return a plan from which no single fault can be left out."""
    plan = list(result.plan)
    size = max(len(plan) // 2, 1)
    while True:
        start, shorter = 0, False
        while start < len(plan):
            rest = plan[:start] + plan[start + size:]
            if run(result.profile, result.seed, plan=tuple(rest)).rule == result.rule:
                plan, shorter = rest, True
            else:
                start += size
        if size == 1 and not shorter:
            return tuple(plan)
        size = max(size // 2, 1)
