"""`hook test EVENT`: one run of a hook, by the daemon's own code, shown as it goes.

It takes on what the hook of the daemon would inherit (host/mirror.py) and then runs a loop with that one
process in it: launcher, time limit and end of the process group are those of host/hooks.py.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from typing import Any, Dict, List, Optional

from raftctl.base import durations
from raftctl.base.errors import DONE, NO, NotAllowed, RaftctlError, UsageError
from raftctl.cli import endpoint, output
from raftctl.cluster.hookplan import Facts
from raftctl.config.hooks import event_named
from raftctl.config.load import load, pick
from raftctl.config.model import Hook, NodeConfig
from raftctl.host import launch, mirror
from raftctl.host.hooks import HookProcess, Outcome, document, hook_argv, hook_environment
from raftctl.host.loop import Loop
from raftctl.host.mirror import Inherited

_ASK_S = 2.0
_STATES = {"leader": ("LEADER", "CANDIDATE"), "follower": ("FOLLOWER", "CANDIDATE")}


def run(options: argparse.Namespace) -> int:
    """Run the hook of options.event once; return 0 if it succeeded, else 1. Main thread only."""
    node = pick(load(options.config, environ=os.environ, for_client=True), options.node)
    event = event_named(options.event)
    hook = dict(node.events).get(event)
    if hook is None:
        known = ", ".join(name for name, _ in node.events)
        raise UsageError(f'{node.path}: "events" has no script for {event}' + (f", only for {known}"
                                                                              if known else ""))
    members, inherited = _look_at_daemon(options, node)
    own = str(node.address)
    state, previous = _STATES.get(event, ("CANDIDATE", "CANDIDATE"))
    told = document(event, own, node.path, Facts(state, previous, options.term, own if state == "LEADER"
                                                 else None, "raftctl hook test", members))
    environment = hook_environment(inherited.environ, told)
    lacking = mirror.put_on(inherited)
    trial = _Trial(hook, options.json)
    described = _describe(event, hook, inherited, environment, told)
    if not options.json:
        _show(described, lacking)
    trial.run(environment, told)
    if options.json:
        output.show_json({**described, "lacking": lacking, **trial.as_json()})
    return DONE if trial.outcome is not None and trial.outcome.succeeded else NO


def _look_at_daemon(options: argparse.Namespace, node: NodeConfig) -> Any:
    """Return the members that the daemon knows, and what its hooks inherit."""
    listed = tuple(map(str, node.cluster_nodes)) or (str(node.address),)
    try:
        reply = endpoint.find(options).ask({"action": "status"}, _ASK_S)
        members = tuple(row["address"] for row in reply["members"]) or listed
        return members, mirror.of_process(_parent_of(reply["state"]["pid"]))
    except (ProcessLookupError, RaftctlError) as error:
        if isinstance(error, NotAllowed):
            raise
        return listed, mirror.of_service(node.user)


def _parent_of(pid: int) -> int:
    """Return the guardian of the node: hooks are its children."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except FileNotFoundError:
        raise ProcessLookupError(pid) from None


def _describe(event: str, hook: Hook, inherited: Inherited, environment: Dict[str, str],
              told: Dict[str, Any]) -> Dict[str, Any]:
    path, *arguments = hook.argv
    problem: Optional[str] = None
    argv = list(hook.argv)
    try:
        argv = launch.command(sys.executable, path, arguments)
    except (OSError, ValueError) as error:
        problem = os.strerror(error.errno or 0).lower() if isinstance(error, OSError) else str(error)
    return {
        "event": event, "argv": argv, "problem": problem, "timeoutMs": hook.timeout_ns // 1_000_000,
        "user": mirror.user_name(inherited.user), "folder": inherited.folder, "inherits": inherited.origin,
        "environment": environment, "standardInput": told,
    }  # fmt: skip


def _show(described: Dict[str, Any], lacking: List[str]) -> None:
    lines = [
        f"event         {described['event']}",
        f"argv          {' '.join(described['argv'])}",
        f"user          {described['user']}, in {described['folder']}",
        f"surroundings  {described['inherits']}",
        f"time limit    {durations.render(described['timeoutMs'] * durations.MILLISECOND)}",
        "environment",
        *(f"  {name}={value}" for name, value in sorted(described["environment"].items())),
        "output",
    ]
    output.write("".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace"))
    for text in lacking:
        output.complain(f"not as the daemon has it: {text}")


class _Trial:
    """The one process, from its start to its end, with what it said."""

    def __init__(self, hook: Hook, is_quiet: bool) -> None:
        self._hook, self._is_quiet = hook, is_quiet
        self._lines: List[str] = []
        self._took_ms = 0
        self._loop = Loop()
        self._process = HookProcess(self._loop, self._say, self._end)
        self._interrupts = 0
        self.outcome: Optional[Outcome] = None

    def run(self, environment: Dict[str, str], told: Dict[str, Any]) -> None:
        """Return when it has ended; Ctrl-C ends it as a time limit does, a second one kills it."""
        began_s = time.monotonic()
        self._loop.on_signal = self._receive
        self._loop.catch((signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
        try:
            self._process.start(hook_argv(self._hook.argv), environment, told, self._hook.timeout_ns)
            self._loop.run(lambda: self.outcome is not None)
        except OSError as error:
            self.outcome = Outcome(False, f"it can't be started: {os.strerror(error.errno or 0).lower()}")
        finally:
            self._process.abandon()
            self._loop.close()
        self._took_ms = round((time.monotonic() - began_s) * 1000)
        if not self._is_quiet:
            what = "succeeded" if self.outcome.succeeded else "failed"  # type: ignore[union-attr]
            output.line(f"{what}        {self.outcome.text}, "  # type: ignore[union-attr]
                        f"after {self._took_ms} ms")

    def _receive(self, number: int) -> None:
        if number == signal.SIGCHLD:
            self._process.reap()
            return
        self._interrupts += 1
        why = signal.Signals(number).name
        if self._interrupts == 1:
            self._process.end(why)
        else:
            self._process.kill(why)

    def _say(self, line: str) -> None:
        self._lines.append(line)
        if not self._is_quiet:
            output.line(f"  {line}")

    def _end(self, outcome: Outcome) -> None:
        self.outcome = outcome

    def as_json(self) -> Dict[str, Any]:
        """Return what came of it."""
        outcome = self.outcome
        return {"output": self._lines, "succeeded": outcome.succeeded,  # type: ignore[union-attr]
                "outcome": outcome.text, "tookMs": self._took_ms}  # type: ignore[union-attr]
