"""What a keeper releases for a node that died (P4), whatever it had read of its words by then."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from pathlib import Path

import pytest
from release_peer import Peer

from raftctl.base.addresses import Address
from raftctl.cluster import handshake
from raftctl.config.model import NodeConfig
from raftctl.host.keeper import Keeper, Surroundings
from raftctl.host.loop import Loop
from raftctl.raft.messages import Release

NODE = r"""
import json, socket, sys, time
from raftctl.base.instants import Instant
from raftctl.tether import Board, BoardState
words, term, incarnation, status = json.loads(sys.argv[1])
board = Board.attach(int(sys.argv[sys.argv.index("--board-fd") + 1]))
guardian = socket.socket(fileno=int(sys.argv[sys.argv.index("--tether-fd") + 1]))
board.publish(BoardState(incarnation, term, True, Instant(2**62, 2**62)))
for word in words:
    guardian.sendall(json.dumps(word).encode() + b"\n")
if status == "closes":
    guardian.shutdown(socket.SHUT_RDWR)
    time.sleep(60)
sys.exit(status)
"""
LOCKED = {"kind": "locked", "instance": "n1", "incarnation": 3, "term": 6, "clusterId": "c" * 32}
STATE = {"kind": "state", "state": "LEADER", "previous": "CANDIDATE", "term": 7, "leader": "tcp://h1:1",
         "reason": "r", "role": "voter", "members": [], "clusterId": "c" * 32, "record": 12}


@pytest.fixture
def loop():
    loop = Loop()
    yield loop
    loop.close()


def bury(loop, monkeypatch, words, *, term, incarnation, status=70, closes=False):
    """Let a node say `words` and die, and the guardian reap it before it has read any of them.

    `closes`: it lives on without its tether, and the guardian sees that.
    """
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    node = NodeConfig(None, Address("h1", 1), "h1", "h1", None, "h1", (), 1, 2, 3, None, "/d", False, None,
                      "info", (), None, (), True, "x", "", None)
    program = [sys.executable, "-c", NODE, json.dumps([words, term, incarnation, "closes" if closes else status])]
    around = Surroundings(loop, program, lambda node, message: None, lambda: None)
    keeper = Keeper(around, node, logging.getLogger("test keeper"))
    keeper.start()
    if closes:
        loop.run(until=lambda: not loop.is_watched(keeper._child.tether))
        keeper.stop()
        return keeper
    os.waitid(os.P_PID, keeper._child.pid, os.WEXITED | os.WNOWAIT)
    keeper.stop()
    keeper.reap()
    return keeper


def peers_word(*peers):
    return {"kind": "peers", "endpoints": [
        {"address": peer.address, "ip": ["127.0.0.1"], "port": peer.port} for peer in peers]}


def test_p4_the_last_words_of_a_dead_node_are_read_before_it_is_released(loop, monkeypatch):
    peer = Peer("tcp://h2:8089")
    keeper = bury(loop, monkeypatch, [LOCKED, peers_word(peer), STATE], term=7, incarnation=3)
    loop.run(until=lambda: keeper.is_over)
    assert peer.join().frames == [(handshake.RAFT, Release("n1", 3, 7))]


@pytest.mark.parametrize("words, term, incarnation", [
    ([], 7, 3), ([LOCKED], 0, 3), ([LOCKED], 7, 2)], ids=["no lock", "never led", "another incarnation"])
def test_p4_nothing_is_released_but_what_this_very_child_reported(
    loop, monkeypatch, words, term, incarnation
):
    """Pitfall 1.3."""
    assert bury(loop, monkeypatch, words, term=term, incarnation=incarnation)._deliveries.under_way == []


def test_a_dead_node_that_talked_nonsense_is_reaped_all_the_same(loop, monkeypatch):
    keeper = bury(loop, monkeypatch, [LOCKED, {"kind": 7}], term=7, incarnation=3)
    loop.run(until=lambda: keeper.is_over)
    assert keeper.phase == "gone"


def test_a_node_that_leads_in_its_last_words_leads_no_more(loop, monkeypatch):
    keeper = bury(loop, monkeypatch, [LOCKED, STATE], term=7, incarnation=3)
    assert keeper._lane._facts.state != "LEADER"


def test_p4_a_node_that_only_closed_its_tether_is_not_released(loop, monkeypatch):
    """It may live on and lead: `waitpid` alone proves that it does not (pitfall 1.2)."""
    peer = Peer("tcp://h2:8089")
    keeper = bury(loop, monkeypatch, [LOCKED, peers_word(peer)], term=7, incarnation=3, closes=True)
    assert keeper._deliveries.under_way == [] and keeper._child
    keeper._child.signal(signal.SIGKILL)
    os.waitid(os.P_PID, keeper._child.pid, os.WEXITED | os.WNOWAIT)
    keeper.reap()
    loop.run(until=lambda: keeper.is_over)
    assert peer.join().frames == [(handshake.RAFT, Release("n1", 3, 7))]
