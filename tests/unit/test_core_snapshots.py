"""Snapshots in the core, where no scenario gets to: forged chunks, bounds, and a start in the midst."""

from __future__ import annotations

import pytest

from raftctl.base.errors import OurFault
from raftctl.base.instants import Instant
from raftctl.raft import snapshots
from raftctl.raft.configuration import Member, configuration, encode
from raftctl.raft.core import Core
from raftctl.raft.inputs import (
    LEADER,
    Alarm,
    Campaign,
    LinkDown,
    LinkUp,
    Persisted,
    Proposed,
    Received,
    Restored,
    SnapshotTaken,
    Timing,
)
from raftctl.raft.messages import (
    COMMAND,
    CONFIGURATION,
    ORIGIN,
    Append,
    AppendReply,
    Chunk,
    Entry,
    HardState,
    Install,
    InstallReply,
    Position,
    PreVoteReply,
    SnapshotMark,
    VoteReply,
)

MS = 1_000_000
TIMING = Timing(100 * MS, 500 * MS, 1000 * MS)
BODY = encode(configuration("c", [Member(name, name, True) for name in ("n1", "n2")]))


def log_of(terms, first=1):
    entries = [Entry(term, index, COMMAND, b"x") for index, term in enumerate(terms, first)]
    if first == 1:
        entries[0] = entries[0]._replace(kind=CONFIGURATION, body=BODY)
    return tuple(entries)


def mark_of(term, index, size=100):
    return SnapshotMark(Position(term, index), 1, BODY, size)


class Node:
    """A core `n1` beside `n2`; its disk is done at once, unless it is `stuck`."""

    def __init__(self, terms=(1,), base=ORIGIN, marks=(), hard=None):
        self.now = Instant(0, 0)
        entries = log_of(terms, base.index + 1)
        self.core = Core("n1", 1, TIMING, Restored(hard or HardState(3), entries, base, marks), self.now,
                         lambda: 0.0)
        self.stuck = False
        self.sent, self.writes, self.committed, self.installed, self.chunks = [], [], [], [], []
        self.give(LinkUp("n2", 1, 1))

    def give(self, *given):
        for one in given:
            self.core.step(self.now, one)
            self.look()

    def look(self):
        while True:
            ready = self.core.ready(self.now)
            self.sent += [message for _, message in ready.messages]
            self.committed += [entry.index for entry in ready.committed]
            self.installed += [ready.installed] if ready.installed else []
            self.chunks += [wanted for _, wanted in ready.chunks]
            if ready.write is None:
                return
            self.writes.append(ready.write)
            if self.stuck:
                return
            self.core.step(self.now, Persisted(ready.write.number))

    def hear(self, message):
        self.sent.clear()
        self.give(Received("n2", 1, message))
        return self.sent[-1] if self.sent else None

    def install(self, mark, offset, data, term=4):
        return self.hear(Install(term, 1, 500 * MS, 1, mark, offset, data))

    def append(self, previous, *entries, commit=0, term=4):
        return self.hear(Append(term, 1, 500 * MS, 1, previous, commit, entries))

    @property
    def state(self):
        return self.core._state


# --- the follower

def test_raft_7_entries_behind_the_snapshot_stay_where_the_log_holds_its_place():
    node = Node((1, 3, 3, 3, 3))
    assert node.install(mark_of(3, 3), 0, b"x" * 100) == AppendReply(4, 1, 1, True, 3, ORIGIN)
    assert (node.state.log.base, node.state.log.last) == (ORIGIN, Position(3, 5))
    assert (node.installed, node.writes[-1].base) == ([mark_of(3, 3)], None)
    assert node.append(Position(3, 5), commit=5).match == 5
    assert node.committed == [4, 5]


def test_a_log_that_does_not_hold_the_place_is_replaced_in_the_write_of_the_last_chunk():
    node = Node((1, 2, 2, 2, 2))
    assert node.install(mark_of(3, 3), 0, b"x" * 60) == InstallReply(4, 1, 1, Position(3, 3), 60)
    assert node.install(mark_of(3, 3), 60, b"x" * 40).match == 3
    assert node.writes[-1].base == Position(3, 3)
    assert node.writes[-1].chunk == Chunk(mark_of(3, 3), 60, b"x" * 40)
    view = node.core.view()
    assert (view.last_index, view.commit_index, view.snapshot_index) == (3, 3, 3)
    assert node.append(Position(3, 3), Entry(4, 4, COMMAND, b"y"), commit=4).match == 4
    assert node.committed == [4]


