"""P8 on a real cluster: whatever strangers do at its ports, the cluster keeps its leader and its term."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import subprocess
import sys

import pytest
from cluster import Cluster, free_ports

# A cap per listener is 256: this is more than both take.
MANY = 500
HTTP = (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40\r\n\r\n"
        b'{"action":"put","key":"k","value":"v"}\n')
WORDS = {
    "garbage": bytes(range(256)) * 16,
    "an HTTP request": HTTP,
    "a huge frame": struct.pack("!I", 0xFFFFFFF0) + b"\x01" + b"x" * 1000,
    "a huge line": b'{"action":"' + b"x" * (2 << 20),
    "deep JSON": b"[" * 100_000 + b"\n",
    "nested JSON in an object": b'{"action":' + b"[" * 100_000 + b"\n",
    "a frame cut short": struct.pack("!I", 100) + b"\x01abc",
    "nothing": b"",
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("strangers"), 3) as made:
        for host, port in zip(made.hosts, free_ports(3)):
            host.settings["command_port"] = port
            host.write_config()
        made.start().leader()
        yield made


@contextlib.contextmanager
def unshaken(cluster):
    """The block must not cost the cluster its leader or its term."""
    leader = cluster.leader()
    before = leader.request("state")
    yield leader
    after = leader.request("state")
    assert (after["state"], after["term"]) == ("LEADER", before["term"])
    assert leader.request("put", key="still", value="works")["ok"]


def _ports(host):
    return [host.port, host.settings["command_port"]]


@pytest.mark.parametrize("what", WORDS)
def test_p8_words_of_a_stranger_change_nothing(cluster, what):
    with unshaken(cluster) as leader:
        for port in _ports(leader):
            with socket.create_connection(("127.0.0.1", port), 10) as sock:
                with contextlib.suppress(OSError):      # it closed on us already
                    sock.sendall(WORDS[what])
                    sock.shutdown(socket.SHUT_WR)
                    while sock.recv(65536):
                        pass
        assert leader.request("get", key="k").get("ok") is not True     # the browser's put was not done


def test_p8_a_slow_client_and_500_connections_at_each_port_leave_the_cluster_alone(cluster):
    with unshaken(cluster) as leader, contextlib.ExitStack() as stack:
        for port in _ports(leader):
            for _ in range(MANY):
                sock = stack.enter_context(socket.socket())
                sock.settimeout(10)
                with contextlib.suppress(OSError):
                    sock.connect(("127.0.0.1", port))
                    sock.send(b"{")      # one byte of a request, or of a frame's length, and no more
        assert cluster.leader() is leader


def test_11_1_an_unknown_user_may_ask_for_the_state_and_nothing_else(cluster):
    leader = cluster.leader()
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    program = ("import os, socket, sys\n"
               "sock = socket.socket(socket.AF_UNIX); sock.connect(sys.argv[1]); os.write(1, b'')\n"
               "for line in sys.argv[2:]:\n"
               "    sock.sendall(line.encode() + b'\\n'); print(sock.makefile().readline().strip())\n")
    path = os.path.join(leader.folder, "data", "command.sock")
    for folder in (os.path.dirname(path), leader.folder, os.path.dirname(leader.folder)):
        os.chmod(folder, 0o755)
    parent = os.path.dirname(os.path.dirname(leader.folder))
    os.chmod(parent, 0o755)
    os.chmod(os.path.dirname(parent), 0o755)
    asked = ['{"action":"state"}', '{"action":"get","key":"still"}', '{"action":"put","key":"a","value":"b"}',
             '{"action":"join","address":"tcp://h:1"}', '{"action":"bootstrap"}']
    try:
        done = subprocess.run([sys.executable, "-c", program, path, *asked], user=65534, group=65534,
                              extra_groups=[], capture_output=True, text=True, timeout=30, cwd="/",
                              check=False)
    except PermissionError as error:
        pytest.skip(f"another user can't run this Python: {error}")
    replies = [json.loads(line) for line in done.stdout.splitlines()]
    assert replies[0]["state"] == "LEADER"
    assert [reply["error"]["code"] for reply in replies[1:]] == ["not_allowed"] * 4
