"""node/daemon.py in this process: what the guardian hears, and in which order."""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import threading
from types import SimpleNamespace

import pytest

from raftctl import tether
from raftctl.base.addresses import Address
from raftctl.base.errors import PeerFault, UsageError
from raftctl.base.logs import setup
from raftctl.config.load import load
from raftctl.config.places import command_socket
from raftctl.net import binding
from raftctl.net.client import CommandClient
from raftctl.net.links import FrameIn
from raftctl.node.daemon import Daemon
from raftctl.node.endpoints import Endpoints
from raftctl.node.inbox import Inbox
from raftctl.node.leash import Leash
from raftctl.node.loop import Call, Loop

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
        made = Daemon(node, guardian.theirs.detach(), guardian.board.fd, logs, ["/bin/false"])
        thread = threading.Thread(target=made.run)
        threads.append(thread)
        thread.start()
        return thread

    yield start
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    logs.close()


def end(guardian, thread):
    guardian.say(tether.STOP)
    guardian.hear(tether.STOPPING)
    guardian.say(tether.OUTGOING_DONE)
    thread.join(PATIENCE_S)


def test_p5_the_guardian_hears_what_the_node_is_before_it_is_ready_and_what_changes_after(
        running, guardian, monkeypatch):
    """Found by a `start` hook that was told of the dead process before (design §7)."""
    told, told_before = [], []
    goes, may_go_on = threading.Event(), threading.Event()
    go, tell = Loop.go, Leash.tell
    monkeypatch.setattr(Leash, "tell", lambda self, message: (tell(self, message),
                                                                told.append(message["kind"])))
    monkeypatch.setattr(Loop, "go", lambda loop: (told_before.extend(told), goes.set(),
                                                  may_go_on.wait(PATIENCE_S), go(loop)))
    thread = running()
    heard = guardian.hear(tether.READY)
    assert heard.index(tether.LOCKED) < heard.index(tether.STATE) < heard.index(tether.READY)
    state = guardian.heard[heard.index(tether.STATE)]
    assert (state["state"], state["previous"], state["term"]) == ("UNINITIALIZED", "UNINITIALIZED", 0)
    # A `leader` hook must not come before `start`: no turn before the word was out.
    assert goes.wait(PATIENCE_S) and tether.READY in told_before and heard.count(tether.STATE) == 1
    may_go_on.set()
    end(guardian, thread)


@pytest.fixture
def network(monkeypatch):
    """The address of the node is there once the event is set."""
    is_up = threading.Event()
    bind_one = binding._bind_one

    def bind(place, port):
        if not is_up.is_set():
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        return bind_one(place, port)

    monkeypatch.setattr(binding, "_bind_one", bind)
    return is_up


WHY = ('"address": cannot listen at 127.0.0.1 port 0: this host has no such address; '
       'set "listen" to one that it has')


def test_an_address_that_comes_late_is_waited_for_and_everybody_is_told(running, guardian, network, node):
    thread = running()
    guardian.hear(tether.STATUS)
    assert guardian.heard[-1] == {"kind": "status", "text": f"waits for an address: {WHY}"}
    with CommandClient([("unix", command_socket(node))], timeout_s=PATIENCE_S) as client:
        state = client.request({"action": "state"})
        assert (state["state"], state["reason"]) == ("UNINITIALIZED", WHY)
        status = client.request({"action": "status"})
        assert (status["problem"], status["members"]) == (WHY, [])
        refused = client.request({"action": "put", "key": "k", "value": "v"})["error"]
        assert (refused["code"], WHY in refused["message"]) == ("no_leader", True)
    assert tether.READY not in [message["kind"] for message in guardian.heard]
    network.set()
    guardian.hear(tether.READY)
    with CommandClient([("unix", command_socket(node))], timeout_s=PATIENCE_S) as client:
        assert WHY not in client.request({"action": "state"})["reason"]
    end(guardian, thread)


def test_a_node_that_waits_for_its_address_stops_in_order(running, guardian, network):
    thread = running()
    guardian.hear(tether.STATUS)
    end(guardian, thread)
    assert not thread.is_alive()


def test_p9_a_port_in_use_is_not_waited_for(running, guardian, node, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        logs = setup("test", str(tmp_path / "log"), "debug", "test-daemon")
        inside = Daemon(node._replace(address=Address("127.0.0.1", taken.getsockname()[1])),
                        guardian.theirs.detach(), guardian.board.fd, logs, ["/bin/false"])
        with pytest.raises(UsageError, match="address in use"):
            inside.run()
        assert not os.path.exists(command_socket(node))
        inside._loop.end()
        inside._writer.stop(PATIENCE_S)
        logs.close()


def test_a_guardian_that_died_with_our_words_unread_is_gone(guardian):
    """Its end of the tether is reset then, not closed: that is no fault of ours."""
    guardian.theirs.sendall(b"unread")
    guardian.end.close()
    leash = Leash(guardian.theirs.detach(), lambda message: None, lambda: None)
    assert leash.wait_for(tether.STOP) == ""
    guardian.theirs.close()


def test_a_slow_look_up_does_not_bring_back_former_members(tmp_path):
    told, before, now = [], ["tcp://127.0.0.1:1"], ["tcp://127.0.0.1:2", "tcp://a..b:3"]
    endpoints = Endpoints(told.append, "tcp://127.0.0.1:1", str(tmp_path))
    endpoints._others = now
    endpoints._look_up(now)
    endpoints._look_up(before)
    assert [[endpoint["port"] for endpoint in message["endpoints"]] for message in told] == [[2]]


def test_p8_malformed_words_of_a_peer_do_not_fill_the_log(caplog):
    def frame(now, hello, kind, body):
        raise PeerFault(f"{hello.address}: malformed")

    inbox = Inbox()
    loop = Loop(SimpleNamespace(frame=frame, finish=lambda now: None), inbox)
    for _ in range(100):
        inbox.post_frame("h2", 1, FrameIn(SimpleNamespace(address="tcp://h2:8089"), 16, b""))
    inbox.post(Call(lambda turn, now: loop.go()))
    thread = threading.Thread(target=loop.run)
    with caplog.at_level(logging.WARNING):
        thread.start()
        while inbox._frames:
            may_end = threading.Event()
            inbox.post(Call(lambda turn, now: may_end.set()))
            assert may_end.wait(PATIENCE_S)
        loop.end()
        thread.join(PATIENCE_S)
    assert [record.getMessage() for record in caplog.records] == [
        "tcp://h2:8089: malformed; its message is ignored"]
