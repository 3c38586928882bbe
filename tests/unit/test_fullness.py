"""P3: a full disk refuses what is new before anything is proposed, and never a vote (pitfall 5.5)."""

from __future__ import annotations

from test_core_flow import MS, Leader

from raftctl.base.instants import Instant
from raftctl.raft.configuration import Member, configuration, encode
from raftctl.raft.core import Core
from raftctl.raft.fullness import ENTRY_COST, fitting
from raftctl.raft.inputs import (
    DiskRoom,
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
    ORIGIN,
    PLENTY,
    TAKEOVER,
    Append,
    AppendReply,
    Entry,
    HardState,
    Position,
    Vote,
    VoteReply,
)


class FullLeader(Leader):
    def __init__(self):
        self.refusals = []
        super().__init__()

    def give(self, given):
        self.core.step(self.now, given)
        while True:
            ready = self.core.ready(self.now)
            self.sent += [message for _, message in ready.messages if isinstance(message, Append)]
            self.accepted += len(ready.accepted)
            self.refusals += ready.refused
            if ready.write is None:
                return
            self.core.step(self.now, Persisted(ready.write.number))

    def reply(self, match, room):
        self.give(Received("n2", 1, AppendReply(2, 1, 1, True, match, ORIGIN, room)))

    def lose(self, match):
        """What was on its way is lost with the connection; the peer has all up to `match`."""
        self.give(LinkUp("n2", 1, 1))
        self.sent.clear()
        self.give(Received("n2", 1, AppendReply(2, 1, 1, False, 0, Position(2, match))))

    @property
    def last(self):
        return self.core.view().last_index


def test_5_5_a_leader_whose_disk_is_full_proposes_nothing_and_leads_on():
    leader = FullLeader()
    last = leader.last
    leader.give(DiskRoom(1_000_000))
    leader.propose(2)
    assert [(one.code, "disk of the leader is full" in one.reason) for one in leader.refusals] == \
        [("store_full", True)] * 2
    assert (leader.last, leader.accepted, leader.core.role) == (last, 0, "leader")
    leader.give(DiskRoom(PLENTY))
    leader.propose(1)
    assert (leader.last, leader.accepted) == (last + 1, 1)


def test_5_5_a_leader_proposes_nothing_that_no_quorum_of_disks_could_take():
    leader = FullLeader()
    leader.reply(leader.last, 5_000_000)
    leader.propose(1)
    assert [one.code for one in leader.refusals] == ["store_full"]
    assert "1 of 2 voters are full" in leader.refusals[0].reason
    leader.reply(leader.last, PLENTY)
    leader.propose(1)
    assert leader.accepted == 1


def test_5_5_a_peer_gets_no_more_than_its_disk_can_take_and_the_rest_when_it_can():
    leader = FullLeader()
    first = leader.last
    leader.propose(8)                                # 10,000 bytes each
    leader.sent.clear()
    leader.reply(first, 25_000)
    assert leader.sent == []                         # what is on its way already is more than that
    leader.lose(first)
    assert [len(one.entries) for one in leader.sent] == [2]
    leader.sent.clear()
    leader.reply(first, 25_000)
    assert [len(one.entries) for one in leader.sent] == [2]
    leader.sent.clear()
    leader.reply(first + 2, 4_000)
    assert leader.sent == []
    leader.beat()
    assert [len(one.entries) for one in leader.sent] == [0]
    leader.sent.clear()
    leader.reply(first + 2, PLENTY)
    assert sum(len(one.entries) for one in leader.sent) == 6


def test_5_5_an_answer_of_a_peer_without_room_causes_no_other_message():
    leader = FullLeader()
    leader.propose(3)
    leader.lose(leader.last - 3)
    for _ in range(5):
        leader.sent.clear()
        leader.reply(leader.last - 3, 100)
        assert leader.sent == []


# --- the follower


class Follower:
    """A core that follows n1 in term 2; its disk answers when `sync` says so."""

    def __init__(self):
        members = [Member("n1", "n1", True), Member("n2", "n2", True)]
        entry = Entry(1, 1, CONFIGURATION, encode(configuration("c", members)))
        self.now = Instant(0, 0)
        self.core = Core("n2", 1, Timing(100 * MS, 500 * MS, 1000 * MS), Restored(HardState(1), (entry,)),
                         self.now, lambda: 0.0)
        self.write = None
        self.sent = []
        self.round = 0
        self.give(LinkUp("n1", 1, 1))
        self.append(Position(1, 1))
        self.sync()

    def give(self, given):
        self.core.step(self.now, given)
        ready = self.core.ready(self.now)
        self.sent += [message for _, message in ready.messages]
        self.write = ready.write or self.write

    def sync(self):
        while self.write:
            number, self.write = self.write.number, None
            self.give(Persisted(number))

    def append(self, previous, *entries):
        self.round += 1
        self.give(Received("n1", 1, Append(2, 1, 500 * MS, self.round, previous, 1, entries)))


def big(index):
    return Entry(2, index, COMMAND, b"x" * 1000)


