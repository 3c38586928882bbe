"""net/client.py: where it finds the daemon, and what it makes of no answer."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading

import pytest
from net_world import DEADLINE_S, OTHER, SECRET

from raftctl.base.errors import NotAllowed, OutcomeUnknown, Unreachable
from raftctl.net import protocol
from raftctl.net.client import CommandClient
from raftctl.net.commands import CommandListener


def answer(request, caller):
    return {"asked": request["action"], "may": caller.may_change, "timeout": request.get("timeoutMs")}


@contextlib.contextmanager
def daemon(secrets=(), tcp=("127.0.0.1", 0), unix=None):
    listener = CommandListener(tcp, unix, answer, secrets)
    listener.start()
    try:
        yield listener
    finally:
        listener.close(DEADLINE_S)


@contextlib.contextmanager
def stub(*steps):
    """A listener that carries out one step, a function of the socket, for each connection."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def serve():
            for step in steps:
                sock, _ = listening.accept()
                with sock:
                    step(sock)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(DEADLINE_S)


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def tcp(port):
    return ("tcp", "127.0.0.1", port)


def test_one_connection_serves_many_requests():
    with daemon() as listener, CommandClient([tcp(listener.port)]) as client:
        reply = client.request({"action": "put", "timeoutMs": 7})
        assert reply == {"ok": True, "asked": "put", "may": True, "timeout": 7}
        first = client._sock
        assert client.request({"id": 4, "action": "get"})["id"] == 4
        assert client._sock is first
        assert client.where == f"127.0.0.1:{listener.port}"


def test_endpoints_are_tried_in_order(tmp_path):
    path = str(tmp_path / ("x" * 120) / "command.sock")
    (tmp_path / ("x" * 120)).mkdir()
    with daemon(unix=path) as listener:
        endpoints = [("unix", str(tmp_path / "absent")), ("unix", path), tcp(listener.port)]
        with CommandClient(endpoints) as client:
            assert client.request({"action": "state"})["ok"]
            assert client.where == path


def test_no_daemon_anywhere_names_each_place_and_its_reason(tmp_path):
    port = free_port()
    endpoints = [("unix", str(tmp_path / "s")), tcp(port), ("tcp", "a..b", 1)]
    with CommandClient(endpoints) as client, pytest.raises(Unreachable) as caught:
        client.request({"action": "put"})
    assert str(caught.value) == (
        f"no daemon at {tmp_path}/s (no such file or directory) or 127.0.0.1:{port} (connection refused) "
        "or a..b:1 (unknown name)")


def test_the_secret_is_proven_before_the_first_request_that_needs_it():
    with daemon((SECRET, OTHER)) as listener:
        for secrets in ((SECRET,), (OTHER, b"unknown")):
            with CommandClient([tcp(listener.port)], secrets=secrets) as client:
                assert not client.request({"action": "state"})["may"]
                assert client.request({"action": "put"})["may"]
        with CommandClient([tcp(listener.port)]) as client:
            assert client.request({"action": "put"})["error"]["code"] == "not_allowed"
        with CommandClient([tcp(listener.port)], secrets=(b"unknown",)) as client, pytest.raises(
                NotAllowed, match="the secret is not the one of the node there"):
            client.request({"action": "put"})


def test_a_secret_is_no_hindrance_where_none_is_wanted(tmp_path):
    path = str(tmp_path / "s")
    with daemon(unix=path) as listener:
        for endpoint in (tcp(listener.port), ("unix", path)):
            with CommandClient([endpoint], secrets=(SECRET,)) as client:
                assert client.request({"action": "put"})["may"]


def closes(sock):
    sock.recv(65536)


def resets(sock):
    sock.recv(1)


def talks_html(sock):
    sock.recv(65536)
    sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def says_a_list(sock):
    sock.recv(65536)
    sock.sendall(b"[]\n")


@pytest.mark.parametrize("step", [closes, resets, talks_html, says_a_list])
def test_8_2_no_answer_to_a_change_is_an_unknown_outcome_and_to_a_question_none(step):
    with stub(step, step) as port:
        with CommandClient([tcp(port)]) as client, pytest.raises(OutcomeUnknown, match="may or may not"):
            client.request({"action": "put"})
        no_answer = pytest.raises(Unreachable, match=f"no answer from 127.0.0.1:{port}")
        with CommandClient([tcp(port)]) as client, no_answer:
            client.request({"action": "get"})


def test_8_2_an_answer_that_takes_too_long_is_none():
    done = threading.Event()
    with stub(lambda sock: done.wait(DEADLINE_S)) as port:
        timed_out = pytest.raises(OutcomeUnknown, match="timed out")
        with CommandClient([tcp(port)], timeout_s=0.05) as client, timed_out:
            client.request({"action": "put"})
        done.set()


def test_the_time_out_bounds_a_reply_that_drips():
    stop = threading.Event()

    def drip(sock):
        with contextlib.suppress(OSError):
            while not stop.wait(0.01):
                sock.sendall(b" ")

    with stub(drip) as port:
        timed_out = pytest.raises(Unreachable, match="timed out")
        with CommandClient([tcp(port)], timeout_s=0.1) as client, timed_out:
            client.request({"action": "state"})
        stop.set()


def test_why_a_node_closed_is_read_even_when_sending_failed():
    def busy(sock):
        sock.sendall(b'{"ok":false,"error":{"code":"busy","message":"full","hint":""}}\n')

    with stub(busy) as port, CommandClient([tcp(port)]) as client:
        assert client.request({"action": "put"})["error"]["code"] == "busy"


def test_after_a_failure_the_next_request_connects_anew():
    def once(sock):
        sock.recv(65536)
        sock.sendall(b'{"ok":true}\n')

    with stub(closes, once) as port, CommandClient([tcp(port)]) as client:
        with pytest.raises(OutcomeUnknown):
            client.request({"action": "put"})
        assert client.request({"action": "put"}) == {"ok": True}


def test_a_large_reply_comes_whole():
    reply = json.dumps({"ok": True, "value": "x" * 500_000}).encode() + b"\n"

    def large(sock):
        sock.recv(65536)
        sock.sendall(reply)

    with stub(large) as port, CommandClient([tcp(port)]) as client:
        assert len(client.request({"action": "get"})["value"]) == 500_000


def test_it_imports_little():
    code = "import sys, raftctl.net.client; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-I", "-S", "-c",
                           f"import sys; sys.path.insert(0, {TOP!r}); {code}"],
                          capture_output=True, text=True, timeout=30, check=True)
    loaded = set(done.stdout.split())
    heavy = {"hmac", "hashlib", "logging", "threading", "subprocess", "ssl", "socketserver", "random"}
    assert loaded & heavy == set()


TOP = __file__.rsplit("/tests/", 1)[0]


def test_an_answer_without_an_end_is_not_kept(monkeypatch):
    monkeypatch.setattr(protocol, "REPLY_LIMIT", 100_000)
    with socket.create_server(("127.0.0.1", 0)) as server:
        def flood():
            sock, _ = server.accept()
            with sock, contextlib.suppress(OSError):
                while True:
                    sock.sendall(b"x" * 65536)

        flooding = threading.Thread(target=flood)
        flooding.start()
        with CommandClient([("tcp", *server.getsockname())], timeout_s=DEADLINE_S) as client:
            with pytest.raises(Unreachable, match="its answer has no end"):
                client.request({"action": "state"})
        flooding.join(DEADLINE_S)
        assert not flooding.is_alive()
