"""host/mirror.py: what a hook inherits, as a running process has it and as a service would."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest

from raftctl.base.errors import NotAllowed, UsageError
from raftctl.host import mirror


def test_of_a_process_is_what_its_children_inherit(tmp_path):
    with subprocess.Popen(
            [sys.executable, "-c", "import os, sys; os.umask(0o027); print(flush=True); sys.stdin.read()"],
            env={"A": "b=c", "E": ""}, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        found = mirror.of_process(child.pid)
    assert (found.user, found.group, set(found.groups)) == (os.geteuid(), os.getegid(), set(os.getgroups()))
    assert (found.environ["A"], found.environ["E"], found.folder) == ("b=c", "", str(tmp_path))
    assert found.umask == 0o027
    assert (resource.RLIMIT_NOFILE, *resource.getrlimit(resource.RLIMIT_NOFILE)) in found.limits
    assert f"process {child.pid}" in found.origin


def test_a_process_that_has_ended_is_none():
    child = subprocess.Popen(["true"])
    child.wait(20)
    with pytest.raises(ProcessLookupError):
        mirror.of_process(child.pid)


def test_a_process_that_this_user_may_not_look_at_is_6(monkeypatch):
    def refuse(*arguments):
        raise PermissionError

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(NotAllowed, match="process 1.*use sudo") as caught:
        mirror.of_process(1)
    assert caught.value.exit_status == 6


def test_of_a_service_is_what_systemd_gives(monkeypatch):
    monkeypatch.setenv("SECRET_OF_THIS_SHELL", "1")
    found = mirror.of_service(None)
    assert (found.environ, found.folder, found.limits) == ({"PATH": mirror.SERVICE_PATH}, "/", ())
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    named = mirror.of_service("nobody")
    assert named.environ["USER"] == "nobody" and "HOME" in named.environ
    with pytest.raises(UsageError, match='"user": there is no user nix on this host'):
        mirror.of_service("nix")


def test_another_users_daemon_is_6_and_nothing_is_put_on(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(NotAllowed, match="the daemon runs as root; use sudo"):
        mirror.put_on(mirror.of_service(None)._replace(user=0, folder="/nowhere"))


PUT_ON = """
import json, os, resource, sys
from raftctl.host import mirror
before = mirror.of_service(None)
lacking = mirror.put_on(before._replace(folder=sys.argv[1], umask=0o057,
                                        limits=((resource.RLIMIT_NOFILE, 123, 456),)))
umask = os.umask(0)
print(json.dumps([os.getcwd(), umask, resource.getrlimit(resource.RLIMIT_NOFILE), lacking]))
"""


def put_on(folder):
    done = subprocess.run([sys.executable, "-c", PUT_ON, str(folder)], capture_output=True, text=True,
                          timeout=60, check=True)
    return done.stdout


def test_what_is_put_on_holds_and_what_can_not_be_had_is_said(tmp_path):
    assert put_on(tmp_path) == f'["{tmp_path}", {0o057}, [123, 456], []]\n'
    assert "/nowhere can't be entered (no such file or directory)" in put_on("/nowhere")
