"""`raftctl history` of real nodes: what each saw, over kills and restarts."""

from __future__ import annotations

import json
import os

import pytest
from cluster import Cluster, raftctl, wait_for


@pytest.fixture
def cluster(tmp_path):
    with Cluster(tmp_path, 3) as made:
        yield made


def history(host):
    done = raftctl("-c", host.config, "history", "--limit", "200", "--json")
    assert done.returncode == 0, done
    return json.loads(done.stdout)["entries"]


def events(host):
    return [(entry["event"], entry["leader"]) for entry in history(host)]


def test_each_node_knows_who_led_and_why_that_changed(cluster):
    leader = cluster.start().leader()
    others = [host for host in cluster.hosts if host is not leader]
    assert ("leading", leader.address) in events(leader)
    assert all(("elected", leader.address) in events(host) for host in others)
    # A node that dies is named with its signal by its next process.
    leader.kill_node()
    wait_for(lambda: any(entry["event"] == "ended" and "signal 9 (SIGKILL)" in entry["cause"]
                         and entry["by"] == "guardian" for entry in history(leader)), "the end entered")
    now = cluster.leader()
    wait_for(lambda: ("leaderless", None) in events(others[0]), "the loss entered")
    # The leader that hears nobody names who is silent; another leader may have been elected by then.
    silent = [host for host in cluster.hosts if host is not now]
    for host in silent:
        host.kill()
    lost = wait_for(lambda: [entry for entry in history(now) if entry["event"] == "lost"], "the lease lost")
    assert all(host.address in lost[-1]["cause"] for host in silent)


def test_it_survives_a_restart_and_a_torn_tail_and_names_the_operator(cluster):
    leader = cluster.start().leader()
    follower = next(host for host in cluster.hosts if host is not leader)
    gone = next(host for host in cluster.hosts if host not in (leader, follower))
    gone.kill()
    done = raftctl("-c", leader.config, "remove", gone.address)
    assert done.returncode == 0, done
    asked = [entry for entry in history(leader) if entry["event"] == "asked"]
    assert asked[-1]["cause"] == f"remove {gone.address}" and "@" in asked[-1]["by"]
    wait_for(lambda: any(f"{gone.address} is removed" in entry["cause"] for entry in history(follower)),
             "the change of members")
    before = history(follower)
    assert follower.stop() == 0
    path = os.path.join(follower.folder, "data", "history")
    with open(path, "ab") as file:
        file.write(b'{"time": "2026')
    offline = raftctl("-c", follower.config, "history", "--limit", "200")
    assert offline.returncode == 0 and b"no daemon answers" in offline.stderr
    follower.start()
    wait_for(follower.state, "the follower is back")
    after = history(follower)
    assert after[:len(before)] == before
    assert [entry["event"] for entry in after[len(before):]][:2] == ["stopping", "started"]
