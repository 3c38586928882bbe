"""Founding and holding (design §6): single decisions, then three simulated nodes with crashes."""

from __future__ import annotations

import itertools
import random

import pytest

from raftctl.base.errors import OurFault, PeerFault
from raftctl.cluster.founding import (
    CLUSTER_LIMIT,
    STRANGER_LIMIT,
    Adopt,
    Campaign,
    Facts,
    Founding,
    Holder,
    Send,
    join_body,
)
from raftctl.cluster.handshake import FOUND, FOUND_ACK, JOIN
from raftctl.raft.configuration import Member, configuration, decode, encode

H1, H2, H3 = ADDRESSES = tuple(f"tcp://h{n}:8089" for n in (1, 2, 3))
MS = 1_000_000


def node(address=H1, cluster_list=ADDRESSES, join=None):
    return Founding(address, instance_of(address), cluster_list, join, lambda: "c1")


def instance_of(address):
    return "n" + address[7]


def fresh(address, founding=ADDRESSES, instance=None):
    return Facts(True, founding, "", instance or instance_of(address))


def member_of(cluster_id, address):
    return Facts(False, ADDRESSES, cluster_id, instance_of(address))


def entry_of(*addresses, cluster_id="c1"):
    return encode(configuration(cluster_id, [Member(instance_of(a), a, True) for a in addresses]))


ENTRY = entry_of(*ADDRESSES)


def founded(address=H1):
    found = node(address)
    for peer in ADDRESSES:
        if peer != address:
            found.link_up(0, peer, fresh(peer))
    found.effects()
    found.adopted()
    return found


def test_lowest_address_founds_when_every_listed_node_is_fresh_and_connected():
    found = node()
    found.link_up(0, H2, fresh(H2))
    assert found.effects() == ()
    found.link_up(1, H3, fresh(H3))
    assert found.effects() == (Adopt(ENTRY),)
    assert found.effects() == () and not found.is_fresh


def test_lowest_is_by_host_then_port_as_a_number():
    low, high = "tcp://h1:999", "tcp://h1:8089"
    found = Founding(low, "a", (high,), None, lambda: "c1")
    found.link_up(0, high, Facts(True, (low, high), "", "b"))
    assert [type(effect) for effect in found.effects()] == [Adopt]


def test_other_nodes_never_author_and_say_for_whom_they_wait():
    found = node(H2)
    found.link_up(0, H1, fresh(H1))
    found.link_up(0, H3, fresh(H3))
    assert found.effects() == ()
    assert found.waiting_for() == "waiting for tcp://h1:8089 to found the cluster, 3 of 3 are there"


def test_a_closed_connection_is_no_answer_any_more():
    found = node()
    found.link_up(0, H2, fresh(H2))
    found.link_down(H2)
    found.link_up(1, H3, fresh(H3))
    assert found.effects() == ()
    assert found.waiting_for() == "waiting for tcp://h2:8089, 2 of 3"


def test_a_connection_of_a_wiped_predecessor_is_no_answer():
    found = node()
    found.link_up(0, H2, fresh(H2))
    found.heard(1, H2, fresh(H2, instance="n2-wiped"))
    found.link_up(2, H3, fresh(H3))
    assert found.effects() == ()
    found.link_up(3, H2, fresh(H2, instance="n2-wiped"))
    (adopt,) = found.effects()
    assert decode(adopt.body).voters == ("n1", "n2-wiped", "n3")


def test_waiting_names_all_who_are_missing_and_refusals_of_the_handshake():
    found = node()
    assert found.waiting_for() == "waiting for tcp://h2:8089 and tcp://h3:8089, 1 of 3"
    found.link_down(H3, "secret differs")
    assert found.waiting_for() == "waiting for tcp://h2:8089 and tcp://h3:8089 (secret differs), 1 of 3"
    found.link_down(H3)
    assert "secret" not in found.waiting_for()


