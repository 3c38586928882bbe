"""Leadership transfer in one core (dissertation §3.10; P2, P4; pitfalls 1.1, 1.9).

More of it: scenarios `transfer_*`, `token_*` and `timeout_now_*`.
"""

from __future__ import annotations

import pytest

from raftctl.base.instants import Instant
from raftctl.raft.configuration import Member, configuration, encode
from raftctl.raft.core import Core
from raftctl.raft.inputs import (
    CANDIDATE,
    FOLLOWER,
    LEADER,
    Accepted,
    Alarm,
    Campaign,
    LinkDown,
    LinkUp,
    Persisted,
    Proposed,
    ReadAsked,
    Received,
    Refusal,
    Resigned,
    Restored,
    Stopping,
    Timing,
    Transfer,
    Transferred,
)
from raftctl.raft.messages import (
    COMMAND,
    CONFIGURATION,
    ORIGIN,
    Append,
    AppendReply,
    Entry,
    HardState,
    Position,
    PreVote,
    PreVoteReply,
    Release,
    TimeoutNow,
    Vote,
    VoteReply,
)
from raftctl.raft.proposals import UNCOMMITTED_LIMIT
from raftctl.raft.standing import ORDINARY

MS = 1_000_000
MEMBERS = [Member("n1", "n1", True), Member("n2", "n2", True), Member("n3", "n3", True)]
FOUNDING = Entry(1, 1, CONFIGURATION, encode(configuration("c", MEMBERS)))


class Node:
    """One core of three, with a disk that is done at once; the other two are what the test says."""

    def __init__(self, name, standing=ORDINARY):
        self.now = Instant(0, 0)
        restored = Restored(HardState(1), (FOUNDING,))
        self.core = Core(name, 1, Timing(100 * MS, 500 * MS, 1000 * MS), restored, self.now, lambda: 0.0,
                         standing)
        self.sent, self.answers = [], []
        for peer in ("n1", "n2", "n3"):
            if peer != name:
                self.give(LinkUp(peer, 1, 1))

    def give(self, *inputs):
        for given in inputs:
            self.core.step(self.now, given)
            while True:
                ready = self.core.ready(self.now)
                self.sent += ready.messages
                self.answers += ready.accepted + ready.refused + ready.transferred
                if ready.write is None:
                    break
                self.core.step(self.now, Persisted(ready.write.number))
        return self

    def at(self, ms):
        self.now = Instant(ms * MS, ms * MS)
        return self

    def taken(self, kind):
        found = [(peer, message) for peer, message in self.sent if isinstance(message, kind)]
        self.sent.clear()
        return found

    @property
    def role(self):
        return self.core.view().role

    @property
    def is_leased(self):
        return self.now.within(self.core.view().lease_end)


def ack(peer, match, round_=1):
    return Received(peer, 1, AppendReply(2, 1, round_, True, match, ORIGIN))


@pytest.fixture
def leader():
    """n1, which leads term 2 with its no-op at 2:2 on all."""
    node = Node("n1").give(Campaign(), Received("n2", 1, PreVoteReply(2, True, 0)),
                           Received("n2", 1, VoteReply(2, True)), ack("n2", 2), ack("n3", 2))
    assert node.role == LEADER and node.is_leased
    node.sent.clear()
    return node


@pytest.fixture
def follower():
    """n2, which follows n1 in term 2 with its no-op at 2:2."""
    noop = Append(2, 1, 500 * MS, 1, Position(1, 1), 1, (Entry(2, 2, 0, b""),))
    node = Node("n2").give(Received("n1", 1, noop))
    node.sent.clear()
    return node


TOKEN = Release("n1", 1, 2, "n2")
TOLD = TimeoutNow(TOKEN, Position(2, 2))


def test_p4_the_token_goes_to_the_successor_and_the_release_to_the_others(leader):
    leader.give(Transfer(7, "n2"))
    assert leader.sent == [("n2", TOLD), ("n3", TOKEN)]
    assert leader.answers == [Transferred(7, "n2")]
    assert (leader.role, leader.core.view().term) == (FOLLOWER, 2)


