"""The main job on real processes: found, elect, replicate, fail over, survive kill -9, stop ("Done when")."""

from __future__ import annotations

import json
import os
import random
import signal
import stat
import threading

import pytest
from cluster import Cluster, Host, free_ports, has_ended, raftctl, wait_for


@pytest.mark.rounds(5)
def test_cold_start_in_random_order_gives_exactly_one_leader(tmp_path, seed):
    with Cluster(tmp_path, 3) as cluster:
        hosts = list(cluster.hosts)
        random.Random(seed).shuffle(hosts)
        for host in hosts:
            host.start()
        leader = cluster.leader()
        states = sorted(host.state() for host in cluster.hosts)
        assert states == ["FOLLOWER", "FOLLOWER", "LEADER"]
        assert leader.request("state")["leaseMs"] > 0


def test_a_value_written_on_one_node_is_read_on_the_other(tmp_path):
    with Cluster(tmp_path, 3) as cluster:
        leader = cluster.start().leader()
        first, second = [host for host in cluster.hosts if host is not leader]
        put = raftctl("-c", first.config, "put", "colour", "blue")
        assert put.returncode == 0, put.stderr
        got = raftctl("-c", second.config, "get", "colour")
        assert (got.returncode, got.stdout) == (0, b"blue")
        assert raftctl("-c", second.config, "get", "no such key").returncode == 1
        raw = bytes(range(256))
        assert raftctl("-c", leader.config, "put", "bytes", "-", input=raw).returncode == 0
        assert raftctl("-c", first.config, "get", "bytes").stdout == raw
        assert raftctl("-c", first.config, "put", "colour", "red", "--if-absent").returncode == 1
        assert raftctl("-c", first.config, "del", "colour").returncode == 0
        assert raftctl("-c", leader.config, "get", "colour").returncode == 1


def test_state_prints_exactly_the_word_and_answers_by_exit_status(tmp_path):
    with Cluster(tmp_path, 3) as cluster:
        leader = cluster.start().leader()
        assert raftctl("-c", leader.config, "state").stdout == b'{ "state": "LEADER" }\n'
        assert raftctl("-c", leader.config, "state", "--is", "leader").returncode == 0
        other = next(host for host in cluster.hosts if host is not leader)
        asked = raftctl("-c", other.config, "state", "--is", "leader")
        assert (asked.returncode, asked.stdout) == (1, b"")
        assert json.loads(raftctl("-c", other.config, "state", "--json").stdout)["leader"] == leader.address
        assert leader.address.encode()[6:] in raftctl("-c", other.config, "status").stdout


