"""node/inbox.py: bounded for each peer, whatever its frames are like; nothing else is dropped."""

from __future__ import annotations

import threading
import time

from raftctl.node.inbox import FRAME_BYTES_LIMIT, FRAME_COST, TURN_LIMIT, Inbox


def drained(inbox):
    taken = []
    while True:
        some = inbox.take(0.0)
        if not some:
            return taken
        taken += some


def test_the_oldest_frames_of_a_peer_go_and_those_of_others_stay():
    inbox = Inbox()
    inbox.post("control")
    inbox.post_frame("h2", 10, "small")
    for number in range(20):
        inbox.post_frame("h1", 1 << 20, number)
    taken = drained(inbox)
    assert taken[0] == "control" and "small" in taken
    kept = [item for item in taken if isinstance(item, int)]
    assert kept == list(range(inbox.dropped, 20)) and 0 < inbox.dropped < 20


def test_p8_frames_without_a_body_are_bounded_as_well():
    inbox = Inbox()
    for _ in range(FRAME_BYTES_LIMIT // FRAME_COST + 1000):
        inbox.post_frame("h1", 0, None)
    assert inbox.dropped == 1000
    assert len(inbox.take(0.0)) == TURN_LIMIT
    assert len(drained(inbox)) == FRAME_BYTES_LIMIT // FRAME_COST - TURN_LIMIT
    inbox.post_frame("h1", 1 << 20, "again")
    assert drained(inbox) == ["again"] and inbox.dropped == 1000


def test_the_taker_is_woken_once_and_waits_again():
    inbox = Inbox()
    taken = []

    def take():
        while "end" not in taken:
            taken.extend(inbox.take(60))

    taker = threading.Thread(target=take)
    taker.start()
    for number in range(2000):
        inbox.post(number)
        if number % 3 == 0:
            inbox.post_frame("h1", 1, None)
    inbox.post("end")
    taker.join(60)
    assert not taker.is_alive()
    assert [item for item in taken if isinstance(item, int)] == list(range(2000))


def test_a_wait_that_was_in_vain_leaves_no_bell_behind():
    inbox = Inbox()
    for number in range(3):
        assert inbox.take(0.0) == inbox.take(0.001) == []
        inbox.post(number)
        inbox.post(number)
        assert inbox.take(60) == [number, number]
    began = time.monotonic()
    assert inbox.take(0.05) == []
    assert time.monotonic() - began >= 0.05


def test_words_at_the_very_end_of_a_wait_are_not_lost():
    inbox = Inbox()
    taken = []

    def post():
        for number in range(500):
            time.sleep(0.0001)
            inbox.post(number)

    poster = threading.Thread(target=post)
    poster.start()
    deadline = time.monotonic() + 60
    while len(taken) < 500 and time.monotonic() < deadline:
        taken += inbox.take(0.0001)
    poster.join(60)
    assert taken == list(range(500))
    assert inbox.take(0.0) == []
