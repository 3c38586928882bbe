"""What a host's health check says of it: runs in a row, and what `fall` and `rise` make of them. Pure.

As keepalived's `track_script`: until the first run has ended the host is not fit, and that run alone decides;
from then on it takes `fall` failures in a row to make it unfit, and `rise` passes in a row to make it fit.
"""

from __future__ import annotations

from typing import NamedTuple

NONE = "none"
UNKNOWN = "unknown"       # no run has ended yet
PASSING = "passing"
FAILING = "failing"


class Checked(NamedTuple):
    """`since`: when `state` began, Unix time in s. `passed`, `status`, `line`: the last run, how it ended and
    its last line of output. `count`: how many runs in a row ended like that, 0 before the first. `cause`: why
    `state` is what it is, for people."""

    state: str = NONE
    since: float = 0.0
    passed: bool = True
    count: int = 0
    status: str = ""
    line: str = ""
    cause: str = "there is no check"

    @property
    def is_fit(self) -> bool:
        """May the node lead, as far as its check is concerned?"""
        return self.state in (NONE, PASSING)


def unknown(at: float) -> Checked:
    """Return what is known of a check before its first run has ended. `at`: Unix time in s."""
    return Checked(UNKNOWN, at, cause="its check has not run yet")


def changed(before: Checked, at: float) -> Checked:
    """Return what holds where the check became another one while the node runs: what held, counted anew."""
    if before.state == NONE:
        return Checked(PASSING, at, cause="the check is new")
    return before._replace(count=0)


def take(before: Checked, passed: bool, status: str, line: str, name: str, *, fall: int, rise: int,
         at: float) -> Checked:
    """Return what holds after one more run. `name` is what people call the check."""
    count = before.count + 1 if before.count and passed == before.passed else 1
    now = before._replace(passed=passed, count=count, status=status, line=line)
    needed = 1 if before.state == UNKNOWN else rise if passed else fall
    if passed == (before.state == PASSING) and before.state != UNKNOWN or count < needed:
        return now
    what = f"check {'passed' if passed else 'failed'} {count} time{'' if count == 1 else 's'}"
    cause = what if passed else f"{what}: {name} {status}" + (f": {line}" if line else "")
    return now._replace(state=PASSING if passed else FAILING, since=at, cause=cause)