def test_pitfall_4_3_a_chunk_elsewhere_is_answered_with_what_is_here():
    node, mark = Node(), mark_of(3, 9)
    assert node.install(mark, 50, b"x") == InstallReply(4, 1, 1, Position(3, 9), 0)
    assert node.install(mark, 0, b"x" * 30).offset == 30
    assert node.install(mark, 0, b"x" * 30).offset == 30
    assert node.install(mark, 70, b"x" * 30).offset == 30
    assert [len(write.chunk.data) for write in node.writes if write.chunk] == [0, 30]


@pytest.mark.parametrize("other, term", [(mark_of(3, 8), 4), (mark_of(3, 9, 99), 4), (mark_of(3, 9), 5)])
def test_pitfall_4_3_bytes_of_another_snapshot_or_leader_begin_anew(other, term):
    node = Node()
    node.install(mark_of(3, 9), 0, b"x" * 30)
    assert node.install(other, 30, b"x" * 30, term).offset == 0
    assert node.install(other, 0, b"x" * 10, term).offset == 10


def test_a_chunk_whose_predecessor_is_at_the_disk_waits_for_an_answer():
    node = Node(hard=HardState(4, None, 500 * MS))
    node.stuck = True
    assert node.install(mark_of(3, 9), 0, b"x" * 30) is None
    assert node.writes[-1].chunk == Chunk(mark_of(3, 9), 0, b"")        # room for all of it first
    node.give(Persisted(node.writes[-1].number))
    assert node.sent == [] and node.writes[-1].chunk == Chunk(mark_of(3, 9), 0, b"x" * 30)
    assert node.install(mark_of(3, 9), 30, b"x" * 30) is None
    node.stuck = False
    node.give(Persisted(node.writes[-1].number))
    assert node.sent[-1] == InstallReply(4, 1, 1, Position(3, 9), 30)


def test_a_follower_that_lost_what_it_had_asks_for_the_beginning_once_there_is_room():
    node = Node(hard=HardState(4, None, 500 * MS))
    assert node.install(mark_of(3, 9), 60, b"x" * 40) == InstallReply(4, 1, 1, Position(3, 9), 0)
    assert [write.chunk.data for write in node.writes if write.chunk] == [b""]


def test_p3_without_room_nothing_is_taken_and_nothing_is_lost():
    node = Node((1, 2, 2), hard=HardState(4, None, 500 * MS))
    node.stuck = True
    node.install(mark_of(3, 9), 0, b"x" * 100)
    node.give(Persisted(node.writes[-1].number, False))
    assert node.sent == [] and node.state.partial is None and node.state.log.last == Position(2, 3)
    node.stuck = False
    assert node.install(mark_of(3, 9), 0, b"x" * 100).match == 9


def test_a_late_answer_of_the_disk_for_another_transfer_acknowledges_nothing():
    node = Node(hard=HardState(5, None, 500 * MS))
    node.stuck = True
    node.install(mark_of(3, 9), 0, b"x" * 30, term=5)
    node.give(Persisted(node.writes[-1].number))
    assert node.install(mark_of(3, 8), 0, b"x" * 20, term=5) is None
    node.sent.clear()
    node.give(Persisted(node.writes[-1].number))
    assert node.sent == [] and node.writes[-1].chunk == Chunk(mark_of(3, 8), 0, b"")


def test_p3_while_it_is_installed_nothing_more_is_acknowledged_than_was_committed_here():
    node = Node((1, 2, 2, 2), hard=HardState(4, None, 500 * MS))
    node.append(Position(2, 2), commit=2)
    node.stuck = True
    assert node.install(mark_of(3, 9), 0, b"x" * 100) is None
    node.give(Persisted(node.writes[-1].number))
    assert node.append(ORIGIN, *log_of((1, 2, 3)), commit=3) == AppendReply(4, 1, 1, True, 0, ORIGIN)
    assert node.core.durable[1] == Position(2, 4)           # what a restart would find (P7)
    assert not node.core.may_snapshot and not node.state.can_campaign
    node.stuck = False
    node.give(Persisted(node.writes[-1].number))
    assert node.sent[-1].match == 9 and node.core.durable[1] == Position(3, 9)
    assert node.committed == [1, 2]


