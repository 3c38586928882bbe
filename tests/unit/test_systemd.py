"""Units as systemd reads them, and `svcinstall`/`svcuninstall` with a stand-in for systemctl."""

import argparse
import json
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from raftctl.base.errors import NotAllowed, RaftctlError, UsageError
from raftctl.cli import service
from raftctl.cli.program import program
from raftctl.config.load import load, pick
from raftctl.host import systemd

PROGRAM = ["/usr/bin/python3", "/opt/raftctl.pyz"]
SINGLE = {"address": "tcp://localhost:8089", "serviceName": "raft-daemon-1"}
TWO = ["tcp://localhost:8089", "tcp://localhost:8090"]
CLUSTER = {
    "serviceName": "raft-cluster-local",
    "description": "My Local 3-Node Raft Cluster",
    "nodes": [{"address": address, "clusterNodes": TWO} for address in TWO],
}


def write_config(folder, content, name="config.json"):
    path = folder / name
    path.write_text(json.dumps(content))
    return str(path)


def render(folder, content, node=None, name="config.json", argv=PROGRAM):
    loaded = load(write_config(folder, content, name), environ={}, as_root=True)
    return systemd.render(loaded, pick(loaded, node) if node else None, argv)


def settings(unit):
    """Return {key: value} of the unit's lines; a key that comes twice is an error of the test's."""
    pairs = [line.split("=", 1) for line in unit.text.splitlines() if "=" in line
             and not line.startswith("#")]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


# What a unit says


def test_the_unit_has_exactly_the_service_name(tmp_path):
    assert render(tmp_path, SINGLE).file_name == "raft-daemon-1.service"
    assert render(tmp_path, CLUSTER).file_name == "raft-cluster-local.service"


def test_the_unit_of_a_node(tmp_path):
    config = f"{tmp_path}/config.json"
    assert settings(render(tmp_path, SINGLE)) == {
        "Description": "raftctl node tcp://localhost:8089",
        "Wants": "network-online.target",
        "After": "network-online.target",
        "RequiresMountsFor": f"{config} /opt/raftctl.pyz /var/lib/raftctl/8089",
        "StartLimitIntervalSec": "0",
        "Type": "notify",
        "NotifyAccess": "main",
        "ExecStart": f"/usr/bin/python3 /opt/raftctl.pyz -c {config} start",
        "ExecReload": '/bin/sh -c "kill -HUP ${MAINPID}"',
        "ExecStopPost": f"-/usr/bin/python3 /opt/raftctl.pyz -c {config} after-stop",
        "WatchdogSec": "30",
        "WatchdogSignal": "SIGKILL",
        "RuntimeDirectory": "raftctl",
        "RuntimeDirectoryPreserve": "yes",
        "Restart": "always",
        "RestartSec": "1",
        "RestartPreventExitStatus": "2 74",
        "KillMode": "mixed",
        "TimeoutStopSec": "30",
        "TimeoutStartSec": "15min",
        "OOMPolicy": "continue",
        "SyslogIdentifier": "raft-daemon-1",
        "WantedBy": "multi-user.target",
    }


def test_the_unit_of_a_cluster_file_waits_for_the_mounts_of_all_its_nodes(tmp_path):
    found = settings(render(tmp_path, CLUSTER))
    assert found["RequiresMountsFor"].split()[2:] == ["/var/lib/raftctl/8089", "/var/lib/raftctl/8090"]
    assert found["Description"] == "My Local 3-Node Raft Cluster"
    assert found["ExecStart"].endswith("config.json start")


def test_one_node_of_a_cluster_file_is_named_by_its_address(tmp_path):
    unit = render(tmp_path, CLUSTER, node="8090")
    assert settings(unit)["ExecStart"].endswith("config.json start --node tcp://localhost:8090")
    assert settings(unit)["RequiresMountsFor"].split()[2:] == ["/var/lib/raftctl/8090"]


