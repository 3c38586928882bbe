"""The data directory: one user at a time, an identity that outlives kills, a new one for a removed (P7)."""

from __future__ import annotations

import itertools
import json
import os

import pytest
from raftctl.base.errors import DiskFault, NotAllowed
from raftctl.disk.directory import open_directory
from raftctl.disk.files import Files


def opened(path, **options):
    counter = itertools.count(len(os.listdir(path)) if os.path.isdir(path) else 0)
    return open_directory(str(path), new_instance=lambda: f"i{next(counter)}-{os.urandom(4).hex()}",
                          **options)


def test_p7_the_incarnation_rises_at_each_start_and_the_instance_stays(tmp_path):
    first = opened(tmp_path / "data")
    first.close()
    second = opened(tmp_path / "data")
    second.close()
    assert second.identity.instance == first.identity.instance
    assert (first.identity.incarnation, second.identity.incarnation) == (1, 2)
    assert second.identity.boot_id
    assert second.identity.lock_inode == os.stat(tmp_path / "data" / "lock").st_ino


def test_a_second_user_is_refused_by_the_pid_of_the_first(tmp_path):
    first = opened(tmp_path / "data")
    with pytest.raises(NotAllowed, match=f"in use by another raftctl .pid {os.getpid()}."):
        opened(tmp_path / "data", deadline_s=0)
    first.close()
    opened(tmp_path / "data", deadline_s=0).close()


def test_the_lock_is_not_inherited_by_hooks(tmp_path):
    first = opened(tmp_path / "data")
    assert not os.get_inheritable(first._lock)
    first.close()


def test_an_adopted_cluster_is_there_at_the_next_start(tmp_path):
    first = opened(tmp_path / "data")
    first.adopt_cluster("c1")
    first.close()
    second = opened(tmp_path / "data")
    second.close()
    assert second.identity.cluster_id == "c1"


class _Stopped(Exception):
    """The process was killed here."""


class _Dying(Files):
    """Dies before operation `nth` that changes something."""

    def __init__(self, nth):
        self.left = nth

    def _step(self):
        self.left -= 1
        if self.left == 0:
            raise _Stopped

    def unlink(self, path):
        self._step()
        super().unlink(path)

    def remove_directory(self, path):
        self._step()
        super().remove_directory(path)

    def sync_directory(self, path):
        self._step()
        super().sync_directory(path)


def test_removed_data_is_gone_with_its_instance_wherever_the_removal_is_killed(tmp_path):
    for nth in range(1, 8):
        path = tmp_path / str(nth)
        first = opened(path)
        (path / "log").mkdir()
        (path / "log" / "0000000001").write_bytes(b"old")
        first._files = _Dying(nth)
        try:
            first.remove_data()
            killed = False
        except _Stopped:
            killed = True
        first.close()
        second = opened(path)
        second.close()
        if second.identity.instance == first.identity.instance:
            assert killed and (path / "log" / "0000000001").exists()
        else:
            assert not (path / "log" / "0000000001").exists()
    assert not killed


@pytest.mark.parametrize("content, message", [
    (b"", "is damaged"), (b"[", "is damaged"), (b"{}", "is damaged"), (b"[" * 100000, "is damaged"),
    (json.dumps({"format": 9}).encode(), "format 9 is unknown"),
    (json.dumps({"format": 1, "cluster_id": "", "instance": "n", "incarnation": 0, "boot_id": "",
                 "lock_device": 1, "lock_inode": 1}).encode(), "is damaged"),
])
def test_p9_an_instance_file_that_no_raftctl_wrote_is_refused_and_kept(tmp_path, content, message):
    path = tmp_path / "data"
    path.mkdir()
    (path / "instance").write_bytes(content)
    with pytest.raises(DiskFault, match=message):
        opened(path)
    assert (path / "instance").read_bytes() == content
