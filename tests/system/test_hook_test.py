"""`raftctl hook test` beside a running daemon: the script gets what the daemon's own hook gets."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest
from cluster import PATIENCE_S, TOP, Cluster, raftctl, wait_for

SCRIPT = """#!/bin/sh
{ id -u; id -G; pwd; umask; ulimit -n; env | grep -v '^RAFTCTL_\\|^_=\\|^PWD=\\|^OLDPWD=\\|^SHLVL=' | sort; } \
> "$(dirname "$0")/$RAFTCTL_EVENT.$RAFTCTL_TERM.new"
cd "$(dirname "$0")" && mv $RAFTCTL_EVENT.$RAFTCTL_TERM.new $RAFTCTL_EVENT.$RAFTCTL_TERM
"""


def write_script(folder):
    script = folder / "hook.sh"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    return script


def test_a_hook_that_is_tested_gets_what_the_daemons_own_hook_got(tmp_path):
    script = write_script(tmp_path)
    with Cluster(tmp_path, 1, events={"leader": str(script)}) as cluster:
        host = cluster.hosts[0]
        os.environ["ONLY_OF_THE_DAEMON"] = "x y"
        former = os.umask(0o027)
        try:
            host.start()
        finally:
            os.umask(former)
            del os.environ["ONLY_OF_THE_DAEMON"]
        term = cluster.leader().request("state")["term"]
        by_daemon = wait_for(lambda: (tmp_path / f"leader.{term}").exists()
                             and (tmp_path / f"leader.{term}").read_text(), "the daemon's own hook")
        done = raftctl("-c", host.config, "hook", "test", "leader", "--json", cwd="/")
        assert done.returncode == 0, done
        found = json.loads(done.stdout)
        assert found["inherits"] == f"those of the running daemon, process {host.guardian.pid}"
        assert found["lacking"] == []
        assert (tmp_path / "leader.0").read_text() == by_daemon
        assert "ONLY_OF_THE_DAEMON=x y" in by_daemon


@pytest.fixture
def open_folder():
    """A folder that every user can reach, which those of pytest are not."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        os.chmod(name, 0o777)
        yield pathlib.Path(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_runs_the_scripts_of_a_service_of_another_user_as_that_user(open_folder):
    folder = open_folder
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if python is None:
        pytest.skip("no Python that every user may run")
    script = write_script(folder)
    config = folder / "config.json"
    config.write_text(json.dumps({"address": "tcp://127.0.0.1:8089", "dataDir": str(folder / "data"),
                                  "user": "nobody", "events": {"follower": str(script)}}))
    done = subprocess.run([python, os.path.join(TOP, "raftctl.py"), "-c", str(config), "hook", "test",
                           "follower"], capture_output=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done
    assert b"user          nobody" in done.stdout
    lines = (folder / "follower.0").read_text().splitlines()
    assert lines[0] != "0" and lines[2] == "/" and "USER=nobody" in lines
