"""The lane of one node: message, board and clock give what holds; the lease is looked at as a hook starts."""

from __future__ import annotations

import json
import logging
import os

import pytest

from raftctl.base import clock
from raftctl.base.addresses import Address
from raftctl.base.instants import Instant
from raftctl.cluster import hookplan
from raftctl.config.model import Hook, NodeConfig
from raftctl.host.hooks import Outcome
from raftctl.host.lane import Lane
from raftctl.host.loop import Loop
from raftctl.host.outgoing import Work, parse_note
from raftctl.tether import Board, BoardState

SECOND = 1_000_000_000
FAILED, OK = Outcome(False, "status 1"), Outcome(True, "status 0")


class FakeOutput:
    is_open = False


class FakeProcess:
    """Notes what was started; ends when the test says so."""

    started: list = []
    pid = os.getpid()

    def __init__(self, loop, on_line, on_end):
        self.output = FakeOutput()
        self.end_now = on_end
        self.ended_for = None

    def start(self, argv, environment, told, timeout_ns):
        self.told, self.note = told, tuple(argv[8:10])
        FakeProcess.started.append(self)

    def end(self, why):
        self.ended_for = why

    def abandon(self):
        pass


@pytest.fixture
def lane(monkeypatch, tmp_path):
    monkeypatch.setattr(Lane, "process_type", FakeProcess)
    monkeypatch.setattr(FakeProcess, "started", [])
    loop, board = Loop(), Board.create()
    hook = Hook(("/bin/true",), SECOND, 1)
    node = NodeConfig(None, Address("h1", 1), "h1", "h1", None, "h1", (), 1, 2, 3, None, str(tmp_path), False,
                      None, "info", (("leader", hook), ("follower", hook)), None, (), True, "x", "", None)
    lane = Lane(loop, node, logging.getLogger("test lane"), lambda: None, lambda: None,
                Work(loop, node, logging.getLogger("test lane"), lambda: None, lambda body: None))
    lane.attach(board)
    yield lane
    lane.close()
    board.close()
    loop.close()


def publish(lane, term, lease_s):
    end = clock.now().plus(int(lease_s * SECOND)) if lease_s else Instant(0, 0)
    lane._board.publish(BoardState(1, term, True, end))


def state(lane, name, term, leader, record=None):
    lane.tell_state({"kind": "state", "state": name, "previous": "CANDIDATE", "term": term, "leader": leader,
                     "reason": "r", "role": "voter", "members": [], "clusterId": "", "record": record or term})


def lead(lane, term):
    publish(lane, term, 60)
    state(lane, "LEADER", term, "tcp://h1:1")


def events():
    return [f"{process.told['event']}({process.told['term']})" for process in FakeProcess.started]


def test_p2_the_lease_is_looked_at_again_when_a_failed_leader_hook_is_tried_again(lane):
    """The guardian was stopped: the retry is due, and nobody looked at the board since the lease ran out."""
    lead(lane, 5)
    FakeProcess.started[0].end_now(FAILED)
    publish(lane, 5, 0)
    lane._plan._retry = ("leader", 0)
    lane._step(hookplan.Wake())
    assert events() == ["leader(5)", "follower(5)"]


def test_p2_what_held_is_looked_at_anew_when_a_hook_ends(lane):
    state(lane, "FOLLOWER", 4, "tcp://h2:1")
    lead(lane, 5)
    publish(lane, 5, 0)
    FakeProcess.started[0].end_now(Outcome(True, "status 0"))
    assert events() == ["follower(4)"]


@pytest.mark.parametrize("name, leader, expected", [
    ("FOLLOWER", "tcp://h2:1", ["follower(4)"]), ("FOLLOWER", None, []), ("FOLLOWER", "tcp://h1:1", []),
    ("CANDIDATE", "tcp://h2:1", []), ("LEARNER", "tcp://h2:1", []), ("UNINITIALIZED", None, [])])
def test_p5_only_a_follower_with_another_leader_runs_follower(lane, name, leader, expected):
    state(lane, name, 4, leader)
    assert events() == expected


def test_p5_a_dead_node_holds_nothing_whatever_its_board_shows(lane):
    lead(lane, 5)
    lane.detach("node ended")
    assert FakeProcess.started[0].ended_for == "node ended"
    FakeProcess.started[0].end_now(FAILED)
    assert events() == ["leader(5)", "follower(5)"]
    assert FakeProcess.started[1].told["state"] == "CANDIDATE"


def test_a_hook_that_cannot_be_started_counts_as_failed(lane, monkeypatch):
    def refuse(self, *args):
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(FakeProcess, "start", refuse)
    lead(lane, 5)
    assert lane._plan.running is None and lane._plan._retry[0] == "leader"


# --- takeover records (P6)

def test_p6_the_leader_hook_writes_the_note_before_it_runs(lane, tmp_path):
    lead(lane, 5)
    path, text = FakeProcess.started[0].note
    assert path == str(tmp_path / "outgoing")
    assert json.loads(text) == {"instance": "", "index": 5, "term": 5}
    publish(lane, 5, 0)
    FakeProcess.started[0].end_now(OK)
    assert FakeProcess.started[1].note == ("", "")


def test_p6_a_new_term_begins_under_a_new_record_only(lane):
    lead(lane, 5)
    FakeProcess.started[0].end_now(OK)
    publish(lane, 6, 60)
    state(lane, "LEADER", 6, "tcp://h1:1", record=5)
    FakeProcess.started[1].end_now(OK)
    assert events() == ["leader(5)", "follower(6)"]
    lane._work._remover.wait(20)
    lane.reap()
    assert events() == ["leader(5)", "follower(6)"], "the record is done"
    state(lane, "LEADER", 6, "tcp://h1:1", record=9)
    assert events() == ["leader(5)", "follower(6)", "leader(6)"]


@pytest.mark.parametrize("text", ['{"instance": "n1", "index": 4, "term": 3}\n77 12\n', "damaged"])
def test_p6_what_a_former_run_left_open_is_ended_before_the_leader_hook_runs(lane, text):
    lane.left_behind(parse_note(text), names_record=True)
    lead(lane, 5)
    assert [process.told["event"] for process in FakeProcess.started] == ["follower"]
    FakeProcess.started[0].end_now(OK)
    lane._work._remover.wait(20)
    lane.reap()
    assert [process.told["event"] for process in FakeProcess.started] == ["follower", "leader"]
