"""P7: what each instance showed is remembered, also over restarts, and what contradicts it is refused."""

from __future__ import annotations

import pytest
from fake_disk import FakeDisk
from net_world import hello

from raftctl.cluster.handshake import GUARDIAN
from raftctl.cluster.memory import STRANGERS, Memory, decode, encode
from raftctl.disk.journal import Journal
from raftctl.raft.configuration import Malformed
from raftctl.raft.messages import (
    ORIGIN,
    Append,
    AppendReply,
    HardState,
    Position,
    PreVote,
    PreVoteReply,
    Release,
    Vote,
    VoteReply,
    Write,
)

OWN = hello("h1", instance="i-h1")
H2 = hello("h2", incarnation=7, start_id="a", term=5, last=Position(5, 9))


def known(**shown):
    memory = Memory()
    assert memory.judge(OWN, H2._replace(**shown)) is None
    return memory


def restarted(memory, *members, committed=True):
    return Memory(memory.take(members or ("i-h2",), committed=committed) or b"")


def why(memory, **shown):
    refusal = memory.judge(OWN, H2._replace(**shown))
    return refusal and refusal.message


@pytest.mark.parametrize("again", [lambda memory: memory, restarted])
@pytest.mark.parametrize("shown, words", [
    ({}, None),
    ({"incarnation": 8, "start_id": "b"}, None),
    ({"incarnation": 6, "start_id": "b"}, "(incarnation 6 after 7)"),
    ({"start_id": "b"}, "(incarnation 7 from two processes)"),
    ({"incarnation": 8, "start_id": "b", "term": 4}, "(term 4 after 5)"),
])
def test_p7_what_a_handshake_showed_is_remembered_over_a_restart(again, shown, words):
    found = why(again(known()), **shown)
    assert found is None if words is None else words in found
    assert words is None or "is used twice" in found and "move its directory away" in found


@pytest.mark.parametrize("message", [
    Vote(6, ORIGIN), VoteReply(6, True), VoteReply(6, False), AppendReply(6, 1, 1, False, 0, ORIGIN),
    Append(6, 7, 1, 1, ORIGIN, 0, ()),
])
def test_p7_a_term_that_a_vote_or_an_ack_showed_may_not_fall(message):
    memory = known()
    memory.heard("i-h2", message)
    for remembering in (memory, restarted(memory)):
        assert "(term 5 after 6)" in why(remembering, incarnation=8, start_id="b")
        assert why(remembering, incarnation=8, start_id="b", term=6) is None


@pytest.mark.parametrize("message", [
    PreVote(6, ORIGIN), PreVoteReply(6, True, 0), PreVoteReply(6, False, 0), Release("i-h2", 7, 6),
])
def test_p7_a_term_that_may_not_be_on_its_disk_is_not_held_against_it(message):
    memory = known()
    memory.heard("i-h2", message)
    assert why(memory, incarnation=8, start_id="b") is None


@pytest.mark.parametrize("last, words", [
    (Position(5, 9), None), (Position(5, 8), None), (Position(5, 7), "(its log ends at 7, it acknowledged 8)"),
    (Position(6, 7), "(its log ends at 7, it acknowledged 8)"), (Position(6, 8), None), (ORIGIN, "ends at 0"),
])
def test_p7_3_5_a_log_that_ends_before_what_it_acknowledged_and_is_committed(last, words):
    memory = known()
    memory.acknowledged("i-h2", 8)
    memory.acknowledged("i-h2", 3)
    for remembering in (memory, restarted(memory)):
        found = why(remembering, incarnation=8, start_id="b", term=6, last=last)
        assert found is None if words is None else words in found


def test_p7_a_later_handshake_does_not_forget_what_was_acknowledged():
    memory = known()
    memory.acknowledged("i-h2", 8)
    assert why(memory, incarnation=8, start_id="b") is None
    assert "it acknowledged 8" in why(memory, incarnation=9, start_id="c", last=Position(5, 7))


def test_p7_a_refused_handshake_teaches_nothing():
    memory = known()
    assert why(memory, incarnation=6, start_id="b", term=9)
    assert why(memory) is None


def test_p4_a_guardian_is_no_process_of_its_node_and_teaches_nothing():
    memory = Memory()
    assert memory.judge(OWN, H2._replace(role=GUARDIAN, start_id="", term=9)) is None
    assert why(memory) is None


def test_p7_what_is_unknown_is_not_remembered_by_a_message_alone():
    memory = Memory()
    memory.heard("i-h2", Vote(6, ORIGIN))
    memory.acknowledged("i-h2", 8)
    assert memory.take(("i-h2",), committed=True) is None


def test_the_same_memory_is_written_once():
    memory = known()
    first = memory.take(("i-h2",), committed=True)
    assert decode(first) and memory.take(("i-h2",), committed=True) is None
    memory.heard("i-h2", Vote(6, ORIGIN))
    assert memory.take(("i-h2",), committed=True) not in (None, first)
    again = Memory(first)
    assert again.take(("i-h2",), committed=True) is None


def test_p7_a_member_is_forgotten_once_its_removal_is_committed_and_no_sooner():
    memory = restarted(known())
    assert memory.take((), committed=False) is None        # it may be taken back
    assert memory.take((), committed=True) == b""


def test_strangers_do_not_fill_the_memory_nor_push_a_member_out_of_it():
    memory = restarted(known())
    for number in range(3 * STRANGERS):
        assert memory.judge(OWN, hello(f"s{number}")) is None
    assert len(memory._seen) == STRANGERS + 1
    assert why(memory, start_id="b")
    assert len(decode(memory.take(("i-h2", "i-s0"), committed=True) or memory._kept)) == 1


@pytest.mark.parametrize("size", range(1, len(encode({}) or b"") + 60))
def test_a_memory_cut_at_any_length_is_malformed(size):
    memory = known()
    whole = memory.take(("i-h2",), committed=True)
    if size < len(whole):
        with pytest.raises(Malformed):
            decode(whole[:size])


@pytest.mark.parametrize("wrong", [bytes(24) + b"\x00\x01a", bytes(24) + b"\x01\xff\x01a",
                                   bytes(24) + b"\x41" + b"a" * 65 + b"\x01a"])
def test_a_memory_with_a_word_that_is_no_id_is_malformed(wrong):
    with pytest.raises(Malformed):
        decode(wrong)


def test_p7_the_memory_is_on_disk_with_the_batch_it_went_along_with():
    disk = FakeDisk(("/", "/data"))
    journal, found = Journal.open("/data/log", "i-h1", disk)
    assert found.memory == b""
    journal.append(Write(1, HardState(1), (), b"one"))
    journal.append(Write(2, HardState(2), ()))
    journal.append(Write(3, HardState(3), (), b"three"))
    journal.append(Write(4, HardState(4), ()))
    after = disk.power_cut()
    assert Journal.open("/data/log", "i-h1", after)[1].memory == b"three"
    journal.append(Write(5, HardState(5), (), b""))
    assert Journal.open("/data/log", "i-h1", disk.power_cut())[1].memory == b""