def test_different_lists_found_nothing_and_both_are_printed():
    found = node()
    found.link_up(0, H2, fresh(H2, founding=(H1, H2)))
    found.link_up(0, H3, fresh(H3))
    assert found.effects() == ()
    assert found.waiting_for() == (
        "waiting for tcp://h2:8089 (has another list: tcp://h1:8089 tcp://h2:8089; "
        "here it is tcp://h1:8089 tcp://h2:8089 tcp://h3:8089), 2 of 3"
    )


def test_two_copies_of_one_directory_are_not_founded_with():
    found = node()
    found.link_up(0, H2, fresh(H2, instance="same"))
    found.link_up(0, H3, fresh(H3, instance="same"))
    assert found.effects() == ()
    assert "one data directory is a copy" in found.waiting_for()
    assert "one data directory is a copy" in found.bootstrap(1)


def test_nobody_hears_of_entry_1_before_it_is_durable():
    found = node()
    found.link_up(0, H2, fresh(H2))
    found.link_up(0, H3, fresh(H3))
    assert found.effects() == (Adopt(ENTRY),)
    found.alarm(10_000 * MS)
    assert found.effects() == ()
    found.adopted()
    assert found.effects() == (Send(H2, FOUND, ENTRY), Send(H3, FOUND, ENTRY))


def test_found_is_repeated_until_each_has_acknowledged():
    found = founded()
    found.effects()
    assert found.deadline() == 200 * MS
    found.alarm(200 * MS)
    assert found.effects() == (Send(H2, FOUND, ENTRY), Send(H3, FOUND, ENTRY))
    found.ack(H2)
    found.effects()
    found.alarm(400 * MS)
    assert found.effects() == (Send(H3, FOUND, ENTRY),)
    found.ack(H3)
    assert found.deadline() is None


def test_author_campaigns_once_when_a_quorum_holds_entry_1():
    found = founded()
    found.effects()
    found.ack(H2)
    assert found.effects() == (Campaign(),)
    found.ack(H3)
    assert found.effects() == ()


def test_holder_that_is_not_the_author_does_not_campaign():
    holder = Holder("n2", ENTRY)
    holder.link_up(0, H3, fresh(H3))
    holder.ack(H3)
    assert Campaign() not in holder.effects()


def test_a_connection_of_a_member_counts_as_acknowledgement_that_was_lost():
    found = founded()
    found.effects()
    found.link_down(H2)
    found.link_up(1, H2, member_of("c1", H2))
    assert found.effects() == (Campaign(),)


def test_holder_sends_again_on_each_connection_of_a_fresh_named_peer():
    holder = Holder("n1", ENTRY)
    holder.link_up(0, H3, fresh(H3))
    holder.link_down(H3)
    assert holder.deadline() is None
    holder.link_up(5, H3, fresh(H3))
    assert holder.effects() == (Send(H3, FOUND, ENTRY),) * 2


def test_pitfall_3_1_fresh_instance_that_is_not_named_is_told_once_and_not_waited_for():
    holder = Holder("n1", ENTRY)
    holder.link_up(0, H3, fresh(H3, instance="n3-wiped"))
    assert holder.effects() == (Send(H3, FOUND, ENTRY),)
    assert holder.deadline() is None


def test_peer_with_a_cluster_id_but_no_log_is_not_founded_again():
    holder = Holder("n1", ENTRY)
    holder.link_up(0, H3, Facts(True, ADDRESSES, "c1", "n3"))
    assert holder.effects() == ()


@pytest.mark.parametrize("holder", (H1, H2, "tcp://h9:1"))
def test_pitfall_3_2_named_instance_takes_entry_1_from_any_holder(holder):
    found = node(H3)
    found.found(0, holder, ENTRY)
    assert found.effects() == (Adopt(ENTRY),)
    found.adopted()
    assert found.effects() == (Send(holder, FOUND_ACK, b""),)