def test_an_installed_raftctl_is_started_as_a_module(tmp_path):
    unit = render(tmp_path, SINGLE, argv=["/usr/bin/python3", "-m", "raftctl"])
    assert settings(unit)["ExecStart"].startswith("/usr/bin/python3 -m raftctl -c /")
    assert settings(unit)["RequiresMountsFor"].split()[1:] == ["/var/lib/raftctl/8089"]


@pytest.mark.parametrize("events, seconds", [
    ({}, 30),
    ({"leader": {"run": "/x", "timeout": "5 minutes"}}, 30),
    ({"stop": {"run": "/x", "timeout": "10 s"}}, 40),
    ({"stop": {"run": "/x", "timeout": "10 s", "retry": 2}}, 70),
    ({"stop": {"run": "/x", "timeout": "10 s"}, "follower": {"run": "/x", "timeout": "20.5 s"}}, 61),
    ({"start": "/x", "stop": "/x", "follower": "/x", "leader": "/x"}, 120),
])
def test_a_stop_may_take_as_long_as_its_hooks_and_the_stop_itself(events, seconds, tmp_path):
    assert settings(render(tmp_path, {**SINGLE, "events": events}))["TimeoutStopSec"] == str(seconds)


def test_nodes_stop_side_by_side_so_the_slowest_counts(tmp_path):
    nodes = [{"address": address, "events": {"stop": {"run": "/x", "timeout": timeout}}}
             for address, timeout in zip(TWO, ("10 s", "60 s"))]
    assert settings(render(tmp_path, {"nodes": nodes}))["TimeoutStopSec"] == "90"


def test_a_user_gets_the_directories_that_root_would_have(tmp_path):
    found = settings(render(tmp_path, {**SINGLE, "user": "raft"}))
    words = (found["User"], found["StateDirectory"], found["StateDirectoryMode"])
    assert words == ("raft", "raftctl/8089", "0700")
    assert "RuntimeDirectory" not in found
    # The daemon itself must come to the same directory.
    name, _, value = found["Environment"].partition("=")
    node = load(f"{tmp_path}/config.json", environ={name: value}, as_root=False).nodes[0]
    assert node.data_dir == "/var/lib/raftctl/8089"


def test_a_user_with_a_data_directory_of_its_own_gets_no_other(tmp_path):
    found = settings(render(tmp_path, {**SINGLE, "user": "raft", "dataDir": "/srv/raft"}))
    assert "StateDirectory" not in found
    assert found["RequiresMountsFor"].split()[2:] == ["/srv/raft"]


@pytest.mark.parametrize("argv, expected", [
    (["/usr/bin/python3", "/opt/raftctl.pyz"], "/usr/bin/python3 /opt/raftctl.pyz"),
    (["/usr/bin/python3", "/opt/my file"], '/usr/bin/python3 "/opt/my file"'),
    (["/usr/bin/python3", "/opt/100%n"], "/usr/bin/python3 /opt/100%%n"),
    (["/usr/bin/python3", "/opt/$HOME"], "/usr/bin/python3 /opt/$$HOME"),
    (["/usr/bin/python3", '/opt/a"b\\c'], '/usr/bin/python3 "/opt/a\\"b\\\\c"'),
    (["/usr/bin/python3", "/opt/it's"], '/usr/bin/python3 "/opt/it\'s"'),
    (["/usr/bin/python3", ";"], '/usr/bin/python3 ";"'),
    (["/usr/bin/python3", ""], '/usr/bin/python3 ""'),
    (["/usr/bin/python3", "/opt/größe"], '/usr/bin/python3 "/opt/größe"'),
    (["/my venv/bin/python3", "x"], '"/my venv/bin/python3" x'),
])
def test_words_reach_the_program_as_they_are(argv, expected):
    assert systemd.command_line(argv) == expected


