"""What a start says of its data directory: whose fault it is that it can't be made, what it cut (P3, P9)."""

from __future__ import annotations

import json
import os
import re
import subprocess

import pytest
from cluster import PATIENCE_S, PROGRAM, UNPRIVILEGED, Cluster, free_ports, need, raftctl, wait_for

# A mount namespace of its own, with a small file system at the place that is the first argument.
MOUNTED = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec"]
READ_ONLY = [*MOUNTED, 'mount -t tmpfs -o ro none "$0" && exec "$@"']
FULL = [*MOUNTED, 'mount -t tmpfs -o nr_inodes=1 none "$0" && exec "$@"']


def start(folder, data_dir, *around):
    """Run `raftctl start` until it gives up; return its exit status and what it said."""
    config = folder / "config.json"
    port, = free_ports(1)
    config.write_text(json.dumps({"address": f"tcp://127.0.0.1:{port}", "dataDir": str(data_dir)}))
    ended = subprocess.run([*around, *PROGRAM, "-c", str(config), "start"], stdin=subprocess.DEVNULL,
                           capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def test_p9_a_data_directory_below_a_file_or_at_a_file_is_the_configurations_fault(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for place in (tmp_path / "file" / "data", tmp_path / "file"):
        status, said = start(tmp_path, place)
        assert status == 2 and "a file is in the way" in said and '"dataDir"' in said, said
    assert (tmp_path / "file").read_bytes() == b""


def test_p9_a_data_directory_whose_parent_cant_be_made_is_the_configurations_fault(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for place in ("/proc/nowhere/data", tmp_path / "link"):
        status, said = start(tmp_path, place)
        assert status == 2 and '; its parent can\'t be made' in said and '"dataDir"' in said, said
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("exists", [False, True])
def test_p9_a_data_directory_that_the_user_may_not_write_is_the_configurations_fault(tmp_path, exists):
    need(*UNPRIVILEGED)
    parent = tmp_path / "parent"
    (parent / "data" if exists else parent).mkdir(parents=True)
    (parent / "data" if exists else parent).chmod(0o555)
    status, said = start(tmp_path, parent / "data", *UNPRIVILEGED)
    assert status == 2 and "permission denied" in said and "give it to the daemon's user" in said, said


@pytest.mark.parametrize("around, complaint", [(READ_ONLY, "read-only file system"),
                                               (FULL, "no space left on device")])
def test_p3_a_read_only_or_full_file_system_is_the_disks_fault(tmp_path, around, complaint):
    (tmp_path / "mount").mkdir()
    need(*around, str(tmp_path / "mount"))
    status, said = start(tmp_path, tmp_path / "mount" / "data", *around, str(tmp_path / "mount"))
    assert status == 74 and complaint in said, said


def test_a_start_logs_how_many_bytes_of_a_torn_tail_it_cut(tmp_path):
    with Cluster(tmp_path, 1) as cluster:
        host = cluster.start().hosts[0]
        cluster.leader()
        assert raftctl("-c", host.config, "put", "k", "v" * 3000).returncode == 0
        host.kill()
        segment = os.path.join(host.folder, "data", "log", "0000000001")
        with open(segment, "r+b") as file:
            end = len(file.read().rstrip(b"\x00"))
            last = (end - 1) // 512 * 512
            file.seek(last)
            file.write(bytes(512))     # the last sector of the record never got there
        host.start()
        said = wait_for(lambda: re.search(r"log/0000000001: cut a torn tail of (\d+) bytes", host.log_text()),
                        "the line")
        cluster.leader()
    assert 3000 - 512 < int(said.group(1)) < 3200
