"""node/waiting.py: what each condition of `wait` waits for, and how a wait ends."""

from __future__ import annotations

import threading
import time

import pytest

from raftctl.net.access import Caller
from raftctl.net.error_codes import CommandError
from raftctl.node.requests import Requests
from raftctl.node.waiting import LOOK_S, Waiting

STRANGER = Caller(False, "nobody@h1", "unix")
H2 = "tcp://h2:8089"


class Node:
    """The `Status` of a node, of which a test changes the fields."""

    def __init__(self):
        self.shown = {"state": "FOLLOWER", "leader": H2, "term": 3, "address": "tcp://h1:8089",
                      "reason": "heard no leader"}
        self.rows = [{"address": H2, "name": "h2", "role": "voter", "problem": None}]
        self.voters, self.problem = (2, 2), None
        self.changed = threading.Condition()
        self.looks = 0
        self.stopping = False
        self.confirmed = "LEADER"

    def state(self):
        self.looks += 1
        return dict(self.shown)

    def cluster(self, state, timeout_s):
        self.looks += 1
        return {"members": self.rows, "votersReachable": self.voters[0], "votersNeeded": self.voters[1],
                "problem": self.problem}

    def wait_for_change(self, timeout_s):
        with self.changed:
            self.changed.wait(timeout_s)

    def change(self, **fields):
        self.shown.update(fields)
        with self.changed:
            self.changed.notify_all()

    def wait(self, timeout_s=0.01, **request):
        waiting = Waiting(self, lambda left_s: {"state": self.confirmed}, lambda: self.stopping)
        return waiting.wait(request, timeout_s)

    def refusal(self, **request):
        with pytest.raises(CommandError) as caught:
            self.wait(**request)
        return caught.value.code, str(caught.value)


@pytest.fixture
def node():
    return Node()


def test_what_is_true_is_answered_at_once(node):
    for request in ({"for": "leader"}, {"for": "quorum"}, {"for": "state", "states": ["FOLLOWER"]},
                    {"for": "member", "member": "h2"}, {"for": "member", "member": H2},
                    {"for": "member", "member": "h2:8089"}):
        assert node.wait(**request) == {"waitedMs": 0, "leader": H2, "term": 3}


@pytest.mark.parametrize("fields, said", [
    ({"leader": None}, "heard no leader"),
    ({"leader": None, "reason": ""}, "this node knows no leader"),
    ({"leader": "tcp://h1:8089", "state": "CANDIDATE"}, "this node leads and is CANDIDATE"),
])
def test_no_leader_in_time_is_exit_status_4(node, fields, said):
    node.change(**fields)
    assert node.refusal(**{"for": "leader"}) == ("timeout", f"not within 0.01 s: {said}")


def test_no_quorum_says_who_is_missing(node):
    node.voters, node.problem = (1, 2), "no leader: 1 of 3 voters are reachable"
    assert node.refusal(**{"for": "quorum"})[1].endswith("1 of 3 voters are reachable")
    node.voters, node.problem = (0, 0), "waiting for tcp://h2:8089"
    assert node.refusal(**{"for": "quorum"})[1].endswith("waiting for tcp://h2:8089")


@pytest.mark.parametrize("row, said", [
    ({"problem": "connection refused"}, f"{H2}: connection refused"), ({"role": "learner"},
                                                                       f"{H2} is a learner"),
    ({"address": "tcp://h3:1", "name": "h3"}, "no member is h2"),
])
def test_a_member_that_is_not_well_is_waited_for(node, row, said):
    node.rows[0].update(row)
    assert node.refusal(**{"for": "member", "member": "h2"}) == ("timeout", f"not within 0.01 s: {said}")


def test_p2_leader_is_confirmed_before_it_is_answered(node):
    node.change(state="LEADER")
    node.wait(**{"for": "state", "states": ["LEADER"]})
    node.confirmed = "CANDIDATE"
    assert node.refusal(**{"for": "state", "states": ["LEADER"]})[1].endswith("this node is CANDIDATE")


def test_a_change_ends_the_wait_before_the_next_look(node):
    node.change(leader=None)
    threading.Timer(0.05, node.change, kwargs={"leader": H2}).start()
    began = time.monotonic()
    assert node.wait(20, **{"for": "leader"})["leader"] == H2
    assert time.monotonic() - began < 20


def test_it_looks_no_oftener_than_four_times_a_second(node):
    node.change(leader=None)
    node.refusal(timeout_s=4 * LOOK_S, **{"for": "leader"})
    assert node.looks <= 6


def test_a_node_that_stops_ends_the_wait(node):
    node.change(leader=None)
    node.stopping = True
    assert node.refusal(timeout_s=20, **{"for": "leader"})[0] == "stopping"


@pytest.mark.parametrize("request_object", [
    {}, {"for": "x"}, {"for": ["leader"]}, {"for": "member"}, {"for": "member", "member": 1},
    {"for": "state"}, {"for": "state", "states": []}, {"for": "state", "states": ["leader"]},
    {"for": "state", "states": [[]]},
])
def test_p9_a_request_that_names_no_condition_is_refused(node, request_object):
    assert node.refusal(**request_object)[0] == "bad_request"


def test_everybody_may_wait_and_also_on_a_node_that_waits_for_an_address(node):
    requests = Requests(None, node, None, None, None)
    requests.waiting = "this host has no such address"
    assert requests.answer({"action": "wait", "for": "leader"}, STRANGER)["term"] == 3
