"""`check-config`: it shows what will be used, and refuses scripts that would not run."""

from __future__ import annotations

import argparse
import json
import os
import sys

import pytest

from raftctl.base.errors import UsageError
from raftctl.cli import check, exposure
from raftctl.config.load import load
from raftctl.net.client import CommandClient
from raftctl.net.commands import CommandListener

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root refuses scripts that others can write")


def options(path, **more):
    return argparse.Namespace(**{"config": str(path), "node": None, "json": False, **more})


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "leader.sh"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def config(tmp_path, **fields):
    path = tmp_path / "n1.json"
    path.write_text(json.dumps({"address": "tcp://localhost:8089", "dataDir": "/d", **fields}))
    return path


def refused(path, capfd):
    with pytest.raises(UsageError) as found:
        check.run(options(path))
    assert "WOULD NOT RUN" in capfd.readouterr().out
    return str(found.value)


def test_what_a_node_will_use_is_shown(tmp_path, script, capfd):
    path = config(tmp_path, events={"leader": {"run": [str(script), "x"], "timeout": "5 s", "retry": 1}})
    assert check.run(options(path)) == 0
    owner = check._user_name(os.geteuid())
    assert capfd.readouterr() == (
        f"""\
{path}: one node, service raftctl (raftctl node tcp://localhost:8089)

node localhost
  address         tcp://localhost:8089
  listens on      localhost, port 8089
  command port    none
  command socket  /d/command.sock
  http            none
  cluster         a cluster of one, until it joins another
  heartbeat       100 ms
  election        500 ms to 1 s
  takeover        after 3 s where nothing is heard
  data            /d
  log             standard error, level info
  secrets         none: every user of this host can change its data
  hook leader     {script} x: mode 0755, owner {owner}, run by itself; timeout 5 s, retry 1
""",
        "",
    )


def test_the_json_form_is_one_object_with_all_of_it(tmp_path, script, capfd):
    path = config(tmp_path, events={"leader": str(script)}, heartbeat=0.5 * 3)
    assert check.run(options(path, json=True)) == 0
    found = json.loads(capfd.readouterr().out)
    assert (found["path"], found["isCluster"], found["nodes"][0]["heartbeatMs"]) == (str(path), False, 1.5)
    assert found["nodes"][0]["events"]["leader"] == {
        "run": [str(script)], "timeoutMs": 30000, "retry": 0, "mode": "0755",
        "owner": check._user_name(os.geteuid()), "interpreter": "itself", "problem": None,
    }  # fmt: skip


def test_one_node_of_a_cluster_file_can_be_chosen(tmp_path, capfd):
    path = tmp_path / "c.json"
    path.write_text(
        json.dumps({"nodes": [{"address": "tcp://localhost:1"}, {"address": "tcp://localhost:2"}]})
    )
    assert check.run(options(path, node="2")) == 0
    shown = capfd.readouterr().out
    assert ("node localhost:2" in shown, "node localhost:1" in shown) == (True, False)


def test_the_file_may_be_an_argument_but_not_both(tmp_path, capfd):
    path = config(tmp_path)
    assert check.run(options(path, config=None, file=str(path))) == 0
    with pytest.raises(UsageError, match="named twice"):
        check.run(options(path, file=str(path)))


@pytest.mark.parametrize("name, content, mode, interpreter", [
    ("a.py", "", 0o644, sys.executable),
    ("a.sh", "#!/bin/sh -e\n", 0o644, "/bin/sh"),
    ("a", "", 0o755, "itself"),
])  # fmt: skip
def test_the_interpreter_is_the_one_that_the_daemon_takes(tmp_path, capfd, name, content, mode, interpreter):
    path = tmp_path / name
    path.write_text(content)
    path.chmod(mode)
    loaded = load(str(config(tmp_path, events={"leader": name})), environ={})
    assert check.look_at(*loaded.nodes[0].events[0]).interpreter == interpreter


def test_p9_a_missing_script_is_refused(tmp_path, capfd):
    path = config(tmp_path, events={"leader": "none.sh"})
    assert refused(path, capfd) == (
        f'{path}: "events": "leader": {tmp_path}/none.sh: no such file; '
        "a relative path begins beside the configuration"
    )