def test_p2_a_released_term_is_never_leased_again_whatever_is_acknowledged(leader):
    leader.at(100).give(Alarm(), Transfer(7, "n2"))
    assert not leader.is_leased
    leader.give(ack("n2", 2, 2), ack("n3", 2, 2))
    for ms in range(200, 1500, 100):
        leader.at(ms).give(Alarm(), ack("n2", 2, ms), ack("n3", 2, ms))
        assert not leader.is_leased and leader.role != LEADER


def test_p4_nothing_is_released_before_the_successor_has_all_of_the_log(leader):
    leader.give(Proposed(1, COMMAND, b"x"), Transfer(7, "n2"), ack("n3", 3))
    assert leader.taken((TimeoutNow, Release)) == [] and leader.role == LEADER
    leader.give(ack("n2", 3))
    assert leader.taken((TimeoutNow, Release)) == [("n2", TimeoutNow(TOKEN, Position(2, 3))), ("n3", TOKEN)]


def test_proposals_are_held_and_refused_at_the_release(leader):
    leader.give(Proposed(1, COMMAND, b"x"), Transfer(7, "n2"), Proposed(2, COMMAND, b"y"))
    assert leader.core.view().last_index == 3 and not leader.core.may_change
    leader.give(ack("n2", 3))
    assert leader.answers == [Accepted(1, 2, 3), Refusal(2, "no_leader"), Transferred(7, "n2")]


def test_proposals_are_held_and_appended_when_it_leads_on(leader):
    leader.give(Proposed(1, COMMAND, b"x"), Transfer(7, "n2"), Proposed(2, COMMAND, b"y"), LinkDown("n2"))
    assert leader.answers == [Accepted(1, 2, 3), Accepted(2, 2, 4),
                              Refusal(7, "refused", "n2 is not connected")]
    assert leader.is_leased and leader.core.may_change


