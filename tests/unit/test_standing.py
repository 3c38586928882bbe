"""Standings: what is assumed, said and remembered; caretakers, preemption, order of candidacies (§4.2)."""

from __future__ import annotations

import pytest
from test_transfer import MS, Node, ack, follower, leader  # noqa: F401  (fixtures)

from raftctl.base.instants import Instant
from raftctl.raft.inputs import (
    CANDIDATE,
    FOLLOWER,
    LEADER,
    PRE_CANDIDATE,
    Alarm,
    Campaign,
    Health,
    LinkUp,
    Proposed,
    Received,
    Stopping,
)
from raftctl.raft.messages import (
    COMMAND,
    Append,
    Position,
    PreVote,
    PreVoteReply,
    Release,
    Standing,
    TimeoutNow,
    Vote,
    VoteReply,
)
from raftctl.raft.standing import Standings, why_reluctant, why_unfit


def says(peer, *fields, **more):
    """Return the input in which the first incarnation of `peer` tells its standing."""
    return Received(peer, 1, Standing(*fields, **more)._replace(incarnation=1))


def standings(own, **peers):
    made = Standings(Standing(own))
    for peer, standing in peers.items():
        made.note(peer, standing)
    return made


def test_who_is_unfit_and_who_only_reluctant():
    assert [why_unfit(Standing()), why_unfit(Standing(0)), why_unfit(Standing(healthy=False)),
            why_unfit(Standing(stopping=True))] == ["", "has priority 0", "is unhealthy", "is stopping"]
    assert why_reluctant(Standing(stopping=True)) == ""


def test_a_peer_is_ordinary_until_it_says_otherwise_and_when_it_is_forgotten():
    made = standings(100)
    assert made.of("n2") == Standing()
    assert made.note("n2", Standing(0)) and not made.note("n2", Standing(0))
    assert made.of("n2") == Standing(0)
    made.shook_hands("n2", 1)
    made.shook_hands("n3", 1)
    assert made.of("n2") == Standing()


@pytest.mark.parametrize("own, peers, least, most", [
    (100, {}, 0.0, 1.0),
    (100, {"n2": Standing(50), "n3": Standing(50)}, 0.0, 0.4),
    (50, {"n2": Standing(100), "n3": Standing(50)}, 0.5, 0.9),
    (50, {"n2": Standing(200), "n3": Standing(100)}, 2 / 3, 2 / 3 + 0.8 / 3),
    (50, {"n2": Standing(0), "n3": Standing(200, healthy=False)}, 0.0, 1.0),      # they would not lead
    (50, {"n2": Standing(200, stopping=True), "n3": Standing(50)}, 0.0, 1.0),
])
def test_the_higher_priority_has_the_earlier_part_of_the_election_timeout(own, peers, least, most):
    made = standings(own, **peers)
    rivals = list(peers) or ["n2", "n3"]
    assert made.place(0.0, rivals) == pytest.approx(least)
    assert made.place(1.0, rivals) == pytest.approx(most)