def test_p4_kill_9_of_the_leading_node_another_takes_over_and_runs_its_script(tmp_path):
    script = tmp_path / "hook.sh"
    script.write_text('#!/bin/sh\n'
                      'echo "$RAFTCTL_EVENT $RAFTCTL_TERM $RAFTCTL_ADDRESS" >> "$(dirname "$0")/ran"\n'
                      'echo said by the hook\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    ran = tmp_path / "ran"
    events = {"leader": str(script), "follower": str(script)}
    with Cluster(tmp_path, 3, events=events) as cluster:
        old = cluster.start().leader()
        wait_for(lambda: ran.exists() and f"leader 2 {old.address}" in ran.read_text(),
                 "the first leader's hook")
        old.request("put", key="k", value="v")
        old.kill_node()
        new = cluster.leader()
        term = new.request("state")["term"]
        assert term > 2
        wait_for(lambda: f"leader {term} {new.address}" in ran.read_text(), "the new leader's hook")
        assert new.request("get", key="k")["value"] == "v"
        assert "[Event: leader] said by the hook" in new.log_text()
        lines = ran.read_text().splitlines()
        if new is not old:
            assert any(line.startswith("follower") and line.endswith(old.address) for line in lines)


def _write_until(host: Host, name: str, acknowledged: list, stop: threading.Event) -> None:
    number = 0
    while not stop.is_set():
        reply = host.request("put", key=f"{name}-{number}", value=str(number))
        if reply.get("ok"):
            acknowledged.append((f"{name}-{number}", str(number)))
        number += 1


@pytest.mark.rounds(3)
def test_p3_kill_9_of_all_nodes_under_load_loses_no_acknowledged_write(tmp_path, seed):
    acknowledged: list = []
    stop = threading.Event()
    with Cluster(tmp_path, 3) as cluster:
        cluster.start().leader()
        writers = [threading.Thread(target=_write_until,
                                    args=(cluster.hosts[number % 3], f"w{number}", acknowledged, stop))
                   for number in range(8)]
        for writer in writers:
            writer.start()
        wanted = 50 + random.Random(seed).randrange(400)
        wait_for(lambda: len(acknowledged) > wanted, "writes")
        for host in cluster.hosts:
            host.kill()
        stop.set()
        for writer in writers:
            writer.join()
        leader = cluster.start().leader()
        for key, value in acknowledged:
            assert leader.request("get", key=key).get("value") == value, key


def test_sigterm_stops_all_in_order_and_leaves_exit_status_0(tmp_path):
    with Cluster(tmp_path, 3) as cluster:
        leader = cluster.start().leader()
        pid = leader.node_pid
        assert leader.stop() == 0
        assert has_ended(pid)
        cluster.leader()


def test_a_second_daemon_on_the_same_directory_is_refused_with_6(tmp_path):
    with Cluster(tmp_path, 1) as cluster:
        host = cluster.hosts[0]
        host.start()
        cluster.leader()
        second = raftctl("-c", host.config, "start")
        assert second.returncode == 6
        assert host.state() == "LEADER"


def test_a_node_ends_when_its_guardian_is_gone(tmp_path):
    with Cluster(tmp_path, 1) as cluster:
        host = cluster.hosts[0]
        host.start()
        cluster.leader()
        pid = host.node_pid
        host.guardian.kill()
        host.guardian.wait()
        host.guardian = None
        wait_for(lambda: has_ended(pid), "the node's end")


def test_3_12_join_from_a_node_without_a_list_returns_when_it_votes(tmp_path):
    with Cluster(tmp_path, 3) as cluster:
        leader = cluster.start().leader()
        follower = next(host for host in cluster.hosts if host is not leader)
        lone = Host(str(tmp_path), free_ports(1)[0], dict(Cluster.SETTINGS))
        cluster.hosts.append(lone)
        lone.start()
        wait_for(lambda: lone.state() == "LEADER", "a cluster of one")
        joined = raftctl("-c", lone.config, "join", follower.address)
        assert joined.returncode == 0, joined.stderr
        assert lone.address.encode() in joined.stdout
        assert lone.request("state")["role"] == "voter"
        assert lone.state() == "FOLLOWER"


def test_join_says_what_the_leader_says_and_ends_with_1_where_it_is_refused_for_good(tmp_path):
    with Cluster(tmp_path, 7) as cluster:
        leader = cluster.start().leader()
        follower = next(host for host in cluster.hosts if host is not leader)
        eighth = Host(str(tmp_path), free_ports(1)[0], dict(Cluster.SETTINGS))
        cluster.hosts.append(eighth)
        eighth.start()
        wait_for(lambda: eighth.state() == "LEADER", "a cluster of one")
        joined = raftctl("-c", eighth.config, "join", follower.address)
        why = "the cluster has 7 members, the most that it may have"
        assert joined.returncode == 1, joined.stderr
        assert joined.stderr.decode() == f"raftctl: {follower.address}: {why}; the node goes on asking\n"
        told = eighth.request("state")
        assert (told["state"], told["joinProblem"]) == ("UNINITIALIZED", why)
        assert told["reason"] == (f"waiting for {follower.address} to admit this node: {leader.address} does "
                                  f"not admit it: {why}")
        assert why.encode() in raftctl("-c", eighth.config, "status").stdout


def test_status_of_a_follower_tells_of_a_frozen_fellow_follower(tmp_path):
    with Cluster(tmp_path, 3) as cluster:
        leader = cluster.start().leader()
        follower, frozen = [host for host in cluster.hosts if host is not leader]
        pid = frozen.node_pid
        wait_for(lambda: follower.request("status")["tolerates"] == 1, "all are counted")
        os.kill(pid, signal.SIGSTOP)
        try:
            wait_for(lambda: follower.request("status")["tolerates"] == 0, "the frozen node counts no more")
            rows = follower.request("status")["members"]
            assert next(row for row in rows if row["address"] == frozen.address)["problem"]
        finally:
            os.kill(pid, signal.SIGCONT)
        wait_for(lambda: follower.request("status")["tolerates"] == 1, "it counts again")


def test_status_of_a_follower_tells_of_a_dead_member_as_the_leaders_does(tmp_path):
    with Cluster(tmp_path, 3) as cluster:
        leader = cluster.start().leader()
        follower, dead = [host for host in cluster.hosts if host is not leader]
        dead.kill()

        def dead_row(host):
            answer = host.request("status")
            row = next(row for row in answer["members"] if row["address"] == dead.address)
            return (answer, row) if row["problem"] == "connection refused" else None

        for host in (follower, leader):
            answer, row = wait_for(lambda host=host: dead_row(host),
                                   f"{host.port}: the dead member's problem")
            assert row["lastContactMs"] is not None and not row["connected"]
            assert answer["tolerates"] == 0
            assert answer["hint"] == f"start raftctl on 127.0.0.1: nothing listens at its port {dead.port}"
        known = next(row for row in follower.request("status")["members"] if row["address"] == leader.address)
        assert known["lastContactMs"] is not None
        assert f"{dead.address}: connection refused".encode() in raftctl("-c", follower.config,
                                                                         "status").stdout


def test_bootstrap_founds_without_the_missing_node(tmp_path):
    with Cluster(tmp_path, 3) as cluster:
        for host in cluster.hosts[:2]:
            host.start()
        missing = cluster.hosts[2].address
        wait_for(lambda: missing in cluster.hosts[0].request("state").get("reason", "")
                 and "2 of 3" in cluster.hosts[0].request("state")["reason"], "the missing node's name")
        done = raftctl("-c", cluster.hosts[0].config, "bootstrap")
        assert done.returncode == 0, done.stderr
        cluster.leader()


def test_a_removed_member_stays_outside_and_comes_back_by_join(tmp_path):
    with Cluster(tmp_path, 3) as cluster:
        leader = cluster.start().leader()
        gone, stays = [host for host in cluster.hosts if host is not leader]
        assert raftctl("-c", leader.config, "put", "k", "v").returncode == 0
        done = raftctl("-c", stays.config, "remove", gone.address)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"removed {gone.address}, left: ".encode())
        wait_for(lambda: gone.state() == "UNINITIALIZED", "the removed node to be told")
        status = json.loads(raftctl("-c", gone.config, "status", "--json").stdout)
        assert "removed from its cluster" in status["problem"] and status["members"] == []
        again = raftctl("-c", stays.config, "remove", gone.address)
        assert (again.returncode, again.stdout) == (1, b"")
        assert again.stderr.startswith(f"raftctl: no member has the address {gone.address}".encode())
        joined = raftctl("-c", gone.config, "join", leader.address, "--discard-data")
        assert joined.returncode == 0, joined.stderr
        assert raftctl("-c", gone.config, "get", "k").stdout == b"v"


def test_leave_from_a_follower_and_the_last_voter_stays(tmp_path):
    with Cluster(tmp_path, 2) as cluster:
        leader = cluster.start().leader()
        other = next(host for host in cluster.hosts if host is not leader)
        left = raftctl("-c", other.config, "leave")
        assert (left.returncode, left.stdout) == (
            0, f"removed {other.address}, left: {leader.address}\n".encode()), left.stderr
        assert raftctl("-c", leader.config, "state").stdout == b'{ "state": "LEADER" }\n'
        refused = raftctl("-c", leader.config, "leave")
        assert refused.returncode == 1 and b"is the last voter: it can't leave" in refused.stderr


def test_a_leader_leaves_by_its_successor(tmp_path):
    with Cluster(tmp_path, 3) as cluster:
        leader = cluster.start().leader()
        left = raftctl("-c", leader.config, "leave")
        assert left.returncode == 0, left.stderr
        others = [host for host in cluster.hosts if host is not leader]
        wait_for(lambda: sorted(host.state() for host in others) == ["FOLLOWER", "LEADER"], "a successor")
        wait_for(lambda: leader.state() == "UNINITIALIZED", "the former leader to be told")
        assert all(host.request("status")["votersNeeded"] == 2 for host in others)
