"""`start --local N`: a cluster on this machine without any configuration, gone without a trace at the end.

Owns the temporary folder, the ports and what is printed; the cluster itself is the same guardian and the same
nodes as everywhere, from a generated cluster file.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import shlex
import shutil
import signal
import socket
from types import FrameType
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

from raftctl.base.errors import DONE, RaftctlError, UsageError
from raftctl.cli import output
from raftctl.cli.program import program
from raftctl.config.hooks import parse_events
from raftctl.config.load import load
from raftctl.config.model import Loaded, NodeConfig
from raftctl.host import guardian

MOST_NODES = 7
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal asked to end, before the guardian took the signals over or after it gave them back."""


class Interrupts:
    """Turns the first signal into `Interrupted`, and none after `hold`: a clean-up runs through."""

    def __init__(self) -> None:
        self._held = False
        self._former: Dict[int, Any] = {}

    def begin(self) -> None:
        for number in _SIGNALS:
            self._former[number] = signal.getsignal(number)
            signal.signal(number, self._receive)

    def _receive(self, number: int, frame: Optional[FrameType]) -> None:
        # Held before it is raised: the clean-up that this leads to runs through, whatever comes.
        if not self._held:
            self._held = True
            raise Interrupted(number)

    def hold(self) -> None:
        self._held = True
        # The guardian may have left handlers of its own.
        for number in _SIGNALS:
            signal.signal(number, self._receive)

    def restore(self) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)


class Ports(NamedTuple):
    """Free ports of 127.0.0.1, held by sockets that never listen: only the nodes bind them beside."""

    sockets: List[socket.socket]

    def take(self) -> int:
        held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.sockets.append(held)
        held.bind(("127.0.0.1", 0))
        # After the bind: with it the kernel may choose a port that another such socket holds.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return held.getsockname()[1]

    def close(self) -> None:
        for held in self.sockets:
            held.close()


def run(options: argparse.Namespace) -> int:
    """Run the cluster until Ctrl-C or SIGTERM; whatever happens, nothing is left behind. Main thread only."""
    events = _read_options(options)
    # The name is known before the folder is there: a signal between the two can't lose it. Not
    # tempfile.gettempdir(): it tries the directory out with a file that a signal in that moment would leave
    # behind.
    folder = os.path.join(os.environ.get("TMPDIR") or "/tmp", f"raftctl-{os.urandom(6).hex()}")
    ports = Ports([])
    interrupts = Interrupts()
    try:
        try:
            interrupts.begin()
            return _serve(folder, ports, options.local, events)
        except Interrupted:
            return DONE
        finally:
            # A signal may still interrupt here, once; then the outer clean-up is held already.
            interrupts.hold()
    except Interrupted:
        return DONE
    finally:
        interrupts.hold()
        ports.close()
        _remove(folder)
        interrupts.restore()


def _read_options(options: argparse.Namespace) -> Dict[str, str]:
    """Return event name -> absolute path of its script; `UsageError` where the options don't go together."""
    if not 1 <= options.local <= MOST_NODES:
        raise UsageError(f"--local {options.local} is out of range; 1 to {MOST_NODES} nodes")
    for name in ("config", "node", "join"):
        if getattr(options, name) is not None:
            raise UsageError(f"--{name} and --local exclude each other")
    events: Dict[str, str] = {}
    for text in options.event:
        name, equals, script = text.partition("=")
        if not (name and equals and script):
            raise UsageError(f'--event "{text}": write NAME=SCRIPT, for example leader=./on-leader.sh')
        events[name] = os.path.abspath(script)
    try:
        parse_events(events)
    except UsageError as error:
        raise UsageError(f"--event: {error}") from None
    return events


def _serve(folder: str, ports: Ports, count: int, events: Dict[str, str]) -> int:
    try:
        os.mkdir(folder, 0o700)
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise UsageError(
            f"{folder}: can't be made ({reason}); name a folder where it can: TMPDIR=DIR"
        ) from None
    path = os.path.join(folder, "cluster.json")
    with open(path, "x", encoding="utf-8") as file:
        pairs = [(ports.take(), ports.take()) for _ in range(count)]
        json.dump(describe_cluster(folder, pairs, events), file, indent=2)
    loaded = load(path, environ={})
    _print_lines(describe(loaded, folder))
    return guardian.run(loaded, loaded.nodes, observer=leader_printer(_print_lines), program=program())


def describe_cluster(folder: str, ports: Sequence[tuple], events: Dict[str, str]) -> Dict[str, Any]:
    """Return the cluster file for nodes with `ports`: (peer port, command port) each."""
    nodes = [
        {"name": f"n{number}", "address": f"tcp://127.0.0.1:{peer}", "command_port": command,
         "dataDir": os.path.join(folder, f"n{number}"), "logFile": os.path.join(folder, f"n{number}.log")}
        for number, (peer, command) in enumerate(ports, 1)
    ]  # fmt: skip
    whole: Dict[str, Any] = {
        "description": f"raftctl start --local {len(nodes)}",
        "logFile": os.path.join(folder, "guardian.log"),
        "clusterNodes": [node["address"] for node in nodes],
    }
    if events:
        whole["events"] = events
    return {**whole, "nodes": nodes}


def describe(loaded: Loaded, folder: str) -> List[str]:
    """Return what is printed at the start: the nodes, and three commands for another terminal."""
    rows = [("NAME", "ADDRESS", "COMMAND PORT", "LOG")]
    rows += [
        (node.name, str(node.address), str(node.command_port), str(node.log_file)) for node in loaded.nodes
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    first, last = loaded.nodes[0].name, loaded.nodes[-1].name
    prefix = shlex.join([*program(), "-c", loaded.path])
    tries = ((first, "state"), (first, "put greeting hello"), (last, "get greeting"))
    return [
        f"a cluster of {len(loaded.nodes)} in {folder}; Ctrl-C stops it and removes the folder",
        "",
        *("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows),
        "",
        "try in another terminal:",
        *(f"  {prefix} --node {node} {words}" for node, words in tries),
        "",
    ]  # fmt: skip


def leader_printer(show: Callable[[List[str]], None]) -> Callable[[NodeConfig, Dict[str, Any]], None]:
    """Return the guardian's observer: one line at each new (leader, term)."""
    shown = None

    def observe(node: NodeConfig, message: Dict[str, Any]) -> None:
        nonlocal shown
        if message.get("kind") != "state" or message.get("state") != "LEADER":
            return
        now = (node.name, message.get("term"))
        if now != shown:
            shown = now
            show([f"{node.name} ({node.address}) is LEADER, term {message.get('term')}"])

    return observe


def _print_lines(lines: List[str]) -> None:
    """Print, but rather lose lines than wait for a stopped terminal (Ctrl-S): the guardian must go on."""
    try:
        if select.select([], [1], [], 0)[1]:
            output.write("".join(f"{line}\n" for line in lines).encode())
    except (BrokenPipeError, RaftctlError, OSError):
        output.silence(1)


def _remove(folder: str) -> None:
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        output.complain(f"{folder} can't be removed ({reason}); remove it by hand")
