"""Each invariant of the simulator can fail: a sound cluster is doctored, and the rule that it breaks is named."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests"))

from simulation import run as simulated
from simulation.leases import Confirmed
from simulation.profiles import MS, PROFILES
from simulation.scale import scaled
from simulation.world import Violation, World

from raftctl.cluster import handshake
from raftctl.raft.configuration import Member, configuration, encode
from raftctl.raft.inputs import LEADER, Restored
from raftctl.raft.messages import COMMAND, CONFIGURATION, AppendReply, Entry, HardState, Position, VoteReply
from raftctl.raft.state import Vow
from raftctl.tether import BoardState


@pytest.fixture
def world():
    """Three hosts that have founded a cluster, and clients that have written to it."""
    with scaled():
        built = World(PROFILES["crashes"]._replace(sizes=(3,)), 1)
        simulated._found(built, built.draws.child("founding"))
        built.clients.start()
        assert built.run_until(5_000 * MS, lambda: built.clients.done > 20)
        yield built


def leader(world):
    return next(host.process for host in world.hosts if host.process.leases)


def follower(world):
    return next(host.process for host in world.hosts if not host.process.leases)


def state(process):
    return process.turn.core._state


def second_lease(world):
    process = follower(world)
    process.board = BoardState(1, 9, True, process.now.plus(1000 * MS))
    world.checkers.leases.look()


def vow_that_ends_before_the_lease(world):
    for host in world.hosts:
        if host.process is not leader(world):
            state(host.process).vow = Vow(None, 0, 0, host.process.now.plus(5 * MS))
    world.checkers.leases.look()


def two_confirmed_answers(world):
    world.checkers.leases.confirmed(Confirmed(1, 5, "h1", 4))
    world.checkers.leases.confirmed(Confirmed(2, 9, "h2", 4))    # asked while the first was
    world.checkers.leases.confirmed(Confirmed(10, 12, "h2", 3))


def second_leader_of_the_term(world):
    process = follower(world)
    state(process).role = LEADER
    world.checkers.turned(process)


def another_entry_at_one_place(world):
    log = state(follower(world)).log
    log._entries[-1] = log._entries[-1]._replace(body=b"other")
    world.checkers.turned(follower(world))


def leader_without_a_committed_entry(world):
    found = state(follower(world))
    log = found.log
    log.truncate_from(world.checkers.committed)
    found.hard, found.role, found.commit_index = HardState(99), LEADER, 0
    world.checkers.turned(follower(world))


def committed_entry_that_changes(world):
    process = follower(world)
    world.checkers._committed[2] = world.checkers._committed[2]._replace(body=b"other")
    world.checkers._commits[process.key] = 0
    world.checkers.turned(process)


def commit_without_a_quorum(world):
    process, found = leader(world), state(leader(world))
    found.append(Entry(found.term, found.log.last_index + 1, COMMAND, b"x"))
    found.commit_index = found.log.last_index
    world.checkers.turned(process)


def vote_that_is_not_durable(world):
    world.checkers.sending(follower(world), leader(world), VoteReply(99, True))


def second_vote(world):
    process = follower(world)
    for candidate in ("x", "y"):
        world.checkers._disk(process).hard = HardState(99, candidate)
        world.checkers._vote(process, 99, candidate)


def ack_beyond_the_disk(world):
    world.checkers.sending(follower(world), leader(world), AppendReply(2, 1, 1, True, 999, Position(0, 0)))


def ack_of_what_the_leader_has_not(world):
    process = follower(world)
    entries = world.checkers._disk(process).entries
    entries[-1] = entries[-1]._replace(body=b"other")
    term = state(leader(world)).term
    world.checkers.sending(process, leader(world), AppendReply(term, 1, 1, True, len(entries), Position(0, 0)))


def vow_that_is_not_on_disk(world):
    process = follower(world)
    world.checkers._disk(process).hard = HardState(99)
    world.checkers.sending(process, leader(world), AppendReply(2, 1, 1, True, 0, Position(0, 0)))


def durable_entries_that_are_gone(world):
    process = follower(world)
    entries = world.checkers._disk(process).entries
    world.checkers.recovered(process, Restored(world.checkers._disk(process).hard, tuple(entries[:-1])))


def durable_vote_that_is_gone(world):
    process = follower(world)
    world.checkers.recovered(process, Restored(HardState(), tuple(world.checkers._disk(process).entries)))


def stores_that_differ(world):
    process = follower(world)
    process.store._items[b"z"] = (b"", 1)
    world.checkers._applied.clear()
    world.checkers._store(process)
    world.checkers._store(leader(world))


def second_founding(world):
    body = encode(configuration("other", [Member("i9", "tcp://h9:8089", True)]))
    process = follower(world)
    process.turn.core._state.log._entries[0] = other = Entry(1, 1, CONFIGURATION, body)
    world.checkers._disk(process).entries[0] = other
    world.checkers._forget(process)
    world.checkers.turned(process)


def release_of_the_living(world):
    world.checkers.released(leader(world), 2)


def old_self_that_is_let_in(world):
    one, other = leader(world), follower(world)
    hello = other.hello(one.address, 9)
    world.checkers.memory.shook(one, hello._replace(term=0), other)


def old_self_that_votes_after_it_was_told(world):
    one, other = leader(world), follower(world)
    other.host.has_gone_back = True
    world.checkers.memory.disowned(other, one.address)
    world.checkers.memory.disowned(other, one.address)
    world.checkers.sending(other, one, VoteReply(99, True))


BREAKERS = [
    (second_lease, "P2: two lease holders"),
    (vow_that_ends_before_the_lease, "P2: a lease without a quorum of running vows"),
    (two_confirmed_answers, "P2: two confirmed LEADER answers"),
    (second_leader_of_the_term, "P1: Election Safety"),
    (another_entry_at_one_place, "P1: Log Matching"),
    (leader_without_a_committed_entry, "P1: Leader Completeness"),
    (committed_entry_that_changes, "P1: State Machine Safety"),
    (commit_without_a_quorum, "P3: committed without a quorum of disks"),
    (vote_that_is_not_durable, "P3: a vote that is not durable"),
    (second_vote, "P1: two votes in a term"),
    (ack_beyond_the_disk, "P3: acknowledged beyond the disk"),
    (ack_of_what_the_leader_has_not, "P1: acknowledged what the leader has not"),
    (vow_that_is_not_on_disk, "P2: a vow that is not on disk"),
    (durable_entries_that_are_gone, "P3: durable entries are lost"),
    (durable_vote_that_is_gone, "P3: a durable vote is lost"),
    (stores_that_differ, "P1: stores differ"),
    (second_founding, "P7: two clusters"),
    (release_of_the_living, "P4: released while it lives"),
    (old_self_that_is_let_in, "P7: an old self is let in by one that knows better"),
    (old_self_that_votes_after_it_was_told, "P7: votes or acknowledges though a peer told it"),
]


@pytest.mark.parametrize("breaks, rule", BREAKERS, ids=[breaks.__name__ for breaks, _ in BREAKERS])
def test_a_doctored_cluster_breaks_the_rule(world, breaks, rule):
    with pytest.raises(Violation, match=rule):
        breaks(world)


def test_a_sound_cluster_breaks_none(world):
    assert world.run_until(world.now + 1_000 * MS, lambda: world.clients.done > 40)
    assert leader(world).hello("", 0).version == handshake.VERSION and not world.excuses


def test_p7_an_excuse_covers_what_a_forgotten_promise_can_break_and_no_more(world):
    world.excuse("h1 can't know")
    with pytest.raises(Violation) as found:
        second_lease(world)
    assert found.value.excuse == "h1 can't know"
    with pytest.raises(Violation) as found:
        ack_beyond_the_disk(world)
    assert found.value.excuse is None


def test_p2_a_holder_whose_clocks_stood_still_may_count_for_its_own_lease_and_no_longer(world, monkeypatch):
    holder = leader(world)
    monkeypatch.setattr(world.checkers.leases, "_covered", lambda holder: None)
    holder.host.stop_clocks()
    second_lease(world)
    holder.host.resume()
    bound = holder.timing.election_min * 9 // 10
    world.now += bound - 1 * MS
    holder.board = holder.board._replace(lease_end=holder.now.plus(100 * MS))
    world.checkers.leases.look()
    world.now += 2 * MS
    with pytest.raises(Violation, match="two lease holders"):
        world.checkers.leases.look()