@pytest.mark.parametrize("argv", [["/opt/$x/python3"], ["/usr/bin/python3", "/opt/new\nline"]])
def test_p9_what_a_unit_cannot_say_is_refused(argv):
    with pytest.raises(UsageError, match="which a systemd unit can't say"):
        systemd.command_line(argv)


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a b", "-x", "x.service", "x@", "ä", "a\nb", 201 * "x"])
def test_p9_a_name_that_systemd_refuses_is_refused_here(name, tmp_path):
    loaded = load(write_config(tmp_path, SINGLE), environ={}, as_root=True)._replace(service_name=name)
    with pytest.raises(UsageError, match="can't be the name of a systemd service"):
        systemd.render(loaded, None, PROGRAM)


def test_a_description_cannot_add_lines_or_specifiers(tmp_path):
    loaded = load(write_config(tmp_path, SINGLE), environ={}, as_root=True)
    unit = systemd.render(loaded._replace(description="50% of ${name} $$"), None, PROGRAM)
    assert settings(unit)["Description"] == "50%% of ${name} $$"
    with pytest.raises(UsageError, match="control character"):
        systemd.render(loaded._replace(description="x\nUser=root"), None, PROGRAM)


def test_a_unit_knows_what_it_was_written_for(tmp_path):
    unit = render(tmp_path, CLUSTER, node="8089")
    assert systemd.origin_of(unit.text) == f"{tmp_path}/config.json --node tcp://localhost:8089"
    assert systemd.origin_of("[Unit]\n") is None
    assert systemd.origin_of(systemd.MARKER) is None


