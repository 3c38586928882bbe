"""`hook test`: what is shown, and the exit status. What is inherited: test_mirror.py, tests/system."""

from __future__ import annotations

import json

import pytest
from fake_daemon import FakeDaemon

from raftctl.base.errors import NotAllowed
from raftctl.cli.main import main
from raftctl.host import mirror


@pytest.fixture
def hook(tmp_path, monkeypatch, capfd):
    """Run `hook test` with a script and fields of its event; return exit status, output and errors."""
    monkeypatch.setattr(mirror, "put_on", lambda inherited: [])

    def run(script, *words, event="leader", **fields):
        path = tmp_path / "hook.sh"
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o755)
        file = tmp_path / "config.json"
        file.write_text(json.dumps({"address": "tcp://127.0.0.1:8089", "dataDir": str(tmp_path / "data"),
                                    "events": {"leader": {"run": [str(path), "a b"], **fields}}}))
        status = main(["-c", str(file), "hook", "test", event, *words])
        return (status, *capfd.readouterr())

    return run


def test_a_script_that_succeeds_is_0_and_all_is_shown(hook, tmp_path):
    status, shown, said = hook('echo "out $1 $RAFTCTL_EVENT"; echo err >&2')
    assert (status, said) == (0, "")
    assert f"argv          {tmp_path}/hook.sh a b\n" in shown
    for line in ("event         leader", "time limit    30 s", "  RAFTCTL_STATE=LEADER", "  RAFTCTL_TERM=0",
                 "  RAFTCTL_LEADER=tcp://127.0.0.1:8089", "  RAFTCTL_REASON=raftctl hook test",
                 "output\n  out a b leader\n  err\nsucceeded        status 0, after "):
        assert line in shown
    assert "as a systemd service has them, for no daemon answers" in shown


def test_a_script_that_fails_is_1(hook):
    status, shown, _ = hook("exit 7")
    assert status == 1 and "\nfailed        status 7, after " in shown


def test_the_time_limit_is_the_daemons_and_ends_the_whole_group(hook, tmp_path):
    marker = tmp_path / "late"
    status, shown, _ = hook(f"(sleep 3; touch {marker}) & sleep 60", timeout="200 ms")
    assert status == 1 and "time limit of 0.2 s" in shown
    assert not marker.exists()


def test_a_background_child_does_not_hold_it_up(hook):
    """Pitfall 9.6: a hook ends when its process ends, not when its pipe does."""
    status, shown, _ = hook("sleep 5 & echo begun")
    assert status == 0 and "begun" in shown
    assert int(shown.rsplit("after ", 1)[1].split()[0]) < 4000


def test_json_is_the_same_for_programs(hook):
    status, shown, _ = hook("cat; exit 3", "--json", "--term", "7")
    found = json.loads(shown)
    assert status == 1
    assert (found["succeeded"], found["outcome"], found["problem"]) == (False, "status 3", None)
    assert found["environment"]["RAFTCTL_TERM"] == "7"
    assert json.loads(found["output"][0]) == found["standardInput"]
    assert found["timeoutMs"] == 30_000 and found["tookMs"] >= 0


def test_p9_an_event_without_a_script_is_2_and_one_line(hook, tmp_path):
    status, shown, said = hook("", event="stop")
    assert (status, shown) == (2, "")
    assert said == f'raftctl: {tmp_path}/config.json: "events" has no script for stop, only for leader\n'
    assert "is no event" in hook("", event="leadr")[2]


def test_a_daemon_that_this_user_may_not_mirror_is_6(ask, monkeypatch):
    def refuse(pid):
        raise NotAllowed("only the user of the daemon (process 1) and root may run its scripts; use sudo")

    monkeypatch.setattr(mirror, "of_process", refuse)
    reply = {"state": {"pid": 1}, "members": []}
    # No script is configured there: that is told before anybody is asked.
    assert ask(FakeDaemon(status=reply), "hook", "test", "leader")[0] == 2