def test_p9_a_program_of_the_path_is_recognised(tmp_path, capfd):
    path = config(tmp_path, events={"stop": "sh"})
    assert refused(path, capfd).startswith(
        f'{path}: "events": "stop": {tmp_path}/sh: no such file; did you mean /'
    )


def test_p9_a_command_line_in_one_text_gets_the_list_as_mend(tmp_path, capfd):
    path = config(tmp_path, events={"stop": "sh -c true"})
    assert refused(path, capfd).endswith('/sh", "-c"]')


def test_p9_a_script_that_nothing_can_run_is_refused(tmp_path, script, capfd):
    script.write_text("echo\n")
    script.chmod(0o644)
    path = config(tmp_path, events={"leader": "leader.sh"})
    assert refused(path, capfd) == (
        f'{path}: "events": "leader": {script}: it is not executable and has no #! line; chmod +x it'
    )


def test_p9_a_missing_interpreter_is_refused(tmp_path, script, capfd):
    script.write_text("#!/no/such/shell\n")
    script.chmod(0o644)
    path = config(tmp_path, events={"leader": "leader.sh"})
    assert refused(path, capfd) == (
        f'{path}: "events": "leader": {script}: its interpreter /no/such/shell is not here; '
        "install it, or name another script"
    )


def test_p9_a_directory_is_no_script(tmp_path, capfd):
    path = config(tmp_path, events={"leader": "."})
    assert refused(path, capfd) == f'{path}: "events": "leader": {tmp_path}: it is no regular file'


@as_root
def test_pitfall_11_3_root_refuses_a_script_that_others_can_write(tmp_path, script, capfd):
    script.chmod(0o777)
    path = config(tmp_path, events={"leader": "leader.sh"})
    assert refused(path, capfd) == (
        f'{path}: "events": "leader": {script}: root does not run it: {script} can be written by others '
        "(mode 0777); chown it to root and chmod go-w it"
    )


def test_what_looks_like_a_mistake_is_a_warning(tmp_path, capfd, monkeypatch):
    add = {
        "clusterNodes": ["tcp://h2:8089"],
        "insecure": True,
        "logFile": "$HOME/n.log",
        "address": "tcp://h1:8089",
    }
    monkeypatch.setattr(check.socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("127.0.1.1", 0))])
    path = config(tmp_path, **add)
    assert check.run(options(path)) == 0
    assert capfd.readouterr().err.splitlines() == [
        (f'raftctl: {path}: warning: "logFile": {tmp_path}/$HOME/n.log holds a "$"; '
        "nothing is substituted in it"),
        f'raftctl: {path}: warning: h1: "insecure" without a secret: every host that reaches port 8089 '
        "can change its data",
        (
            f"raftctl: {path}: warning: h1: h1 is 127.0.1.1 on this host (/etc/hosts), where no peer "
            'reaches it; write "listen": "0.0.0.0", or the IP'
        ),
    ]


LOCAL = "none: every user of this host can change its data"
OPEN = "none: every host that reaches port 8089 can"
NO_EFFECT = '"insecure" has no effect'
REFUSES = "tells state and status, and refuses all else"


@pytest.mark.parametrize(("fields", "has_secret", "shown", "warned"), [
    ({}, False, LOCAL, []),
    ({"command_port": 10000}, False, LOCAL, []),
    ({"insecure": True}, False, LOCAL, [f"{NO_EFFECT}: other hosts reach no port"]),
    ({"insecure": True, "listen": "0.0.0.0"}, False, OPEN, ["every host that reaches port 8089"]),
    ({"insecure": True, "command_port": 10000, "command_host": "0.0.0.0"}, False, LOCAL, [REFUSES]),
    ({"insecure": True, "command_port": 10000, "command_host": "::", "listen": "::"}, False, OPEN,
     ["every host that reaches port 8089", REFUSES]),
    ({"listen": "0.0.0.0"}, True, "one secret, which peers and clients over TCP must prove", []),
    ({"command_port": 10000, "command_host": "0.0.0.0"}, True, "must prove", []),
    ({"insecure": True, "listen": "0.0.0.0"}, True, "must prove", [f"{NO_EFFECT} beside a secret"]),
    ({"insecure": True}, True, "must prove", [f"{NO_EFFECT} beside a secret"]),
])
def test_p8_who_can_change_the_data_is_said_as_it_is(tmp_path, fields, has_secret, shown, warned):
    if has_secret:
        (tmp_path / "secret").write_text("s" * 32)
        (tmp_path / "secret").chmod(0o600)
    node = load(str(config(tmp_path, **fields)), environ={}).nodes[0]
    assert shown in exposure.describe(node)
    found = exposure.warnings(node)
    assert len(found) == len(warned) and all(part in text for part, text in zip(warned, found))


