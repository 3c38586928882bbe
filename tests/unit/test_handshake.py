"""cluster/handshake.py: who is let in, and the bytes of a hello."""

from __future__ import annotations

import json

import pytest
from net_world import guardian, hello

from raftctl.base.errors import PeerFault, UsageError
from raftctl.cluster import handshake
from raftctl.cluster.handshake import FRAME_KINDS, REFUSAL_CODES, Seen, decode_hello, encode_hello, judge
from raftctl.raft.messages import Position

LIST = ("tcp://h1:8089", "tcp://h2:8089")
LONGER = (*LIST, "tcp://h3:8089")


def nobody(instance):
    return None


def code_of(own, theirs, known=nobody):
    refusal = judge(own, theirs, known)
    return refusal.code if refusal else None


def test_kinds_are_distinct_and_leave_the_two_high_bits_to_the_frames():
    assert len(set(FRAME_KINDS.values())) == len(FRAME_KINDS)
    assert all(0 < kind < 64 for kind in FRAME_KINDS.values())
    assert all(getattr(handshake, name) == kind for name, kind in FRAME_KINDS.items())


@pytest.mark.parametrize("own, theirs, code", [
    (hello("h1"), hello("h2"), None),
    (hello("h1"), hello("h2", version=2), None),
    (hello("h1"), hello("h2", version=3), "version"),
    (hello("h1"), hello("h2", version=0), "version"),
    (hello("h1"), hello("h1"), "self"),
    (hello("h1"), hello("h2", instance="i-h1"), "self"),
    (hello("h1"), hello("h2", cluster_id="d"), "cluster"),
    (hello("h1"), hello("h2", cluster_id="", fresh=True), None),
    (hello("h1", cluster_id="", fresh=True), hello("h2"), None),
    (hello("h1"), hello("h2", expected_address="tcp://h1:8089"), None),
    (hello("h1"), hello("h2", expected_address="tcp://h3:8089"), "address"),
    (hello("h1", expected_address="tcp://h3:8089"), hello("h2"), "address"),
    (hello("h1", fresh=True, founding=LIST), hello("h2", fresh=True, founding=LIST), None),
    (hello("h1", fresh=True, founding=LIST), hello("h2", fresh=True, founding=LONGER), "list"),
    (hello("h1", fresh=True, founding=LIST), hello("h2", fresh=True), None),
    (hello("h1", founding=LIST), hello("h2", fresh=True, founding=LONGER), None),
    (hello("h1"), guardian("h2"), None),
    (hello("h1"), guardian("h1"), "self"),
])
def test_p8_each_rule_of_admission(own, theirs, code):
    assert code_of(own, theirs) == code


@pytest.mark.parametrize("seen, code", [
    (None, None),
    (Seen(7, "s-h2", 5), None),
    (Seen(6, "other", 5), None),
    (Seen(8, "s-h2", 0), "instance"),
    (Seen(7, "other", 0), "instance"),
    (Seen(7, "s-h2", 6), "instance"),
    (Seen(6, "other", 6), "instance"),
])
def test_p7_a_data_directory_that_went_back_or_is_used_twice_is_refused(seen, code):
    known = {"i-h2": seen}
    assert code_of(hello("h1"), hello("h2", incarnation=7, term=5), known.get) == code


def test_p4_a_guardian_may_speak_for_an_incarnation_that_has_a_successor():
    assert code_of(hello("h1"), guardian("h2", incarnation=7), {"i-h2": Seen(8, "s", 9)}.get) is None


def test_different_lists_are_both_in_the_message():
    refusal = judge(hello("h1", fresh=True, founding=LIST), hello("h2", fresh=True, founding=LONGER), nobody)
    assert refusal.message == (
        "clusterNodes differ: tcp://h1:8089 has tcp://h1:8089 tcp://h2:8089; "
        "tcp://h2:8089 has tcp://h1:8089 tcp://h2:8089 tcp://h3:8089; make them equal"
    )


def test_a_copy_of_the_data_directory_is_told_from_a_dial_to_oneself():
    own = hello("h1")
    assert "is this node itself" in judge(own, hello("h1"), nobody).message
    assert "is a copy of the other" in judge(own, hello("h2", instance="i-h1"), nobody).message


