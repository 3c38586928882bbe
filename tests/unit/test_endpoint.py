"""Where a command looks for its daemon, and what it says when it finds none that answers."""

from __future__ import annotations

import os
import socket

import pytest

from raftctl.base.errors import Unreachable
from raftctl.cli import endpoint
from raftctl.cli.endpoint import Daemon, at
from raftctl.config import places
from raftctl.config.load import load
from raftctl.host import systemd

STATE = {"action": "state"}


def refusal(daemon, timeout_s=1.0):
    with pytest.raises(Unreachable) as caught:
        daemon.ask(STATE, timeout_s)
    return str(caught.value)


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield found


def found(*endpoints):
    return Daemon(endpoints, (), "raftctl -c c.json start")


def test_where_nothing_listens_the_command_to_start_it_is_named(tmp_path):
    assert refusal(found(("unix", str(tmp_path / "s")))).endswith("; start one: raftctl -c c.json start")


@pytest.mark.parametrize(("second_line", "expected"), [
    ("# for {path}", "systemctl start raftctl.service"),
    ("# for {path} --node tcp://h1:8089", "systemctl start raftctl.service"),
    ("# for {path}.other", "raftctl -c {path} start"),
    ("[Unit]", "raftctl -c {path} start"),
])
def test_where_there_is_a_service_of_this_configuration_it_is_what_is_to_be_started(
        second_line, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(places, "SYSTEM_UNITS", str(tmp_path))
    path = tmp_path / "c.json"
    path.write_text('{"address": "tcp://localhost:8089", "dataDir": "d"}')
    unit = systemd.MARKER + "\n" + second_line.format(path=path) + "\n"
    (tmp_path / "raftctl.service").write_text(unit)
    loaded = load(str(path), environ={})
    assert endpoint._how_to_start(loaded) == expected.format(path=path)
    (tmp_path / "raftctl.service").unlink()
    assert endpoint._how_to_start(loaded) == f"raftctl -c {path} start"


def test_a_daemon_that_hangs_is_not_to_be_started_again(listener, monkeypatch):
    monkeypatch.setattr(endpoint, "_GRACE_S", 0.0)
    said = refusal(found(("tcp", *listener.getsockname())), 0.1)
    assert "no answer from" in said and "look into the node's log" in said and "start" not in said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look everywhere; see the test of the words")
def test_a_socket_that_this_user_may_not_reach(tmp_path):
    (tmp_path / "closed").mkdir(mode=0)
    assert "use sudo" in refusal(found(("unix", str(tmp_path / "closed" / "s"))))


def test_the_words_for_a_socket_that_this_user_may_not_reach():
    mend = found()._mend("no daemon at /d/command.sock (permission denied)")
    assert "use sudo" in mend and "start" not in mend


def test_of_a_port_that_is_no_command_port_it_says_so(listener):
    daemon = at("127.0.0.1", listener.getsockname()[1])
    assert daemon._mend("no answer from h1:8089 (it closed the connection)") == (
        "name the command_port of the node, not the port of its address")


def test_a_command_port_of_another_host_is_not_open_by_itself():
    assert at("h2", 10000)._mend("no daemon at h2:10000 (connection refused)") == (
        'a command port is for 127.0.0.1 only, unless its "command_host" is set; ask on h2')
    assert at("127.0.0.1", 1)._mend("no daemon at 127.0.0.1:1 (connection refused)") == ""
