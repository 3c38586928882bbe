"""sd_notify: path and abstract sockets, and what happens where nobody listens or nobody reads."""

import os
import socket

import pytest

from raftctl.host.notify import notify


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path, monkeypatch):
    """Stands for systemd: a datagram socket that NOTIFY_SOCKET names."""
    path, abstract = str(tmp_path / "notify"), f"@raftctl-test-{os.getpid()}-{tmp_path.name}"
    name = path if request.param == "path" else abstract
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name[1:] if name[0] == "@" else name)
        listening.setblocking(False)
        yield listening


def test_a_word_arrives_as_one_datagram(manager):
    assert notify("READY=1\nSTATUS=waiting for tcp://h3:8089, 2 of 3") is True
    assert manager.recv(4096) == b"READY=1\nSTATUS=waiting for tcp://h3:8089, 2 of 3"


def test_nothing_is_said_where_no_service_manager_asked(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert notify("READY=1") is False


def test_a_full_queue_is_not_waited_for(manager):
    said = 0
    while notify("STATUS=again"):
        said += 1
    assert said > 0
    manager.recv(4096)
    assert notify("READY=1") is True


def test_a_manager_that_is_gone_is_no_fault(manager):
    manager.close()
    assert notify("READY=1") is False


@pytest.mark.parametrize("name", ["vsock:2:1234", "/" + 200 * "x", "relative"])
def test_a_socket_that_cannot_be_reached_is_no_fault(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    assert notify("READY=1") is False
