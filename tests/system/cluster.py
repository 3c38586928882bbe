"""Real clusters: processes, sockets and disks in a temporary folder, ended whatever happens."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from typing import Any, Callable, Dict, List, Optional

from raftctl.base.errors import RaftctlError
from raftctl.net.client import CommandClient

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = [sys.executable, os.path.join(TOP, "raftctl.py")]
# In front of a command: without root's leave to read and write everything.
UNPRIVILEGED = ["unshare", "--user"] if os.geteuid() == 0 else []
# Generous: the machine may be busy with anything. Every wait ends with what it waits for, long before.
PATIENCE_S = 60.0


def need(*around: str) -> None:
    """Skip where this machine lets nobody make such surroundings for a command."""
    if around and subprocess.run([*around, "true"], capture_output=True, check=False).returncode:
        import pytest       # only here: the benchmarks do without

        pytest.skip("needs user and mount namespaces")


def free_ports(count: int) -> List[int]:
    """Return ports that were free a moment ago, all different.

    Not from the ephemeral range (32768 on): there any outgoing connection may take one before its node does.
    """
    found: List[int] = []
    while len(found) < count:
        port = random.SystemRandom().randrange(15_000, 32_000)
        with socket.socket() as probe:
            if port not in found and probe.connect_ex(("127.0.0.1", port)):
                found.append(port)
    return found


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """Return the first true value of `condition`, asked every 20 ms; fail with `what` after PATIENCE_S."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {PATIENCE_S:g} s: {what}")


def raftctl(*words: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run the command line as a user would."""
    return subprocess.run([*PROGRAM, *words], capture_output=True, timeout=PATIENCE_S, check=False, **options)


def has_ended(pid: int) -> bool:
    """Has the process ended? (An orphan may stay a zombie until its new parent looks.)"""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):      # the latter: it ended between open and read
        return True


class Host:
    """One `raftctl start` with a configuration of its own: the guardian, its node, and their folder."""

    def __init__(self, folder: str, port: int, settings: Dict[str, Any]) -> None:
        self.port, self.address = port, f"tcp://127.0.0.1:{port}"
        self.folder = os.path.join(folder, str(port))
        os.makedirs(self.folder)
        self.config = os.path.join(self.folder, "config.json")
        self.log = os.path.join(self.folder, "log")
        self.settings = {"address": self.address, "dataDir": os.path.join(self.folder, "data"),
                         "logFile": self.log, **settings}
        self.guardian: Optional[subprocess.Popen[bytes]] = None
        self.write_config()

    def write_config(self) -> None:
        with open(self.config, "w", encoding="utf-8") as file:
            json.dump(self.settings, file)

    def start(self, *words: str) -> None:
        with open(os.path.join(self.folder, "stderr"), "ab") as errors:
            self.guardian = subprocess.Popen([*PROGRAM, "-c", self.config, "start", *words],
                                             start_new_session=True, stdin=subprocess.DEVNULL,
                                             stdout=subprocess.DEVNULL, stderr=errors)

    def request(self, action: str, **fields: Any) -> Dict[str, Any]:
        """Return the reply, {} where no daemon answers."""
        path = os.path.join(self.folder, "data", "command.sock")
        try:
            with CommandClient([("unix", path)], timeout_s=20) as client:
                return client.request({"action": action, "timeoutMs": 10000, **fields})
        except RaftctlError:
            return {}

    def state(self) -> str:
        return self.request("state").get("state", "")

    @property
    def node_pid(self) -> int:
        return self.request("state")["pid"]

    def kill_node(self) -> None:
        os.kill(self.node_pid, signal.SIGKILL)

    def kill(self) -> None:
        """End the guardian and all that it started, as a power cut would (but the disk keeps its cache)."""
        if self.guardian is None:
            return
        pid = self.request("state").get("pid")
        for victim in (self.guardian.pid, pid):
            if victim:
                try:
                    os.kill(victim, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        self.guardian.wait(PATIENCE_S)
        self.guardian = None

    def stop(self) -> int:
        """Stop in order; return the exit status."""
        assert self.guardian is not None
        self.guardian.send_signal(signal.SIGTERM)
        status = self.guardian.wait(PATIENCE_S)
        self.guardian = None
        return status

    def log_text(self) -> str:
        with open(self.log, encoding="utf-8") as file:
            return file.read()


class Cluster:
    """Hosts that list each other. Use as a context manager: at its end nothing of them is left."""

    # Generous timings: a busy machine must not elect anybody (the tests wait for what must become true).
    SETTINGS = {"election min": "1 second", "election max": "2 seconds", "heartbeat": "200 ms"}

    def __init__(self, folder: Any, count: int, **settings: Any) -> None:
        ports = sorted(free_ports(count))
        listed = [f"tcp://127.0.0.1:{port}" for port in ports]
        common = {**self.SETTINGS, "clusterNodes": listed, **settings}
        self.hosts = [Host(str(folder), port, common) for port in ports]

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *exception: Any) -> None:
        for host in self.hosts:
            if host.guardian is not None:
                host.guardian.send_signal(signal.SIGTERM)
        for host in self.hosts:
            if host.guardian is not None:
                try:
                    host.guardian.wait(20)
                except subprocess.TimeoutExpired:
                    host.kill()

    def start(self) -> Cluster:
        for host in self.hosts:
            host.start()
        return self

    def leaders(self) -> List[Host]:
        return [host for host in self.hosts if host.guardian is not None and host.state() == "LEADER"]

    def leader(self) -> Host:
        """Wait until exactly one host is LEADER and all others that run follow it."""
        def settled() -> Optional[Host]:
            states = {host: host.request("state") for host in self.hosts if host.guardian is not None}
            leaders = [host for host, state in states.items() if state.get("state") == "LEADER"]
            assert len(leaders) < 2, "two hosts are LEADER"
            follow = all(state.get("leader") == leaders[0].address
                         for state in states.values()) if leaders else False
            return leaders[0] if follow else None
        return wait_for(settled, "one leader that all know")
