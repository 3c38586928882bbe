"""A hand-over by an operator's word: outgoing work first, all of it undone where it comes to nothing (P6)."""

from __future__ import annotations

import pytest
from turn_world import World

from raftctl.cluster.serving import TAKEN_OVER, TRANSFER, Ask
from raftctl.cluster.takeover import FAILED, NONE, OPEN, HostWork

LIMIT = 5_000_000_000


class Three:
    """Three nodes whose guardians have a `leader` hook; `works` is what the leader's says."""

    def __init__(self):
        self.world = World()
        for port in (1, 2, 3):
            self.world.add(port, (1, 2, 3))
        self.world.run(1500)
        for node in self.world.nodes.values():
            self.works(node, NONE)
        self.world.run(50)
        (self.leader,) = self.world.leaders()

    def works(self, node, state, index=0, ended=0, begun=0, well=True):
        node.turn.leading.host_works(HostWork(state, index, ended, True, LIMIT, begun, well))
        node.finish()

    def record(self, node):
        return node.shown.record

    def begin(self):
        """The `leader` hook of the leader has run."""
        index = self.record(self.leader)
        assert index
        self.works(self.leader, OPEN, index, begun=index)
        return index

    def ask(self, kind=TRANSFER, to="", node=None):
        node, token = node or self.leader, self.world.count()
        node.turn.ask(self.world.instant, Ask(token, kind, to.encode()))
        node.finish()
        return token


@pytest.fixture
def three():
    return Three()


def test_p6_a_leader_with_a_hook_opens_a_record_that_all_apply(three):
    index = three.record(three.leader)
    assert {node.store.takeover.index for node in three.world.nodes.values()} == {index}
    assert three.leader.store.takeover.instance == three.leader.instance


def test_p6_a_transfer_waits_for_the_outgoing_work_and_leads_on_meanwhile(three):
    index = three.begin()
    token = three.ask()
    three.world.run(1000)
    assert token not in three.leader.answers
    assert three.leader.state == "CANDIDATE" and three.leader.turn.core.role == "leader"
    assert three.record(three.leader) == 0
    three.works(three.leader, NONE, ended=index)
    three.world.run(300)
    assert three.leader.answers[token].code is None
    (second,) = three.world.leaders()
    assert second is not three.leader
    assert second.instance.encode() == three.leader.answers[token].value


def test_p6_that_the_work_is_over_is_committed_before_the_release(three):
    index = three.begin()
    three.ask()
    three.works(three.leader, NONE, ended=index)
    three.world.run(30)
    (second,) = three.world.leaders()
    assert not any("waits until" in line for line in second.decisions)
    last = second.store.takeover
    assert last.instance == second.instance and last.index > index


def test_p6_a_failed_follower_hook_undoes_the_transfer(three):
    index = three.begin()
    token = three.ask()
    three.works(three.leader, FAILED, index)
    three.world.run(50)
    answer = three.leader.answers[token]
    assert answer.code == "refused" and b"follower hook" in answer.value
    assert three.world.leaders() == [three.leader]
    assert three.record(three.leader) == index