@pytest.mark.parametrize(("host", "expected"), [("127.0.0.1", "changed"), ("0.0.0.0", "not_allowed")])
def test_p8_the_command_port_does_what_check_config_says_of_it(host, expected):
    listener = CommandListener((host, 0), None, lambda request, caller: {}, insecure=True)
    listener.start()
    try:
        with CommandClient([("tcp", "127.0.0.1", listener.port)]) as client:
            reply = client.request({"action": "put", "key": "k", "value": "v"})
    finally:
        listener.close(1.0)
    assert ("changed" if reply["ok"] else reply["error"]["code"]) == expected


@pytest.mark.parametrize("fields, key, host", [
    ({"address": "tcp://192.0.2.1:8089"}, "address", "192.0.2.1"),
    ({"listen": "192.0.2.1"}, "listen", "192.0.2.1"),
    ({"command_port": 8090, "command_host": "192.0.2.1"}, "command_host", "192.0.2.1")])
def test_an_address_that_is_not_here_is_a_warning(tmp_path, capfd, fields, key, host):
    """A daemon waits for it, so here is where a slip of the pen is told."""
    path = config(tmp_path, insecure=True, **fields)
    assert check.run(options(path)) == 0
    name = "192.0.2.1" if key == "address" else "localhost"
    assert capfd.readouterr().err.splitlines()[-1] == (
        f'raftctl: {path}: warning: {name}: "{key}": {host}: not on this host; '
        "a daemon on this host waits until it is")


@pytest.mark.parametrize("timeout, delay, warned", [
    ("5 s", "3 s", True), ("3 s", "3 s", False), ("5 s", "6 s", False), (None, "3 s", False)])
def test_p6_a_follower_that_may_outlast_the_takeover_delay_is_warned_about(tmp_path, timeout, delay, warned):
    hook = {"run": "/bin/true", **({"timeout": timeout} if timeout else {})}
    path = tmp_path / "n.json"
    path.write_text(json.dumps({"address": "tcp://localhost:8089", "dataDir": "/d", "takeover delay": delay,
                                "events": {"leader": "/bin/true", "follower": hook}}))
    (node,) = load(str(path), environ={}).nodes
    found = [one for one in check.warnings(node) if "follower" in one]
    assert bool(found) == warned
    if warned:
        assert found == ['localhost: "follower" may take 5 s, but a new leader waits 3 s for a host that it does '
                         'not hear; raise "takeover delay", or lower the "timeout"']


def test_the_script_of_the_check_is_looked_at_and_shown(tmp_path, script, capfd):
    path = config(tmp_path, check={"run": str(script), "fall": 5})
    assert check.run(options(path)) == 0
    owner = check._user_name(os.geteuid())
    assert (f"{script}: mode 0755, owner {owner}, run by itself; every 2 s, timeout 1 s, fall 5, rise 2\n"
            in capfd.readouterr().out)
    assert check.run(options(path, json=True)) == 0
    found = json.loads(capfd.readouterr().out)["nodes"][0]
    assert found["events"] == {} and found["check"] == {
        "run": [str(script)], "timeoutMs": 1000, "intervalMs": 2000, "fall": 5, "rise": 2, "mode": "0755",
        "owner": owner, "interpreter": "itself", "problem": None}


def test_a_check_that_would_not_run_is_refused(tmp_path, capfd):
    path = config(tmp_path, check="gone.sh")
    assert refused(path, capfd).startswith(f'{path}: "check": {tmp_path}/gone.sh: no such file')


@as_root
def test_root_does_not_run_a_check_that_others_can_write(tmp_path, script, capfd):
    script.chmod(0o777)
    assert '"check": ' in refused(config(tmp_path, check=str(script)), capfd)