def test_instance_that_is_not_named_ignores_the_bytes_and_asks_to_join():
    found = node(H3)
    found.link_up(0, H1, fresh(H1))
    found.found(0, H1, entry_of(H1, H2))
    assert found.effects() == () and found.is_fresh
    found.alarm(found.deadline())
    assert found.effects() == (Send(H1, JOIN, b'{"address": "tcp://h3:8089", "instance": "n3"}'),)


def test_who_adopted_never_adopts_another():
    found = node(H3)
    found.found(0, H1, ENTRY)
    found.found(1, H2, entry_of(*ADDRESSES, cluster_id="c2"))
    assert found.effects() == (Adopt(ENTRY),)
    found.adopted()
    found.effects()
    found.found(2, H2, entry_of(*ADDRESSES, cluster_id="c2"))
    assert found.effects() == ()
    with pytest.raises(OurFault):
        found.adopted()


def test_entry_1_offered_again_is_acknowledged_only_when_durable_and_then_each_time():
    found = node(H3)
    for sender in (H1, H1, H2):
        found.found(0, sender, ENTRY)
    assert found.effects() == (Adopt(ENTRY),)
    found.adopted()
    assert found.effects() == (Send(H1, FOUND_ACK, b""), Send(H2, FOUND_ACK, b""))
    found.found(1, H1, ENTRY)
    assert found.effects() == (Send(H1, FOUND_ACK, b""),)


def test_words_of_a_wiped_author_are_ignored_once_its_successor_shook_hands():
    found = node(H3)
    found.heard(0, H1, fresh(H1, instance="n1-wiped"))
    found.found(1, H1, ENTRY, "n1")
    assert found.effects() == () and found.is_fresh


@pytest.mark.parametrize(
    "body",
    (
        b"",
        ENTRY[:-1],
        ENTRY + b"x",
        encode(configuration("", [Member("n3", H3, True)])),
        encode(configuration("c1", [])),
    ),
)
def test_malformed_found_is_a_fault_of_the_peer(body):
    found = node(H3)
    with pytest.raises(PeerFault, match="FOUND"):
        found.found(0, H1, body)
    assert found.is_fresh and found.effects() == ()


def test_p7_node_that_reaches_a_cluster_asks_to_join_and_never_founds():
    found = node()
    found.link_up(0, H2, fresh(H2))
    found.link_up(0, H3, member_of("c9", H3))
    found.alarm(500 * MS)
    assert found.effects() == (Send(H3, JOIN, join_body(H1, "n1")),)
    found.link_down(H3)
    found.alarm(5000 * MS)
    assert found.effects() == ()
    assert found.waiting_for() == "waiting for the cluster of tcp://h3:8089 to admit this node"