def test_what_is_held_is_bounded(leader):
    leader.give(Proposed(1, COMMAND, b"x"), Transfer(7, "n2"))
    body = b"x" * (UNCOMMITTED_LIMIT // 4)
    leader.give(*(Proposed(request, COMMAND, body) for request in range(2, 10)))
    assert [answer for answer in leader.answers if isinstance(answer, Refusal)] == [
        Refusal(request, "busy") for request in range(6, 10)]
    leader.give(LinkDown("n2"))
    assert len([answer for answer in leader.answers if isinstance(answer, Accepted)]) == 5


def test_reads_go_on_until_the_release(leader):
    leader.give(Proposed(1, COMMAND, b"x"), Transfer(7, "n2"), ReadAsked(8))
    assert leader.answers == [Accepted(1, 2, 3)]
    leader.give(ack("n2", 3))
    assert leader.answers[1:] == [Refusal(8, "no_leader"), Transferred(7, "n2")]


def test_a_successor_that_does_not_catch_up_is_given_up_after_election_min(leader):
    leader.give(Proposed(1, COMMAND, b"x"), Transfer(7, "n2"))
    for ms in range(100, 500, 100):
        leader.at(ms).give(Alarm(), ack("n2", 2, ms // 100), ack("n3", 3, ms // 100))
    assert leader.answers == [Accepted(1, 2, 3)]
    leader.at(500).give(Alarm())
    assert leader.answers[1:] == [Refusal(7, "timeout", "n2 did not catch up in time")]
    assert leader.role == LEADER


def test_a_stop_while_the_successor_catches_up_waits_with_the_release(leader):
    leader.give(Proposed(1, COMMAND, b"x"), Transfer(7, "n2"), Stopping())
    assert leader.answers[-1].code == "stopping"
    leader.give(ack("n2", 3))
    assert leader.role == LEADER and leader.taken((TimeoutNow, Release)) == []
    leader.give(Resigned())
    assert leader.taken((TimeoutNow, Release)) == [("n2", TimeoutNow(TOKEN, Position(2, 3))), ("n3", TOKEN)]


def test_a_voter_with_a_full_disk_is_told_to_lead_last(leader):
    full = AppendReply(2, 1, 2, True, 2, ORIGIN, room=1000)
    leader.give(Received("n2", 1, full), Transfer(7, None))
    assert leader.answers == [Transferred(7, "n3")]


def test_the_successor_skips_the_pre_vote_and_takes_the_next_term_at_once(follower):
    follower.give(Received("n1", 1, TOLD))
    assert (follower.role, follower.core.view().term) == (CANDIDATE, 3)
    assert follower.sent == [("n1", Vote(3, Position(2, 2), TOKEN)), ("n3", Vote(3, Position(2, 2), TOKEN))]


def test_a_late_heartbeat_of_the_old_leader_undoes_nothing(follower):
    heartbeat = Append(2, 1, 500 * MS, 2, Position(2, 2), 2, ())
    follower.give(Received("n1", 1, TOLD), Received("n1", 1, heartbeat))
    assert (follower.role, follower.core.view().term) == (CANDIDATE, 3)
    assert follower.taken(AppendReply) == [("n1", AppendReply(3, 1, 0, False, 0, ORIGIN))]


def test_p4_the_token_is_in_no_second_candidacy(follower):
    follower.give(Received("n1", 1, TOLD), Received("n1", 1, VoteReply(3, False)))
    follower.sent.clear()
    follower.at(20).give(Alarm())
    assert follower.taken(PreVote) == [("n1", PreVote(4, Position(2, 2))), ("n3", PreVote(4, Position(2, 2)))]
    follower.give(Received("n1", 1, PreVoteReply(4, True, 0)))
    assert follower.taken(Vote) == [("n1", Vote(4, Position(2, 2))), ("n3", Vote(4, Position(2, 2)))]


def test_p4_a_voter_whose_connection_comes_late_gets_the_token_too(follower):
    follower.give(Received("n1", 1, TOLD), LinkDown("n3"))
    follower.sent.clear()
    follower.give(LinkUp("n3", 2, 1))
    assert follower.taken(Vote) == [("n3", Vote(3, Position(2, 2), TOKEN))]


def test_p4_a_stopping_successor_refuses(follower):
    follower.give(Stopping(), Received("n1", 1, TOLD))
    assert (follower.role, follower.core.view().term) == (FOLLOWER, 2) and follower.taken(Vote) == []


@pytest.mark.parametrize("vote, granted", [
    (Vote(3, Position(2, 2), Release("n1", 1, 2, "n3")), True),
    (Vote(3, Position(2, 2)), False),
    (Vote(4, Position(2, 2), Release("n1", 1, 2, "n3")), False),       # a second candidacy
    (Vote(3, Position(2, 2), Release("n1", 2, 2, "n3")), False),       # of another incarnation
    (Vote(3, Position(2, 2), Release("n3", 1, 2, "n3")), False),       # of another leader
    (Vote(3, Position(2, 2), Release("n1", 1, 1, "n3")), False),       # of an older term
    (Vote(3, Position(1, 1), Release("n1", 1, 2, "n3")), False),       # a log that is behind
])
def test_p4_a_token_ends_the_vow_of_its_leader_in_its_one_candidacy(follower, vote, granted):
    follower.give(Received("n3", 1, vote))
    assert [message.granted for _, message in follower.taken(VoteReply)] == [granted]


def test_p4_others_wait_one_heartbeat_for_the_successor(follower):
    follower.give(Received("n1", 1, Release("n1", 1, 2, "n3")))
    assert follower.core.ready(follower.now).deadline == Instant(100 * MS, 100 * MS)


def test_p4_nobody_waits_for_a_successor_that_is_no_voter(follower):
    follower.give(Received("n1", 1, Release("n1", 1, 2, "n9")))
    assert follower.core.ready(follower.now).deadline == follower.now