@pytest.mark.parametrize("content, folder", [
    (SINGLE, "plain"), (CLUSTER, "plain"), ({**SINGLE, "user": "daemon"}, "plain"),
    (SINGLE, 'odd "$%n\\ it\'s'),
])
def test_systemd_finds_nothing_wrong_with_a_unit(content, folder, tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not on this machine")
    (tmp_path / folder).mkdir()
    interpreter = tmp_path / folder / "python3" if "$" not in folder else Path("/bin/true")
    if not interpreter.exists():
        interpreter.symlink_to("/bin/true")
    unit = render(tmp_path / folder, content, argv=[str(interpreter), str(tmp_path / folder / "raftctl.pyz")])
    path = tmp_path / unit.file_name
    path.write_text(unit.text)
    done = subprocess.run(["systemd-analyze", "verify", str(path)], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    # Complaints about units of the machine itself are not ours.
    ours = [line for line in done.stdout.splitlines() if unit.file_name in line]
    assert ours == []


# svcinstall and svcuninstall


SYSTEMCTL = """#!/bin/sh
echo "$*" >> {log}
case $1 in
  is-active) exit {active} ;;
  {failing}) echo 'Failed to do it: no reason' >&2; exit 1 ;;
esac
"""


class World:
    """A host of the test's own: folder of units, systemctl that notes what it is asked, a configuration."""

    def __init__(self, folder):
        self.folder = folder
        self.log = folder / "asked"
        self.units = folder / "etc"
        self.others = folder / "lib"
        self.units.mkdir()
        self.others.mkdir()
        (folder / "run").mkdir()
        self.systemctl()
        self.host = service.Host(True, str(self.units), (str(self.others),), str(folder / "run"),
                                 str(folder / "systemctl"))
        self.config = write_config(folder, SINGLE)
        self.unit = self.units / "raft-daemon-1.service"

    def systemctl(self, active=3, failing="nothing"):
        path = self.folder / "systemctl"
        path.write_text(SYSTEMCTL.format(log=self.log, active=active, failing=failing))
        path.chmod(0o755)

    def asked(self):
        """Return what systemctl was asked since the last question."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.write_text("")
        return lines

    def install(self, host=None, **options):
        return service.install(self.options(**options), host or self.host)

    def uninstall(self, host=None, **options):
        return service.uninstall(self.options(**options), host or self.host)

    def options(self, **given):
        return argparse.Namespace(**{"config": self.config, "node": None, "dry_run": False, "now": False,
                                     "force": False, "diff": False, "hardened": False,
                                     "run_as": None, "user": False, **given})


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_installing_writes_enables_and_says_what_to_run_next(world, capsys):
    assert world.install() == 0
    assert world.unit.read_text().startswith(systemd.MARKER)
    assert stat.S_IMODE(world.unit.stat().st_mode) == 0o644
    assert world.asked() == ["daemon-reload", "enable --quiet raft-daemon-1.service",
                             "is-active --quiet raft-daemon-1.service"]
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        f"raftctl: {world.unit}: written\n"
        "raftctl: enabled; next:\n"
        "raftctl:   systemctl start raft-daemon-1.service\n"
        f"raftctl:   {' '.join(program())} -c {world.config} status\n")


def test_installing_again_changes_nothing(world, capsys):
    world.install()
    before = world.unit.stat()
    capsys.readouterr()
    assert world.install() == 0
    assert capsys.readouterr().err.startswith(f"raftctl: {world.unit}: unchanged\n")
    after = world.unit.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_changed_configuration_replaces_our_own_unit_and_names_the_restart(world, capsys):
    world.install()
    write_config(world.folder, {**SINGLE, "description": "another"})
    world.systemctl(active=0)
    capsys.readouterr()
    assert world.install() == 0
    assert "Description=another\n" in world.unit.read_text()
    said = capsys.readouterr().err
    assert f"{world.unit}: written anew\n" in said
    assert "systemctl restart raft-daemon-1.service\n" in said


def test_now_starts_it(world, capsys):
    assert world.install(now=True) == 0
    assert world.asked()[1:3] == ["enable --quiet raft-daemon-1.service", "start raft-daemon-1.service"]
    assert "enabled and started" in capsys.readouterr().err


def test_dry_run_prints_the_unit_and_changes_nothing(world, capsys):
    assert world.install(dry_run=True, host=world.host._replace(is_root=False)) == 0
    said = capsys.readouterr()
    assert said.out.startswith(systemd.MARKER)
    assert said.err == (f"raftctl: {world.unit}: would be written; then:\n"
                        "raftctl:   systemctl daemon-reload\n"
                        "raftctl:   systemctl enable raft-daemon-1.service\n")
    assert (list(world.units.iterdir()), world.asked()) == ([], [])
    assert world.install(dry_run=True, now=True) == 0
    assert capsys.readouterr().err.endswith("raftctl:   systemctl start raft-daemon-1.service\n")


def test_a_dry_run_says_what_the_unit_that_is_there_would_undergo(world, capsys):
    world.install()
    capsys.readouterr()
    world.asked()
    world.install(dry_run=True)
    assert f"{world.unit}: is there, unchanged; then:" in capsys.readouterr().err
    write_config(world.folder, {**SINGLE, "description": "another"})
    before = world.unit.read_text()
    world.install(dry_run=True)
    assert f"{world.unit}: would be written anew; then:" in capsys.readouterr().err
    assert (world.unit.read_text(), world.asked()) == (before, [])


def test_a_dry_run_is_refused_where_the_installation_would_be(world):
    world.unit.write_text("[Unit]\nDescription=by hand\n")
    with pytest.raises(NotAllowed, match="exists and was not written by raftctl"):
        world.install(dry_run=True)
    assert world.install(dry_run=True, force=True) == 0
    assert world.asked() == []


def test_p9_without_root_it_says_sudo_and_changes_nothing(world):
    with pytest.raises(NotAllowed) as refused:
        world.install(now=True, host=world.host._replace(is_root=False))
    assert refused.value.exit_status == 6
    assert str(refused.value) == (
        f"only root may change {world.units}, nothing was changed; "
        f"run: sudo {' '.join(program())} -c {world.config} svcinstall --now")
    with pytest.raises(NotAllowed, match="run: sudo .* svcuninstall$"):
        world.uninstall(host=world.host._replace(is_root=False))
    assert (list(world.units.iterdir()), world.asked()) == ([], [])


@pytest.mark.parametrize("content, why", [
    ("[Unit]\nDescription=by hand\n", "exists and was not written by raftctl"),
    (f"{systemd.MARKER}\n# for /etc/raftctl/other.json\n", "is for /etc/raftctl/other.json; choose another"),
])
def test_a_unit_that_is_not_this_configurations_is_overwritten_by_force_only(content, why, world):
    world.unit.write_text(content)
    with pytest.raises(NotAllowed, match=why):
        world.install()
    with pytest.raises(NotAllowed, match="not removed"):
        world.uninstall()
    assert (world.unit.read_text(), world.asked()) == (content, [])
    assert world.install(force=True) == 0
    assert systemd.origin_of(world.unit.read_text()) == world.config


def test_a_masked_unit_is_not_overwritten(world):
    world.unit.symlink_to("/dev/null")
    with pytest.raises(NotAllowed, match="was not written by raftctl"):
        world.install()
    assert os.readlink(world.unit) == "/dev/null"


def test_a_service_of_the_system_is_not_hidden(world):
    (world.others / world.unit.name).write_text("[Unit]\n")
    with pytest.raises(NotAllowed, match="a service of this name is there already"):
        world.install()
    assert list(world.units.iterdir()) == []


def test_without_systemd_nothing_is_changed(world):
    with pytest.raises(RaftctlError, match="does not run systemd, nothing was changed"):
        world.install(host=world.host._replace(booted=str(world.folder / "nowhere")))
    with pytest.raises(RaftctlError, match="systemctl is not on the PATH, nothing was changed"):
        world.install(host=world.host._replace(systemctl="/nowhere/systemctl"))
    assert list(world.units.iterdir()) == []


def test_p9_a_bad_configuration_is_refused_before_anything_is_written(world):
    write_config(world.folder, {"adress": "tcp://localhost:8089"})
    with pytest.raises(UsageError, match="did you mean"):
        world.install()
    assert (list(world.units.iterdir()), world.asked()) == ([], [])


def test_what_systemctl_complains_of_is_passed_on(world):
    world.systemctl(failing="start")
    with pytest.raises(RaftctlError) as failed:
        world.install(now=True)
    assert str(failed.value) == "systemctl start raft-daemon-1.service: Failed to do it: no reason"


def test_uninstalling_stops_and_removes(world, capsys):
    world.install()
    world.asked()
    assert world.uninstall() == 0
    assert not world.unit.exists()
    assert world.asked() == ["disable --now --quiet raft-daemon-1.service", "daemon-reload",
                             "reset-failed raft-daemon-1.service"]
    capsys.readouterr()
    assert world.uninstall() == 1
    assert capsys.readouterr().err == f"raftctl: {world.unit}: no such unit; nothing to remove\n"
    assert world.asked() == []


def test_a_dry_run_of_uninstalling_changes_nothing(world, capsys):
    world.install()
    world.asked()
    capsys.readouterr()
    assert world.uninstall(dry_run=True) == 0
    assert capsys.readouterr().out.splitlines() == [
        "systemctl disable --now raft-daemon-1.service", f"rm {world.unit}", "systemctl daemon-reload"]
    assert (world.unit.exists(), world.asked()) == (True, [])


def test_a_unit_stays_when_its_service_does_not_stop(world):
    world.install()
    world.systemctl(failing="disable")
    with pytest.raises(RaftctlError, match="systemctl disable"):
        world.uninstall()
    assert world.unit.exists()


def test_the_hint_for_a_cluster_file_names_a_node(world, capsys):
    write_config(world.folder, CLUSTER)
    assert world.install() == 0
    assert capsys.readouterr().err.rstrip().endswith(f"-c {world.config} --node tcp://localhost:8089 status")


# --diff, --run-as, --user, --hardened


def test_a_difference_is_shown_and_nothing_is_changed(world, capsys):
    assert world.install(diff=True) == 1
    assert "+ExecStart=" in capsys.readouterr().out and not world.unit.exists() and world.asked() == []
    world.install()
    capsys.readouterr()
    assert world.install(diff=True) == 0
    assert capsys.readouterr() == ("", "")
    world.config = write_config(world.folder, {**SINGLE, "description": "another"})
    before = world.unit.read_text()
    assert world.install(world.host._replace(is_root=False), diff=True) == 1
    shown = capsys.readouterr().out
    assert "-Description=raftctl node tcp://localhost:8089" in shown and "+Description=another" in shown
    assert world.unit.read_text() == before


def test_run_as_takes_the_place_of_the_key(world, capsys):
    world.config = write_config(world.folder, {**SINGLE, "user": "nobody"})
    world.install(run_as="daemon")
    assert "User=daemon" in world.unit.read_text()
    assert "warning" not in capsys.readouterr().err
    with pytest.raises(UsageError, match="there is no user nix on this host; make it: useradd --system nix"):
        world.install(run_as="nix")


def test_a_secret_that_the_user_can_not_read_is_warned_of(world, capsys):
    secret = world.folder / "secret"
    secret.write_text("x" * 32)
    secret.chmod(0o600)
    world.install(run_as="nobody")
    assert f"warning: {secret} belongs to " in capsys.readouterr().err


def test_a_hardened_service_is_written_with_its_warnings_and_folders(world, capsys):
    data = world.folder / "data"
    world.config = write_config(world.folder, {**SINGLE, "dataDir": str(data), "events": {"leader": "/x"}})
    world.install(hardened=True)
    assert "NoNewPrivileges=yes" in world.unit.read_text()
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    said = capsys.readouterr().err
    assert "warning: the scripts run inside the same limits" in said and f"{data}: made" in said
    world.install()
    assert "NoNewPrivileges" not in world.unit.read_text()


def test_a_service_of_a_user_needs_no_root_and_asks_his_own_manager(world, capsys):
    units = world.folder / "home" / "systemd" / "user"
    host = world.host._replace(is_root=False, for_user=True, units=str(units))
    (world.folder / "systemctl").write_text(f'#!/bin/sh\necho "$*" >> {world.log}\n')
    assert world.install(host, user=True, now=True) == 0
    assert world.asked() == ["--user daemon-reload", "--user enable --quiet raft-daemon-1.service",
                             "--user start raft-daemon-1.service",
                             "--user is-active --quiet raft-daemon-1.service"]
    text = (units / "raft-daemon-1.service").read_text()
    assert "WantedBy=default.target" in text
    for key in ("User=", "network-online", "RuntimeDirectory="):
        assert key not in text
    assert "loginctl enable-linger" in capsys.readouterr().err
    assert world.uninstall(host, user=True) == 0
    assert world.asked()[0] == "--user disable --now --quiet raft-daemon-1.service"


@pytest.mark.parametrize("content, options, said", [
    ({"user": "daemon"}, {}, 'can\'t run as daemon; leave "user" in '),
    ({}, {"run_as": "daemon"}, "can't run as daemon; leave --run-as or --user out"),
    ({}, {"hardened": True}, "can't take anything from a service"),
])
def test_p9_what_a_users_service_can_not_be_is_refused(content, options, said, world):
    world.config = write_config(world.folder, {**SINGLE, **content})
    with pytest.raises(UsageError, match=said):
        world.install(world.host._replace(is_root=False, for_user=True), user=True, **options)
    assert world.asked() == [] and not world.unit.exists()


def test_without_a_manager_of_the_user_nothing_is_changed(world):
    host = world.host._replace(is_root=False, for_user=True, booted=str(world.folder / "none"))
    with pytest.raises(RaftctlError, match="no service manager of this user runs .* nothing was changed"):
        world.install(host, user=True)
    assert not world.unit.exists() and world.asked() == []


def test_p9_root_has_no_services_of_its_own(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(UsageError, match="root's services are the system's"):
        service._this_host(for_user=True)
