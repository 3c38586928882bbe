"""`wait`: what is asked, and the exit status."""

from __future__ import annotations

import json

import pytest
from fake_daemon import FakeDaemon

from raftctl.cli import wait

TRUE = {"waitedMs": 12, "leader": "tcp://h1:8089", "term": 3}


@pytest.mark.parametrize("condition, asked", [
    ("leader", {"for": "leader"}), ("quorum", {"for": "quorum"}),
    ("member=h2", {"for": "member", "member": "h2"}),
    ("member=tcp://h2:8089", {"for": "member", "member": "tcp://h2:8089"}),
    ("state=leader,FOLLOWER", {"for": "state", "states": ["LEADER", "FOLLOWER"]}),
])
def test_a_condition_that_is_true_is_0_without_a_word(ask, condition, asked):
    daemon = FakeDaemon(wait=TRUE)
    assert ask(daemon, "wait", condition, "--timeout", "2") == (0, "", "")
    assert daemon.requests == [{"action": "wait", **asked, "timeoutMs": 2000}]


def test_json_says_how_long_it_took(ask):
    assert json.loads(ask(FakeDaemon(wait=TRUE), "wait", "leader", "--json")[1]) == TRUE


def test_not_in_time_is_4_with_what_is_missing(ask):
    said = ask(FakeDaemon(wait={"code": "timeout", "message": "not within 1 s: no leader"}), "wait", "leader")
    assert (said[0], said[1]) == (4, "")
    assert said[2].startswith("raftctl: not within 1 s: no leader")


def test_no_daemon_is_3_at_once(tmp_path, capfd):
    from raftctl.cli.main import main

    path = tmp_path / "n.json"
    path.write_text(json.dumps({"address": "tcp://127.0.0.1:8089", "dataDir": str(tmp_path / "d")}))
    assert main(["-c", str(path), "wait", "leader"]) == 3
    assert "no daemon at" in capfd.readouterr().err


def test_a_wait_longer_than_one_question_is_several(ask, monkeypatch):
    monkeypatch.setattr(wait, "_LONGEST_QUESTION_S", 0.5)
    daemon = FakeDaemon(wait=[{"code": "timeout"}, {"code": "timeout"}, TRUE])
    assert ask(daemon, "wait", "leader", "--timeout", "60")[0] == 0
    assert [request["timeoutMs"] for request in daemon.requests] == [500, 500, 500]


@pytest.mark.parametrize("condition", ["leaders", "leader=h1", "member", "member=", "state", "state=", ""])
def test_p9_what_is_no_condition_is_2_and_nobody_is_asked(ask, condition):
    daemon = FakeDaemon(wait=TRUE)
    status, _, said = ask(daemon, "wait", condition)
    assert (status, daemon.requests) == (2, [])
    assert said == (f'raftctl: "{condition}" is no condition; wait for leader, quorum, member=NAME or '
                    "state=S[,S]\n")


def test_p9_an_unknown_state_is_2(ask):
    assert 'state: "boss" is no state' in ask(FakeDaemon(wait=TRUE), "wait", "state=boss")[2]
