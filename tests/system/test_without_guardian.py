"""after-stop and nodes without a guardian, on real processes (P4, P6, pitfalls 1.3 and 9.4)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time

import pytest
from cluster import Cluster, Host, free_ports, has_ended, raftctl, wait_for
from test_one_application import Applications

# An election timeout that nobody waits for in these tests: only a RELEASE, or a test that is too slow.
LONG = {"election min": "20 seconds", "election max": "25 seconds", "heartbeat": "200 ms"}
SOON_S = 8.0


@pytest.fixture
def applications(tmp_path):
    return lambda *args, **options: Applications(tmp_path, *args, **options)


def nodes_of(host):
    """Return the ids of the node processes of a host: children of its guardian, or orphans."""
    found = subprocess.run(["pgrep", "-f", f"node --node {host.address} "], capture_output=True, text=True,
                           check=False).stdout.split()
    return [int(pid) for pid in found]


def after_stop(host):
    found = raftctl("-c", host.config, "after-stop")
    assert found.returncode == 0, found.stderr
    return host.log_text()


def kill_both(host):
    """Kill guardian and node so that the node can do nothing of its own: as `systemctl kill -s KILL`."""
    node = host.node_pid
    os.kill(host.guardian.pid, signal.SIGSTOP)
    os.kill(node, signal.SIGKILL)
    host.guardian.kill()
    host.guardian.wait(20)
    host.guardian = None


def stays_leader(host, world, span_s=1.5):
    """The leader leads on in the same term, and its application was not touched."""
    end = time.monotonic() + span_s
    while time.monotonic() < end:
        assert host.state() == "LEADER"
        time.sleep(0.05)
    assert [line[2] for line in world.lines()] == ["begin"]



@pytest.fixture
def slow(tmp_path):
    """Three hosts with an election timeout far longer than each test; who founds campaigns at once."""
    world = Applications(tmp_path, (0.0, 0.0, 0.0), delays=("20 s",) * 3, **LONG)
    with world:
        world.first = world.runs()
        world.cluster.leader()
        yield world
        # An orderly stop of all would wait for each other as long as their elections last.
        for host in world.cluster.hosts:
            host.kill()


def test_p4_after_stop_of_a_killed_service_releases_and_runs_follower(slow):
    """20 s of election timeout and as many of takeover delay are not waited for."""
    first = slow.first
    kill_both(first)
    begun = time.monotonic()
    assert "released term" in after_stop(first)
    assert [line[2] for line in slow.lines()][:2] == ["begin", "end"]
    second = slow.runs(but=first)
    assert time.monotonic() - begun < SOON_S
    slow.check(2)
    assert second.state() == "LEADER"
    assert not os.path.exists(os.path.join(first.folder, "data", "outgoing"))


def test_p4_after_stop_beside_a_living_leader_changes_nothing(slow):
    """The lock is the living one's (pitfall 1.3)."""
    assert "after-stop does nothing" in after_stop(slow.first)
    assert "is in use by another raftctl" in slow.first.log_text()
    stays_leader(slow.first, slow)


def test_p4_a_second_start_and_its_after_stop_change_nothing_for_the_living_leader(slow):
    """Its guardian neither releases nor runs `follower`, though `outgoing` is there (pitfall 1.3)."""
    first = slow.first
    second = raftctl("-c", first.config, "start")
    assert second.returncode == 6
    after_stop(first)
    stays_leader(first, slow)
    assert "released" not in first.log_text()


def test_p4_a_copy_of_the_directory_changes_nothing_for_the_living_leader(slow, tmp_path):
    """Neither its after-stop nor its start runs `follower` (pitfall 1.3)."""
    first = slow.first
    copy = Host(str(tmp_path / "copy"), first.port, {**first.settings, "dataDir": str(tmp_path / "copied"),
                                                     "logFile": str(tmp_path / "copy.log")})
    copy.log = str(tmp_path / "copy.log")
    shutil.copytree(os.path.join(first.folder, "data"), tmp_path / "copied",
                    ignore=shutil.ignore_patterns("*.sock"))
    assert "of which this is a copy" in after_stop(copy)
    copy.settings["address"] = copy.address = f"tcp://127.0.0.1:{free_ports(1)[0]}"
    copy.write_config()
    copy.start()
    try:
        wait_for(lambda: "the data directory is a copy" in copy.log_text(), "the copy is seen as one")
        stays_leader(first, slow)
    finally:
        copy.guardian.send_signal(signal.SIGTERM)
        copy.guardian.wait(30)


