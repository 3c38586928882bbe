"""`join` waits for a definite result; `bootstrap` says what was founded, `remove` who is left."""

from __future__ import annotations

import json

import pytest
from fake_daemon import FakeDaemon

from raftctl.cli import members

TARGET = "tcp://h2:8089"
ALONE = {"state": "LEADER", "role": "voter", "clusterId": "c1", "address": "tcp://h1:8089"}
ASKING = {"state": "UNINITIALIZED", "role": "none", "clusterId": "", "reason": "waiting for tcp://h2:8089"}
LEARNER = {"state": "LEARNER", "role": "learner", "clusterId": "c2"}
JOINED = {"state": "FOLLOWER", "role": "voter", "clusterId": "c2", "address": "tcp://h1:8089"}
STATUS = {"state": JOINED, "members": [{"address": "tcp://h10:8089"}, {"address": "tcp://h1:8089"}]}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(members, "_LOOK_EVERY_S", 0.0)


def joining(*states, join=None):
    return FakeDaemon(state=[ALONE, *states], join=join or {"accepted": True}, status=STATUS)


def test_join_returns_when_the_node_votes_and_prints_the_line_for_its_file(ask):
    daemon = joining(ALONE, ASKING, LEARNER, JOINED)
    status, shown, said = ask(daemon, "join", TARGET)
    assert (status, shown) == (0, '"clusterNodes": ["tcp://h1:8089", "tcp://h10:8089"]\n')
    assert said.startswith("raftctl: tcp://h1:8089 is a voter; put this line into its configuration")
    asked = next(request for request in daemon.requests if request["action"] == "join")
    assert (asked["address"], asked["discardData"]) == (TARGET, False)


def test_join_json_is_the_same_for_programs(ask):
    status, shown, said = ask(joining(JOINED), "join", TARGET, "--discard-data", "--json")
    assert (status, said) == (0, "")
    assert json.loads(shown) == {
        "address": "tcp://h1:8089",
        "clusterId": "c2",
        "clusterNodes": ["tcp://h1:8089", "tcp://h10:8089"],
    }


def test_join_goes_on_while_the_node_starts_again(ask):
    assert ask(joining(None, {"code": "stopping"}, JOINED), "join", TARGET)[0] == 0
    assert ask(FakeDaemon(state=[ALONE, JOINED], join=None, status=STATUS), "join", TARGET)[0] == 0


def test_being_a_voter_of_the_former_cluster_is_not_joined(ask):
    status, shown, said = ask(joining(ALONE), "join", TARGET, "--timeout", "0.2")
    assert (status, shown) == (5, "")
    assert said.startswith("raftctl: no voter of the cluster of tcp://h2:8089 after 0.2 s: ")


def test_one_that_was_removed_comes_back_to_the_same_cluster(ask):
    removed = dict(JOINED, state="UNINITIALIZED", role="none")
    daemon = FakeDaemon(state=[removed, removed, ASKING, JOINED], join={"accepted": True}, status=STATUS)
    assert ask(daemon, "join", TARGET, "--discard-data")[0] == 0


def test_what_may_end_by_waiting_is_said_once_and_waited_for(ask, monkeypatch):
    monkeypatch.setattr(members, "_PATIENCE_S", 0.0)
    waiting = dict(ASKING, reason="waiting for tcp://h2:8089: not silent yet", joinProblem=None)
    status, _, said = ask(joining(waiting, waiting, waiting, LEARNER, JOINED), "join", TARGET)
    assert status == 0
    assert said.count("raftctl: waiting for tcp://h2:8089: not silent yet ...\n") == 1
    status, _, said = ask(joining(waiting), "join", TARGET, "--timeout", "0.2")
    assert status == 5
    assert said.endswith("after 0.2 s: waiting for tcp://h2:8089: not silent yet; it goes on trying, "
                         "see: raftctl status\n")


def test_a_definite_refusal_ends_join_at_once(ask):
    status, _, said = ask(joining(dict(ASKING, joinProblem="removed from the cluster")), "join", TARGET)
    assert (status, said) == (
        1, "raftctl: tcp://h2:8089: removed from the cluster; the node goes on asking\n")
    status, _, said = ask(
        joining(
            ALONE, join={"code": "refused", "message": "the store holds 3 keys", "hint": "--discard-data"}
        ),
        "join",
        TARGET,
    )
    assert (status, said) == (1, "raftctl: the store holds 3 keys; --discard-data\n")


def test_bootstrap_says_what_was_founded(ask):
    reply = {"clusterId": "c7", "members": ["tcp://h2:8089", "tcp://h1:8089"]}
    assert ask(FakeDaemon(bootstrap=reply), "bootstrap") == (
        0,
        "cluster c7 of 2: tcp://h1:8089 tcp://h2:8089\n",
        "",
    )
    status, shown, _ = ask(FakeDaemon(bootstrap=reply), "bootstrap", "--json")
    assert (status, json.loads(shown)) == (0, reply)


LEFT = {"address": TARGET, "members": ["tcp://h10:8089", "tcp://h1:8089"]}


def test_remove_says_who_is_left(ask):
    daemon = FakeDaemon(remove=LEFT)
    assert ask(daemon, "remove", TARGET) == (0, f"removed {TARGET}, left: tcp://h1:8089 tcp://h10:8089\n", "")
    assert daemon.requests[-1]["address"] == TARGET and daemon.requests[-1]["force"] is False
    assert json.loads(ask(FakeDaemon(remove=LEFT), "remove", TARGET, "--force", "--json")[1]) == LEFT


def test_leave_removes_the_own_address(ask):
    daemon = FakeDaemon(state=[JOINED], remove={"address": "tcp://h1:8089", "members": ["tcp://h2:8089"]})
    assert ask(daemon, "leave", "--force")[:2] == (0, "removed tcp://h1:8089, left: tcp://h2:8089\n")
    assert (daemon.requests[-1]["address"], daemon.requests[-1]["force"]) == ("tcp://h1:8089", True)


def test_a_malformed_address_is_refused_before_anybody_is_asked(ask):
    daemon = FakeDaemon(remove=LEFT)
    status, shown, said = ask(daemon, "remove", "h3")
    assert (status, shown) == (2, "")
    assert said.startswith('raftctl: "h3" is no address; write it as tcp://host:port')
    assert daemon.requests == []
