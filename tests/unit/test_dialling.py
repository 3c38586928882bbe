"""Whom a node dials, and that an unchanged answer is given once."""

from __future__ import annotations

from raftctl.cluster.dialling import Dialling
from raftctl.raft.configuration import NOBODY, Member, configuration

A, B, C, D = (f"tcp://h{number}:1" for number in range(1, 5))
MEMBERS = configuration("c", [Member("a", A, True), Member("b", B, True)])


def test_the_list_is_dialled_until_there_is_a_configuration_then_its_members():
    dialling = Dialling(A, (A, B, C))
    assert dialling.changed(NOBODY, ()) == (B, C)
    assert dialling.changed(MEMBERS, ()) == (B,)


def test_who_is_needed_beside_members_is_dialled_once_and_in_order():
    assert Dialling(A, ()).changed(MEMBERS, (D, C, B)) == (B, C, D)


def test_a_leader_that_speaks_to_a_node_without_configuration_is_dialled_until_it_has_one():
    dialling = Dialling(D, ())
    assert dialling.changed(NOBODY, ()) is None
    dialling.introduce(A)
    assert dialling.changed(NOBODY, ()) == (A,)
    assert dialling.changed(MEMBERS, ()) == (A, B)


def test_the_same_question_and_the_same_answer_change_nothing():
    dialling = Dialling(A, (B,))
    assert dialling.changed(NOBODY, ()) == (B,)
    assert dialling.changed(NOBODY, ()) is None
    assert dialling.changed(MEMBERS, ()) is None
