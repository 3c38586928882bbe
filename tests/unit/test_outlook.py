"""node/outlook.py: what is wrong and what to try, for each thing that can be wrong with a member."""

from __future__ import annotations

import errno
import socket

import pytest
from net_world import hello

from raftctl.base.addresses import parse
from raftctl.cluster import handshake
from raftctl.cluster.founding import Facts, Founding
from raftctl.net import dial
from raftctl.net.auth import _UNPROVEN
from raftctl.net.links import LinkStatus
from raftctl.node import outlook
from raftctl.node.outlook import OTHER_INSTANCE, judge, judge_outside, member_problem

H1, H2, H3 = "tcp://h1:8089", "tcp://h2:8089", "tcp://h3:8089"
UP = LinkStatus(1.0, None, 0)


def row(address, problem=None, role="voter", **fields):
    return {"address": address, "role": role, "connected": problem is None, "lastContactMs": 5,
            "problem": problem, **fields}


def refused(**theirs):
    own = hello("h1", instance="i1")
    return handshake.judge(own, hello("h2", **{"instance": "i2", **theirs}),
                           lambda instance: handshake.Seen(3, "s", 1)).message


def test_every_state_of_a_link_has_its_words():
    assert member_problem(row(H1), None, 10) is None
    assert member_problem(row(H2), UP, None) is None
    assert member_problem(row(H2, connected=False), None, None) == "not dialled yet"
    assert member_problem(row(H2, connected=False), LinkStatus(None, None, 0), None) == "not reached yet"
    assert member_problem(row(H2, connected=False), LinkStatus(None, "timed out", 0), None) == "timed out"
    assert member_problem(row(H2, connected=False), UP, None) == OTHER_INSTANCE


def test_a_member_that_is_connected_and_owes_words_is_silent_after_the_limit():
    assert member_problem(row(H2, lastContactMs=2000), UP, 2000) is None
    assert member_problem(row(H2, lastContactMs=2100), UP, 2000) == "silent for 2.1 s"
    assert member_problem(row(H2, lastContactMs=900_000), UP, None) is None
    assert member_problem(row(H2, lastContactMs=None), UP, 2000) is None


def test_with_a_leader_a_missing_member_is_the_problem_and_costs_a_failure():
    found = judge([row(H1), row(H2), row(H3, "connection refused")], H1)
    assert found.problem == f"{H3}: connection refused"
    assert found.hint == "start raftctl on h3: nothing listens at its port 8089"
    assert (found.reachable, found.needed) == (2, 2)
    assert judge([row(H1), row(H2), row(H3)], H1) == (None, None, 3, 2)


def test_without_a_leader_the_missing_voters_are_named_and_learners_do_not_count():
    rows = [row(H1), row(H2, "timed out"), row(H3, "timed out"), row("tcp://h4:8089", role="learner")]
    found = judge(rows, None)
    assert found.problem == ("no leader: 1 of 3 voters are reachable, 2 are needed; "
                             f"{H2}: timed out; {H3}: timed out")
    assert "h2 is up" in found.hint and "h3 is up" in found.hint


def test_without_a_leader_and_with_enough_voters_an_election_is_under_way():
    found = judge([row(H1), row(H2), row(H3, "timed out")], None)
    assert "2 of 3 voters are reachable, 2 are needed, so an election is under way" in found.problem
    assert f"{H3}: timed out" in found.problem and "wait" in found.hint


def test_an_election_that_lasts_though_enough_are_there_is_refused_by_them():
    found = judge([row(H1), row(H2), row(H3, "timed out")], None, lasting=True)
    assert "they hear a leader that it does not, or have a newer log" in found.problem
    assert f"{H3}: timed out" in found.problem and "wait" not in found.hint
    assert found.hint.startswith("run raftctl status on one of them; look whether h3 is up")


@pytest.mark.parametrize(("problem", "wanted"), [
    (dial.words(OSError(errno.ECONNREFUSED, "")), "start raftctl on h2"),
    (dial.words(socket.timeout()), "firewall"),
    (dial.words(OSError(errno.EHOSTUNREACH, "")), "network between here and h2"),
    (dial.words(OSError(errno.ENETUNREACH, "")), "network between here and h2"),
    (dial.words(socket.gaierror(socket.EAI_NONAME, "")), "/etc/hosts"),
    (dial.words(socket.gaierror(socket.EAI_AGAIN, "")), "/etc/hosts"),
    (_UNPROVEN["secret"], "one secret file"),
    ("the secret of tcp://h2:8089 differs from this node's", "one secret file"),
    ("no secret is configured here, the other side has one", "one secret file"),
    (_UNPROVEN["version"], "one release"),
    (handshake.refuse_version(9).message, "one release"),
    (refused(cluster_id="c2"), "two clusters"),
    (refused(expected_address="tcp://h9:8089"), '"address"'),
    (refused(incarnation=1), "move its data directory away"),
    (refused(instance="i1", start_id="other"), "it joins again, empty"),
    ("silent for 3.0 s", "h2:8089 hangs"),
    (OTHER_INSTANCE, "the leader admits it"),
    ("connection closed", "log of h2"),
])
def test_each_problem_has_something_to_try(problem, wanted):
    assert wanted in outlook.advice([(H2, problem)])


def test_what_is_to_try_is_said_once():
    assert outlook.advice([(H2, "the secret differs"), (H3, "the secret differs")]).count("secret file") == 1
    assert outlook.advice([]) is None


def founding(*listed, join=None):
    return Founding(H1, "i1", listed, join, lambda: "c1")


def test_a_node_that_asks_a_cluster_to_admit_it_is_not_told_to_start_nodes_that_run():
    asking = founding(H1, H2, H3)
    asking.link_up(0, H2, Facts(False, (), "c1", "i2"))
    waiting = asking.waiting_for()
    assert H2 in waiting
    found = judge_outside(waiting, [], False)
    assert found.problem == waiting
    assert "start" not in found.hint and "10 × election max" in found.hint


def test_a_node_that_is_to_join_says_why_it_does_not_reach_whom_it_asks():
    waiting = founding(join=H2).waiting_for()
    found = judge_outside(waiting, [(H2, "connection refused")], False)
    assert found.problem == f"{waiting}; {H2}: connection refused"
    assert found.hint.startswith("start raftctl on h2")


def test_a_founder_is_told_of_bootstrap_where_a_listed_node_is_missing():
    waits = founding(H1, H2)
    waits.link_down(H2, "connection refused")
    found = judge_outside(waits.waiting_for(), [(H2, "connection refused")], False)
    assert found.problem == waits.waiting_for() and found.problem.count("connection refused") == 1
    assert "start raftctl on h2" in found.hint and "raftctl bootstrap" in found.hint


def test_a_node_that_only_waits_two_seconds_has_nothing_to_try():
    waits = founding()
    assert judge_outside(waits.waiting_for(), [], False) == (waits.waiting_for(), None, 0, 0)


def test_a_node_that_its_configuration_does_not_name_says_so():
    found = judge_outside("waiting to be admitted", [], True)
    assert "does not name its data directory" in found.problem and "move its data directory" in found.hint


def test_whom_a_node_does_not_reach_is_in_order_and_without_those_that_it_does():
    links = {parse(H3): LinkStatus(None, "timed out", 0), parse(H2): LinkStatus(None, "unknown name", 0),
             parse("tcp://h4:8089"): UP, parse("tcp://h5:8089"): LinkStatus(None, None, 0)}
    assert outlook.unreached(links) == [(H2, "unknown name"), (H3, "timed out")]
