"""Takeover records: whose application may run, for how long a new leader waits, what it commits (P6)."""

from __future__ import annotations

import pytest

from raftctl.base.errors import PeerFault
from raftctl.base.instants import Instant
from raftctl.cluster.takeover import (
    ENDED,
    FAILED,
    GOES_ON,
    NONE,
    OPEN,
    HostWork,
    Leadership,
    Takeover,
    encode_word,
    read_word,
)
from raftctl.store.commands import Malformed
from raftctl.store.takeovers import (
    Record,
    decode_record,
    encode_done,
    encode_open,
    encode_record,
    follow,
)

MS = 1_000_000
S = 1000 * MS


def at(ms):
    return Instant(ms * MS, ms * MS)


class Node:
    """A takeover and the log behind it: what it proposes is committed at once, as entry after entry."""

    def __init__(self, own="n1", delay_ms=3000, log=None, hooked=True, limit_ms=30_000):
        self.takeover = Takeover(own, delay_ms * MS, lambda instance: f"<{instance}>")
        self.own, self.log, self.hooked, self.limit = own, log if log is not None else Log(), hooked, limit_ms * MS
        self.looked, self.term = 0, None
        self.guardian(NONE)

    def guardian(self, state, index=0, ended=0):
        self.takeover.host = HostWork(state, index, ended, self.hooked, self.limit)

    def look(self, ms, term=None, since_ms=0, **fields):
        """Return the last verdict of a leader of `term` (None: of a follower) once nothing more is proposed."""
        # It looks at least ten times a second, as a turn does.
        begin = self.looked if term == self.term else since_ms
        for before in range(begin + 100, ms if term else 0, 100):
            self._look_once(before, term, since_ms, fields)
        self.looked, self.term = ms, term
        return self._look_once(ms, term, since_ms, fields)

    def _look_once(self, ms, term, since_ms, fields):
        for _ in range(4):
            leadership = Leadership(term, at(since_ms), True, **fields) if term else None
            found = self.takeover.look(at(ms), self.log.last, leadership)
            if found.propose is None:
                return found
            self.log.append(term, found.propose)
        raise AssertionError("it proposes for ever")


class Log:
    def __init__(self):
        self.index, self.last = 10, None

    def append(self, term, body):
        self.index += 10
        self.last = follow(self.last, self.index, term, body)


# --- the record

def test_p6_a_record_is_named_by_its_index_and_done_for_any_other_is_ignored():
    last = follow(None, 7, 2, encode_open("n1", 3 * S, 40 * S))
    assert last == Record(7, 2, "n1", 3 * S, 40 * S)
    assert follow(last, 8, 2, encode_done(6)) == last
    assert follow(last, 8, 2, encode_done(7)) == last._replace(done=True)
    newer = follow(last, 9, 3, encode_open("n2", S, S))
    assert follow(newer, 10, 3, encode_done(7)) == newer
    assert follow(None, 10, 3, encode_done(7)) is None


@pytest.mark.parametrize("record", [None, Record(7, 2, "n1", 3, 40), Record(7, 2, "n1", 3, 40, True)])
def test_a_record_comes_out_of_a_snapshot_as_it_went_in(record):
    assert decode_record(encode_record(record)) == record


@pytest.mark.parametrize("body", [b"", b"\x01", b"\x03" + bytes(8), encode_done(1) + b"x", b"\x01" + bytes(16)])
def test_what_is_no_takeover_entry_is_refused(body):
    with pytest.raises(Malformed):
        follow(None, 1, 1, body)


@pytest.mark.parametrize("body", [bytes(33), bytes(33) + b"\xff", bytes(33) + b"n" * 65, b"x"])
def test_what_is_no_record_is_refused(body):
    with pytest.raises(Malformed):
        decode_record(body)


@pytest.mark.parametrize("body", [b"", b"\x03" + bytes(8), encode_word(ENDED, 1) + b"x"])
def test_what_is_no_word_is_refused(body):
    with pytest.raises(PeerFault):
        read_word(body)


# --- no wait

def test_without_a_hook_there_is_no_record_and_no_wait():
    node = Node(hooked=False)
    assert node.look(0, 2)[:3] == ("", None, 0)
    assert node.log.last is None


def test_p6_the_first_leader_opens_a_record_before_its_hook_may_start():
    node = Node()
    found = node.takeover.look(at(0), None, Leadership(2, at(0), True))
    assert (found.index, found.waits) == (0, "") and found.propose
    assert node.takeover.look(at(0), None, Leadership(2, at(0), True)).propose is None, "twice"
    node.log.append(2, found.propose)
    assert node.look(0, 2).index == node.log.last.index == 20


def test_p6_nothing_is_said_before_the_own_no_op_is_applied():
    node = Node()
    found = node.takeover.look(at(0), None, Leadership(2, at(0), False))
    assert found.waits and not found.propose and not found.index


