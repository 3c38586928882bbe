"""What a leader has on its way to a silent peer: bulk is bounded, heartbeats go on (pitfall 6.2)."""

from __future__ import annotations

import pytest

from raftctl.base.instants import Instant
from raftctl.raft.configuration import Member, configuration, encode
from raftctl.raft.core import Core
from raftctl.raft.encoding import encode_message
from raftctl.raft.inputs import (
    LEADER,
    Alarm,
    Campaign,
    LinkUp,
    Persisted,
    Proposed,
    Received,
    Restored,
    Timing,
)
from raftctl.raft.messages import (
    COMMAND,
    CONFIGURATION,
    ENTRY_OVERHEAD,
    ORIGIN,
    Append,
    AppendReply,
    Entry,
    HardState,
    Position,
    PreVoteReply,
    VoteReply,
)
from raftctl.raft.progress import Progress
from raftctl.raft.proposals import UNCOMMITTED_LIMIT
from raftctl.raft.replication import CHUNK_BYTES

MS = 1_000_000
BODY = b"x" * 10_000


class Leader:
    """A core that leads term 2 of two voters, `n2` being what the test says; its own disk is fast."""

    def __init__(self):
        members = [Member("n1", "n1", True), Member("n2", "n2", True)]
        entry = Entry(1, 1, CONFIGURATION, encode(configuration("c", members)))
        self.now = Instant(0, 0)
        timing, restored = Timing(100 * MS, 500 * MS, 1000 * MS), Restored(HardState(1), (entry,))
        self.core = Core("n1", 1, timing, restored, self.now, lambda: 0.0)
        self.sent = []
        self.accepted = self.refused = 0
        for given in (LinkUp("n2", 1, 1), Campaign(), Received("n2", 1, PreVoteReply(2, True, 0)),
                      Received("n2", 1, VoteReply(2, True))):
            self.give(given)
        assert self.core.view().role == LEADER
        self.acknowledge(2)

    def give(self, given):
        self.core.step(self.now, given)
        while True:
            ready = self.core.ready(self.now)
            self.sent += [message for _, message in ready.messages if isinstance(message, Append)]
            self.accepted += len(ready.accepted)
            self.refused += len(ready.refused)
            if ready.write is None:
                return
            self.core.step(self.now, Persisted(ready.write.number))

    def acknowledge(self, match):
        self.give(Received("n2", 1, AppendReply(2, 1, 1, True, match, ORIGIN)))
        self.sent.clear()

    def propose(self, count):
        for request in range(count):
            self.give(Proposed(request, COMMAND, BODY))

    def beat(self):
        self.now = self.now.plus(100 * MS)
        self.give(Alarm())


def size(append):
    return sum(entry.size for entry in append.entries)


@pytest.fixture
def leader():
    return Leader()


def test_an_append_carries_at_most_a_chunk(leader):
    for request in range(100):
        leader.core.step(leader.now, Proposed(request, COMMAND, BODY))
    leader.give(Alarm())
    assert max(size(append) for append in leader.sent) <= CHUNK_BYTES
    assert sum(size(append) for append in leader.sent) == 100 * (ENTRY_OVERHEAD + len(BODY))


def test_the_size_of_an_append_is_counted_to_the_byte(leader):
    leader.propose(3)
    for append in leader.sent:
        assert len(encode_message(append)) == len(encode_message(append._replace(entries=()))) + size(append)


def test_empty_entries_do_not_overrun_what_may_be_on_its_way(leader):
    for request in range(100_000):
        leader.core.step(leader.now, Proposed(request, COMMAND, b""))
    leader.give(Alarm())
    assert max(len(encode_message(append)) for append in leader.sent) < CHUNK_BYTES + 100
    assert sum(map(size, leader.sent)) < Progress.IN_FLIGHT_LIMIT + CHUNK_BYTES
    assert sum(len(append.entries) for append in leader.sent) < 60_000


def test_what_is_unanswered_is_bounded_and_heartbeats_pass_it_by(leader):
    leader.propose(1000)
    assert Progress.IN_FLIGHT_LIMIT <= sum(map(size, leader.sent)) < Progress.IN_FLIGHT_LIMIT + CHUNK_BYTES
    leader.sent.clear()
    leader.beat()
    leader.beat()
    assert [append.entries for append in leader.sent] == [(), ()]
    assert [append.round for append in leader.sent] == [2, 3]


def test_an_answer_lets_the_next_go(leader):
    leader.propose(1000)
    last = leader.sent[-1].entries[-1].index
    leader.give(Received("n2", 1, AppendReply(2, 1, 1, True, last, ORIGIN)))
    assert leader.sent[-1].entries[-1].index > last


def test_a_new_connection_probes_before_it_sends_the_bulk_again(leader):
    leader.propose(1000)
    leader.sent.clear()
    leader.give(LinkUp("n2", 2, 1))
    leader.propose(1)
    assert len(leader.sent) == 1 and size(leader.sent[0]) <= CHUNK_BYTES


def test_clients_are_told_busy_before_anything_is_proposed(leader):
    count = UNCOMMITTED_LIMIT // (ENTRY_OVERHEAD + len(BODY)) + 1
    leader.propose(count + 10)
    assert (leader.accepted, leader.refused) == (count, 10)
    assert leader.core.view().last_index == 2 + count


def test_p7_only_what_is_committed_counts_as_acknowledged(leader):
    leader.core.step(leader.now, Proposed(1, COMMAND, BODY))
    write = leader.core.ready(leader.now).write
    leader.core.step(leader.now, Received("n2", 1, AppendReply(2, 1, 1, True, 3, ORIGIN)))
    assert leader.core.progress["n2"].match_index == 3
    assert leader.core.acknowledged == (("n2", 2),)     # a newer leader may still have it truncated
    leader.core.step(leader.now, Persisted(write.number))
    assert leader.core.acknowledged == (("n2", 3),)


def test_p7_a_peer_that_forgot_what_it_acknowledged_is_not_probed_without_end(leader):
    leader.propose(1)
    leader.acknowledge(3)
    leader.give(LinkUp("n2", 2, 2))
    leader.sent.clear()
    for _ in range(3):
        leader.give(Received("n2", 1, AppendReply(2, 2, 1, False, 0, Position(2, 2))))
    assert leader.sent == []
    assert leader.core.progress["n2"].match_index == 3
    leader.beat()
    assert len(leader.sent) == 1
