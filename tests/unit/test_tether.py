"""Guardian and node: the table of messages, their framing, and the lease board."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from raftctl import tether
from raftctl.base.errors import OurFault, PeerFault
from raftctl.base.instants import Instant
from raftctl.tether import Board, BoardState, Line

STATE = {"kind": "state", "state": "LEADER", "previous": "CANDIDATE", "term": 7, "leader": "tcp://h1:8089",
         "reason": "pre-votes 2/3", "role": "voter", "members": ["tcp://h1:8089"], "clusterId": "c" * 32,
         "record": 12}
LOCKED = {"kind": "locked", "instance": "n1", "incarnation": 3, "term": 6, "clusterId": ""}


def test_messages_come_out_as_they_went_in_however_the_stream_is_cut():
    sent = [LOCKED, {"kind": "ready"}, STATE, {"kind": "stopping"}, dict(STATE, leader=None)]
    stream = b"".join(map(tether.encode, sent))
    assert Line().receive(stream) == sent
    by_byte = Line()
    assert [found for i in range(len(stream)) for found in by_byte.receive(stream[i:i + 1])] == sent
    for cut in range(len(stream)):
        line = Line()
        assert line.receive(stream[:cut]) + line.receive(stream[cut:]) == sent


@pytest.mark.parametrize("line, complaint", [
    (b"nonsense\n", "tether: a line is"),
    (b"[]\n", "not a JSON object"),
    (b"{}\n", "no kind"),
    (b'{"kind":7}\n', "no kind"),
    (b'{"kind":"status"}\n', '"text" is missing or wrong'),
    (b'{"kind":"locked","instance":"a","incarnation":true,"term":1,"clusterId":""}\n', '"incarnation"'),
    (b"[" * 100000 + b"\n", "nested too deeply"),
    (b"x" * (tether.LINE_LIMIT + 1), "a line of more than"),
])
def test_what_no_node_sends_is_a_peer_fault(line, complaint):
    with pytest.raises(PeerFault, match=complaint):
        Line().receive(line)


def test_a_newer_node_may_say_more():
    assert Line().receive(b'{"kind":"weather","sky":"blue"}\n{"kind":"ready","since":1}\n') == [
        {"kind": "ready", "since": 1}]


@pytest.mark.parametrize("message", [{"kind": "weather"}, {"kind": "status"}, dict(STATE, term="7")])
def test_a_message_outside_the_table_is_never_sent(message):
    with pytest.raises(OurFault):
        tether.encode(message)


def test_a_board_shows_what_was_published_last():
    board = Board.create()
    other = Board.attach(os.dup(board.fd))
    assert other.read() == BoardState(0, 0, False, Instant(0, 0))
    for term in range(1, 5):
        state = BoardState(2, term, term % 2 == 0, Instant(term * 10**15, 2**62))
        other.publish(state)
        assert board.read() == state
    board.close()
    other.close()


def test_p2_the_board_is_leased_only_while_leading_and_both_clocks_are_before_the_end():
    board = Board.create()
    end = Instant(1000, 2000)
    board.publish(BoardState(1, 7, True, end))
    assert board.leased(Instant(999, 1999))
    assert not board.leased(Instant(1000, 1999))
    assert not board.leased(Instant(999, 2000))
    board.publish(BoardState(1, 7, False, end))
    assert not board.leased(Instant(0, 0))
    board.close()


def test_a_node_killed_while_it_publishes_leaves_the_state_before_whole():
    """Every prefix of the stores of `publish`, the slot byte by byte, then the counter."""
    board = Board.create()
    before = BoardState(3, 8, True, Instant(5, 5))
    after = BoardState(3, 9, False, Instant(6, 6))
    board.publish(before)
    old = bytes(board._memory)
    board.publish(after)
    new = bytes(board._memory)
    changed = [i for i in range(64, len(new)) if old[i] != new[i]]
    for count in range(len(changed) + 1):
        board._memory[:] = old
        for at in changed[:count]:
            board._memory[at:at + 1] = new[at:at + 1]
        assert board.read() == before
    board._memory[:] = new
    assert board.read() == after
    board.close()


def test_a_reader_never_sees_a_torn_state_of_another_process():
    board = Board.create()
    os.set_inheritable(board.fd, True)
    writer = subprocess.Popen(
        [sys.executable, "-c", "import sys\n"
         "from raftctl.tether import Board, BoardState\nfrom raftctl.base.instants import Instant\n"
         "board = Board.attach(int(sys.argv[1]))\n"
         "for n in range(1, 20001): board.publish(BoardState(n, n, True, Instant(n, n)))", str(board.fd)],
        pass_fds=(board.fd,), env={"PYTHONPATH": str(Path(__file__).parents[2])})
    seen = 0
    while seen < 20000:
        state = board.read()
        assert state.incarnation == state.term == state.lease_end.boot == state.lease_end.raw >= seen
        seen = state.term
        assert writer.poll() in (None, 0)
    assert writer.wait() == 0
    board.close()


def test_a_board_is_not_inherited_unless_it_is_passed_on_and_cannot_shrink():
    board = Board.create()
    assert not os.get_inheritable(board.fd)
    with pytest.raises(OSError):
        os.ftruncate(board.fd, 8)
    board.close()


def test_a_damaged_board_is_our_fault_and_another_file_is_no_board():
    board = Board.create()
    board._memory[64:384] = b"\xff" * 320
    with pytest.raises(OurFault, match="damaged"):
        board.read()
    board.close()
    reader, writer = os.pipe()
    with pytest.raises(OurFault, match="not a lease board"):
        Board.attach(reader)
    os.close(reader)
    os.close(writer)
