"""node/status.py on a simulated cluster: every member has a row that is true, on all nodes."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from turn_world import World

from raftctl.base import clock
from raftctl.base.addresses import parse
from raftctl.base.instants import Instant
from raftctl.net.links import LinkStatus
from raftctl.cli.status import describe
from raftctl.cluster.checking import FAILING, Checked
from raftctl.node.contacts import Contacts
from raftctl.node.fitness import Fitness
from raftctl.node.status import SILENT_ELECTIONS, Status

# turn_world's election max.
SILENT_MS = SILENT_ELECTIONS * 1000


class NodeThread:
    """In place of the inbox and its thread: what is posted is done at once."""

    def __init__(self, node):
        self.node, self.dropped = node, 0

    def post(self, call):
        call.run(self.node.turn, self.node.world.instant)


class Settings:
    """What `Status` reads of a `NodeConfig`."""

    name, election_min_ns, election_max_ns = "n1", 500_000_000, 1_000_000_000


class Seen:
    """The status of one node of the world; frames and links as its listener and its dials saw them."""

    def __init__(self, node):
        self.node, self.contacts, self.problems = node, Contacts(), {}
        self.inbox = NodeThread(node)
        self.write_since = None
        self.fitness = Fitness(self, self.inbox, has_check=False)
        self.status = Status(Settings, node.turn.identity, self.inbox, node.shown, self.links, self.contacts,
                             lambda: self.write_since, self.fitness)

    is_on = False        # drained

    def links(self):
        return {parse(target): self.link(target) for target in self.node.targets}

    def link(self, target):
        if target in self.node.up:
            return LinkStatus(time.monotonic(), None, 0)
        return LinkStatus(None, self.problems.get(target), 0)

    def hears(self, *others):
        for other in others:
            self.contacts.heard(other.hello(), self.node.world.instant)

    def look(self):
        state = self.node.state
        self.status.show(self.node.shown, state)
        return self.status.cluster(self.status.state(), 1.0)

    def row(self, other):
        return next(row for row in self.look()["members"] if row["address"] == other.address)


@pytest.fixture
def world(monkeypatch):
    world = World()
    monkeypatch.setattr(clock, "now", lambda: world.instant)
    for port in (1, 2, 3):
        world.add(port, (1, 2, 3))
    world.run(400)
    return world


def roles(world):
    """Return the leader and two followers."""
    (leader,) = world.leaders()
    return (leader, *(node for node in world.nodes.values() if node is not leader))


def test_a_follower_says_when_it_heard_the_others_and_what_is_wrong_with_a_dead_one(world):
    leader, follower, dead = roles(world)
    seen = Seen(follower)
    seen.hears(leader, dead)
    dead.kill()
    seen.problems[dead.address] = "connection refused"
    world.run(300)
    seen.hears(leader)
    world.run(40)
    row = seen.row(dead)
    assert (row["connected"], row["problem"], row["lastContactMs"]) == (False, "connection refused", 340)
    assert seen.row(leader)["lastContactMs"] == 0       # its link was made in this very moment
    answer = seen.look()
    assert (answer["tolerates"], answer["votersReachable"], answer["votersNeeded"]) == (0, 2, 2)
    assert answer["problem"] == f"{dead.address}: connection refused"
    assert answer["hint"].startswith("start raftctl")


def test_what_the_bounded_queues_dropped_is_shown(world, monkeypatch):
    leader, follower, other = roles(world)
    seen = Seen(leader)
    answer = seen.look()
    assert (answer["framesDropped"], {row["framesDropped"] for row in answer["members"]}) == (0, {0})
    seen.inbox.dropped = 3
    monkeypatch.setattr(seen, "link", lambda target: LinkStatus(time.monotonic(), None, int(target[-1])))
    assert seen.look()["framesDropped"] == 3
    assert seen.row(other)["framesDropped"] == int(other.address[-1])


def test_the_page_of_the_protocol_names_every_field(world):
    page = (Path(__file__).parents[2] / "man" / "raftctl-protocol.7").read_text(encoding="utf-8")
    answer = Seen(world.leaders()[0]).look()
    for field in (*answer, *answer["state"], *answer["members"][0]):
        assert re.search(rf"^\.Li {field}\b", page, re.MULTILINE), field


def test_a_node_calls_itself_by_its_own_name_and_others_by_what_node_takes(world):
    follower = roles(world)[1]
    rows = {row["address"]: row["name"] for row in Seen(follower).look()["members"]}
    own = rows.pop(follower.address)
    assert own == Settings.name and all(name == address[6:] for address, name in rows.items())


def test_the_rows_are_in_the_order_of_the_addresses(world):
    rows = Seen(roles(world)[1]).look()["members"]
    assert [row["address"] for row in rows] == ["tcp://h:1", "tcp://h:2", "tcp://h:3"]


def freeze(seen, monkeypatch):
    """The links stay up (kernels answer for a stopped process) and were made long ago."""
    monkeypatch.setattr(seen, "link", lambda target: LinkStatus(time.monotonic() - 3600, None, 0))


def test_a_leader_does_not_count_a_member_that_is_connected_and_says_nothing(world, monkeypatch):
    leader, follower, frozen = roles(world)
    seen = Seen(leader)
    seen.look()
    freeze(seen, monkeypatch)
    frozen.alive = False
    world.run(SILENT_MS + 500)
    row = seen.row(frozen)
    assert row["connected"] and row["problem"].startswith("silent for 2.")
    assert row["lastContactMs"] >= SILENT_MS
    assert seen.look()["tolerates"] == 0
    assert seen.row(follower)["problem"] is None and seen.row(follower)["lastContactMs"] < 200
    assert seen.row(leader)["problem"] is None and seen.row(leader)["lastContactMs"] is None


def test_without_a_leader_frozen_voters_are_not_reachable(world, monkeypatch):
    leader, follower, other = roles(world)
    seen = Seen(follower)
    freeze(seen, monkeypatch)
    leader.alive = other.alive = False
    for _ in range(40):
        world.run(100)
        answer = seen.look()
    assert answer["problem"].startswith("no leader: 1 of 3 voters are reachable, 2 are needed; ")
    assert f"{leader.address}: silent for " in answer["problem"]
    assert f"{other.address}: silent for " in answer["problem"]


def test_a_leader_lost_a_moment_ago_is_an_election_under_way_however_long_the_node_runs(world, monkeypatch):
    leader, follower, other = roles(world)
    seen = Seen(follower)
    for _ in range(50):
        world.run(100)
        seen.hears(other)
        seen.look()
    leader.alive = other.alive = False
    for _ in range(200):
        world.run(10)
        seen.hears(leader, other)
        if not seen.look()["state"]["leader"]:
            break
    assert "so an election is under way" in seen.look()["problem"]


def test_a_node_that_does_not_hear_the_leader_whom_the_others_hear_says_so(world, monkeypatch):
    leader, follower, other = roles(world)
    seen = Seen(follower)
    send = leader.send
    monkeypatch.setattr(leader, "send", lambda address, *frame: str(address) == follower.address
                        or send(address, *frame))
    for _ in range(60):
        world.run(100)
        seen.hears(other)
        answer = seen.look()
    assert answer["state"]["leader"] is None and world.leaders() == [leader]
    assert "they hear a leader that it does not" in answer["problem"]
    assert "an election is under way" not in answer["problem"]


def test_a_follower_does_not_count_a_fellow_follower_that_is_frozen(world, monkeypatch):
    leader, follower, frozen = roles(world)
    seen = Seen(follower)
    freeze(seen, monkeypatch)
    seen.hears(leader, frozen)
    frozen.alive = False
    world.run(SILENT_MS + 500)
    seen.hears(leader)          # PINGs and appends
    assert seen.row(frozen)["connected"] and seen.row(frozen)["problem"].startswith("silent for 2.")
    assert seen.row(leader)["problem"] is None
    answer = seen.look()
    assert answer["problem"].startswith(f"{frozen.address}: silent for 2.")
    assert answer["tolerates"] == 0


def test_a_wiped_node_at_a_members_address_is_not_the_member(world):
    leader, follower, wiped = roles(world)
    seen = Seen(follower)
    wiped.kill()
    wiped.wipe()
    wiped.start()
    wiped.finish()
    world.run(50)
    seen.hears(wiped)
    row = seen.row(wiped)
    assert not row["connected"] and row["lastContactMs"] is None
    assert row["problem"] == "another data directory is there than the member's"
    assert seen.look()["tolerates"] == 0


def test_a_node_whose_file_has_another_address_than_its_cluster_knows_says_so(world):
    follower = roles(world)[1]
    follower.turn.identity = follower.turn.identity._replace(address="tcp://localhost:8089")
    answer = Seen(follower).look()
    assert answer["problem"] == (
        f"the cluster knows this node as {follower.address}, its file says tcp://localhost:8089")
    assert f'write "address": "{follower.address}" again' in answer["hint"]


def test_a_wiped_node_says_which_cluster_it_asks_and_nobody_is_to_be_started(world):
    leader, follower, wiped = roles(world)
    wiped.kill()
    wiped.wipe()
    wiped.start()
    wiped.finish()
    world.run(1000)
    answer = Seen(wiped).look()
    assert answer["state"]["state"] == "UNINITIALIZED" and answer["members"] == []
    assert leader.address in answer["problem"] and "to admit this node" in answer["problem"]
    assert "wait" in answer["hint"] and "start" not in answer["hint"]


def test_a_node_that_is_to_join_an_address_where_nobody_is_says_so(monkeypatch):
    world = World()
    monkeypatch.setattr(clock, "now", lambda: world.instant)
    seen = Seen(world.add(4, join=1))
    seen.problems["tcp://h:1"] = "connection refused"
    answer = seen.look()
    assert answer["unreached"] == [{"address": "tcp://h:1", "problem": "connection refused"}]
    assert answer["problem"] == "waiting for tcp://h:1 to admit this node; tcp://h:1: connection refused"
    assert answer["hint"].startswith("start raftctl on h")


@pytest.mark.parametrize("in_flight_ms, expected", [((0, 0), 0), ((12_500, 12_400), 12_500), ((3, 4), 4)])
def test_5_5_status_says_for_how_long_the_present_write_is_at_the_disk(world, in_flight_ms, expected):
    seen = Seen(roles(world)[0])
    assert seen.look()["diskWriteMs"] is None
    seen.write_since = Instant(*(now - span * 1_000_000 for now, span in zip(world.instant, in_flight_ms)))
    assert seen.look()["diskWriteMs"] == expected


def test_the_check_is_shown_and_why_the_node_does_not_lead(world):
    leader, follower, _ = roles(world)
    seen = Seen(follower)
    assert seen.look()["state"]["check"] is None
    bad = Checked(FAILING, 0.0, False, 4, "status 7", "no route", "check failed 3 times: web.sh status 7")
    assert seen.fitness.take(bad)
    world.run(50)
    state = seen.look()["state"]
    assert state["check"] == {
        "state": "failing", "since": "1970-01-01T00:00:00.000Z", "cause": bad.cause, "lastPassed": False,
        "inARow": 4, "lastStatus": "status 7", "lastLine": "no route"}
    assert bad.cause in state["reason"]
    assert ("check: failing since 1970-01-01T00:00:00.000Z, failed 4 times in a row, last status 7: no route"
            in describe(seen.look()))
