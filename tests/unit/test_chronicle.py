"""node/chronicle.py: which changes are entered, with which cause; and that nobody waits for its disk."""

from __future__ import annotations

import threading
import time

import pytest
from test_status import Seen
from turn_world import World

from raftctl.base import clock
from raftctl.node import chronicle
from raftctl.node.chronicle import Chronicle
from raftctl.raft.configuration import Configuration, Member
from raftctl.raft.inputs import Decision

PATIENCE_S = 20


class Book:
    """A chronicle without its thread: entries as (event, leader, cause)."""

    def __init__(self, silent=""):
        self.silent, self.entries = silent, []
        self.chronicle = Chronicle("/nowhere", lambda: self.silent)
        self.chronicle._keep = self.entries.append

    def told(self):
        found = [(entry["event"], entry["leader"], entry["cause"]) for entry in self.entries]
        self.entries.clear()
        return found


@pytest.fixture
def world(monkeypatch):
    world = World()
    monkeypatch.setattr(clock, "now", lambda: world.instant)
    for port in (1, 2, 3):
        world.add(port, (1, 2, 3))
    world.run(400)
    return world


@pytest.fixture
def shown(world):
    """What a follower shows; the leader's address."""
    follower = next(node for node in world.nodes.values() if node.state == "FOLLOWER")
    return follower.shown


WON = Decision("votes 2/3", "leader term 5, appends no-op 5:10")
LEASED = Decision("leased for 450 ms", "shows LEADER")
OVER = Decision("lease over", "shows CANDIDATE")
DOWN = Decision("no quorum for 1000 ms (n2 acked 1043 ms ago)", "follower")
FOLLOWS = Decision("append of n1 in term 5", "follows n1")
HEARD_NONE = Decision("heard no leader for 612", "pre-candidate, asks n1 n3 for term 5")
NOISE = Decision("5:10 on a quorum", "commits 10")


def test_a_leader_that_is_heard_of_and_lost_by_a_follower(shown):
    book, leader = Book(), shown.leader_address
    book.chronicle.see(shown, "FOLLOWER", [FOLLOWS, NOISE])
    book.chronicle.see(shown, "FOLLOWER", [NOISE])
    assert book.told() == [("elected", leader, "append of n1 in term 5")]
    book.chronicle.see(shown._replace(leader_address=None), "CANDIDATE", [HEARD_NONE])
    book.chronicle.see(shown._replace(leader_address=None), "CANDIDATE", [HEARD_NONE])
    assert book.told() == [("leaderless", None, "heard no leader for 612")]


def test_a_new_term_of_the_same_leader_is_an_entry(shown):
    book = Book()
    book.chronicle.see(shown, "FOLLOWER", [FOLLOWS])
    view = shown.view._replace(term=shown.view.term + 1)
    book.chronicle.see(shown._replace(view=view), "FOLLOWER", [FOLLOWS])
    assert [event for event, _, _ in book.told()] == ["elected", "elected"]


def test_the_own_way_to_leadership_and_out_of_it_with_those_who_were_silent(shown):
    book, own = Book("tcp://h2:1 silent for 612 ms"), shown.leader_address
    for state, decision in (("CANDIDATE", WON), ("LEADER", LEASED), ("LEADER", NOISE), ("CANDIDATE", OVER)):
        book.chronicle.see(shown, state, [decision])
    book.chronicle.see(shown._replace(leader_address=None), "FOLLOWER", [DOWN])
    assert book.told() == [
        ("elected", own, "votes 2/3"), ("leading", own, "leased for 450 ms"),
        ("lost", own, "lease over: tcp://h2:1 silent for 612 ms"),
        ("leaderless", None, "no quorum for 1000 ms (n2 acked 1043 ms ago)")]


def test_a_leader_that_stops_says_so(shown):
    book = Book("nobody asks for this")
    book.chronicle.see(shown, "LEADER", [LEASED])
    book.told()
    book.chronicle.see(shown._replace(stopping=True), "CANDIDATE", [])
    assert book.told() == [("lost", shown.leader_address, "this node stops")]


def test_a_change_of_members_says_what_changed(shown):
    book = Book()
    first, *others = shown.view.configuration.members
    book.chronicle.see(shown, "FOLLOWER", [FOLLOWS])
    book.told()
    changed = Configuration(shown.view.configuration.cluster_id,
                            (first, others[0]._replace(voter=False), Member("i9", "tcp://h9:1", False)))
    view = shown.view._replace(configuration=changed)
    book.chronicle.see(shown._replace(view=view), "FOLLOWER", [])
    book.chronicle.see(shown._replace(view=view), "FOLLOWER", [])
    assert [cause for _, _, cause in book.told()] == [
        f"{others[0].address} is a learner, tcp://h9:1 is a learner, {others[1].address} is removed"]


def test_a_note_carries_who_and_when(tmp_path):
    kept = Chronicle(str(tmp_path / "history"), str)
    kept.start()
    kept.note("asked", "remove tcp://h3:1", by="root@h2")
    kept.note("ended", "node ended, signal 9 (SIGKILL)", by="guardian", at_s=0.0)
    assert kept.flush(PATIENCE_S)
    first, second = kept.read(5)
    assert (first["event"], first["cause"], first["by"]) == ("asked", "remove tcp://h3:1", "root@h2")
    assert (second["time"], second["by"]) == ("1970-01-01T00:00:00.000Z", "guardian")
    assert kept.stop(PATIENCE_S)


def test_nobody_waits_for_a_disk_that_hangs_and_what_was_lost_is_counted(tmp_path, monkeypatch):
    """The node thread must go on (design §4.1): the queue is bounded, and says what it lost."""
    monkeypatch.setattr(chronicle, "QUEUE_LIMIT", 4)
    kept = Chronicle(str(tmp_path / "history"), str)
    goes_on, begun = threading.Event(), threading.Event()
    append = kept._file.append

    def hang(entries):
        begun.set()
        assert goes_on.wait(PATIENCE_S)
        append(entries)

    monkeypatch.setattr(kept._file, "append", hang)
    kept.start()
    kept.note("asked", "0")
    assert begun.wait(PATIENCE_S)
    began = time.monotonic()
    for number in range(1, 10):
        kept.note("asked", str(number))
    assert time.monotonic() - began < 1
    assert not kept.flush(0.01) and not kept.stop(0.01)
    goes_on.set()
    assert kept.stop(PATIENCE_S)
    assert [entry["cause"] for entry in kept.read(99)] == ["0", "1", "2", "3", "4"]
    kept.note("asked", "next")
    assert kept._waiting[-1]["leftOut"] == 5


def test_a_disk_that_refuses_costs_entries_and_one_warning(tmp_path, caplog):
    kept = Chronicle(str(tmp_path / "no" / "history"), str)
    kept.start()
    for number in range(3):
        kept.note("asked", str(number))
        assert kept.flush(PATIENCE_S)
    assert caplog.text.count("entries of the history are lost") == 1
    (tmp_path / "no").mkdir()
    kept.note("asked", "again")
    assert kept.stop(PATIENCE_S)
    assert [entry["cause"] for entry in kept.read(99)] == ["again"]


def test_status_names_the_voters_that_are_silent(world):
    leader = next(node for node in world.nodes.values() if node.state == "LEADER")
    followers = [node for node in world.nodes.values() if node is not leader]
    seen = Seen(leader)
    seen.hears(followers[0])
    assert seen.status.silent_voters() == f"{followers[1].address} never heard"
    seen.hears(*followers)
    assert seen.status.silent_voters() == ""