def test_join_is_repeated_to_each_member_in_turn():
    found = node()
    found.link_up(0, H2, member_of("c9", H2))
    found.link_up(0, H3, member_of("c9", H3))
    asked = []
    for _ in range(3):
        now = found.deadline()
        found.alarm(now)
        asked += [(now // MS, effect.address) for effect in found.effects()]
    assert asked == [(500, H2), (1000, H3), (1500, H2)]


def test_two_clusters_in_one_list_are_printed_and_neither_is_joined():
    found = node()
    found.link_up(0, H2, member_of("c8", H2))
    found.link_up(0, H3, member_of("c9", H3))
    found.alarm(9000 * MS)
    assert found.effects() == () and found.deadline() is None
    assert "tcp://h2:8089 of c8 and tcp://h3:8089 of c9" in found.waiting_for()


def test_a_cluster_that_was_wiped_since_is_founded_with():
    found = node()
    found.link_up(0, H2, fresh(H2))
    found.link_up(0, H3, member_of("c9", H3))
    found.link_down(H3)
    found.link_up(1, H3, fresh(H3, instance="n3-new"))
    assert [type(effect) for effect in found.effects()] == [Adopt]


def test_peer_whose_entry_1_is_on_its_way_to_the_disk_is_waited_for():
    found = node()
    found.link_up(0, H2, fresh(H2))
    found.link_up(0, H3, Facts(False, ADDRESSES, "", "n3"))
    assert found.effects() == ()
    assert "is being founded" in found.waiting_for()


def test_node_without_list_and_join_is_alone_after_two_seconds():
    found = node(cluster_list=())
    assert found.deadline() == 0
    found.alarm(7)
    assert found.deadline() == 2000 * MS + 7
    found.alarm(found.deadline() - 1)
    assert found.effects() == ()
    found.alarm(found.deadline())
    assert found.effects() == (Adopt(entry_of(H1)),)
    found.adopted()
    assert found.effects() == (Campaign(),)


def test_list_of_oneself_is_no_list():
    found = node(cluster_list=(H1,))
    found.alarm(0)
    assert found.effects() == () and found.deadline() == 2000 * MS


def test_p7_node_without_list_joins_the_cluster_that_reaches_it_within_two_seconds():
    found = node(cluster_list=())
    found.alarm(0)
    found.heard(100 * MS, H2, member_of("c9", H2))
    assert found.targets == (H2,)
    found.alarm(2500 * MS)
    assert found.effects() == ()
    found.link_up(2600 * MS, H2, member_of("c9", H2))
    assert found.effects() == (Send(H2, JOIN, join_body(H1, "n1")),)


def test_pitfall_3_12_join_waits_for_admission_and_never_founds():
    found = node(cluster_list=(), join=H2)
    found.alarm(0)
    assert found.targets == (H2,) and found.deadline() is None
    assert found.waiting_for() == "waiting for tcp://h2:8089 to admit this node"
    found.link_up(9000 * MS, H2, fresh(H2))
    assert found.effects() == (Send(H2, JOIN, join_body(H1, "n1")),)
    assert found.deadline() == 9500 * MS
    found.alarm(9500 * MS)
    assert found.effects() == (Send(H2, JOIN, join_body(H1, "n1")),)
    found.link_down(H2)
    assert found.deadline() is None


def test_join_goes_before_the_list():
    found = node(join=H2)
    found.link_up(0, H2, fresh(H2))
    found.link_up(0, H3, fresh(H3))
    assert [effect.kind for effect in found.effects()] == [JOIN]


def test_bootstrap_founds_with_those_reachable_now():
    found = node(H2)
    found.link_up(0, H3, fresh(H3))
    assert found.bootstrap(1) is None
    assert found.effects() == (Adopt(entry_of(H2, H3)),)
    assert found.configuration.voters == ("n2", "n3")


def test_bootstrap_without_a_list_does_not_wait():
    found = node(cluster_list=())
    assert found.bootstrap(0) is None
    assert found.effects() == (Adopt(entry_of(H1)),)


@pytest.mark.parametrize(
    ("prepare", "text"),
    (
        (lambda f: f.link_up(0, H3, member_of("c9", H3)), "tcp://h3:8089 has data of cluster c9"),
        (lambda f: f.link_up(0, H3, fresh(H3, founding=(H3, H2))), "tcp://h3:8089 has another list"),
        (lambda f: f.link_up(0, H3, fresh(H3, founding=())), "tcp://h3:8089 has no clusterNodes list"),
        (lambda f: f.found(0, H1, ENTRY), "the founding has begun already"),
        (lambda f: (f.found(0, H1, ENTRY), f.adopted()), "this node already belongs to cluster c1"),
        (
            lambda f: (f.link_up(0, H1, fresh(H1)), f.link_up(0, H3, fresh(H3))),
            "tcp://h1:8089 founds the cluster by itself",
        ),
    ),
)
def test_bootstrap_is_refused(prepare, text):
    found = node(H2)
    prepare(found)
    found.effects()
    assert text in found.bootstrap(1)
    assert found.effects() == ()


def test_bootstrap_is_refused_on_a_node_that_is_told_to_join():
    refusal = node(join=H2).bootstrap(0)
    assert "told to join tcp://h2:8089" in refusal and 'the file "join"' in refusal


class World:
    """Three nodes, their disks and the connections between them; a seed chooses what happens next."""

    def __init__(self, seed, order):
        self.random = random.Random(seed)
        self.now = 0
        self.ids = itertools.count(1)
        self.disk = {address: [instance_of(address), None] for address in ADDRESSES}  # instance, entry 1
        self.nodes = {}
        self.wire = {}  # (from, to) -> (instance of the dialler, frames), while the connection is open
        self.late = []  # frames of a dead dialler that its peers still read
        self.writing = {}
        self.to_start = list(order)
        self.joins = set()

    def start(self, address):
        instance, body = self.disk[address]
        self.nodes[address] = (
            Holder(instance, body)
            if body
            else Founding(address, instance, ADDRESSES, None, lambda: f"c{next(self.ids)}")
        )

    def facts(self, address):
        running, (instance, body) = self.nodes[address], self.disk[address]
        return Facts(running.is_fresh, ADDRESSES, decode(body).cluster_id if body else "", instance)

    def crash(self, address, wiped):
        del self.nodes[address]
        self.writing.pop(address, None)
        for (source, target), (instance, frames) in list(self.wire.items()):
            if address in (source, target):
                del self.wire[source, target]
                if source == address:
                    self.late += [(source, target, instance, frame) for frame in frames]
                elif source in self.nodes:
                    self.nodes[source].link_down(target)
        if wiped:
            self.disk[address] = [self.disk[address][0] + "-wiped", None]

    def choices(self):
        found = [(self.start_next,)] if self.to_start else []
        for source, target in itertools.permutations(self.nodes, 2):
            if (source, target) not in self.wire:
                found.append((self.dial, source, target))
            elif self.wire[source, target][1]:
                found += [(self.deliver, source, target)] * 2
            else:
                found.append((self.cut, source, target)) if self.random.random() < 0.02 else None
        found += [(self.persist, address) for address in self.writing]
        found += [(self.deliver_late,)] if self.late else []
        return found + [(self.tick,)]

    def step(self):
        act, *arguments = self.random.choice(self.choices())
        act(*arguments)
        for address in list(self.nodes):
            self.carry_out(address)

    def start_next(self):
        self.start(self.to_start.pop(0))

    def dial(self, source, target):
        ours, theirs = self.facts(source), self.facts(target)
        if ours.cluster_id and theirs.cluster_id and ours.cluster_id != theirs.cluster_id:
            return
        self.wire[source, target] = (self.disk[source][0], [])
        self.nodes[target].heard(self.now, source, ours)
        self.nodes[source].link_up(self.now, target, theirs)

    def cut(self, source, target):
        del self.wire[source, target]
        self.nodes[source].link_down(target)

    def deliver(self, source, target):
        instance, frames = self.wire[source, target]
        self.receive(source, target, instance, frames.pop(0))

    def deliver_late(self):
        source, target, instance, frame = self.late.pop(0)
        if target in self.nodes:
            self.receive(source, target, instance, frame)

    def receive(self, source, target, instance, frame):
        if frame.kind == FOUND:
            self.nodes[target].found(self.now, source, frame.body, instance)
        elif frame.kind == FOUND_ACK:
            self.nodes[target].ack(source)
        else:
            self.joins.add(source)

    def persist(self, address):
        self.disk[address][1] = self.writing.pop(address)
        if self.random.random() < 0.9:
            self.nodes[address].adopted()
            self.carry_out(address)
        else:  # The power fails between the write and its answer.
            self.crash(address, wiped=False)
            self.to_start.append(address)

    def tick(self):
        self.now += 100 * MS
        for running in self.nodes.values():
            deadline = running.deadline()
            if deadline is not None and deadline <= self.now:
                running.alarm(self.now)

    def carry_out(self, address):
        for effect in self.nodes[address].effects():
            if isinstance(effect, Adopt):
                assert self.disk[address][1] is None and address not in self.writing
                self.writing[address] = effect.body
            elif isinstance(effect, Send) and (address, effect.address) in self.wire:
                self.wire[address, effect.address][1].append(effect)

    def entries(self):
        return {body for _, body in self.disk.values() if body}

    def run(self, steps):
        for _ in range(steps):
            self.step()
            assert len(self.entries()) <= 1, "two clusters"


@pytest.mark.parametrize("order", list(itertools.permutations(ADDRESSES)))
def test_three_nodes_found_one_cluster_in_every_start_order(order):
    for seed in range(12):
        world = World(seed, order)
        world.run(400)
        (body,) = world.entries()
        assert [held for _, held in world.disk.values()] == [body] * 3, seed


@pytest.mark.parametrize("fate", ("returns", "returns wiped", "is gone"))
@pytest.mark.parametrize("order", list(itertools.permutations(ADDRESSES)))
def test_pitfall_3_2_author_killed_at_every_step_of_founding(order, fate):
    for kill_at in range(3, 75, 2):
        world = World(kill_at, order)
        world.run(kill_at)
        if H1 in world.nodes:
            world.crash(H1, wiped=fate == "returns wiped")
        world.to_start = [address for address in world.to_start if address != H1]
        world.run(kill_at % 7)
        author_held = world.disk[H1][1]
        if fate != "is gone":
            world.to_start.append(H1)
        world.run(400)
        survivors = {world.disk[H2][1], world.disk[H3][1]}
        assert len(survivors) == 1, "the survivors differ"
        if fate == "returns" or (fate == "returns wiped" and H1 not in world.joins):
            assert survivors == {world.disk[H1][1]} != {None}
        elif fate == "returns wiped":
            assert survivors != {None}, "asks to join nobody"
        elif survivors == {None} and not author_held:
            assert "waiting for tcp://h1:8089" in world.nodes[H2].waiting_for()


def test_p7_who_knows_a_cluster_is_not_counted_for_another_founding():
    # Simulation, "members" seed 87: two listed hosts lost their disks while the cluster lived on elsewhere.
    found = node(H2)
    assert found.offered == ADDRESSES
    found.heard(1, "tcp://h4:8089", member_of("c1", "tcp://h4:8089"))
    assert found.offered == ()


def test_p7_a_founding_that_passed_over_a_known_cluster_is_not_adopted():
    found = node(H2)
    found.heard(1, "tcp://h4:8089", member_of("c1", "tcp://h4:8089"))
    found.found(2, H1, entry_of(H1, H2, cluster_id="c2"), instance_of(H1))
    assert found.is_fresh
    assert not any(isinstance(effect, Adopt) for effect in found.effects())


@pytest.mark.parametrize("address", ["h9", "tcp://H9:8089", "tcp://h\0:8089", "tcp://h9:0"])
def test_p8_entry_1_with_an_address_that_is_none_is_refused(address):
    """It would be on disk for ever, and each start would end at it."""
    found = node()
    with pytest.raises(PeerFault, match="an address that is none"):
        found.found(0, H2, encode(configuration("c1", [
            Member("n1", H1, True), Member("x", address, True)])))
    assert found.effects() == ()


def test_p8_callers_without_end_cost_neither_memory_nor_threads():
    found = node()
    for number in range(1000):
        found.heard(number, f"tcp://x{number}:1", member_of("c9", H2))
    assert len(found.targets) == 2 + CLUSTER_LIMIT
    assert len(found._shown) == STRANGER_LIMIT
    found.link_up(2000, H2, fresh(H2))
    assert found._shown[H2] == "n2"
