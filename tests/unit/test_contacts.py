"""node/contacts.py: who was heard when, by instance, within bounds."""

from __future__ import annotations

from net_world import guardian, hello

from raftctl.base.instants import Instant
from raftctl.node.contacts import LIMIT, Contacts

MS = 1_000_000


def at(milliseconds):
    return Instant(milliseconds * MS, milliseconds * MS)


def test_the_newest_word_of_an_instance_counts_whatever_its_address_says():
    contacts = Contacts()
    contacts.heard(hello("h2", instance="i2"), at(10))
    contacts.heard(hello("h2", instance="i2"), at(30))
    contacts.heard(hello("h2", instance="wiped"), at(70))
    assert contacts.age_ms("i2", at(100)) == 70
    assert contacts.age_ms("wiped", at(100)) == 30
    assert contacts.age_ms("i3", at(100)) is None


def test_a_guardian_speaks_for_a_node_that_has_ended():
    contacts = Contacts()
    contacts.heard(guardian("h2", instance="i2"), at(10))
    assert contacts.age_ms("i2", at(20)) is None


def test_instances_that_only_passed_by_make_room_oldest_first():
    contacts = Contacts()
    for number in range(LIMIT):
        contacts.heard(hello("h2", instance=f"i{number}"), at(number))
    contacts.heard(hello("h2", instance="i0"), at(LIMIT))
    contacts.heard(hello("h2", instance="one more"), at(LIMIT + 1))
    assert contacts.age_ms("i1", at(LIMIT + 1)) is None
    assert contacts.age_ms("i0", at(LIMIT + 1)) == 1
    assert contacts.age_ms("one more", at(LIMIT + 1)) == 0
