"""The health check of one node, carried out: begun every interval, killed with its group at the time limit.

Owns the times. Leaves what its runs mean to cluster/checking.py, what follows to the node, and the process to
host/hooks.py. It goes on through all processes of the node, until the node is stopped.
One run never overlaps the next: one that KILL does not end (a dead file system) is one failed run after the
other.
"""

from __future__ import annotations

import logging
import os
import time
from typing import Callable, Optional

from raftctl.base import durations
from raftctl.cluster import checking
from raftctl.cluster.checking import Checked
from raftctl.cluster.hookplan import Facts
from raftctl.config import model
from raftctl.config.model import NodeConfig
from raftctl.host.hooks import HookProcess, Outcome, document, hook_argv, hook_environment
from raftctl.host.loop import Loop, Timer

EVENT = "check"
# Characters of the last line that are kept.
LINE_LIMIT = 200
_KILL_LASTS_NS = 2_000_000_000


class Check:
    """All methods from the guardian's thread. `checked` is what the runs so far say."""

    process_type = HookProcess

    def __init__(self, loop: Loop, node: NodeConfig, log: logging.Logger, on_result: Callable[[], None],
                 facts: Callable[[], Facts]) -> None:
        """`on_result` is called after each change of `checked`; `facts` returns what the script is told."""
        self._loop, self._node, self._log = loop, node, log
        self._on_result, self._facts = on_result, facts
        self._check: Optional[model.Check] = node.check
        self.checked = checking.unknown(time.time()) if node.check else Checked()
        self._process: Optional[HookProcess] = None
        self._counts = False            # whether the end of this process is a result
        self._line = ""
        self._begun_ns = 0
        self._runs_on = False
        self._timer: Optional[Timer] = None      # for the next run
        self._limit: Optional[Timer] = None

    def start(self) -> None:
        """Begin, with a run at once; harmless when repeated."""
        if not self._runs_on:
            self._runs_on = True
            self._begin()

    def stop(self) -> None:
        """No run any more; one that goes on is killed."""
        self._runs_on = False
        self._abolish("the node stops")

    def reload(self, node: NodeConfig) -> None:
        """Go on with the check of `node`. What held goes on to hold until its runs say otherwise."""
        before, self._check, self._node = self._check, node.check, node
        if node.check == before:
            return
        self._abolish("the check is another one now")
        if node.check is None:
            self._say(Checked())
            return
        self._say(checking.changed(self.checked, time.time()))
        if self._runs_on and self._process:
            self._begun_ns = self._loop.now() - node.check.interval_ns       # due when that one has ended
            self._wait_for_end()
        elif self._runs_on:
            self._begin()

    def _abolish(self, why: str) -> None:
        if self._timer:
            self._timer.cancel()
        if self._limit:
            self._limit.cancel()
        self._counts = False
        if self._process:
            self._process.kill(why)

    def _begin(self) -> None:
        check = self._check
        if check is None:
            return
        self._begun_ns = self._loop.now()
        self._line = ""
        told = document(EVENT, str(self._node.address), self._node.path, self._facts())
        process = self.process_type(self._loop, self._hear, self._ended)
        try:
            process.start(hook_argv(check.argv), hook_environment(os.environ, told), told, None)
        except OSError as error:
            self._take(False, f"can't be started: {os.strerror(error.errno or 0).lower()}")
            self._schedule()
            return
        self._process, self._counts = process, True
        self._limit = self._loop.after(check.timeout_ns, self._time_out)

    def _schedule(self) -> None:
        if self._timer:
            self._timer.cancel()
        due_ns = self._begun_ns + self._check.interval_ns  # type: ignore[union-attr]
        self._timer = self._loop.at(max(due_ns, self._loop.now()), self._begin)

    def _hear(self, line: str) -> None:
        text = "".join(letter if letter.isprintable() else " " for letter in line).strip()
        if text:
            self._line = text[:LINE_LIMIT]
            self._log.debug("[Check] %s", text)

    def _time_out(self) -> None:
        """Counted now, not when it has ended: it may never."""
        process = self._process
        process.reap()
        if process is not self._process:
            return           # it was done, and nobody had looked yet
        process.output.drain()
        self._counts = False
        process.kill("time limit")
        self._take(False, f"time limit of {durations.render(self._check.timeout_ns)}")
        self._wait_for_end()

    def _wait_for_end(self) -> None:
        """A process that was killed: no run beside it, so each span in which it lives on is a failed one."""
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.after(max(self._check.interval_ns, _KILL_LASTS_NS), self._stuck)

    def _stuck(self) -> None:
        self._take(False, "does not end after KILL (waits for a disk or a network file system?)")
        self._wait_for_end()

    def reap(self) -> None:
        """Look whether the run has ended (SIGCHLD)."""
        if self._process:
            self._process.reap()

    def _ended(self, outcome: Outcome) -> None:
        process, self._process = self._process, None
        # What a background process of it still says interests nobody.
        process.output.close()
        self._limit.cancel()
        if self._check is None or not self._runs_on:
            return
        if self._counts:
            self._take(outcome.succeeded, outcome.text)
        self._schedule()

    def _take(self, passed: bool, status: str) -> None:
        check, before = self._check, self.checked
        now = checking.take(before, passed, status, self._line, os.path.basename(check.argv[0]),
                            fall=check.fall, rise=check.rise, at=time.time())
        if now.state == before.state and not passed and before.state == checking.PASSING:
            said = f": {self._line}" if self._line else ""
            self._log.warning("[Check] failed (%d of %d), %s%s", now.count, check.fall, status, said)
        self._say(now)

    def _say(self, now: Checked) -> None:
        before, self.checked = self.checked, now
        if now.state != before.state:
            level = logging.INFO if now.is_fit else logging.ERROR
            self._log.log(level, "[Check] %s -> %s", now.cause, now.state)
        self._on_result()

    def close(self) -> None:
        """The guardian ends: nothing of this check runs on."""
        self._abolish("the guardian ends")
        if self._process:
            self._process.abandon()
