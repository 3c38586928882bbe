"""A guardian as a process, with fake nodes and hooks that do what the test says. Every wait has a deadline.

Nodes (fake_node.py) and hooks connect to unix sockets of the test and say who they are; so nothing is timed.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from raftctl.base.addresses import Address
from raftctl.config.model import Hook, Loaded, NodeConfig

PATIENCE_S = 20
# Words of the guardian that no node answers.
ASIDE = ("ping", "check", "hooks", "ended", "reload", "work")
HERE = Path(__file__).parent
TOP = HERE.parents[1]

GUARDIAN = r"""
import json, os, sys
from raftctl.config.model import Hook, Loaded, NodeConfig
from raftctl.base.addresses import Address
from raftctl.base import errors
from raftctl.host import guardian, keeper
exec(sys.argv[1])
loaded = eval(sys.argv[2])
seen = open(sys.argv[3], "a", buffering=1)
try:
    sys.exit(guardian.run(loaded, loaded.nodes, program=sys.argv[4:],
                          observer=lambda node, message: print(json.dumps([node.name, message]), file=seen)))
except errors.RaftctlError as error:
    print("raftctl:", error, file=sys.stderr)
    sys.exit(error.exit_status)
"""

HOOK = r"""
import json, os, socket, sys
line = socket.socket(socket.AF_UNIX)
line.connect(sys.argv[1])
told = {name: value for name, value in os.environ.items() if name.startswith("RAFTCTL_")}
line.sendall(json.dumps({"pid": os.getpid(), "environ": told, "json": json.load(sys.stdin)}).encode() + b"\n")
print("hook output", flush=True)
word = line.makefile().readline()
os._exit(int(word) if word else 1)
"""


class Talk:
    """One connection of a node or a hook: JSON lines."""

    def __init__(self, listener):
        self.connection, _ = listener.accept()
        self.connection.settimeout(PATIENCE_S)
        self._lines = self.connection.makefile("r")
        self.hello = self.read()
        self.pid = self.hello["pid"]

    def read(self):
        line = self._lines.readline()
        return json.loads(line) if line else None

    def until_closed(self):
        """Wait until the process at the other end is gone."""
        try:
            while self._lines.readline():
                pass
        except ConnectionResetError:
            pass

    def close(self):
        self._lines.close()
        self.connection.close()


class Node(Talk):
    def __init__(self, listener):
        super().__init__(listener)
        self.address = self.hello["address"]
        self.incarnation = 1
        self._heard = []
        self.asides = []

    def order(self, do, **more):
        self.connection.sendall(json.dumps(dict(more, do=do)).encode() + b"\n")
        if do != "exit":
            # It may be killed for what it was told to do, before it could say that it obeyed.
            found = self.read()
            while found not in (None, {"obeyed": True}):
                self._heard.append(found)
                found = self.read()
        return self

    def tell(self, kind, **more):
        return self.order("tell", message=dict(more, kind=kind))

    def begin(self, incarnation=1, peers=(), note=None, same_lock=True, same_boot=True):
        """Lock, resolve and be ready; `note`: what a former run left."""
        self.incarnation = incarnation
        self.tell("opened", instance="n1", note=note, sameLock=same_lock, sameBoot=same_boot)
        self.tell("locked", instance="n1", incarnation=incarnation, term=0, clusterId="c" * 32)
        self.tell("peers", endpoints=[
            {"address": peer.address, "ip": ["127.0.0.1"], "port": peer.port} for peer in peers])
        return self.tell("ready")

    def publish(self, term, lease_s=600, leading=True):
        return self.order("publish", incarnation=self.incarnation, term=term, leading=leading,
                          lease_s=lease_s)

    def state(self, state, term, leader=None, previous="CANDIDATE", reason="as the test says", record=None):
        return self.tell("state", state=state, previous=previous, term=term, leader=leader, reason=reason,
                         role="voter", members=[self.address], clusterId="c" * 32,
                         record=(record or term) if state == "LEADER" else 0)

    def lead(self, term, lease_s=600, record=None):
        """Lead, with the takeover record `record`: the number of the term where the test does not say."""
        return self.publish(term, lease_s).state("LEADER", term, self.address, record=record)

    def follow(self, term, leader="tcp://other:1"):
        return self.publish(term, 0, leading=False).state("FOLLOWER", term, leader)

    def hear(self):
        """Return the next word of the guardian that asks for something; "end" when it is gone."""
        while True:
            found = self._heard.pop(0) if self._heard else self.read()
            if not found or found["heard"] not in ASIDE:
                return found and found["heard"]
            self.asides.append(found["heard"])

    def exit(self, status):
        self.order("exit", status=status)
        self.until_closed()
        self.close()

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        self.until_closed()
        self.close()

    def stop(self):
        """The orderly end, without hooks between."""
        assert self.hear() == "stop"
        self.tell("stopping")

    def finish(self):
        assert self.hear() == "outgoing_done"
        self.exit(0)


class RunningHook(Talk):
    @property
    def event(self):
        return self.hello["environ"]["RAFTCTL_EVENT"]

    @property
    def brief(self):
        """What runs and under which token, as in `leader(7)`."""
        return f"{self.event}({self.hello['json']['term']})"

    def end(self, status=0):
        self.connection.sendall(f"{status}\n".encode())
        self.until_closed()
        self.close()


class Guarded:
    """A guardian over `count` fake nodes."""

    def __init__(self, folder, count=1, events=("leader", "follower"), *, timeout_s=60, retry=0,
                 environ=None, stderr=None, stdin=subprocess.DEVNULL, patch=""):
        self.folder = folder
        self._nodes = listen(folder / "nodes.sock")
        self._hooks = listen(folder / "hooks.sock")
        script = folder / "hook.py"
        script.write_text(HOOK)
        hook = Hook((str(script), str(folder / "hooks.sock")), int(timeout_s * 1e9), retry)
        hooks = tuple((event, hook) for event in events)
        configs = tuple(self._config(port, hooks) for port in range(8001, 8001 + count))
        for config in configs:
            (folder / str(config.address.port)).mkdir(exist_ok=True)     # the real node makes it
        if stderr is not None:
            configs = tuple(config._replace(log_file=None) for config in configs)
        guardian_log = str(folder / "guardian.log") if stderr is None else None
        self.loaded = Loaded(str(folder / "config.json"), count > 1, configs, guardian_log, "debug",
                             "raftctl", "", None)
        self.errors = open(folder / "stderr", "wb")
        self.process = subprocess.Popen(
            [sys.executable, "-c", GUARDIAN, patch, repr(self.loaded), str(folder / "seen"), sys.executable,
             str(HERE / "fake_node.py"), str(folder / "nodes.sock")],
            stderr=self.errors if stderr is None else stderr, stdin=stdin,
            env=dict(os.environ, PYTHONPATH=str(TOP), PYTHONDONTWRITEBYTECODE="1", **(environ or {})))

    def _config(self, port, events):
        folder = str(self.folder)
        return NodeConfig(f"{folder}/config.json", Address("h1", port), "127.0.0.1", "127.0.0.1", None,
                          f"n{port}", (), 100_000_000, 500_000_000, 1_000_000_000, None, f"{folder}/{port}",
                          False, f"{folder}/{port}.log", "debug", events, None, (), True, "raftctl", "", None)

    def node(self):
        """Wait for the next node process that the guardian starts."""
        return Node(self._nodes)

    def hook(self, expected=None):
        """Wait for the next hook that the guardian starts; `expected` as in `leader(7)`."""
        hook = RunningHook(self._hooks)
        assert expected is None or hook.brief == expected
        return hook

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def wait(self):
        return self.process.wait(PATIENCE_S)

    def log(self, port=8001):
        return (self.folder / f"{port}.log").read_text()

    def guardian_log(self):
        return (self.folder / "guardian.log").read_text()

    def seen(self):
        return [json.loads(line) for line in (self.folder / "seen").read_text().splitlines()]

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE_S)
        self.errors.close()
        for listener in (self._nodes, self._hooks):
            listener.close()


def listen(path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(16)
    listener.settimeout(PATIENCE_S)
    return listener