def test_pitfall_5_5_without_room_a_snapshot_is_not_begun_and_asked_for_again():
    node, mark = Node((1, 2, 2), hard=HardState(4, None, 500 * MS)), mark_of(3, 9)
    node.stuck = True
    for _ in range(2):
        assert node.install(mark, 0, b"x" * 100) is None
        assert node.writes[-1].chunk == Chunk(mark, 0, b"")
        node.give(Persisted(node.writes[-1].number, has_room=False))
        assert node.sent == [] and node.core.durable[1] == Position(2, 3)
    assert node.state.can_campaign and node.append(Position(2, 3)).accepted
    node.stuck = False
    assert node.install(mark, 0, b"x" * 100).match == 9


def test_words_of_an_older_term_install_nothing():
    node = Node(hard=HardState(5))
    assert node.install(mark_of(3, 9), 0, b"x" * 100, term=4) == AppendReply(5, 1, 0, False, 0, ORIGIN)
    assert node.writes == [] and node.state.partial is None


# --- the start

def test_a_start_begins_behind_its_newest_snapshot():
    node = Node((3, 3), Position(3, 7), (mark_of(3, 7), mark_of(3, 8)))
    view = node.core.view()
    assert (view.commit_index, view.last_index, view.snapshot_index) == (8, 9, 8)
    assert view.configuration.voters == ("n1", "n2") and node.committed == []
    assert node.append(Position(3, 9), commit=9).match == 9
    assert node.committed == [9]


@pytest.mark.parametrize("terms", [(1, 2, 2), (1, 2, 2, 2, 2, 2, 2, 2, 2, 2)])
def test_an_install_that_was_cut_short_is_completed(terms):
    """The snapshot has its name, the log was not replaced yet: it ends before, or conflicts."""
    node = Node(terms, marks=(mark_of(3, 8),))
    assert (node.writes[0].base, node.core.durable[1]) == (Position(3, 8), Position(3, 8))
    assert node.append(Position(3, 8), Entry(4, 9, COMMAND, b""), commit=9).match == 9
    assert node.committed == [9]


def test_a_log_that_begins_behind_its_snapshots_is_refused():
    with pytest.raises(OurFault):
        Node((3,), Position(3, 7), (mark_of(3, 6),))


def test_with_two_snapshots_a_start_needs_no_entry_up_to_the_older():
    node = Node((1, 3, 3, 3, 3), marks=(mark_of(3, 2), mark_of(3, 4)))
    assert node.state.log.base == Position(3, 2)
    node.append(Position(3, 5), commit=5)
    assert node.writes[-1].drop_upto == 2


# --- the leader

class Leader(Node):
    """It leads term 4 with entries up to `count` committed; the log begins behind `keep`."""

    def __init__(self, count=20, keep=10):
        super().__init__((1,) + (3,) * (count - 2), hard=HardState(3))
        self.give(Campaign(), Received("n2", 1, PreVoteReply(4, True, 0)),
                  Received("n2", 1, VoteReply(4, True)))
        assert self.core.role == LEADER
        self.acknowledge(count)
        for index in (keep, count):
            self.give(SnapshotTaken(SnapshotMark(self.state.log.position(index), 1, BODY, 100)))
        self.sent.clear()

    def acknowledge(self, match):
        generation = self.state.links["n2"]
        self.give(Received("n2", generation, AppendReply(4, generation, 1, True, match, ORIGIN)))

    def refuse(self, hint):
        self.state.progress["n2"].match_index = 0
        self.state.progress["n2"].next_index = 21
        self.give(Received("n2", 1, AppendReply(4, 1, 1, False, 0, hint)))

    def answer(self, offset, position=None):
        self.give(Received("n2", 1, InstallReply(4, 1, 1, position or Position(4, 20), offset)))


def test_a_peer_at_the_base_gets_entries_one_below_it_the_snapshot():
    leader = Leader()
    assert leader.state.log.base == Position(3, 10)
    leader.refuse(Position(3, 10))
    assert leader.chunks == [] and leader.sent[-1].previous == Position(3, 10)
    leader = Leader()
    leader.refuse(Position(3, 9))
    assert [wanted.offset for wanted in leader.chunks] == [0]
    assert leader.sent[-1].previous == ORIGIN and leader.sent[-1].entries == ()


def test_a_peer_whose_entry_at_the_base_differs_gets_the_snapshot():
    leader = Leader()
    leader.refuse(Position(2, 10))
    assert [wanted.mark.position for wanted in leader.chunks] == [Position(4, 20)]


