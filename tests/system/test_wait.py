"""`raftctl wait` against real nodes: it returns when the thing is there, not after a fixed sleep."""

from __future__ import annotations

import subprocess
import time

import pytest
from cluster import PATIENCE_S, PROGRAM, Cluster, raftctl, wait_for


@pytest.fixture
def cluster(tmp_path):
    with Cluster(tmp_path, 3) as made:
        yield made


def waiting(host, *words):
    return subprocess.Popen([*PROGRAM, "-c", host.config, "wait", *words], stderr=subprocess.PIPE)


def test_wait_returns_when_it_becomes_true_and_4_when_it_does_not(cluster):
    first, *others = cluster.hosts
    assert raftctl("-c", first.config, "wait", "leader").returncode == 3
    first.start()
    wait_for(first.state, "the first node to answer")
    late = raftctl("-c", first.config, "wait", "leader", "--timeout", "0.3")
    assert late.returncode == 4 and b"waiting for tcp://127.0.0.1" in late.stderr
    waits = [waiting(first, *words) for words in (["leader"], ["quorum"], ["state=leader,follower"],
                                                  [f"member={others[0].address}"])]
    for host in others:
        host.start()
    assert [wait.wait(PATIENCE_S) for wait in waits] == [0, 0, 0, 0]
    for wait in waits:
        wait.stderr.close()
    leader = cluster.leader()
    assert raftctl("-c", leader.config, "wait", "state=leader").returncode == 0
    gone = next(host for host in cluster.hosts if host is not leader)
    gone.kill()
    wait_for(lambda: leader.request("status")["votersReachable"] == 2, "its end to be noticed")
    said = raftctl("-c", leader.config, "wait", f"member={gone.address}", "--timeout", "0.3")
    assert said.returncode == 4 and gone.address.encode() in said.stderr


def test_a_wait_does_not_hold_up_an_orderly_stop(cluster):
    host = cluster.hosts[0]
    host.start()
    wait_for(host.state, "the node to answer")
    wait = waiting(host, "leader", "--timeout", "60")
    time.sleep(0.5)
    began = time.monotonic()
    assert host.stop() == 0
    assert time.monotonic() - began < 10
    assert wait.wait(PATIENCE_S) in (3, 4)
    wait.stderr.close()