def test_p6_work_that_does_not_end_undoes_the_transfer(three):
    three.begin()
    token = three.ask()
    three.world.run(LIMIT // 1_000_000 + 10_000 + 200)
    answer = three.leader.answers[token]
    assert answer.code == "refused" and b"does not end" in answer.value
    assert three.world.leaders() == [three.leader]


def test_p6_a_transfer_that_is_refused_changes_nothing(three):
    index = three.begin()
    token = three.ask(to="i9-nobody")
    three.world.run(50)
    assert three.leader.answers[token].code == "refused"
    assert three.world.leaders() == [three.leader] and three.record(three.leader) == index
    first, second = three.ask(), three.ask()
    three.world.run(10)
    assert three.leader.answers[second].code == "busy" and first not in three.leader.answers


def test_p6_an_aborted_transfer_opens_a_new_record(three):
    """The successor dies when the outgoing work has ended already."""
    index = three.begin()
    other = next(node for node in three.world.nodes.values() if node is not three.leader)
    token = three.ask(to=other.instance)
    three.world.run(20)
    other.kill()
    three.works(three.leader, NONE, ended=index)
    three.world.run(1500)
    assert three.leader.answers[token].code in ("refused", "timeout")
    assert three.world.leaders() == [three.leader]
    assert three.record(three.leader) > index


def test_p6_who_waits_for_a_takeover_hears_when_the_leader_hook_has_ended(three):
    token = three.ask(TAKEN_OVER)
    three.world.run(50)
    assert token not in three.leader.answers
    three.begin()
    three.world.run(5)
    assert three.leader.answers[token].value == three.leader.instance.encode()
    three.works(three.leader, OPEN, three.record(three.leader), begun=three.record(three.leader), well=False)
    token = three.ask(TAKEN_OVER)
    three.world.run(5)
    assert three.leader.answers[token].code == "refused"


def test_p6_a_follower_forwards_who_waits_for_a_takeover(three):
    other = next(node for node in three.world.nodes.values() if node is not three.leader)
    token = three.ask(TAKEN_OVER, node=other)
    three.begin()
    three.world.run(20)
    assert other.answers[token].value == three.leader.instance.encode()


def test_p6_a_stop_releases_the_term_only_when_the_end_of_the_work_is_committed(three):
    index = three.begin()
    three.leader.turn.stop(three.world.instant)
    three.leader.finish()
    three.works(three.leader, NONE, ended=index)
    three.leader.turn.resign(three.world.instant)
    three.leader.finish()
    assert not three.leader.turn.leading.has_resigned
    three.world.run(40)
    assert three.leader.turn.leading.has_resigned
    (second,) = three.world.leaders()
    assert not any("waits until" in line for line in second.decisions)


def test_p6_a_stop_whose_work_has_failed_waits_for_nothing(three):
    index = three.begin()
    three.leader.turn.stop(three.world.instant)
    three.works(three.leader, FAILED, index)
    three.leader.turn.resign(three.world.instant)
    three.leader.finish()
    assert three.leader.turn.leading.has_resigned
    three.world.run(100)
    second = next(node for node in three.world.nodes.values() if node.turn.core.role == "leader")
    assert second.state == "CANDIDATE" and "waits until the work of" in second.shown.cause


def test_p6_a_follower_tells_the_leader_that_its_former_work_is_over(three):
    index = three.begin()
    three.leader.turn.stop(three.world.instant)
    three.leader.turn.resign(three.world.instant)
    three.leader.finish()
    three.world.run(100)
    assert not three.world.leaders()
    three.works(three.leader, NONE, ended=index)
    three.world.run(20)
    (second,) = three.world.leaders()
    assert second is not three.leader


# --- the check of this host fails


def sick(three, cause="check failed 3 times: web.sh status 7"):
    three.leader.turn.health(three.world.instant, False, cause)
    three.leader.finish()


def test_p6_an_unhealthy_leader_ends_its_work_before_it_hands_over(three):
    index = three.begin()
    sick(three)
    three.world.run(1000)
    assert three.leader.state == "CANDIDATE" and three.leader.turn.core.role == "leader"
    assert three.leader.shown.cause == "check failed 3 times: web.sh status 7"
    assert three.record(three.leader) == 0
    three.works(three.leader, NONE, ended=index)
    three.world.run(300)
    (second,) = three.world.leaders()
    assert second is not three.leader and second.state == "LEADER"
    assert not any("waits until" in line for line in second.decisions)
    assert any("status 7 -> is unhealthy" in line for line in three.leader.decisions)
    three.leader.turn.health(three.world.instant, True, "check passed 2 times")
    three.world.run(3000)
    assert three.world.leaders() == [second]          # sticky


def test_1_8_an_unhealthy_leader_without_a_fit_successor_is_a_caretaker(three):
    index = three.begin()
    for node in three.world.nodes.values():
        if node is not three.leader:
            node.turn.health(three.world.instant, False, "check failed 1 time: web.sh status 7")
            node.finish()
    three.world.run(50)
    sick(three)
    three.world.run(2000)
    assert three.leader.turn.core.role == "leader" and three.leader.state == "CANDIDATE"
    three.works(three.leader, NONE, ended=index)
    three.world.run(2000)
    assert not [node for node in three.world.nodes.values() if node.state == "LEADER"]
    (caretaker,) = [node for node in three.world.nodes.values() if node.turn.core.role == "leader"]
    caretaker.turn.health(three.world.instant, True, "check passed 2 times")
    caretaker.finish()
    three.world.run(500)
    assert caretaker.state == "LEADER"


def test_p6_an_unhealthy_leader_whose_work_does_not_end_well_gives_way_all_the_same(three):
    """As for one that crashed: the next waits for `takeover delay` (P6)."""
    index = three.begin()
    sick(three)
    three.works(three.leader, FAILED, index)
    three.world.run(700)
    (second,) = [node for node in three.world.nodes.values() if node.turn.core.role == "leader"]
    assert second is not three.leader and second.state == "CANDIDATE"
    three.world.run(3000)
    assert second.state == "LEADER"


def test_one_that_is_healthy_again_before_it_handed_over_is_fit_at_once(three):
    index = three.begin()
    sick(three)
    three.leader.turn.health(three.world.instant, True, "check passed 2 times")
    three.works(three.leader, NONE, ended=index)
    three.world.run(300)
    (second,) = three.world.leaders()
    assert second is not three.leader          # what has begun goes on
    assert not any("is unhealthy" in line for line in three.leader.decisions)