def test_both_sides_refuse_what_one_refuses_except_for_what_only_one_can_know():
    pairs = [(hello("h1"), hello("h2", cluster_id="d")), (hello("h1"), hello("h2", instance="i-h1")),
             (hello("h1", fresh=True, founding=LIST), hello("h2", fresh=True, founding=LONGER)),
             (hello("h1"), hello("h2", expected_address="tcp://h3:8089"))]
    assert [code_of(a, b) for a, b in pairs] == [code_of(b, a) for a, b in pairs]


def test_the_codes_of_the_rules_are_all_in_the_table():
    assert set(REFUSAL_CODES) == {"secret", "version", "self", "cluster", "address", "list", "instance"}


FULL = hello("h1", expected_address="tcp://[fd00::2]:8089", term=7, last=Position(6, 99), fresh=True,
             founding=LIST, generation=3, nonce=bytes(range(16)), election_min_ns=500_000_000,
             heartbeat_ns=100_000_000, secured=True)


@pytest.mark.parametrize("made", [FULL, hello("h2", cluster_id=""), guardian("h3")])
def test_a_hello_survives_its_bytes(made):
    assert decode_hello(encode_hello(made)) == made


def test_unknown_fields_of_a_later_version_are_ignored():
    fields = json.loads(encode_hello(FULL))
    fields["invented_later"] = {"a": [1]}
    assert decode_hello(json.dumps(fields).encode()) == FULL


def test_the_version_is_read_even_where_nothing_else_is_as_it_was():
    assert handshake.read_version(b'{"version": 9}')[1] == 9


WRONG = [
    ("version", [None, "1", 1.0, True, -1]),
    ("role", [None, "", "boss", 1, ["peer"]]),
    ("cluster_id", [None, 1, "x" * 65, "a b", "\u00e4", "a\n"]),
    ("address",
     [None, "", "h1:8089", "tcp://h1", "tcp://H1:8089", "tcp://h1:8089/", "tcp://h1:0", "tcp://h1\n:1", 7]),
    ("expected_address", [None, "h1", 1]),
    ("instance", [None, "", "x" * 65, 1]),
    ("incarnation", [None, 0, -1, 1.5, True, 2**63]),
    ("start_id", [None, "", 5]),
    ("term", [None, -1, "7", True]),
    ("last", [None, [], [1], [1, 2, 3], [1, "2"], [-1, 0], {"term": 1}]),
    ("fresh", [None, 0, 1, "true"]),
    ("founding", [None, "tcp://h1:8089", ["h1"], [None], ["tcp://h1:8089"] * 65]),
    ("generation", [None, -1, True]),
    ("nonce", [None, "", "zz" * 16, "00" * 15, "00" * 17, 0]),
    ("election_min_ns", [None, -1]),
    ("heartbeat_ns", [None, "100"]),
    ("secured", [None, 1]),
]


@pytest.mark.parametrize("name, value", [(name, value) for name, values in WRONG for value in values])
def test_p8_a_field_of_the_wrong_form_is_refused_by_name(name, value):
    fields = json.loads(encode_hello(FULL))
    fields[name] = value
    with pytest.raises(PeerFault, match=f'"{name}"'):
        decode_hello(json.dumps(fields).encode())


@pytest.mark.parametrize("name", [name for name, _ in WRONG])
def test_p8_a_missing_field_is_refused_by_name(name):
    fields = json.loads(encode_hello(FULL))
    del fields[name]
    with pytest.raises(PeerFault, match=f'"{name}"'):
        decode_hello(json.dumps(fields).encode())


@pytest.mark.parametrize("body", [
    b"", b"GET / HTTP/1.1", b"[]", b"[" * 4000, b"\xff" * 100, b'{"version":1,"version":1}',
    b'{"version":NaN}', b" " * 4097,
])
def test_p8_garbage_is_no_hello(body):
    with pytest.raises(PeerFault, match="hello"):
        decode_hello(body)


@pytest.mark.parametrize("size", range(0, len(encode_hello(FULL)), 7))
def test_p8_a_hello_cut_at_any_length_is_refused(size):
    with pytest.raises(PeerFault):
        decode_hello(encode_hello(FULL)[:size])


def test_a_list_too_long_for_a_hello_is_the_users_matter():
    founding = tuple(f"tcp://{'h' * 60}{number}.example.org:8089" for number in range(60))
    with pytest.raises(UsageError, match="clusterNodes: the list takes"):
        encode_hello(hello("h1", founding=founding))