def test_an_ordinary_node_says_nothing_of_itself(leader):  # noqa: F811
    for ms in range(100, 3000, 100):
        leader.at(ms).give(Alarm(), ack("n2", 2, ms // 100), ack("n3", 2, ms // 100), LinkUp("n2", 1, 1))
    assert leader.role == LEADER and leader.taken(Standing) == []


def test_what_changed_is_told_at_once_and_again_every_election_max(follower):  # noqa: F811
    bad, good = Standing(healthy=False, incarnation=1), Standing(incarnation=1)
    follower.give(Health(False), Health(False))
    assert follower.taken(Standing) == [("n1", bad), ("n3", bad)]
    for ms in (100, 999, 1000, 1100, 2000):
        heartbeat = Append(2, 1, 500 * MS, 2, Position(2, 2), 2, ())
        follower.at(ms).give(Received("n1", 1, heartbeat))
        told = [("n1", bad), ("n3", bad)] if ms in (1000, 2000) else []
        assert follower.taken(Standing) == told, ms
    follower.give(Health(True))
    assert follower.taken(Standing) == [("n1", good), ("n3", good)]
    follower.at(3100).give(Received("n1", 1, Append(2, 1, 500 * MS, 3, Position(2, 2), 2, ())))
    assert follower.taken(Standing) == [("n1", good), ("n3", good)]


def test_a_new_connection_hears_it_first(follower):  # noqa: F811
    follower.give(Health(False))
    follower.sent.clear()
    follower.give(LinkUp("n3", 2, 1))
    assert follower.taken(Standing) == [("n3", Standing(healthy=False, incarnation=1))]


def test_a_stopping_node_tells_its_peers(follower):  # noqa: F811
    follower.give(Stopping())
    stopping = Standing(stopping=True, incarnation=1)
    assert follower.taken(Standing) == [("n1", stopping), ("n3", stopping)]


def test_a_later_incarnation_is_ordinary_again_and_the_same_one_is_not(leader):  # noqa: F811
    leader.give(says("n2", 0), says("n3", 0), LinkUp("n2", 2, 1),
                LinkUp("n3", 2, 2), Health(False))
    assert [peer for peer, _ in leader.taken(TimeoutNow)] == ["n3"]


def test_late_words_of_an_older_incarnation_count_nothing(leader):  # noqa: F811
    leader.give(LinkUp("n2", 2, 2), says("n2", 0))
    assert leader.core._state.standings.of("n2") == Standing()
    said = Standing(0, incarnation=3)
    leader.give(Received("n2", 1, said), LinkUp("n2", 3, 3))         # its words came before our handshake
    assert leader.core._state.standings.of("n2") == said


def test_the_standing_of_a_stranger_is_not_kept(leader):  # noqa: F811
    leader.give(says("n9", 0))
    assert leader.core._state.standings.of("n9") == Standing()


def test_an_unhealthy_leader_shows_nothing_and_tells_a_healthy_one_to_lead(leader):  # noqa: F811
    leader.give(says("n2", healthy=False), Health(False))
    assert not leader.is_leased and leader.role == FOLLOWER
    assert leader.taken(TimeoutNow) == [("n3", TimeoutNow(Release("n1", 1, 2, "n3"), Position(2, 2)))]


def test_a_caretaker_takes_writes_and_hands_over_when_somebody_is_healthy(leader):  # noqa: F811
    leader.give(says("n2", 0), says("n3", healthy=False), Health(False))
    assert leader.role == LEADER and not leader.is_leased
    leader.give(Proposed(1, COMMAND, b"x"), ack("n2", 3), ack("n3", 3))
    assert leader.core.view().commit_index == 3 and not leader.is_leased
    leader.give(says("n3"))
    assert leader.role == FOLLOWER and len(leader.taken(TimeoutNow)) == 1


def test_a_caretaker_does_not_hand_over_to_one_that_lacks_committed_entries(leader):  # noqa: F811
    leader.give(says("n3", 0), Proposed(1, COMMAND, b"x"), ack("n3", 3), Health(False))
    assert leader.role == LEADER and leader.taken((TimeoutNow, Release)) == []
    leader.give(ack("n2", 3)).at(100).give(Alarm())
    assert [peer for peer, _ in leader.taken(TimeoutNow)] == ["n2"]


def test_a_caretaker_tries_again_once_an_election_max(leader):  # noqa: F811
    leader.give(says("n3", 0), Proposed(1, COMMAND, b"x"), Health(False))
    tries = []
    for ms in range(0, 2000, 100):       # the entry arrives nowhere
        leader.at(ms).give(Alarm(), ack("n2", 2, ms // 100), ack("n3", 2, ms // 100))
        tries.append(leader.core._state.handover is not None)
    assert tries == ([True] * 5 + [False] * 5) * 2


def test_health_that_comes_back_shows_leader_in_the_same_term(leader):  # noqa: F811
    leader.give(says("n2", 0), says("n3", 0), Health(False))
    assert not leader.is_leased
    leader.give(Health(True))
    assert leader.is_leased and leader.core.view().term == 2


def test_an_unhealthy_node_campaigns_one_election_max_later(follower):  # noqa: F811
    assert follower.core.ready(follower.now).deadline == Instant(500 * MS, 500 * MS)
    follower.give(Health(False))
    assert follower.core.ready(follower.now).deadline == Instant(1500 * MS, 1500 * MS)
    follower.at(1500).give(Alarm())
    assert follower.role == PRE_CANDIDATE and len(follower.taken(PreVote)) == 2
    follower.give(Received("n3", 1, PreVoteReply(3, True, 0)))
    assert follower.role == CANDIDATE
    follower.give(Received("n3", 1, VoteReply(3, True)))
    assert follower.role == LEADER and not follower.is_leased


def test_health_that_flaps_does_not_put_a_candidacy_off(follower):  # noqa: F811
    for ms in range(0, 1000, 50):
        follower.at(ms).give(Health(ms % 100 == 0))
    follower.at(1000).give(Health(True), Alarm())
    follower.at(1100).give(Alarm())        # the timer is late: one heartbeat more
    assert follower.role == PRE_CANDIDATE


@pytest.mark.parametrize("own, theirs", [(255, 0), (255, 1), (100, 100), (0, 255)])
def test_priority_never_refuses_a_vote(own, theirs):
    node = Node("n2", Standing(own))
    node.give(says("n3", theirs), Received("n3", 1, PreVote(2, Position(1, 1))),
              Received("n3", 1, Vote(2, Position(1, 1))))
    assert [message.granted for _, message in node.taken((PreVoteReply, VoteReply))] == [True, True]


def preempted(ms, standing, own=100):
    """Return whom n1, of priority `own`, tells to lead `ms` after it won, where n2 shows `standing`."""
    node = Node("n1", Standing(own))
    node.give(Campaign(), Received("n2", 1, PreVoteReply(2, True, 0)), Received("n2", 1, VoteReply(2, True)),
              ack("n2", 2), ack("n3", 2), says("n2", *standing))
    for beat in range(1, ms // 100 + 1):
        node.at(beat * 100).give(Alarm(), ack("n2", 2, beat + 1), ack("n3", 2, beat + 1))
    return [peer for peer, _ in node.taken(TimeoutNow)]


@pytest.mark.parametrize("ms, standing, told", [
    (4900, Standing(200, preempt=True), []),
    (5000, Standing(200, preempt=True), ["n2"]),
    (9000, Standing(200), []),
    (9000, Standing(100, preempt=True), []),
    (9000, Standing(200, preempt=True, healthy=False), []),
    (9000, Standing(200, preempt=True, stopping=True), []),
])
def test_leadership_moves_to_a_higher_priority_that_preempts(ms, standing, told):
    assert preempted(ms, standing) == told
