"""Lines about others: said when it begins, changes and ends, counted in between, bounded whoever comes."""

from __future__ import annotations

import logging

import pytest

from raftctl.net.complaints import CHANGE_S, CHANGES, NEWCOMER_S, NEWCOMERS, REPEAT_S, SOURCES, Complaints


class Clock:
    now_s = 1000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def complaints(clock):
    return Complaints(logging.getLogger("test"), clock)


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO)
    return lambda: [record.getMessage() for record in caplog.records]


def test_the_same_again_is_counted_and_said_every_five_minutes(complaints, clock, said):
    for _ in range(int(REPEAT_S)):
        complaints.bad("h2", "secret", "refused h2: secret")
        clock.now_s += 1
    assert said() == ["refused h2: secret"]
    complaints.bad("h2", "secret", "refused h2: secret")
    assert said()[1:] == ["refused h2: secret (299 lines were left out before)"]
    assert complaints.held_back == 299


def test_a_change_and_the_end_are_said_at_once(complaints, said):
    complaints.bad("h2", "a", "h2: a")
    complaints.bad("h2", "b", "h2: b")
    complaints.good("h2", "h2 is well")
    complaints.good("h2", "h2 is well")
    complaints.bad("h2", "b", "h2: b")
    assert said() == ["h2: a", "h2: b", "h2 is well", "h2: b"]


def test_what_was_never_bad_is_praised_only_where_asked(complaints, said):
    complaints.good("h2", "h2 is well")
    assert said() == []
    complaints.good("h2", "h2 is well", even_first=True)
    complaints.good("h2", "h2 is well", even_first=True)
    assert said() == ["h2 is well"]


def test_one_that_goes_to_and_fro_runs_out_of_lines_and_others_do_not(complaints, clock, said):
    for _ in range(500):
        complaints.bad("h2", "a", "h2: a")
        complaints.good("h2", "h2 is well")
    assert len(said()) == CHANGES
    complaints.bad("h3", "a", "h3: a")
    assert said()[-1] == "h3: a"
    clock.now_s += CHANGE_S
    complaints.bad("h2", "c", "h2: c")
    complaints.bad("h2", "d", "h2: d")
    assert len(said()) == CHANGES + 2
    assert said()[-1].startswith("h2: c (")


def test_strangers_from_ever_new_hosts_fill_neither_log_nor_memory(complaints, clock, said):
    complaints.bad("peer", "secret", "refused peer")
    for number in range(10_000):
        complaints.bad(f"stranger {number}", "garbage" * 1000, f"closed stranger {number}")
    assert len(said()) == NEWCOMERS
    assert complaints.held_back == 10_000 - (NEWCOMERS - 1)
    for _ in range(2 * SOURCES):
        clock.now_s += NEWCOMER_S
        complaints.bad(f"stranger {clock.now_s}", "x", "closed one more")
    assert len(complaints._sources) == SOURCES
    assert "lines about others were left out before" in said()[NEWCOMERS]
    assert said()[-1] == "closed one more"
