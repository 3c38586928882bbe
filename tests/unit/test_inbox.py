"""node/inbox.py: bounded for each peer, whatever its frames are like; nothing else is dropped."""

from __future__ import annotations

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
