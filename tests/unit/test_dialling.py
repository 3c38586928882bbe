"""Whom a node dials, and that an unchanged answer is given once."""

from __future__ import annotations

from raftctl.base.instants import Instant
from raftctl.cluster.dialling import CALLER_LIMIT, CALLER_NS, Dialling
from raftctl.raft.configuration import NOBODY, Member, configuration
from raftctl.raft.inputs import FOLLOWER, View
from raftctl.raft.messages import ORIGIN, Position

A, B, C, D = (f"tcp://h{number}:1" for number in range(1, 5))
NOW = Instant(0, 0)


def view(members, removed=ORIGIN):
    return View(FOLLOWER, 1, None, NOW, 1, 1, members, removed)


FRESH = view(NOBODY)
MEMBERS = view(configuration("c", [Member("a", A, True), Member("b", B, True)]))


def test_the_list_is_dialled_until_there_is_a_configuration_then_its_members():
    dialling = Dialling(A, (A, B, C))
    assert dialling.changed(NOW, FRESH, ()) == (B, C)
    assert dialling.changed(NOW, MEMBERS, ()) == (B,)


def test_who_is_needed_beside_members_is_dialled_once_and_in_order():
    assert Dialling(A, ()).changed(NOW, MEMBERS, (D, C, B)) == (B, C, D)


def test_a_leader_that_speaks_to_a_node_without_configuration_is_dialled_until_it_has_one():
    dialling = Dialling(D, ())
    assert dialling.changed(NOW, FRESH, ()) is None
    dialling.introduce(A)
    assert dialling.changed(NOW, FRESH, ()) == (A,)
    assert dialling.changed(NOW, MEMBERS, ()) == (A, B)


def test_the_same_question_and_the_same_answer_change_nothing():
    dialling = Dialling(A, (B,))
    assert dialling.changed(NOW, FRESH, ()) == (B,)
    assert dialling.changed(NOW, FRESH, ()) is None
    assert dialling.changed(NOW, MEMBERS, ()) is None


def test_a_former_member_that_speaks_is_dialled_for_a_while():
    dialling = Dialling(A, ())
    dialling.called(NOW, D)
    assert dialling.changed(NOW, MEMBERS, ()) == (B, D)
    assert dialling.changed(NOW.plus(CALLER_NS - 1), MEMBERS, ()) is None
    assert dialling.changed(NOW.plus(CALLER_NS), MEMBERS, ()) == (B,)


def test_no_more_than_so_many_former_members_are_dialled():
    dialling = Dialling(A, ())
    for port in range(100):
        dialling.called(NOW, f"tcp://h9:{port + 1}")
    assert len(dialling.changed(NOW, MEMBERS, ())) == 1 + CALLER_LIMIT


def test_a_removed_node_dials_nobody():
    removed = MEMBERS._replace(removed=Position(2, 9))
    dialling = Dialling(A, (A, B, C))
    assert dialling.changed(NOW, MEMBERS, ()) == (B,)
    assert dialling.changed(NOW, removed, (D,)) == ()