def test_5_5_a_full_follower_takes_what_fits_and_says_how_much_more_does():
    follower = Follower()
    follower.give(DiskRoom(2 * (1000 + ENTRY_COST) + 500))
    follower.sent.clear()
    follower.append(Position(1, 1), big(2), big(3), big(4))
    follower.sync()
    assert follower.core.view().last_index == 3
    assert [(one.accepted, one.match, one.room) for one in follower.sent] == [(True, 3, 500)]
    follower.sent.clear()
    follower.append(Position(2, 3), big(4))
    follower.sync()
    assert [(one.accepted, one.match, one.room) for one in follower.sent] == [(True, 3, 500)]
    follower.give(DiskRoom(PLENTY))
    follower.sent.clear()
    follower.append(Position(2, 3), big(4))
    follower.sync()
    assert [(one.accepted, one.match, one.room) for one in follower.sent] == [(True, 4, PLENTY)]


def test_5_5_what_is_on_its_way_to_the_disk_is_counted_when_the_disk_says_its_room():
    follower = Follower()
    follower.append(Position(1, 1), big(2), big(3))
    follower.give(DiskRoom(2 * (1000 + ENTRY_COST) + 500))     # behind what is durable: entry 1
    follower.append(Position(2, 3), big(4))
    assert follower.core.view().last_index == 3


def test_5_5_a_follower_without_room_truncates_nothing_for_what_it_can_not_take():
    follower = Follower()
    follower.append(Position(1, 1), big(2), big(3))
    follower.sync()
    follower.give(DiskRoom(0))
    follower.append(Position(1, 1), Entry(3, 2, COMMAND, b"y" * 1000)._replace(term=2, body=b"y"))
    assert follower.core.view().last_index == 3


def test_p3_a_node_with_a_full_disk_votes():
    follower = Follower()
    follower.give(DiskRoom(0))
    follower.now = follower.now.plus(2000 * MS)
    follower.sent.clear()
    follower.give(Received("n1", 1, Vote(7, Position(2, 9))))
    assert follower.write.hard_state.vote == "n1" and not follower.write.entries
    follower.sync()
    assert VoteReply(7, True) in follower.sent


def test_what_fits_is_a_beginning_of_the_entries():
    entries = tuple(big(index) for index in range(2, 7))
    cost = 1000 + ENTRY_COST
    assert fitting(entries, PLENTY) == fitting(entries, 5 * cost) == entries
    for room in range(0, 5 * cost, 97):
        assert fitting(entries, room) == entries[:room // cost]
    assert fitting((), 0) == ()


# --- what waits for room


class SlowLeader(Leader):
    """Its disk answers when `sync` says so."""

    def __init__(self):
        self.write = None
        self.is_slow = False
        super().__init__()
        self.is_slow = True

    def give(self, given):
        self.core.step(self.now, given)
        while True:
            ready = self.core.ready(self.now)
            self.write = ready.write or self.write
            if ready.write is None or self.is_slow:
                return
            self.core.step(self.now, Persisted(ready.write.number))

    def sync(self):
        """Answer the write at the disk; return the indexes of its entries."""
        done, self.write = self.write, None
        self.give(Persisted(done.number))
        return [one.index for one in done.entries]


def test_5_5_entries_that_do_not_fit_wait_and_hold_up_no_vote():
    leader = SlowLeader()
    first = leader.core.view().last_index + 1
    leader.propose(8)
    leader.give(DiskRoom(35_000))                           # the first is at the disk, two more fit
    assert leader.sync() == [first]
    assert [one.index for one in leader.write.entries] == [first + 1, first + 2]
    leader.sync()
    assert leader.write is None
    leader.give(Received("n2", 1, AppendReply(9, 1, 1, False, 0, ORIGIN)))    # a newer term: to the disk
    assert leader.write.hard_state.term == 9 and leader.write.entries == ()
    leader.sync()
    leader.give(DiskRoom(PLENTY))
    assert [one.index for one in leader.write.entries] == list(range(first + 3, first + 8))


def test_5_5_a_write_is_bounded_and_the_next_takes_the_rest(monkeypatch):
    monkeypatch.setattr("raftctl.raft.fullness.WRITE_BYTES", 30_000)
    leader = SlowLeader()
    first = leader.core.view().last_index + 1
    leader.propose(6)
    assert [leader.sync() for _ in range(4)] == [[first], [first + 1, first + 2], [first + 3, first + 4],
                                                 [first + 5]]
    assert leader.write is None


def test_an_entry_larger_than_a_write_is_written_alone(monkeypatch):
    monkeypatch.setattr("raftctl.raft.fullness.WRITE_BYTES", 100)
    leader = SlowLeader()
    first = leader.core.view().last_index + 1
    leader.propose(2)
    assert [leader.sync(), leader.sync()] == [[first], [first + 1]]


def test_p6_a_full_disk_refuses_no_takeover_record():
    """Nor busy clients: it is what a leadership begins with, as the no-op is."""
    leader = FullLeader()
    last = leader.last
    leader.give(DiskRoom(1_000_000))
    leader.give(Proposed(0, TAKEOVER, b"body"))
    assert leader.refusals == [] and leader.last == last + 1
