"""P3 on small file systems: a full disk refuses what is new, votes go on, space heals, nothing is lost."""

from __future__ import annotations

import contextlib
import os
import subprocess

import pytest
from cluster import Cluster, Host, wait_for

MIB = 1 << 20
# Two segments of the log and the small files; a third segment only where the filler is gone.
SIZE_MIB = 60
FILLER_MIB = 24
VALUE = "x" * 200_000


@contextlib.contextmanager
def small_disks(hosts):
    """Mount a file system of `SIZE_MIB` with a filler of `FILLER_MIB` at the data directory of each host."""
    mounted = []
    try:
        for host in hosts:
            place = os.path.join(host.folder, "data")
            os.mkdir(place)
            done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m,mode=700", "none", place],
                                  capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"can't mount a tmpfs here: {done.stderr.strip()}")
            mounted.append(place)
            fill(host)
        yield
    finally:
        for place in mounted:
            subprocess.run(["umount", "-l", place], check=True)


def filler(host):
    return os.path.join(host.folder, "data", "filler")


def fill(host):
    with open(filler(host), "wb") as file:
        os.posix_fallocate(file.fileno(), 0, FILLER_MIB * MIB)


def put(host: Host, number: int):
    return host.request("put", key=f"key {number % 20}", value=f"{number} {VALUE}")


def put_until_refused(host: Host, first: int):
    """Return the number of the first refused write, and the error."""
    for number in range(first, first + 200):
        reply = put(host, number)
        if not reply.get("ok"):
            return number, reply["error"]
    raise AssertionError("never refused")


def check_values(host: Host, upto: int):
    for number in range(upto - 20, upto):
        assert host.request("get", key=f"key {number % 20}")["value"].startswith(f"{number} xxx")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting small file systems needs root")
def test_p3_5_5_full_disks_refuse_writes_elect_on_and_heal_when_space_is_freed(tmp_path):
    cluster = Cluster(tmp_path, 3)
    with small_disks(cluster.hosts), cluster:
        leader = cluster.start().leader()
        count, error = put_until_refused(leader, 0)
        assert error["code"] == "store_full" and "full" in error["message"], error
        assert 40 < count < 100
        revisions = leader.request("status")["logEntries"]
        for _ in range(20):
            assert put(leader, count)["error"]["code"] == "store_full"
        assert leader.request("status")["logEntries"] == revisions, "refused, and proposed all the same"
        full = wait_for(lambda: [host for host in cluster.hosts if "no space left" in host.log_text()],
                        "a word about it in a log")
        for host in full:
            assert f"free space in {os.path.join(host.folder, 'data', 'log')}" in host.log_text()
            assert host.request("status")["diskFull"]
        # Votes need no space: a leader that is killed has a successor, and it confirms that it leads.
        term = leader.request("state")["term"]
        leader.kill_node()
        wait_for(lambda: any(host.request("state").get("term", 0) > term and host.state() == "LEADER"
                             for host in cluster.hosts), "another leader")
        leader = cluster.leader()
        check_values(leader, count)
        for host in cluster.hosts:
            os.unlink(filler(host))
        wait_for(lambda: put(leader, count).get("ok"), "a write after space was freed")
        assert put(leader, count + 1)["ok"]
        assert any("the disk has room again" in host.log_text() for host in cluster.hosts)
        wait_for(lambda: not any(host.request("status")["diskFull"] for host in cluster.hosts), "room on all")
        for host in cluster.hosts:
            assert host.stop() == 0
        for host in cluster.hosts:
            host.start()
        check_values(cluster.leader(), count + 2)
