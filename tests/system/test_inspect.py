"""`inspect` beside a node that runs, after one that was killed, and as somebody who may not look."""

from __future__ import annotations

import json
import os
import subprocess
import threading

from cluster import PATIENCE_S, PROGRAM, UNPRIVILEGED, Cluster, need, raftctl


def inspected(host, *words):
    done = raftctl("-c", host.config, "inspect", "--json", *words)
    return done.returncode, json.loads(done.stdout), done.stderr


def test_a_running_node_under_load_is_sound_at_every_look_and_a_killed_one_has_all_that_it_said(tmp_path):
    with Cluster(tmp_path, 1) as cluster:
        host = cluster.start().leader()
        done, is_over = [], threading.Event()

        def write():
            # Segments are begun, snapshots made and segments removed while we look.
            while not is_over.is_set():
                key = f"key {len(done) % 5}"
                if host.request("put", key=key, value="v" * 200_000).get("ok"):
                    done.append(key)
        writer = threading.Thread(target=write)
        writer.start()
        try:
            for _ in range(6):
                status, shown, errors = inspected(host, "--log")
                assert (status, shown["damage"], errors) == (0, [], b"")
                assert shown["lock"] == {"held": True, "pid": host.node_pid}
                indexes = [one["index"] for one in shown["entries"]]
                assert indexes == list(range(indexes[0], indexes[-1] + 1))
        finally:
            is_over.set()
            writer.join(PATIENCE_S)
        host.kill()
        status, shown, _ = inspected(host, "--log")
        assert status == 0 and shown["lock"] == {"held": False, "pid": None}
        assert [one["address"] for one in shown["configuration"]["members"]] == [host.address]
        assert shown["entries"][-1]["key"] == done[-1] and shown["entries"][-1]["valueSize"] == 200_000
        assert shown["log"]["last"]["index"] >= len(done) + 2
        host.start()        # what was looked at starts
        cluster.leader()


def test_p3_damage_that_keeps_a_node_from_its_start_is_shown_with_the_same_words(tmp_path):
    with Cluster(tmp_path, 1) as cluster:
        host = cluster.start().leader()
        for number in range(3):
            assert host.request("put", key=f"k{number}", value="v" * 100)["ok"]
        host.kill()
    segment = os.path.join(host.folder, "data", "log", "0000000001")
    with open(segment, "r+b") as file:
        last = file.read().rindex(b"btch")
        file.seek(last + 60)
        file.write(b"?")
    status, shown, _ = inspected(host, "--log")
    (fault,) = shown["damage"]
    assert (status, fault["file"], fault["offset"]) == (1, segment, last)
    assert shown["entries"][-1]["key"] == "k1"
    refused = raftctl("-c", host.config, "start")
    assert refused.returncode == 74
    assert f"{fault['file']}: {fault['problem']}; {fault['hint']}" in (refused.stderr.decode() + host.log_text())


def test_a_user_who_may_not_read_it_is_refused_and_sees_nothing(tmp_path):
    need(*UNPRIVILEGED)
    with Cluster(tmp_path, 1) as cluster:
        host = cluster.start().leader()
        host.stop()
    data = os.path.join(host.folder, "data")
    os.chmod(data, 0o000)
    refused = subprocess.run([*UNPRIVILEGED, *PROGRAM, "inspect", data], capture_output=True, text=True,
                             timeout=PATIENCE_S, check=False)
    os.chmod(data, 0o700)
    assert (refused.returncode, refused.stdout) == (6, "")
    assert f"{data}: permission denied" in refused.stderr
