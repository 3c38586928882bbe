"""host/hardening.py: what is taken from a service, and what is left where its paths or scripts need it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest
from test_systemd import PROGRAM, SINGLE, settings

from raftctl.config.load import load
from raftctl.host import systemd
from raftctl.host.systemd import Manner

SCRIPT = {"events": {"leader": "/etc/raftctl/role.sh"}}


def hardened(folder, program=PROGRAM, path="/etc/raftctl/config.json", **keys):
    """Return the hardened unit of a file with `keys`, as if it stood at `path`."""
    file = folder / "config.json"
    file.write_text(json.dumps({**SINGLE, **keys}))
    loaded = load(str(file), environ={}, as_root=True)._replace(path=path)
    return systemd.render(loaded, None, program, Manner(hardened=True))


def test_a_service_without_scripts_keeps_the_least(tmp_path):
    found = settings(hardened(tmp_path))
    assert (found["ProtectSystem"], found["ProtectHome"], found["PrivateTmp"]) == ("strict", "yes", "yes")
    assert found["CapabilityBoundingSet"] == "" and "AF_PACKET" not in found["RestrictAddressFamilies"]
    assert (found["NoNewPrivileges"], found["MemoryDenyWriteExecute"]) == ("yes", "yes")
    # The data directory and the folder of the socket are made, writable, by systemd itself.
    assert (found["StateDirectory"], found["RuntimeDirectory"]) == ("raftctl/8089", "raftctl")
    assert "ReadWritePaths" not in found
    assert hardened(tmp_path).warnings == ()


def test_scripts_of_root_may_move_an_address_and_write_to_run_and_are_warned_of(tmp_path):
    unit = hardened(tmp_path, **SCRIPT)
    found = settings(unit)
    assert found["ProtectSystem"] == "full"
    assert found["CapabilityBoundingSet"] == "CAP_NET_ADMIN CAP_NET_RAW"
    assert "AF_PACKET" in found["RestrictAddressFamilies"]
    assert any("the scripts run inside the same limits" in warning for warning in unit.warnings)
    assert any("/tmp of the scripts" in warning for warning in unit.warnings)


def test_another_user_keeps_no_capability_but_that_for_a_low_port(tmp_path):
    assert settings(hardened(tmp_path, user="raft", **SCRIPT))["CapabilityBoundingSet"] == ""
    found = settings(hardened(tmp_path, user="raft", http="127.0.0.1:80"))
    assert found["CapabilityBoundingSet"] == found["AmbientCapabilities"] == "CAP_NET_BIND_SERVICE"


def test_directories_that_systemd_does_not_make_are_writable_and_made_by_svcinstall(tmp_path):
    unit = hardened(tmp_path, dataDir="/srv/my raft", logFile="/var/log/raft/n1.log")
    assert settings(unit)["ReadWritePaths"] == '"/srv/my raft" /var/log/raft'
    assert unit.folders == ("/srv/my raft",)
    assert "StateDirectory" not in settings(unit)


def test_what_is_in_a_home_or_in_tmp_stays_visible_and_is_named(tmp_path):
    unit = hardened(tmp_path, program=["/root/bin/python3", "/root/raftctl.pyz"], path="/tmp/c.json")
    found = settings(unit)
    assert found["ProtectHome"] == "read-only" and "PrivateTmp" not in found
    assert any(warning.startswith("/root/raftctl.pyz is in a home directory") for warning in unit.warnings)
    assert any(warning.startswith("/tmp/c.json is in a directory for temp") for warning in unit.warnings)
    assert settings(hardened(tmp_path, events={"leader": "/home/a/x"}))["ProtectHome"] == "read-only"


def test_node_scripts_may_make_code(tmp_path):
    unit = hardened(tmp_path, events={"leader": "/etc/raftctl/role.js"})
    assert "MemoryDenyWriteExecute" not in settings(unit)
    assert any("MemoryDenyWriteExecute" in warning for warning in unit.warnings)


def test_the_key_says_it_for_good(tmp_path):
    file = tmp_path / "c.json"
    file.write_text(json.dumps({**SINGLE, "hardened": True}))
    assert load(str(file), environ={}, as_root=True).hardened
    file.write_text(json.dumps({"hardened": True, "nodes": [{"address": "tcp://localhost:8089"}]}))
    assert load(str(file), environ={}, as_root=True).hardened


@pytest.mark.parametrize("keys, figure", [
    (SCRIPT, "2.5"), ({}, "2.0"), ({"user": "daemon"}, "1.7"),
])
def test_the_figure_of_systemd_analyze_security_is_that_of_the_page(keys, figure, tmp_path):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not on this machine")
    version = subprocess.run([analyze, "--version"], capture_output=True, text=True, timeout=60, check=True)
    if not version.stdout.startswith("systemd 252 "):
        pytest.skip("the page says the figures of systemd 252")
    unit = hardened(tmp_path, program=["/usr/bin/true", "/usr/bin/true"], **keys)
    path = tmp_path / unit.file_name
    path.write_text(unit.text)
    verify = subprocess.run([analyze, "verify", str(path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True, timeout=60, check=False)
    assert [line for line in verify.stdout.splitlines() if unit.file_name in line] == []
    said = subprocess.run([analyze, "security", "--offline=yes", "--no-pager", str(path)],
                          capture_output=True, text=True, timeout=60, check=True).stdout
    assert re.search(r"exposure level for \S+: (\S+)", said).group(1) == figure
