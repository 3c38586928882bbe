"""Snapshots over whole turns: when one is taken, how one is installed, who comes in when entry 1 is gone."""

from __future__ import annotations

from turn_world import World

from raftctl.base.instants import Instant
from raftctl.cluster.applying import EVERY_NS
from raftctl.cluster.serving import PROPOSE, READ, Ask, Serving
from raftctl.raft.configuration import NOBODY
from raftctl.raft.inputs import FOLLOWER, LEADER, Accepted, View
from raftctl.store import commands
from raftctl.store.machine import Store

FEW_BYTES = 1200      # four entries or so


def three(log_bytes=FEW_BYTES):
    world = World()
    world.log_bytes = log_bytes
    for port in (1, 2, 3):
        world.add(port, (1, 2, 3))
    world.run(300)
    return world


def parted(world):
    """Return the leader, a follower, and the other follower."""
    (leader,) = world.leaders()
    return (leader, *[node for node in world.nodes.values() if node is not leader])


def write(world, node, count):
    for number in range(count):
        command = commands.encode_put(b"k%d" % (number % 7), b"v%d" % number)
        assert world.ask(node, PROPOSE, command).code is None


def index_of(node):
    return node.shown.view.snapshot_index


def restart(world, *nodes):
    for node in nodes:
        node.kill()
    for node in nodes:
        node.start()
        node.finish()
    world.run(2500)


def test_the_log_is_bounded_and_a_restart_begins_with_the_snapshot():
    world = three()
    leader, other, third = parted(world)
    write(world, leader, 40)
    for node in (leader, other, third):
        assert index_of(node) > 30 and node.base.index > 20
        assert node.shown.view.log_bytes < 4 * FEW_BYTES and node.shown.view.log_count < 20
    digest = leader.store.digest()
    restart(world, leader, other, third)
    assert {node.store.digest() for node in world.nodes.values()} == {digest}
    assert world.ask(other, READ, b"k4").value == b"v39"


def test_a_follower_that_was_away_gets_the_snapshot_and_serves_it():
    world = three()
    leader, away, other = parted(world)
    away.kill()
    write(world, leader, 40)
    away.start()
    away.finish()
    world.run(700)
    assert any("begins a new log behind it" in line for line in away.decisions)
    assert away.store.digest() == leader.store.digest() and away.shown.applied == leader.shown.applied
    assert away.turn.serving.look_up(b"k4").value == b"v39"
    write(world, away, 3)
    restart(world, away)
    assert away.store.digest() == leader.store.digest()


def test_heartbeats_go_on_while_a_snapshot_is_sent_and_the_leader_keeps_its_term():
    world = three()
    world.chunk_bytes = 1         # some 400 round trips
    leader, away, other = parted(world)
    away.kill()
    write(world, leader, 40)
    term = leader.shown.view.term
    away.start()
    away.finish()
    world.run(2500)
    assert away.store.digest() == leader.store.digest()
    assert (leader.state, leader.shown.view.term) == ("LEADER", term)


def test_pitfall_4_2_a_snapshot_that_is_sent_is_not_displaced_while_writes_go_on():
    world = three()
    world.chunk_bytes = 3
    leader, away, other = parted(world)
    away.kill()
    write(world, leader, 20)
    away.start()
    away.finish()
    write(world, leader, 20)
    world.run(1000)
    assert sum("sends it the snapshot" in line for line in leader.decisions) == 1
    assert away.store.digest() == leader.store.digest()


def test_pitfall_3_2_a_founder_that_lost_entry_1_comes_in_when_a_snapshot_stands_for_it():
    world = three()
    leader, other, third = parted(world)
    third.kill()
    write(world, leader, 40)
    restart(world, leader, other)
    assert leader.turn.core.founding_entry is None
    assert leader.shown.fresh is other.shown.fresh is False
    third.forget()
    third.start()
    third.finish()
    world.run(1500)
    assert third.cluster_id == leader.cluster_id and third.state == "FOLLOWER"
    assert third.store.digest() == leader.store.digest()


def test_a_founder_that_lost_entry_1_still_gets_it_from_who_has_held_it_since():
    world = three()
    leader, other, third = parted(world)
    third.kill()
    write(world, leader, 40)
    third.forget()
    third.start()
    third.finish()
    world.run(1500)
    assert third.cluster_id == leader.cluster_id and third.store.digest() == leader.store.digest()
    assert not any("welcomes" in line for line in third.decisions)


def test_without_room_for_a_snapshot_the_next_is_tried_after_as_many_bytes():
    world = three()
    leader = parted(world)[0]
    leader.has_room = False
    write(world, leader, 10)
    assert (index_of(leader), leader.base.index) == (0, 0)
    leader.has_room = True
    write(world, leader, 10)
    assert index_of(leader) > 10


def test_once_a_day_is_enough_of_a_reason_if_anything_changed():
    world = three(log_bytes=1 << 30)
    leader = parted(world)[0]
    write(world, leader, 2)
    applying, now = leader.turn._applying, world.instant
    assert applying.due(now) is None
    assert applying.due(now.plus(EVERY_NS - 2000 * 1_000_000)) is None
    mark, image = applying.due(now.plus(EVERY_NS))
    assert (mark.position.index, mark.size) == (leader.shown.applied, image.size)
    applying.ended()
    assert applying.due(now.plus(3 * EVERY_NS)) is None


def test_a_large_store_is_not_written_again_for_each_few_of_its_keys():
    world = three()
    leader = parted(world)[0]
    for number in range(8):
        world.ask(leader, PROPOSE, commands.encode_put(b"large%d" % number, b"x" * 5000))
    world.run(50)
    before, since = index_of(leader), leader.turn._applying._since
    write(world, leader, (10_000 - since) // 230)      # a quarter of 40,000, at some 210 a write
    assert index_of(leader) == before
    write(world, leader, 20)
    assert index_of(leader) > before


def test_what_became_of_a_proposal_that_a_snapshot_swallowed_is_unknown():
    serving = Serving(Store(), lambda now, given: None, lambda address, body: True, {})
    now = Instant(0, 0)
    serving.leader_is(now, View(LEADER, 2, "n1", now, 0, 0, NOBODY), "a")
    for token in (1, 2):
        serving.ask(now, Ask(token, PROPOSE, b""))
        serving.accepted(Accepted(token, 2, 4 + token))
    serving.leader_is(now, View(FOLLOWER, 3, "n2", now, 0, 0, NOBODY), "b")
    serving.replaced(Store(), 5)
    assert [(ask.token, answer.code) for ask, answer in serving.take_answers()] == [(1, "unknown_outcome")]
