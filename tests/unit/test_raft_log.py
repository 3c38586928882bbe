"""The log with a base: what it knows at, below and behind it."""

from __future__ import annotations

import pytest

from raftctl.base.errors import OurFault
from raftctl.raft.log import ENTRY_COST, Log
from raftctl.raft.messages import COMMAND, CONFIGURATION, ORIGIN, Entry, Position

TERMS = (1, 1, 2, 2, 2, 4, 4, 5)


def log_of(terms=TERMS, configurations=(1, 4)):
    return Log(Entry(term, index, CONFIGURATION if index in configurations else COMMAND, b"x" * index)
               for index, term in enumerate(terms, 1))


def compacted(upto):
    log = log_of()
    log.compact(upto)
    return log


@pytest.mark.parametrize("upto", range(len(TERMS) + 1))
def test_a_compacted_log_answers_as_before_from_its_base_on(upto):
    whole, log = log_of(), compacted(upto)
    assert (log.base, log.last, log.last_index) == (whole.position(upto), whole.last, 8)
    for index in range(upto, 9):
        assert log.position(index) == whole.position(index) and log.term_at(index) == whole.term_at(index)
        assert log.between(index, 8) == whole.between(index, 8)
        assert log.chunk(index, 9) == whole.chunk(index, 9)
        assert log.holds(whole.position(index)) and not log.holds(Position(9, index))
    for index in range(upto + 1, 9):
        assert log.entry(index) is not None and log.entry(index).index == index
    assert log.size == sum(len(entry.body) + ENTRY_COST for entry in log.between(upto, 8))


@pytest.mark.parametrize("upto", range(len(TERMS) + 1))
def test_last_not_newer_is_the_same_behind_the_base_and_no_lower_below_it(upto):
    whole, log = log_of(), compacted(upto)
    for index in range(11):
        for term in range(7):
            true, found = whole.last_not_newer(index, term), log.last_not_newer(index, term)
            assert found == true if true >= upto else true <= found < max(upto, 1)


def test_below_the_base_everything_is_held_and_nothing_is_there():
    log = compacted(5)
    assert log.holds(Position(1, 2)) and log.holds(ORIGIN) and not log.holds(Position(1, 5))
    for asks in (lambda: log.entry(5), lambda: log.position(4), lambda: log.between(4, 8),
                 lambda: log.truncate_from(5)):
        with pytest.raises(OurFault):
            asks()


@pytest.mark.parametrize("upto", range(6))
def test_a_compacted_log_is_truncated_and_goes_on(upto):
    whole, log = log_of(), compacted(upto)
    for one in (whole, log):
        one.truncate_from(6)
        one.append(Entry(7, 6, COMMAND, b"new"))
    assert log.between(upto, 6) == whole.between(upto, 6) and log.last == Position(7, 6)
    assert log.last_not_newer(6, 5) == 5
    with pytest.raises(OurFault):
        log.append(Entry(6, 7, COMMAND, b""))


def test_configurations_are_found_without_a_search():
    log = log_of()
    assert [log.configuration_index(index) for index in (0, 1, 3, 4, 8)] == [0, 1, 1, 4, 4]
    log.truncate_from(4)
    assert log.configuration_index(8) == 1
    log = compacted(1)
    assert [log.configuration_index(index) for index in (3, 4)] == [0, 4]
    log.compact(4)
    assert log.configuration_index(8) == 0


def test_a_log_may_begin_behind_a_base():
    log = Log([Entry(4, 8, COMMAND, b"")], Position(3, 7))
    assert (log.last, log.term_at(7), log.last_not_newer(8, 3)) == (Position(4, 8), 3, 7)
    with pytest.raises(OurFault):
        Log([Entry(2, 8, COMMAND, b"")], Position(3, 7))
    with pytest.raises(OurFault):
        Log([Entry(4, 9, COMMAND, b"")], Position(3, 7))
