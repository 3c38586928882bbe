"""base/objects.py: one JSON object from a stranger, read in one way only."""

from __future__ import annotations

import pytest

from raftctl.base.objects import parse_object


def test_an_object_is_read_with_white_space_around_it():
    assert parse_object(b' {"a": [1, 2.5, null, true, "\xc3\xa4"]} \r') == {"a": [1, 2.5, None, True, "ä"]}


@pytest.mark.parametrize("data, why", [
    (b"", "Expecting value"),
    (b"[]", "not a JSON object"),
    (b'"text"', "not a JSON object"),
    (b'{"a": 1} {"b": 2}', "Extra data"),
    (b'{"a": 1, "a": 2}', '"a" stands there twice'),
    (b'{"deep": {"a": 1, "a": 2}}', '"a" stands there twice'),
    (b'{"a": NaN}', "NaN is no JSON"),
    (b'{"a": -Infinity}', "-Infinity is no JSON"),
    (b'{"a": 1e999}', "too large"),
    (b'{"a": ' + b"1" * 100_000 + b"}", "too large"),
    (b'{"a": "\xff"}', "not UTF-8"),
    (b'{"a": "\\ud800"}', "half of a surrogate pair"),
    (b'{"a": ' + b"[" * 100_000, "nested too deeply"),
    (b"[" * 100_000, "nested too deeply"),
])
def test_p8_what_is_not_one_plain_object_is_refused(data, why):
    with pytest.raises(ValueError, match=why):
        parse_object(data)


def test_a_whole_surrogate_pair_is_text():
    assert parse_object(b'{"a": "\\ud83d\\ude00"}') == {"a": "\U0001f600"}