def test_p6_a_record_that_is_done_is_not_waited_for():
    log = Log()
    Node("n1", log=log).look(0, 2)
    log.append(2, encode_done(log.last.index))
    found = Node("n2", log=log).look(0, 3)
    assert (found.waits, found.index) == ("", log.last.index)
    assert log.last.instance == "n2"


# --- another's open record

def other_led(delay_ms=3000, limit_ms=30_000):
    log = Log()
    Node("n1", delay_ms, log, limit_ms=limit_ms).look(0, 2)
    return log


@pytest.mark.parametrize("theirs, own, most", [(3000, 3000, 3000), (5000, 1000, 5000), (1000, 5000, 5000)])
def test_p6_an_open_record_is_waited_for_as_long_as_the_larger_delay(theirs, own, most):
    log = other_led(theirs)
    node = Node("n2", own, log)
    for ms in (0, most - 1):
        found = node.look(1000 + ms, 3, 1000)
        assert (found.waits, found.index) == ("waits until the work of <n1> has ended", 0)
        assert found.until == at(1000 + most)
        assert found.due == at(1000 + min(ms + 100, most))
    found = node.look(1000 + most, 3, 1000)
    assert (found.waits, found.index) == ("", log.last.index) and log.last.instance == "n2"


def test_p6_done_ends_the_wait_at_once():
    log = other_led()
    node = Node("n2", log=log)
    assert node.look(0, 3).waits
    node.takeover.heard(at(10), "n1", encode_word(ENDED, log.last.index))
    assert node.look(10, 3).index == log.last.index
    assert log.last.instance == "n2"


def test_p6_done_of_another_record_or_of_another_host_ends_no_wait():
    log = other_led()
    node = Node("n2", log=log)
    node.takeover.heard(at(10), "n1", encode_word(ENDED, log.last.index - 10))
    node.takeover.heard(at(10), "n3", encode_word(ENDED, log.last.index))
    assert node.look(10, 3).waits


def test_p6_while_it_goes_on_the_wait_goes_on_but_not_beyond_the_record_s_limit():
    log = other_led(limit_ms=8000)
    node = Node("n2", log=log)
    for ms in range(0, 8000, 500):
        node.takeover.heard(at(ms), "n1", encode_word(GOES_ON, log.last.index))
        assert node.look(ms, 3).waits, ms
    node.takeover.heard(at(7999), "n1", encode_word(GOES_ON, log.last.index))
    assert node.look(7999, 3).until == at(8000)
    assert not node.look(8000, 3).waits


def test_p6_when_it_says_no_more_that_it_goes_on_the_wait_ends_soon():
    log = other_led()
    node = Node("n2", log=log)
    node.takeover.heard(at(2900), "n1", encode_word(GOES_ON, log.last.index))
    node.takeover.heard(at(2900), "n3", encode_word(GOES_ON, log.last.index))
    assert node.look(4599, 3).waits
    assert not node.look(4600, 3).waits


def test_p6_a_word_that_comes_after_the_wait_takes_nothing_back():
    log = other_led()
    node = Node("n2", log=log)
    index = node.look(3000, 3).index
    node.takeover.heard(at(3001), "n1", encode_word(GOES_ON, 20))
    assert node.look(3001, 3).index == index == log.last.index


def test_p6_in_a_chain_the_last_record_counts_and_who_never_took_over_has_none():
    """L2 dies while it waits for L1: L3 waits for L1, not for L2, whose host has nothing to end (9.2)."""
    log = other_led(4000)
    second = Node("n2", 1000, log)
    assert second.look(1000, 3, 1000).waits
    assert log.last.instance == "n1"
    third = Node("n3", 1000, log)
    third.takeover.heard(at(2000), "n2", encode_word(ENDED, log.last.index))
    assert third.look(5999, 4, 2000).until == at(6000)
    assert third.look(6000, 4, 2000).index == log.last.index


def test_p6_in_a_chain_the_second_s_own_record_is_what_the_third_waits_for():
    log = other_led(1000)
    Node("n2", 5000, log).look(6000, 3, 1000)
    first = log.last.index
    assert log.last.instance == "n2"
    third = Node("n3", 1000, log)
    third.takeover.heard(at(7000), "n1", encode_word(ENDED, 20))
    assert third.look(11_999, 4, 7000).until == at(12_000)
    third.takeover.heard(at(11_999), "n2", encode_word(ENDED, first))
    assert not third.look(11_999, 4, 7000).waits


# --- the own record

def test_p6_a_new_term_of_the_same_leader_goes_on_at_once_and_under_a_new_record_once_the_work_ended():
    node = Node()
    first = node.look(0, 2).index
    node.guardian(OPEN, first)
    found = node.look(1000, 5, 1000)
    assert (found.waits, found.index) == ("", first)
    node.guardian(NONE, ended=first)
    found = node.look(1100, 5, 1000)
    assert (found.waits, found.index) == ("", first + 20) and node.log.last.term == 5


