"""Spans of time as people write them (`"200 millisecond"`, `"1.5s"`, `200`) to and from integer ns.

Owns the grammar and the rendering; which span makes sense for which key is the business of the configuration.
"""

from __future__ import annotations

import math
import re
from typing import Union

from raftctl.base.errors import UsageError

MILLISECOND = 1_000_000
SECOND = 1_000 * MILLISECOND
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
# Longer than any sensible span, and far below the point where ns no longer fit a C long.
LONGEST = 1000 * DAY

_UNITS = {
    "": MILLISECOND,
    "ms": MILLISECOND, "msec": MILLISECOND, "millisecond": MILLISECOND, "milliseconds": MILLISECOND,
    "s": SECOND, "sec": SECOND, "second": SECOND, "seconds": SECOND,
    "m": MINUTE, "min": MINUTE, "minute": MINUTE, "minutes": MINUTE,
    "h": HOUR, "hour": HOUR, "hours": HOUR,
    "d": DAY, "day": DAY, "days": DAY,
}  # fmt: skip
_FORM = re.compile(r" *(-?)([0-9]{1,18})(?:\.([0-9]{1,18}))? *([A-Za-z]*) *")


def parse(value: Union[str, float]) -> int:
    """Return the span `value` in ns: text with a unit, or a number (also as text) of milliseconds.

    Zero is allowed here; parts of a nanosecond are cut off. Raises `UsageError` that says what is wrong.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise UsageError(f'{value!r} is no duration; write "200 ms", "1.5 s" or a number of milliseconds')
    if isinstance(value, float):
        if not math.isfinite(value):
            raise UsageError(f"{value!r} is no duration; write a number of milliseconds")
        span = round(value * MILLISECOND)
    elif isinstance(value, int):
        span = value * MILLISECOND
    else:
        span = _parse_text(value)
    shown = f'"{value}"' if isinstance(value, str) else str(value)
    if span < 0:
        raise UsageError(f"{shown} is negative")
    if span > LONGEST:
        raise UsageError(f"{shown} is too long; at most {render(LONGEST)}")
    return span


def _parse_text(text: str) -> int:
    found = _FORM.fullmatch(text)
    if not found:
        raise UsageError(f'"{text}" is no duration; write "200 ms", "1.5 s" or a number of milliseconds')
    sign, whole, fraction, unit = found.groups()
    scale = _UNITS.get(unit.lower())
    if scale is None:
        raise UsageError(f'"{unit}" in "{text}" is no unit of time; write ms, s, min or h')
    span = int(whole) * scale
    if fraction:
        span += int(fraction) * scale // 10 ** len(fraction)
    return -span if sign else span


def render(span_ns: int) -> str:
    """Return `span_ns` for people, in the largest unit that fits: `500 ms`, `1.5 s`, `90 s`, `2 min`, `1 h`.

    Milliseconds and longer come out with at most three decimals; `parse` reads it back.
    """
    for unit, scale in (("h", HOUR), ("min", MINUTE)):
        if span_ns and span_ns % scale == 0:
            return f"{span_ns // scale} {unit}"
    unit, scale = ("s", SECOND) if abs(span_ns) >= SECOND else ("ms", MILLISECOND)
    text = f"{span_ns / scale:.3f}".rstrip("0").rstrip(".")
    return f"{text} {unit}"
