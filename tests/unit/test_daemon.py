"""node/daemon.py in this process: what the guardian hears, and in which order."""

from __future__ import annotations

import json
import logging
import socket
import threading

import pytest

from raftctl import tether
from raftctl.base.addresses import Address
from raftctl.base.logs import setup
from raftctl.config.load import load
from raftctl.node.daemon import Daemon
from raftctl.node.loop import Loop

PATIENCE_S = 20


class Guardian:
    """The other end of the tether."""

    def __init__(self):
        self.end, self.theirs = socket.socketpair()
        self.end.settimeout(PATIENCE_S)
        self.board = tether.Board.create()
        self._line = tether.Line()
        self.heard = []

    def hear(self, kind):
        """Read up to the first message of `kind` and return the kinds of all so far."""
        while kind not in [message["kind"] for message in self.heard]:
            data = self.end.recv(65536)
            assert data, self.heard
            self.heard += self._line.receive(data)
        return [message["kind"] for message in self.heard]

    def say(self, kind):
        self.end.sendall(tether.encode({"kind": kind}))


@pytest.fixture
def guardian():
    made = Guardian()
    yield made
    made.end.close()
    made.board.close()


@pytest.fixture
def node(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"address": "tcp://127.0.0.1:8089", "dataDir": str(tmp_path / "data")}))
    # Any free port: nobody else is to find this node.
    return load(str(path), environ={}).nodes[0]._replace(address=Address("127.0.0.1", 0))


@pytest.fixture
def running(node, guardian, tmp_path):
    """The daemon in a thread of its own. To be ended in order, else its listeners stay in this process."""
    logs = setup("test", str(tmp_path / "log"), "debug", "test-daemon")
    threads = []

    def start():
        made = Daemon(node, guardian.theirs.detach(), guardian.board.fd, logs)
        thread = threading.Thread(target=made.run)
        threads.append(thread)
        thread.start()
        return thread

    yield start
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    logs.close()
    assert not logging.getLogger("test-daemon").handlers


def test_p5_the_guardian_hears_what_the_node_is_before_it_is_ready_and_what_changes_after(
        running, guardian, monkeypatch):
    """Found by a `start` hook that was told of the dead process before (design §7)."""
    may_go_on = threading.Event()
    run = Loop.run
    monkeypatch.setattr(Loop, "run", lambda loop: (may_go_on.wait(PATIENCE_S), run(loop)))
    running()
    heard = guardian.hear(tether.READY)
    assert heard.index(tether.LOCKED) < heard.index(tether.STATE) < heard.index(tether.READY)
    state = guardian.heard[heard.index(tether.STATE)]
    assert (state["state"], state["previous"], state["term"]) == ("UNINITIALIZED", "UNINITIALIZED", 0)
    may_go_on.set()
    guardian.say(tether.STOP)
    assert tether.STOPPING in guardian.hear(tether.STOPPING)
    guardian.say(tether.OUTGOING_DONE)


def test_p5_no_change_is_told_before_the_node_is_ready(running, guardian, monkeypatch):
    """A `leader` hook must not come before `start`."""
    told, told_at_begin = [], []
    run, tell = Loop.run, Daemon._tell
    monkeypatch.setattr(Loop, "run", lambda loop: (told_at_begin.extend(told), run(loop)))
    monkeypatch.setattr(Daemon, "_tell", lambda self, message: (tell(self, message),
                                                                told.append(message["kind"])))
    thread = running()
    guardian.hear(tether.READY)
    guardian.say(tether.OUTGOING_DONE)
    thread.join(PATIENCE_S)
    assert tether.READY in told_at_begin