def test_p4_a_bad_configuration_beside_a_living_leader_changes_nothing(slow):
    first = slow.first
    bad = os.path.join(first.folder, "bad.json")
    with open(bad, "w", encoding="utf-8") as file:
        json.dump({**first.settings, "heartbeat": "soon"}, file)
    for command in ("start", "after-stop"):
        assert raftctl("-c", bad, command).returncode == 2
    stays_leader(first, slow)


def test_p4_after_stop_of_another_boot_releases_nothing(slow):
    """A host that was booted since: whoever has the directory now is another (pitfall 1.3)."""
    first = slow.first
    kill_both(first)
    rewrite_instance(first, boot_id="another")
    assert "before this host was booted" in after_stop(first)
    assert "released" not in first.log_text()
    assert [line[2] for line in slow.lines()] == ["begin"]


def test_p4_after_stop_with_another_lock_file_releases_nothing(slow):
    """The lock file was removed under a living leader, so that two can have it."""
    first = slow.first
    os.unlink(os.path.join(first.folder, "data", "lock"))
    with open(os.path.join(first.folder, "data", "lock"), "wb"):
        pass
    assert "of which this is a copy" in after_stop(first)
    stays_leader(first, slow)


def rewrite_instance(host, **fields):
    from raftctl.disk import identity
    path = os.path.join(host.folder, "data", "instance")
    with open(path, "rb") as file:
        found, _ = identity.decode(file.read())
    with open(path, "wb") as file:
        file.write(identity.encode(found._replace(**fields)))


def test_after_stop_where_nobody_was_ever_started_says_nothing(tmp_path):
    host = Host(str(tmp_path), free_ports(1)[0], {})
    found = raftctl("-c", host.config, "after-stop")
    assert (found.returncode, found.stdout, found.stderr) == (0, b"", b"")
    assert not os.path.exists(os.path.join(host.folder, "data"))


# --- a node without guardian

def test_p6_a_killed_guardian_costs_no_election_timeout_and_follower_runs(slow):
    """Pitfall 9.4. The node releases, and becomes after-stop."""
    first = slow.first
    node = first.node_pid
    begun = time.monotonic()
    os.kill(first.guardian.pid, signal.SIGKILL)
    first.guardian.wait(20)
    first.guardian = None
    slow.runs(but=first)
    assert time.monotonic() - begun < SOON_S
    wait_for(lambda: has_ended(node), "the node has ended")
    slow.check(2)
    first.start()
    wait_for(lambda: first.state() == "FOLLOWER", "it follows")
    slow.check(2)


def test_p6_a_stopped_guardian_is_ended_by_its_node_which_gives_the_leadership_up(slow):
    """Pitfall 9.4: SIGSTOP."""
    first = slow.first
    node = first.node_pid
    os.kill(first.guardian.pid, signal.SIGSTOP)
    begun = time.monotonic()
    slow.runs(but=first)
    assert time.monotonic() - begun < 5 + SOON_S
    assert first.guardian.wait(20) == -signal.SIGKILL
    first.guardian = None
    wait_for(lambda: has_ended(node), "the node has ended")
    assert "is silent" in first.log_text()
    slow.check(2)


def test_p6_a_node_that_hangs_is_killed_and_the_leadership_goes_on(applications):
    """SIGSTOP for good: its application ends with the lease, itself 10 s later."""
    with applications((0.0, 0.0, 0.0)) as world:
        first = world.runs()
        node = first.node_pid
        os.kill(node, signal.SIGSTOP)
        world.runs(but=first)
        wait_for(lambda: has_ended(node), "the guardian kills it")
        wait_for(lambda: first.state() == "FOLLOWER", "it is started again")
        assert "node is killed: it does not answer" in first.log_text()
        world.check(2)


def test_p6_hooks_that_run_when_the_guardian_dies_are_ended(tmp_path):
    """Their group stands on the board; `follower` runs only after."""
    hook = tmp_path / "hook"
    hook.write_text("#!/bin/sh\necho $RAFTCTL_EVENT $$ >> %s/hooks\n"
                    '[ "$RAFTCTL_EVENT" = follower ] || exec sleep 600\n' % tmp_path)
    hook.chmod(0o755)
    with Cluster(tmp_path, 1, events={"leader": str(hook), "follower": str(hook)}).start() as cluster:
        host = cluster.hosts[0]
        ran = tmp_path / "hooks"
        wait_for(lambda: ran.exists() and ran.read_text().endswith("\n"), "leader runs")
        leader = int(ran.read_text().split()[1])
        host.guardian.kill()
        host.guardian.wait(20)
        host.guardian = None
        wait_for(lambda: "follower" in ran.read_text(), "follower runs")
        assert has_ended(leader)
        wait_for(lambda: not nodes_of(host), "the node has ended")
