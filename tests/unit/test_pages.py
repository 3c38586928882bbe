"""node/pages.py and node/metrics.py on a simulated cluster: what each page says, and when it is 503."""

from __future__ import annotations

import json
import re

import pytest
from test_status import Seen
from turn_world import World

from raftctl.base import clock
from raftctl.base.errors import NoLeader
from raftctl.cluster.checking import FAILING, PASSING, Checked
from raftctl.node import metrics
from raftctl.node.metrics import METRICS
from raftctl.node.pages import Pages
from raftctl.node.tally import Tally


class Answers:
    """What the pages use of `Requests`."""

    stopping, waiting = False, ""

    def __init__(self, status):
        self._status = status

    def answer(self, request, caller):
        assert not caller.may_change
        return self._status.cluster(self._status.state(), request["timeoutMs"] / 1000)


class Site:
    def __init__(self, node, folder):
        self.seen = Seen(node)
        self.requests = Answers(self.seen.status)
        self.pages = Pages(self.seen.status, self.requests, str(folder), lambda: 3)

    def get(self, path):
        self.seen.look()
        page = self.pages.answer(path)
        return page.status, page.body.decode()


@pytest.fixture
def world(monkeypatch):
    world = World()
    monkeypatch.setattr(clock, "now", lambda: world.instant)
    for port in (1, 2, 3):
        world.add(port, (1, 2, 3))
    world.run(400)
    return world


@pytest.fixture
def sites(world, tmp_path):
    """The leader first."""
    return [Site(node, tmp_path) for node in sorted(world.nodes.values(), key=lambda n: n.state != "LEADER")]


def test_p2_leader_is_200_on_the_leader_alone(sites):
    assert [site.get("/leader") for site in sites] == [(200, "LEADER\n")] + [(503, "FOLLOWER\n")] * 2


def test_p2_leader_is_503_the_instant_the_lease_is_over(world, sites, monkeypatch):
    assert sites[0].get("/leader")[0] == 200
    end = sites[0].seen.status.shown.view.lease_end
    monkeypatch.setattr(clock, "now", lambda: end)
    # No turn was taken since: the reader compares with the clock itself.
    assert (sites[0].pages.answer("/leader").status, sites[0].pages.answer("/leader").body) == (
        503, b"CANDIDATE\n")


def test_ready_says_in_a_word_why_not(world, sites):
    leader = sites[0]
    assert [site.get("/ready") for site in sites] == [(200, "READY\n")] * 3
    leader.requests.waiting = "this host has no such address"
    assert leader.get("/ready") == (503, "WAITING\n")
    leader.requests.stopping = True
    assert leader.get("/ready") == (503, "STOPPING\n")
    assert Site(World().add(1, (1, 2)), "/").get("/ready") == (503, "UNINITIALIZED\n")


def test_ready_is_503_without_a_leader(sites):
    follower = sites[1]
    follower.seen.look()
    status = follower.seen.status
    status.show(status.shown._replace(leader_address=None), "CANDIDATE")
    page = follower.pages.answer("/ready")
    assert (page.status, page.body) == (503, b"LEADERLESS\n")


def test_live_is_503_where_the_node_thread_does_not_turn(sites, monkeypatch):
    assert sites[0].get("/live") == (200, "LIVE\n")

    def hang(timeout_s):
        raise NoLeader(f"the node was too busy to answer within {timeout_s:g} s; try again")

    monkeypatch.setattr(sites[0].seen.status, "wait_for_turn", hang)
    page = sites[0].pages.answer("/live")
    assert (page.status, page.body) == (503, b"the node was too busy to answer within 2 s; try again\n")


def test_status_is_what_status_json_prints(sites):
    status, body = sites[0].get("/status")
    assert status == 200
    assert json.loads(body)["members"] == json.loads(json.dumps(sites[0].seen.look()["members"]))


def samples(text):
    return {name: float(value) for name, value in re.findall(r"^(raftctl_\S+) (\S+)$", text, re.MULTILINE)}


def test_metrics_of_the_leader(sites):
    leader = sites[0]
    tally = leader.seen.status.tally
    tally.begin_sync(clock.now())
    tally.end_sync(clock.now().plus(5_000_000))
    tally.take_failures({"leader": 2})
    found = samples(leader.get("/metrics")[1])
    expected = {"up": 1, "is_leader": 1, "has_leader": 1, "term": 2, "leader_changes_total": 1,
                "voters_reachable": 3, "voters_needed": 2, "sync_seconds_sum": 0.005,
                "sync_seconds_count": 1, "sync_longest_seconds": 0.005, "sync_in_flight_seconds": 0,
                'hook_failures_total{event="leader"}': 2, "log_lines_dropped_total": 3}
    assert {name: found[f"raftctl_{name}"] for name in expected} == expected
    assert 0 < found["raftctl_lease_remaining_seconds"] < 0.5
    assert found["raftctl_commit_index"] == found["raftctl_applied_index"] > 0
    assert found["raftctl_free_bytes"] > 0
    peers = [name for name in found if name.startswith("raftctl_peer_connected")]
    assert len(peers) == 2 and leader.seen.node.address not in "".join(peers)


def test_metrics_of_a_follower(sites):
    found = samples(sites[1].get("/metrics")[1])
    assert (found["raftctl_is_leader"], found["raftctl_has_leader"]) == (0, 1)
    assert found["raftctl_lease_remaining_seconds"] == 0


def test_each_sample_has_help_and_type_before_it_and_each_metric_is_of_the_table(sites):
    text = sites[0].get("/metrics")[1]
    known = None
    for line in text.splitlines():
        if line.startswith("# HELP "):
            known = line.split()[2]
        elif line.startswith("# TYPE "):
            assert line.split()[2] == known and line.split()[3] in ("gauge", "counter", "summary")
        else:
            assert line.startswith(known)
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_no_page_names_a_secret_or_the_store(sites):
    for path in ("/leader", "/live", "/ready", "/status", "/metrics"):
        assert "secret" not in sites[0].get(path)[1]


def test_there_is_no_other_page(sites):
    assert sites[0].pages.answer("/get") is None


def test_a_label_is_escaped():
    text = metrics.render({"peer_connected": [("", (("peer", 'a"b\\c\nd'),), True)]})
    assert text.splitlines()[-1] == 'raftctl_peer_connected{peer="a\\"b\\\\c\\nd"} 1'


def test_each_new_leader_and_each_new_term_is_one_change():
    tally = Tally()
    for term, leader in ((1, None), (1, "a"), (1, "a"), (2, None), (2, "a"), (3, "b")):
        tally.see_leader(term, leader)
    assert tally.leader_changes == 3


def test_what_is_no_count_of_failures_is_left_out():
    tally = Tally()
    tally.take_failures({"leader": 1, "stop": "x"})
    assert tally.hook_failures == {"leader": 1}


def test_the_check_is_a_metric_where_there_is_one(sites):
    assert "raftctl_check_ok" not in samples(sites[0].get("/metrics")[1])
    for state, value in ((PASSING, 1), (FAILING, 0)):
        sites[0].seen.fitness.take(Checked(state))
        assert samples(sites[0].get("/metrics")[1])["raftctl_check_ok"] == value
