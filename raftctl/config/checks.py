"""The `check` of the file: what says whether this host is fit to lead. It is run by `host/check.py`."""

from __future__ import annotations

from typing import Any

from raftctl.base import durations
from raftctl.base.errors import UsageError
from raftctl.config import values
from raftctl.config.hooks import read_script
from raftctl.config.model import Check

INTERVAL_NS = 2 * durations.SECOND
TIMEOUT_NS = durations.SECOND
FALL = 3
RISE = 2
_MOST = 100


def parse_check(value: Any) -> Check:
    """Return the check; the path of its script is still as written."""
    found = read_script(value, "check", "/etc/raftctl/check.sh", _PARSERS)
    return Check(found["run"], found.get("interval", INTERVAL_NS), found.get("timeout", TIMEOUT_NS),
                 found.get("fall", FALL), found.get("rise", RISE))


def _times(value: Any) -> int:
    count = values.number(value, FALL)
    if not 1 <= count <= _MOST:
        raise UsageError(f"{count} is out of range; use 1 to {_MOST}")
    return count


_PARSERS = {
    "interval": values.span(100 * durations.MILLISECOND, durations.DAY),
    "timeout": values.span(10 * durations.MILLISECOND, durations.HOUR), "fall": _times, "rise": _times,
}
