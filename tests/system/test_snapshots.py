"""Snapshots on real processes: the log stays small, a member that was away long is caught up by one."""

from __future__ import annotations

import os

from cluster import Cluster, Host, raftctl, wait_for

# Twice the log that is written between two snapshots (8 MiB), and then some.
ROUNDS = 95
KEYS = 80
VALUE = "x" * 200_000


def status_of(host: Host):
    return host.request("status")


def log_size(host: Host) -> int:
    folder = os.path.join(host.folder, "data", "log")
    return sum(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder))


def fill(host: Host, first: int, count: int) -> None:
    for number in range(first, first + count):
        assert host.request("put", key=f"key {number % KEYS}", value=f"{number} {VALUE}")["ok"]


def test_pitfall_4_2_a_member_that_was_away_is_caught_up_by_a_snapshot_and_all_restart_on_theirs(tmp_path):
    with Cluster(tmp_path, 3) as cluster:
        leader = cluster.start().leader()
        away = next(host for host in cluster.hosts if host is not leader)
        fill(leader, 0, 3)
        away.stop()
        fill(leader, 3, ROUNDS)
        wait_for(lambda: status_of(leader).get("snapshotIndex", 0) > 50, "a snapshot of the leader")
        shown = status_of(leader)
        assert shown["logBytes"] < 30 << 20 and shown["logEntries"] < ROUNDS
        term = shown["state"]["term"]
        away.start()
        wait_for(lambda: status_of(away).get("snapshotIndex", 0) > 50, "an installed snapshot")
        assert raftctl("-c", away.config, "get", "key 5").stdout.startswith(b"85 xxx")
        assert "begins a new log behind it" in away.log_text()
        assert leader.request("state")["term"] == term, "the install cost an election"
        fill(leader, ROUNDS + 3, 2)
        for host in cluster.hosts:
            assert host.stop() == 0
        for host in cluster.hosts:
            host.start()
        leader = cluster.leader()
        for host in cluster.hosts:
            wait_for(lambda host=host: status_of(host)["snapshotIndex"] > 50, "the snapshot of before")
            found = raftctl("-c", host.config, "get", f"key {(ROUNDS + 4) % KEYS}").stdout
            assert found.startswith(f"{ROUNDS + 4} ".encode())
            # Segments of 16 MiB, one reserved ahead.
            assert log_size(host) <= 5 * (16 << 20)
