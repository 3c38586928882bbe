"""disk/history.py: bounded, and readable whatever stands at its end."""

from __future__ import annotations

import json
import os
import stat

import pytest

from raftctl.disk import history
from raftctl.disk.history import ENTRY_LIMIT, LIMIT_BYTES, HistoryFile, read


def entry(number, cause="votes 2/3"):
    return {"time": "2026-12-01T09:00:00.000Z", "term": number, "event": "elected",
            "leader": "tcp://h1:8089", "cause": cause, "by": None}


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "history")


def terms(path, count=1000):
    return [found["term"] for found in read(path, count)]


def test_what_is_appended_is_read_the_newest_last(path):
    assert read(path, 5) == []
    HistoryFile(path).append([entry(1), entry(2)])
    HistoryFile(path).append([entry(3)])
    assert read(path, 5) == [entry(1), entry(2), entry(3)]
    assert terms(path, 2) == [2, 3]
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_a_torn_tail_of_any_length_costs_one_entry_and_not_the_next(path):
    line = len(history._line(entry(2)))
    for cut in range(1, line + 1):
        with open(path, "wb") as file:
            file.write(history._line(entry(1)) + history._line(entry(2))[:-cut])
        # Without its newline alone the entry is whole.
        kept = [1, 2] if cut == 1 else [1]
        assert terms(path) == kept
        HistoryFile(path).append([entry(3)])
        assert terms(path) == [*kept, 3]


def test_what_is_no_entry_is_left_out(path):
    with open(path, "wb") as file:
        file.write(b"\0" * 100 + b"\n[1]\n{}\n" + b'{"time": 1, "event": "x"}\n' + b"[" * 100_000 + b"\n"
                   + history._line(entry(7)))
    assert terms(path) == [7]


def test_it_stays_within_its_bound_and_keeps_the_newest(path):
    file = HistoryFile(path)
    for number in range(0, 6000, 100):
        file.append([entry(number + each) for each in range(100)])
        assert os.path.getsize(path) <= LIMIT_BYTES + 100 * 200
    found = terms(path, 10_000)
    assert found == list(range(found[0], 6000)) and len(found) > 1000


def test_a_death_while_it_is_halved_leaves_the_old_file(path, monkeypatch):
    file = HistoryFile(path)
    file.append([entry(number) for number in range(100)])
    monkeypatch.setattr(history, "LIMIT_BYTES", 1000)

    def die(*arguments):
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(history, "write_atomic", die)
    with pytest.raises(OSError):
        file.append([entry(100)])
    assert terms(path, 2) == [99, 100]


def test_a_cause_without_measure_is_cut(path):
    HistoryFile(path).append([entry(1, cause="x" * 100_000)])
    assert os.path.getsize(path) < ENTRY_LIMIT
    assert json.loads(open(path, "rb").read())["cause"] == "x" * 256
