"""The HTTP pages of real nodes: what load balancers and Prometheus get, what strangers can't do to them."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import time

import pytest
from cluster import Cluster, free_ports, wait_for

MANY = 300
PATIENCE_S = 20


def web_cluster(folder, count, **settings):
    made = Cluster(folder, count, **settings)
    for host, port in zip(made.hosts, free_ports(count)):
        host.web = port
        host.settings["http"] = f"127.0.0.1:{port}"
        host.write_config()
    return made


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with web_cluster(tmp_path_factory.mktemp("http"), 3) as made:
        made.start().leader()
        yield made


def ask(host, path, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", host.web, timeout=PATIENCE_S)
    with contextlib.closing(connection):
        connection.request(method, path)
        reply = connection.getresponse()
        return reply.status, reply.read()


def leader_among(hosts):
    return [host for host in hosts if ask(host, "/leader") == (200, b"LEADER\n")]


def test_p2_one_node_is_200_at_leader_and_all_are_live_and_ready(cluster):
    leader = cluster.leader()
    assert leader_among(cluster.hosts) == [leader]
    for host in cluster.hosts:
        assert ask(host, "/live") == (200, b"LIVE\n")
        assert wait_for(lambda: ask(host, "/ready") == (200, b"READY\n"), "READY")
        assert ask(host, "/ready", "HEAD") == (200, b"")
        assert ask(host, "/leader", "HEAD")[0] == (200 if host is leader else 503)
        assert ask(host, "/nothing")[0] == 404
        assert ask(host, "/leader", "POST")[0] == 405


def test_status_and_metrics_say_what_the_command_line_says(cluster):
    leader = cluster.leader()
    state = leader.request("state")
    found = json.loads(ask(leader, "/status")[1])
    assert found["state"]["state"] == "LEADER" and found["state"]["term"] == state["term"]
    assert [row["address"] for row in found["members"]] == [host.address for host in cluster.hosts]
    text = ask(leader, "/metrics")[1].decode()
    for line in ("raftctl_up 1", "raftctl_is_leader 1", f"raftctl_term {state['term']}"):
        assert line in text.splitlines()
    count = float(next(line.split()[1] for line in text.splitlines()
                       if line.startswith("raftctl_sync_seconds_count")))
    assert count > 0


def test_p8_silent_connections_and_garbage_cost_neither_pages_nor_leader(cluster):
    """Pitfall 11.2."""
    leader = cluster.leader()
    before = leader.request("state")["term"]
    with contextlib.ExitStack() as stack:
        for number in range(MANY):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", leader.web), PATIENCE_S))
            if number % 3 == 0:
                with contextlib.suppress(OSError):
                    sock.sendall((b"GET /lea", bytes(range(256)), b"\x16\x03\x01")[number // 3 % 3])
        assert ask(leader, "/leader") == (200, b"LEADER\n")
        threads = os.listdir(f"/proc/{leader.node_pid}/task")
        assert len(threads) < 64 + 32 + 40
    after = leader.request("state")
    assert (after["state"], after["term"]) == ("LEADER", before)


def test_an_orderly_stop_is_503_first_and_closes_the_port(tmp_path):
    script = tmp_path / "slow.sh"
    script.write_text("#!/bin/sh\nsleep 2\n")
    script.chmod(0o700)
    with web_cluster(tmp_path, 1, events={"stop": str(script), "follower": str(script)}) as cluster:
        host = cluster.start().leader()
        wait_for(lambda: ask(host, "/leader")[0] == 200, "the page of the leader")
        host.guardian.terminate()
        wait_for(lambda: ask(host, "/leader")[0] == 503, "503 while the outgoing hooks run")
        assert ask(host, "/ready") == (503, b"STOPPING\n")
        assert host.guardian.wait(PATIENCE_S) == 0
        host.guardian = None
        with pytest.raises(ConnectionRefusedError):
            ask(host, "/live")


def test_p9_a_port_that_is_taken_ends_start_with_2_and_one_line(tmp_path):
    with web_cluster(tmp_path, 1) as cluster, socket.socket() as taken:
        host = cluster.hosts[0]
        taken.bind(("127.0.0.1", host.web))
        taken.listen()
        host.start()
        assert host.guardian.wait(PATIENCE_S) == 2
        host.guardian = None
        lines = [line for line in host.log_text().splitlines() if " ERROR " in line and '"http"' in line]
        assert len(lines) == 1 and "address in use" in lines[0]


def test_a_follower_takes_over_at_leader_when_the_leader_dies(tmp_path):
    with web_cluster(tmp_path, 3) as cluster:
        leader = cluster.start().leader()
        leader.kill()
        others = [host for host in cluster.hosts if host is not leader]
        assert wait_for(lambda: leader_among(others), "another leader")
        began = time.monotonic()
        assert wait_for(lambda: "raftctl_leader_changes_total 2" in ask(others[0], "/metrics")[1].decode(),
                        "the change counted")
        assert time.monotonic() - began < PATIENCE_S
