"""The systems that `peers` compares: each as three nodes on loopback, loaded at its leader.

raftctl  `raftctl start` at its defaults, a guardian each. Clients: JSON lines over TCP (`load.Lines`).
etcd     at its defaults. Clients: gRPC (`grpc_talk.Call`); by its JSON gateway it does 13 to 50 % less.
pysyncobj  with its journal, and sending at once (its default waits up to 100 ms). It has no server and so no
         client of its own: see `pysyncobj_node.py`. It never syncs its journal, whatever is configured.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import urllib.error
import urllib.request
from typing import Any, Dict, List, Optional, Tuple

import grpc_talk
import load
from common import PATIENCE_S, DefaultCluster, free_ports, wait_for
from load import Load, Talk

WRITE, READ, STALE = "write", "read", "stale read"


def own_gets(number: int, client: int, stale: bool = False) -> Talk:
    line = load.get_line(load.own_key(number, client), stale)
    return load.Lines(lambda: line)


class System:
    """A cluster that runs until the end of the stack it was given, its data in the folder it was given."""

    name = ""
    kinds: Tuple[str, ...] = (WRITE, READ, STALE)

    def run(self, kind: str, clients: int, warm_s: float, seconds: float) -> Load:
        """Load the leader with one of `kinds`; a read finds what a write of as many clients put before."""
        raise NotImplementedError


class Raftctl(System):
    name = "raftctl"

    def __init__(self, stack: contextlib.ExitStack, folder: str) -> None:
        self._cluster = stack.enter_context(DefaultCluster(os.path.join(folder, "raftctl")))
        self._port = self._cluster.command_ports[self._cluster.start().settle()]

    def run(self, kind: str, clients: int, warm_s: float, seconds: float) -> Load:
        talk = {WRITE: load.puts, READ: own_gets, STALE: lambda *who: own_gets(*who, stale=True)}[kind]
        return load.drive(self._port, clients, warm_s, seconds, talk)


class Etcd(System):
    name = "etcd"

    def __init__(self, stack: contextlib.ExitStack, folder: str, program: str) -> None:
        ports = free_ports(6)
        peers = [f"http://127.0.0.1:{port}" for port in ports[:3]]
        listed = ",".join(f"node{number}={peer}" for number, peer in enumerate(peers))
        for number, peer in enumerate(peers):
            client = f"http://127.0.0.1:{ports[3 + number]}"
            spawn(stack, [
                program, "--name", f"node{number}", "--data-dir", os.path.join(folder, f"etcd{number}"),
                "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                "--listen-client-urls", client, "--advertise-client-urls", client,
                "--initial-cluster", listed, "--logger", "zap", "--log-level", "error"])
        self.ports = ports[3:]
        self._port = wait_for(self._leader, "a leader of etcd that all three know")

    def _leader(self) -> Optional[int]:
        """Return the client port of the leader once all agree on it."""
        known = [etcd_status(port) for port in self.ports]
        leaders = {status.get("leader") for status in known}
        if len(leaders) != 1 or leaders & {None, "0"}:
            return None
        return next((port for port, status in zip(self.ports, known)
                     if status["header"]["member_id"] == status["leader"]), None)

    def run(self, kind: str, clients: int, warm_s: float, seconds: float) -> Load:
        talk = {WRITE: grpc_talk.puts, READ: grpc_talk.gets,
                STALE: lambda *who: grpc_talk.gets(*who, stale=True)}[kind]
        return load.drive(self._port, clients, warm_s, seconds, talk)


def etcd_status(port: int) -> Dict[str, Any]:
    """Return what the member says of itself, {} as long as it says nothing."""
    question = urllib.request.Request(f"http://127.0.0.1:{port}/v3/maintenance/status", data=b"{}")
    try:
        with urllib.request.urlopen(question, timeout=PATIENCE_S) as answer:
            return json.load(answer)
    except (urllib.error.URLError, ConnectionError):
        return {}


class PySyncObj(System):
    name = "pysyncobj"
    kinds = (WRITE, READ)

    def __init__(self, stack: contextlib.ExitStack, folder: str, python: str) -> None:
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pysyncobj_node.py")
        addresses = [f"127.0.0.1:{port}" for port in free_ports(3)]
        nodes = {}
        for number, address in enumerate(addresses):
            own = os.path.join(folder, f"pysyncobj{number}")
            os.makedirs(own)
            others = [other for other in addresses if other != address]
            nodes[address] = spawn(stack, [python, script, own, address, *others],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

        def leader() -> Optional[subprocess.Popen[str]]:
            known = {ask(node, ask="leader") for node in nodes.values()}
            return nodes.get(known.pop()) if len(known) == 1 else None

        self._node = wait_for(leader, "a leader of PySyncObj that all three know")

    def run(self, kind: str, clients: int, warm_s: float, seconds: float) -> Load:
        found = ask(self._node, ask="load", kind=kind, clients=clients, warm_s=warm_s, seconds=seconds)
        return Load(len(found["latencies"]) / seconds, found["latencies"], found["refused"],
                    len(found["latencies"]) + found["refused"])


def ask(node: subprocess.Popen[str], **question: Any) -> Any:
    assert node.stdin and node.stdout
    node.stdin.write(json.dumps(question) + "\n")
    node.stdin.flush()
    return json.loads(node.stdout.readline())


def spawn(stack: contextlib.ExitStack, command: List[str], **more: Any) -> subprocess.Popen[Any]:
    """Start a process that is killed and reaped at the end of `stack`.

    In a session of its own, as raftctl's guardians are: the kernel may share out the CPUs by session.
    """
    streams: Dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    process = subprocess.Popen(command, start_new_session=True, **{**streams, **more})

    def end() -> None:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    stack.callback(end)
    return process
