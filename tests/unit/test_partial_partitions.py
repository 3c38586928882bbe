"""Every set of links between three and four nodes: who is connected to a majority gets one stable leader."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests"))

from simulation import run as simulated
from simulation.profiles import MS, PROFILES
from simulation.scale import scaled
from simulation.world import World

SETTLED_MS = 3_000
STABLE_MS = 1_000


@pytest.fixture(autouse=True)
def small():
    with scaled():
        yield


def founded(size):
    world = World(PROFILES["cuts"]._replace(sizes=(size,), founding=("list",), slow=0.0), size)
    simulated._found(world, world.draws.child("founding"))
    assert world.run_until(5_000 * MS, lambda: len(leaders(world)) == 1)
    world.run_until(world.now + 500 * MS)       # all logs are equal
    return world


def leaders(world):
    return [host.number for host in world.hosts if host.process and host.process.leases]


def addresses(world, pairs):
    return [(world.hosts[one].address, world.hosts[other].address) for one, other in pairs]


def has_a_hub(size, cut):
    """Does a node see a majority, itself included, both ways?"""
    def sees(one, other):
        return one == other or not {(one, other), (other, one)} & set(cut)
    return any(sum(sees(one, other) for other in range(size)) > size // 2 for one in range(size))


def settle(world, cut):
    """Return who leads over a second, after all timeouts had their time."""
    world.network.cut(addresses(world, cut))
    world.run_until(world.now + SETTLED_MS * MS)
    found = set()
    end = world.now + STABLE_MS * MS
    world.run_until(end, lambda: bool(found.add(tuple(leaders(world)))))
    return found


def sets_of_links(size, one_way):
    ways = list(itertools.permutations(range(size), 2))
    pairs = ways if one_way else [(one, other) for one, other in ways if one < other]
    for count in range(1, len(pairs) + 1):
        for chosen in itertools.combinations(pairs, count):
            yield chosen if one_way else chosen + tuple((other, one) for one, other in chosen)


@pytest.mark.parametrize("size, one_way", [(3, False), (3, True), (4, False)])
def test_p2_a_node_that_sees_a_majority_both_ways_means_one_stable_leader(size, one_way):
    """Pitfall 6.1. Logs are equal here; where only an old log sees a majority nobody leads (a scenario)."""
    for cut in sets_of_links(size, one_way):
        world = founded(size)
        found = settle(world, cut)
        wanted = 1 if has_a_hub(size, cut) else 0
        assert [len(some) for some in found] == [wanted], (cut, found)
