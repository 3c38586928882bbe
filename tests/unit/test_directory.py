"""The data directory: one user at a time, an identity that outlives kills, a new one for a removed (P7)."""

from __future__ import annotations

import errno
import itertools
import json
import os

import pytest

from raftctl.base.errors import DiskFault, NotAllowed, UsageError
from raftctl.disk import directory as directories
from raftctl.disk import identity as identities
from raftctl.disk.directory import open_directory
from raftctl.disk.files import Files
from raftctl.disk.identity import Identity, UnknownFormat
from raftctl.raft.configuration import Malformed


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


def test_a_host_without_proc_is_told_what_is_missing_and_the_incarnation_stays(tmp_path, monkeypatch):
    opened(tmp_path / "data").close()
    with monkeypatch.context() as patch:
        patch.setattr(directories, "_BOOT_ID", str(tmp_path / "boot_id"))
        with pytest.raises(UsageError, match="boot_id: no such file or directory, .*; mount /proc"):
            opened(tmp_path / "data")
    third = opened(tmp_path / "data", deadline_s=0)
    third.close()
    assert third.identity.incarnation == 2


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


NOBODY = Identity("", "", 1, "", 1, 1)
NEVER_STARTED = Identity("", "n", 0, "", 1, 1)


@pytest.mark.parametrize("content, message", [
    (b"", "is damaged"), (b"[", "is damaged"), (b"{}", "is damaged"), (b"[" * 100000, "is damaged"),
    (b"[]", "is damaged"), (b"\xff", "is damaged"), (b'{"format": true}', "is damaged"),
    (json.dumps({"format": 9}).encode(), "format 9 is unknown.*use a newer one$"),
    (json.dumps({"format": 1, "cluster_id": "", "instance": "n", "incarnation": 1, "boot_id": "",
                 "lock_device": 1, "lock_inode": 1, "removed": False}).encode(),
     "format 1 is unknown.*no release wrote.*move the directory away and start"),
    (identities.encode(NOBODY), "is damaged"), (identities.encode(NEVER_STARTED), "is damaged"),
    (identities._spell({"format": 2, "instance": "n", "incarnation": 1}), "is damaged .*cluster_id"),
])
def test_p9_an_instance_file_that_no_raftctl_wrote_is_refused_and_kept(tmp_path, content, message):
    path = tmp_path / "data"
    path.mkdir()
    (path / "instance").write_bytes(content)
    with pytest.raises(DiskFault, match=message):
        opened(path)
    assert (path / "instance").read_bytes() == content


@pytest.mark.parametrize("removed", [False, True])
def test_p7_every_flipped_bit_and_every_truncation_of_the_instance_file_is_refused(tmp_path, removed):
    opened(tmp_path / "data").close()
    raw = (tmp_path / "data" / "instance").read_bytes()
    identity = identities.decode(raw)[0]
    raw = identities.encode(identity, removed=removed)
    assert identities.decode(raw) == (identity, removed)
    for position, bit in itertools.product(range(len(raw)), range(8)):
        broken = bytearray(raw)
        broken[position] ^= 1 << bit
        with pytest.raises((Malformed, UnknownFormat)):
            identities.decode(bytes(broken))
    for length in range(len(raw)):
        with pytest.raises(Malformed):
            identities.decode(raw[:length])


def test_p7_a_flipped_bit_in_the_incarnation_is_refused_with_the_mend_and_nothing_is_removed(tmp_path):
    opened(tmp_path / "data").close()
    path = tmp_path / "data" / "instance"
    for before, after in ((b'"incarnation": 1', b'"incarnation": 3'), (b"false", b"true")):
        content = path.read_bytes()
        path.write_bytes(content.replace(before, after))
        with pytest.raises(DiskFault, match="is damaged .*checksum is wrong.*move the directory away"):
            opened(tmp_path / "data")
        assert path.read_bytes() == content.replace(before, after)
        path.write_bytes(content)


class _Refusing(Files):
    """Refuses to make directories, to open the lock or to write `instance`, with `code`."""

    def __init__(self, operation, code):
        self._operation, self._code = operation, code

    def _refuse(self, operation):
        if operation == self._operation:
            raise OSError(self._code, os.strerror(self._code))

    def make_directory(self, path):
        self._refuse("make")
        super().make_directory(path)

    def open(self, path, flags, mode=0o600):
        self._refuse("lock")
        return super().open(path, flags, mode)

    def write_atomic(self, path, data):
        self._refuse("instance")
        super().write_atomic(path, data)


@pytest.mark.parametrize("operation", ["make", "lock", "instance"])
@pytest.mark.parametrize("code, is_root, error", [
    (errno.EACCES, False, UsageError), (errno.EPERM, False, UsageError),
    (errno.EACCES, True, DiskFault), (errno.EPERM, True, DiskFault),
    (errno.ENOTDIR, True, UsageError), (errno.ENOENT, True, UsageError), (errno.ELOOP, True, UsageError),
    (errno.ENAMETOOLONG, True, UsageError),
    (errno.EROFS, False, DiskFault), (errno.EIO, False, DiskFault), (errno.ENOSPC, False, DiskFault),
])
def test_a_place_that_cant_be_is_the_configurations_fault_and_a_disk_that_fails_its_own(
        tmp_path, monkeypatch, operation, code, is_root, error):
    monkeypatch.setattr(os, "geteuid", lambda: 0 if is_root else 1000)
    with pytest.raises(error) as caught:
        opened(tmp_path / "data", files=_Refusing(operation, code))
    said = str(caught.value)
    assert said.startswith(str(tmp_path / "data")) and os.strerror(code).lower() in said
    assert ('another "dataDir"' in said) == (error is UsageError) and "\n" not in said
