"""Spans of time, read and shown."""

from __future__ import annotations

import pytest

from raftctl.base import durations
from raftctl.base.durations import DAY, HOUR, MILLISECOND, MINUTE, SECOND, parse, render
from raftctl.base.errors import UsageError


@pytest.mark.parametrize("value, expected", [
    ("200 millisecond", 200 * MILLISECOND),
    ("200 milliseconds", 200 * MILLISECOND),
    ("200ms", 200 * MILLISECOND),
    ("1 second", SECOND),
    ("1.5s", 1500 * MILLISECOND),
    ("1.5 Sec", 1500 * MILLISECOND),
    ("2 min", 2 * MINUTE),
    ("2 Minutes", 2 * MINUTE),
    ("1m", MINUTE),
    ("1 h", HOUR),
    ("3 days", 3 * DAY),
    ("  7  s ", 7 * SECOND),
    ("250", 250 * MILLISECOND),
    ("0.1 s", 100 * MILLISECOND),
    ("0.0000000019 s", 1),
    ("0", 0),
    (200, 200 * MILLISECOND),
    (0, 0),
    (0.5, MILLISECOND // 2),
    (1.1, 1_100_000),
    (1e3, SECOND),
])  # fmt: skip
def test_a_duration_is_read_as_ns_without_rounding_errors(value, expected):
    assert parse(value) == expected


@pytest.mark.parametrize("value, message", [
    ("", '"" is no duration; write "200 ms", "1.5 s" or a number of milliseconds'),
    ("fast", '"fast" is no duration; write "200 ms", "1.5 s" or a number of milliseconds'),
    ("1,5 s", '"1,5 s" is no duration; write "200 ms", "1.5 s" or a number of milliseconds'),
    ("1 s 5 ms", '"1 s 5 ms" is no duration; write "200 ms", "1.5 s" or a number of milliseconds'),
    ("1.s", '"1.s" is no duration; write "200 ms", "1.5 s" or a number of milliseconds'),
    ("1 s\n", '"1 s\n" is no duration; write "200 ms", "1.5 s" or a number of milliseconds'),
    ("\u0661 s", '"\u0661 s" is no duration; write "200 ms", "1.5 s" or a number of milliseconds'),
    ("1 \u017f", '"1 \u017f" is no duration; write "200 ms", "1.5 s" or a number of milliseconds'),
    ("5 weeks", '"weeks" in "5 weeks" is no unit of time; write ms, s, min or h'),
    ("-1 s", '"-1 s" is negative'),
    (-1, "-1 is negative"),
    ("1001 days", '"1001 days" is too long; at most 24000 h'),
    (10**30, f"{10**30} is too long; at most 24000 h"),
    (float("inf"), "inf is no duration; write a number of milliseconds"),
    (float("nan"), "nan is no duration; write a number of milliseconds"),
    (True, 'True is no duration; write "200 ms", "1.5 s" or a number of milliseconds'),
    (None, 'None is no duration; write "200 ms", "1.5 s" or a number of milliseconds'),
])  # fmt: skip
def test_what_is_no_duration_is_refused_with_the_mend(value, message):
    with pytest.raises(UsageError) as refused:
        parse(value)
    assert str(refused.value) == message


@pytest.mark.parametrize("span, expected", [
    (0, "0 ms"),
    (250_000, "0.25 ms"),
    (50 * MILLISECOND, "50 ms"),
    (999 * MILLISECOND, "999 ms"),
    (SECOND, "1 s"),
    (1500 * MILLISECOND, "1.5 s"),
    (1043 * MILLISECOND, "1.043 s"),
    (MINUTE, "1 min"),
    (90 * SECOND, "90 s"),
    (90 * MINUTE, "90 min"),
    (2 * HOUR, "2 h"),
    (durations.LONGEST, "24000 h"),
    (-5 * SECOND, "-5 s"),
])  # fmt: skip
def test_a_span_is_shown_in_the_unit_that_fits(span, expected):
    assert render(span) == expected


def test_what_is_shown_is_read_back_as_the_same_span():
    spans = [
        n * MILLISECOND for n in (1, 3, 100, 999, 1000, 1001, 59_999, 60_000, 61_500, 3_600_000, 86_400_000)
    ]
    assert [parse(render(span)) for span in spans] == spans