def test_chunks_follow_each_other_as_they_are_acknowledged_and_entries_after_them():
    leader = Leader()
    leader.refuse(Position(1, 1))
    leader.answer(40)
    leader.answer(40)                                   # once more: it was on its way twice
    leader.answer(80, Position(3, 10))                  # of another snapshot
    leader.answer(100)                                  # all of it: that is not how the end is told
    leader.give(Proposed(1, COMMAND, b"z"))
    assert [wanted.offset for wanted in leader.chunks] == [0, 40]
    assert not any(message.entries for message in leader.sent)
    leader.acknowledge(20)
    assert [entry.index for entry in leader.sent[-1].entries] == [21]


def test_a_lost_chunk_is_sent_again_and_heartbeats_go_on():
    leader = Leader()
    leader.refuse(Position(1, 1))
    leader.sent.clear()
    for _ in range(9):
        leader.now = leader.now.plus(100 * MS)
        heartbeat = AppendReply(4, 1, leader.state.rounds.current, True, 0, ORIGIN)
        leader.give(Received("n2", 1, heartbeat), Alarm())
    assert len(leader.chunks) == 1 and len(leader.sent) == 9
    leader.now = leader.now.plus(100 * MS)
    leader.give(Alarm())
    assert len(leader.chunks) == 2


def test_p2_an_answer_to_a_chunk_is_a_vow_like_any_other():
    leader = Leader()
    leader.refuse(Position(1, 1))
    for _ in range(5):
        leader.now = leader.now.plus(100 * MS)
        leader.give(Alarm())
    leader.now = leader.now.plus(10 * MS)
    assert not leader.state.holds_lease(leader.now)
    leader.give(Received("n2", 1, InstallReply(4, 2, leader.state.rounds.current, Position(4, 20), 40)))
    assert not leader.state.holds_lease(leader.now)      # of a connection that is no more
    leader.give(Received("n2", 1, InstallReply(4, 1, leader.state.rounds.current, Position(4, 20), 40)))
    assert leader.state.holds_lease(leader.now)


def test_a_new_connection_resumes_where_the_peer_says():
    leader = Leader()
    leader.refuse(Position(1, 1))
    leader.answer(40)
    leader.give(LinkDown("n2"), LinkUp("n2", 2, 1))
    assert [wanted.offset for wanted in leader.chunks] == [0, 40, 40]
    leader.give(Received("n2", 2, InstallReply(4, 2, 1, Position(4, 20), 0)))
    assert leader.chunks[-1].offset == 0


def test_pitfall_4_1_a_snapshot_of_what_is_not_durable_here_is_our_fault():
    leader = Leader()
    leader.stuck = True
    leader.give(Proposed(1, COMMAND, b"z"))
    leader.acknowledge(21)
    with pytest.raises(OurFault):
        leader.give(SnapshotTaken(SnapshotMark(Position(4, 21), 1, BODY, 100)))


def take(leader):
    leader.give(Proposed(1, COMMAND, b"z"))
    leader.state.progress["n2"].next_index = 1
    leader.state.commit_index = leader.state.log.last_index
    leader.look()
    leader.give(SnapshotTaken(leader.core.snapshot_mark(100)))


def test_pitfall_4_2_a_transfer_holds_the_log_until_it_holds_too_much(monkeypatch):
    leader = Leader()
    leader.refuse(Position(1, 1))
    take(leader)
    assert not leader.core.may_snapshot
    take(leader)                        # as one that was under way already
    assert leader.state.log.base == Position(4, 20)
    monkeypatch.setattr(snapshots, "HELD_BYTES", 0)
    leader.now = leader.now.plus(100 * MS)
    leader.give(Alarm())
    assert leader.core.may_snapshot and leader.state.log.base == Position(4, 21)
    assert [wanted.mark.position.index for wanted in leader.chunks] == [20, 22]


def test_a_peer_that_is_gone_for_long_holds_nothing():
    leader = Leader()
    leader.refuse(Position(1, 1))
    leader.give(LinkDown("n2"))
    snapshots.give_up_slow(leader.state, leader.now.plus(10_000 * MS))
    assert leader.state.progress["n2"].transfer
    snapshots.give_up_slow(leader.state, leader.now.plus(10_001 * MS))
    assert not leader.state.progress["n2"].transfer


def test_many_entries_are_forgotten_in_steps(monkeypatch):
    monkeypatch.setattr(snapshots, "COMPACT_STEP", 3)
    leader = Leader(20, 11)
    bases = [leader.state.log.base.index]
    while bases[-1] < 11:
        leader.look()
        bases.append(leader.state.log.base.index)
    assert bases[-4:] in ([2, 5, 8, 11], [3, 6, 9, 11])