def test_p6_work_of_this_host_that_failed_is_no_reason_to_wait_but_never_done():
    node = Node()
    first = node.look(0, 2).index
    node.guardian(FAILED, first)
    found = node.look(1000, 5, 1000)
    assert (found.waits, found.index) == ("", first) and not node.log.last.done


def test_p6_under_another_guardian_the_former_work_of_this_host_is_ended_first():
    log = other_led()
    node = Node("n1", log=log)
    node.guardian(OPEN, 0)            # it found `outgoing`, and runs follower
    found = node.look(1000, 5, 1000)
    assert found.waits == "waits until the former work of this host has ended" and not found.index
    assert not node.look(4000, 5, 1000).waits, "longer than the delay"
    node = Node("n1", log=log)
    node.guardian(OPEN, 0)
    assert node.look(1000, 5, 1000).waits
    node.guardian(NONE)
    assert node.look(1000, 5, 1000).index == log.last.index > 20


def test_p6_before_the_guardian_has_spoken_nothing_of_this_host_is_over():
    log = other_led()
    node = Node("n1", log=log)
    node.takeover.host = None
    assert node.look(1000, 5, 1000).waits
    assert not log.last.done


def test_p6_a_word_of_the_guardian_from_before_it_heard_of_the_record_ends_nothing():
    node = Node()
    first = node.look(0, 2).index
    node.guardian(NONE, ended=first - 10)
    assert node.look(10, 2).index == first and not node.log.last.done
    assert node.takeover.look(at(20), node.log.last, None).report == 0


def test_p6_a_follower_reports_its_own_work_twice_a_second_until_the_record_says_so():
    node = Node()
    first = node.look(0, 2).index
    node.guardian(OPEN, first)
    assert node.look(100).report == 0
    node.guardian(NONE, ended=first)
    reports = [ms for ms in range(100, 1300, 10) if node.look(ms).report == first]
    assert reports == [100, 600, 1100]
    node.log.append(3, encode_done(first))
    assert node.look(1700) == node.look(1700)._replace(report=0, due=None)


# --- who hands over

def test_p6_who_hands_over_starts_nothing_and_is_clear_once_the_record_is_done():
    node = Node()
    first = node.look(0, 2).index
    node.guardian(OPEN, first)
    found = node.look(100, 2, yields="hands over")
    assert (found.waits, found.index) == ("hands over", 0)
    assert not node.takeover.is_clear(node.log.last, 2)
    node.guardian(NONE, ended=first)
    assert not node.takeover.is_clear(node.log.last, 2)
    node.look(200, 2, yields="hands over")
    assert node.log.last.done and node.takeover.is_clear(node.log.last, 2)
    assert node.look(300, 2).index == first + 20, "it came to nothing: it begins anew"


def test_p6_a_record_that_is_on_its_way_is_not_clear():
    node = Node()
    found = node.takeover.look(at(0), None, Leadership(2, at(0), True))
    assert not node.takeover.is_clear(None, 2)
    node.log.append(2, found.propose)
    node.look(10, 2, yields="hands over")
    assert node.log.last.done and node.takeover.is_clear(node.log.last, 2)


def test_who_is_not_fit_opens_no_record():
    node = Node()
    assert node.look(0, 2, is_fit=False)[:3] == ("", None, 0)
    assert node.log.last is None


def test_p6_who_stops_has_settled_once_the_end_of_its_work_is_committed():
    node = Node()
    first = node.look(0, 2).index
    node.guardian(OPEN, first)
    assert node.takeover.is_settled(node.log.last), "nothing to commit yet"
    node.guardian(NONE, ended=first)
    assert not node.takeover.is_settled(node.log.last)
    node.look(10, 2, is_fit=False)
    assert node.takeover.is_settled(node.log.last)


# --- a leader that was deaf (seed 90 of the profile handovers)

def test_p6_who_was_stopped_while_it_waited_does_not_take_that_for_silence():
    log = other_led(1000)
    node = Node("n2", 1000, log)
    assert node.look(400, 3).until == at(1000)
    node.looked = 2990                     # SIGSTOP in between
    assert node.look(3000, 3).until == at(3700)
    node.takeover.heard(at(3500), "n1", encode_word(GOES_ON, log.last.index))
    assert node.look(3700, 3).waits, "that is what it would have missed"


def test_p6_who_was_stopped_waits_on_no_longer_than_for_the_next_word():
    log = other_led(1000)
    node = Node("n2", 1000, log)
    assert node.look(400, 3).waits
    node.looked = 2990
    assert node.look(3000, 3).waits
    assert node.look(3699, 3).waits
    assert not node.look(3700, 3).waits


def test_p6_who_was_stopped_for_longer_than_the_record_s_limit_waits_for_nothing():
    log = other_led(1000, limit_ms=8000)
    node = Node("n2", 1000, log)
    assert node.look(400, 3).waits
    node.looked = 8990
    assert not node.look(9000, 3).waits
