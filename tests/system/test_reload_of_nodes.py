"""SIGHUP on real nodes: what changes at once, what waits, and a bad file that changes nothing."""

from __future__ import annotations

import os
import signal
import socket
import threading

import pytest
from cluster import Cluster, Host, free_ports, raftctl, wait_for


@pytest.fixture
def host(tmp_path):
    with Cluster(tmp_path, 1) as cluster:
        cluster.start().leader()
        yield cluster.hosts[0]


def reload(host, **settings):
    """Change the file, send SIGHUP, and return what the guardian says, once it has said that it is done."""
    host.settings.update(settings)
    host.write_config()
    return hang_up(host)


def hang_up(host):
    path = host.settings["logFile"]
    before = os.path.getsize(path) if os.path.exists(path) else 0
    host.guardian.send_signal(signal.SIGHUP)

    def said():
        if not os.path.exists(path):
            return None
        with open(path, encoding="utf-8") as file:
            file.seek(before)
            text = file.read()
        return text if "reloaded, " in text else None

    return wait_for(said, "the guardian's word")


def test_a_new_leader_script_runs_for_what_holds_and_the_node_goes_on(host, tmp_path):
    pid, term = host.node_pid, host.request("state")["term"]
    marker = tmp_path / "ran"
    script = tmp_path / "note.sh"
    script.write_text(f"#!/bin/sh\necho $RAFTCTL_EVENT $RAFTCTL_TERM >> {marker}\n")
    script.chmod(0o700)
    said = reload(host, events={"stop": str(script), "leader": str(script)})
    assert "reloaded, with other events" in said
    assert (host.node_pid, host.request("state")["term"]) == (pid, term)
    # It leads already, and no script has run for that (P5).
    wait_for(marker.exists, "the script of the leader")
    assert host.stop() == 0
    assert marker.read_text() == f"leader {term}\nstop {term}\n"


def test_level_and_file_of_the_log_change_in_guardian_and_node(host, tmp_path):
    other = str(tmp_path / "other.log")
    reload(host, logFile=other, logLevel="debug")
    # The node complains of a stranger: the process that was there before.
    with socket.create_connection(("127.0.0.1", host.port)) as stranger:
        stranger.sendall(b"x" * 5000)

    def says(text):
        with open(other, encoding="utf-8") as file:
            return [line for line in file if f"[{host.address}]" in line and text in line]

    wait_for(lambda: says("closed the connection of"), "the node's own line")
    host.kill_node()
    wait_for(lambda: host.state() == "LEADER", "LEADER again")
    # The next process reads the file itself.
    assert wait_for(lambda: says("shows LEADER"), "its line in the same file")


def test_what_can_not_change_is_named_and_the_node_keeps_it(host):
    said = reload(host, **{"heartbeat": "150 ms", "logLevel": "debug"})
    assert "heartbeat can't change while it runs, and waits for the next start" in said
    # A second time too: it still waits.
    host.settings["logLevel"] = "info"
    assert "heartbeat can't change" in reload(host)


@pytest.mark.parametrize("content, said", [
    ("{", "line 1, column 2"), ('{"address": "tcp://127.0.0.1:1"}', "no node has the address"),
    (None, "no such file"),
])
def test_p9_a_bad_file_changes_nothing_and_is_one_line(host, content, said):
    pid = host.node_pid
    if content is None:
        os.unlink(host.config)
    else:
        with open(host.config, "w", encoding="utf-8") as file:
            file.write(content)
    text = hang_up(host)
    lines = [line for line in text.splitlines() if "not reloaded" in line]
    assert len(lines) == 1 and said in lines[0] and "nothing was changed" in lines[0]
    host.write_config()
    assert host.node_pid == pid and host.state() == "LEADER"


def test_a_log_that_was_moved_away_is_made_anew(host):
    os.rename(host.log, host.log + ".1")
    host.guardian.send_signal(signal.SIGHUP)
    wait_for(lambda: os.path.exists(host.log) and "reloaded, " in host.log_text(), "the new file")


def write_secrets(host, *lines):
    path = os.path.join(host.folder, "secret")
    with open(path + ".new", "w", encoding="ascii") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write("".join(line * 32 + "\n" for line in lines))
    os.rename(path + ".new", path)


def test_p8_a_secret_is_replaced_on_all_hosts_under_writes_without_a_restart(tmp_path):
    """Pitfall 10.5."""
    with Cluster(tmp_path, 3) as cluster:
        for one in cluster.hosts:
            write_secrets(one, "a")
        leader = cluster.start().leader()
        pids, term = [one.node_pid for one in cluster.hosts], leader.request("state")["term"]
        over, failed = threading.Event(), []

        def write():
            while not over.wait(0.02):
                if not leader.request("put", key="k", value="v").get("ok"):
                    failed.append(1)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for lines in (("a", "b"), ("b", "a"), ("b",)):
                for one in cluster.hosts:
                    write_secrets(one, *lines)
                    assert "reloaded, with other secretFile" in hang_up(one)
        finally:
            over.set()
            writer.join()
        assert not failed
        assert [one.node_pid for one in cluster.hosts] == pids
        after = leader.request("state")
        assert (after["state"], after["term"]) == ("LEADER", term)
        # Who comes anew needs the new one, and is let in with it.
        follower = next(one for one in cluster.hosts if one is not leader)
        follower.kill_node()
        wait_for(lambda: follower.request("state").get("state") == "FOLLOWER", "the follower with b")
        row = next(row for row in leader.request("status")["members"] if row["address"] == follower.address)
        assert wait_for(lambda: row, "its row")
        assert raftctl("-c", leader.config, "wait", f"member={follower.address}").returncode == 0


def test_a_client_over_tcp_proves_the_new_secret(tmp_path):
    port, command = free_ports(2)
    one = Host(str(tmp_path), port, {"command_port": command})
    write_secrets(one, "a")
    with Cluster(tmp_path, 0) as cluster:
        cluster.hosts.append(one)
        one.start()
        wait_for(lambda: one.state() == "LEADER", "LEADER")
        write_secrets(one, "b")
        assert "other secretFile" in hang_up(one)
        path = os.path.join(one.folder, "data", "command.sock")
        os.rename(path, path + ".away")          # so that the client takes the TCP port
        assert raftctl("-c", one.config, "put", "k", "v").returncode == 0
        os.rename(path + ".away", path)


def test_a_check_comes_changes_and_goes_while_the_node_leads(host, tmp_path):
    def check():
        return host.request("state")["check"]

    assert check() is None
    script = tmp_path / "web.sh"
    script.write_text("#!/bin/sh\necho at work\nexit 3\n")
    script.chmod(0o700)
    assert "reloaded, with other check" in reload(host, check={"run": str(script), "interval": "100 ms",
                                                               "fall": 100})
    wait_for(lambda: check() and check()["inARow"] >= 2, "two runs")
    # What held goes on to hold: three failures of a hundred.
    assert (check()["state"], check()["lastStatus"], check()["lastLine"]) == ("passing", "status 3", "at work")
    assert host.state() == "LEADER"
    reload(host, check={"run": str(script), "interval": "100 ms", "fall": 2})
    wait_for(lambda: check()["state"] == "failing", "the check fails")
    wait_for(lambda: host.state() == "CANDIDATE", "a caretaker")
    assert "check failed 2 times: web.sh status 3: at work" in host.request("state")["reason"]
    del host.settings["check"]
    reload(host)
    wait_for(lambda: host.state() == "LEADER", "it leads again")
    assert check() is None
