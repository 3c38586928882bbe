"""`state` and `status` against a command port that says what the test wants."""

from __future__ import annotations

import json

import pytest
from fake_daemon import FakeDaemon

from raftctl.cli.main import main
from raftctl.cli.status import describe

STATE = {
    "state": "FOLLOWER",
    "reason": "hears tcp://h2:8089",
    "address": "tcp://h1:8089",
    "leader": "tcp://h2:8089",
    "term": 7,
    "role": "voter",
    "commitIndex": 40,
    "lastApplied": 39,
}
MEMBERS = [
    {
        "address": "tcp://h1:8089",
        "name": "h1",
        "role": "voter",
        "isLeader": False,
        "connected": True,
        "lastContactMs": None,
        "matchIndex": None,
        "problem": None,
    },
    {
        "address": "tcp://h2:8089",
        "name": "h2",
        "role": "voter",
        "isLeader": True,
        "connected": True,
        "lastContactMs": 40,
        "matchIndex": 40,
        "problem": None,
    },
    {
        "address": "tcp://h3:8089",
        "name": "h3",
        "role": "learner",
        "isLeader": False,
        "connected": False,
        "lastContactMs": 2210,
        "matchIndex": None,
        "problem": "timed out",
    },
]
STATUS = {
    "state": STATE,
    "members": MEMBERS,
    "tolerates": 1,
    "problem": None,
    "hint": None,
    "lastDecision": "no leader -> candidate",
    "diskWriteMs": None,
    "diskFull": False,
}


@pytest.mark.parametrize("state", ("LEADER", "FOLLOWER"))
def test_state_prints_exactly_one_object(ask, state):
    assert ask(FakeDaemon(state=dict(STATE, state=state)), "state") == (0, f'{{ "state": "{state}" }}\n', "")


def test_state_of_another_host_needs_no_configuration(capfd, monkeypatch):
    monkeypatch.setenv("RAFTCTL_CONFIG", "/nowhere")
    with FakeDaemon(state=STATE) as daemon:
        assert main(["state", "127.0.0.1", str(daemon.port)]) == 0
    assert capfd.readouterr() == ('{ "state": "FOLLOWER" }\n', "")


def test_state_json_is_all_that_the_daemon_says_with_the_state_first(ask):
    status, shown, _ = ask(FakeDaemon(state=STATE), "state", "--json")
    assert (status, json.loads(shown)) == (0, STATE)
    assert shown.startswith('{"state": "FOLLOWER"')


@pytest.mark.parametrize(
    ("words", "status"),
    (
        ("follower", 0),
        ("Leader,FOLLOWER", 0),
        ("leader, follower", 0),
        ("leader", 1),
        ("leader,candidate", 1),
    ),
)
def test_is_answers_by_exit_status_alone(ask, words, status):
    assert ask(FakeDaemon(state=STATE), "state", "--is", words) == (status, "", "")


@pytest.mark.parametrize(
    "arguments", (["state"], ["status"], ["get", "k"], ["put", "k", "v"], ["state", "--is", "leader"])
)
def test_p9_no_daemon_is_status_3_with_the_command_that_starts_one(tmp_path, capfd, arguments):
    daemon = FakeDaemon()
    path = daemon.config(tmp_path)
    with daemon:
        pass
    assert main(["-c", path, *arguments]) == 3
    shown, complaint = capfd.readouterr()
    assert shown == "" and complaint.startswith("raftctl: no daemon at ") and complaint.count("\n") == 1
    assert f"start one: raftctl -c {path} start" in complaint


@pytest.mark.parametrize(
    ("code", "status"),
    (
        ("no_leader", 4),
        ("timeout", 4),
        ("unknown_outcome", 5),
        ("not_allowed", 6),
        ("not_found", 1),
        ("unheard_of", 1),
    ),
)
def test_refusals_have_the_exit_status_of_their_code(ask, code, status):
    found, shown, complaint = ask(
        FakeDaemon(get={"code": code, "message": "so it is", "hint": "do that"}), "get", "k"
    )
    assert (found, shown, complaint) == (status, "", "raftctl: so it is; do that\n")


def test_the_daemon_is_told_the_timeout(ask):
    daemon = FakeDaemon(state=STATE)
    ask(daemon, "state", "--timeout", "0.25")
    assert daemon.requests[0]["timeoutMs"] == 250


def test_status_has_a_row_for_every_member(ask):
    status, shown, complaint = ask(FakeDaemon(status=STATUS), "status")
    assert (status, complaint) == (0, "")
    assert shown.splitlines() == [
        "tcp://h1:8089 is FOLLOWER, term 7: hears tcp://h2:8089",
        "leader tcp://h2:8089, 3 members, tolerates 1 failure, committed 40, applied 39",
        "",
        "   NAME  ADDRESS        ROLE     HEARD           INDEX  PROBLEM",
        "   h1    tcp://h1:8089  voter    this node       -",
        "*  h2    tcp://h2:8089  voter    40 ms ago       40",
        "   h3    tcp://h3:8089  learner  2.2 s ago, cut  -      timed out",
        "",
        "last decision: no leader -> candidate",
    ]


def test_status_says_what_was_dropped_if_anything_was(ask):
    members = [dict(member, framesDropped=2) for member in MEMBERS]
    shown = ask(FakeDaemon(status=dict(STATUS, framesDropped=5, members=members)), "status")[1]
    assert shown.splitlines()[-1] == (
        "dropped: 5 messages of peers unread, 6 to them unsent, since the node started"
    )


def test_a_member_that_was_not_heard_since_this_node_started_is_not_said_to_have_been_heard_never():
    member = dict(MEMBERS[2], lastContactMs=None)
    assert "not since start" in "\n".join(describe(dict(STATUS, members=[member])))


def test_5_5_status_names_a_write_that_hangs_and_none_that_is_under_way():
    assert describe(dict(STATUS, diskWriteMs=999)) == describe(STATUS)
    lines = describe(dict(STATUS, diskWriteMs=12_345))
    assert "disk: hangs: the present write has taken 12.3 s; see the kernel log (dmesg)" in lines


def test_5_5_status_says_that_the_disk_is_full_and_what_to_do():
    lines = describe(dict(STATUS, diskFull=True))
    assert "disk: full: this node takes no new writes; free space for its dataDir" in lines
    assert lines != describe(STATUS)


def test_status_json_is_the_whole_answer(ask):
    status, shown, _ = ask(FakeDaemon(status=STATUS), "status", "--json")
    assert (status, json.loads(shown)) == (0, STATUS)


def test_status_without_a_cluster_says_what_is_waited_for_and_what_to_try():
    lines = describe(
        {
            "state": {"state": "UNINITIALIZED", "address": "tcp://h1:8089", "term": 0, "leader": None},
            "members": [],
            "problem": "waiting for tcp://h3:8089, 2 of 3",
            "hint": "raftctl bootstrap",
        }
    )
    assert lines == [
        "tcp://h1:8089 is UNINITIALIZED, term 0",
        "in no cluster yet",
        "problem: waiting for tcp://h3:8089, 2 of 3",
        "try: raftctl bootstrap",
    ]
