"""A small file is replaced whole or not at all."""

from __future__ import annotations

import errno
import os
import stat

import pytest

from raftctl.base import files


def test_the_new_content_replaces_the_old_whole(tmp_path):
    path = tmp_path / "instance"
    files.write_atomic(str(path), b"old and much longer")
    files.write_atomic(str(path), b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["instance"]


def test_an_empty_file_can_be_written(tmp_path):
    files.write_atomic(str(tmp_path / "empty"), b"")
    assert (tmp_path / "empty").read_bytes() == b""


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755])
def test_the_mode_is_exact_whatever_the_umask(tmp_path, mode):
    former = os.umask(0o077)
    try:
        files.write_atomic(str(tmp_path / "f"), b"x", mode)
    finally:
        os.umask(former)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == mode


def test_a_relative_name_without_a_directory_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files.write_atomic("f", b"x")
    assert (tmp_path / "f").read_bytes() == b"x"


def test_a_link_left_under_the_temporary_name_is_not_followed(tmp_path):
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "f.new").symlink_to("victim")
    files.write_atomic(str(tmp_path / "f"), b"x")
    assert (tmp_path / "victim").read_bytes() == b"precious"
    assert (tmp_path / "f").read_bytes() == b"x"


OPERATIONS = ("unlink", "open", "fchmod", "write", "fsync", "close", "rename")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_failed_operation_leaves_the_old_content_and_no_litter(tmp_path, monkeypatch, operation):
    path = tmp_path / "f"
    path.write_bytes(b"old")
    real = getattr(os, operation)
    waiting = [OSError(errno.EIO, "Input/output error")]

    def fail_once(*args, **options):
        if operation == "close":
            real(*args, **options)
        if waiting:
            raise waiting.pop()
        return None if operation == "close" else real(*args, **options)

    monkeypatch.setattr(files.os, operation, fail_once)
    with pytest.raises(OSError, match="Input/output"):
        files.write_atomic(str(path), b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]


def test_short_writes_are_completed(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(files.os, "write", lambda descriptor, data: real(descriptor, data[:2]))
    files.write_atomic(str(tmp_path / "f"), b"abcdefg")
    assert (tmp_path / "f").read_bytes() == b"abcdefg"


def test_file_is_synced_before_the_rename_and_directory_after_it(tmp_path, monkeypatch):
    done = []
    real_fsync, real_rename = os.fsync, os.rename

    def fsync(descriptor):
        done.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real_fsync(descriptor)

    def rename(one, other):
        done.append("rename")
        real_rename(one, other)

    monkeypatch.setattr(files.os, "fsync", fsync)
    monkeypatch.setattr(files.os, "rename", rename)
    files.write_atomic(str(tmp_path / "f"), b"x")
    assert done == ["file", "rename", "directory"]


def test_a_missing_directory_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        files.sync_directory(str(tmp_path / "none"))
