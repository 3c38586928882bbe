"""The guardian, foreground process of `start`: keeps nodes alive, runs their hooks, vouches for their death.

Owns signals, the words with the service manager, the log targets and the exit status; host/keeper.py does the
work for each node. Single-threaded and never blocked (design §4.1, pitfall 9.4): it waits in host/loop.py
alone.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from typing import Any, Callable, Dict, List, Optional, Sequence

from raftctl.base.errors import DONE, FAULT
from raftctl.base.logs import Logs, setup
from raftctl.config import live
from raftctl.config.model import Loaded, NodeConfig
from raftctl.host.children import GONE
from raftctl.host.keeper import Keeper, Surroundings
from raftctl.host.loop import Loop
from raftctl.host.notify import notify
from raftctl.host.reload import Fresh, Reader
from raftctl.host.watchdog import Watchdog

Observer = Callable[[NodeConfig, Dict[str, Any]], None]

_LABEL = "guardian"
_STANDARD_INPUT = 0
# Dotted names would make one target the parent of another.
_LOGGER = "guardian {}"
_LOGS_CLOSE_S = 2.0
_NOTIFY_AGAIN_NS = 1_000_000_000


def run(
    loaded: Loaded, nodes: Sequence[NodeConfig], *, observer: Optional[Observer] = None,
    program: Sequence[str]
) -> int:
    """Guard `nodes` until all are stopped or given up; return `start`'s exit status (design §8). Main thread.

    `program` is the argv that starts raftctl again; `-c FILE node …` is appended. `observer` gets each
    message of a node's tether after it was taken in, and `{"kind": "ended", "status": n}` for each end of a
    node process; it must not block. SIGTERM and SIGINT stop all in order, a second one hurries; SIGHUP opens
    the log files and reads the configuration anew, or stops where the terminal is gone. Raises `UsageError`
    before anything was started when a log file can't be opened.
    """
    logs: List[Logs] = []
    try:
        logs.append(setup(_LABEL, loaded.log_file, loaded.log_level))
        logs += [setup(str(node.address), node.log_file, node.log_level, _name(node)) for node in nodes]
        return Guardian(loaded, nodes, observer or (lambda node, message: None), program, logs).run()
    finally:
        end_s = time.monotonic() + _LOGS_CLOSE_S
        for target in logs:
            target.close(max(0.0, end_s - time.monotonic()))


def _name(node: NodeConfig) -> str:
    return _LOGGER.format(str(node.address).replace(".", "_"))


class Guardian:
    """One run of the foreground process."""

    def __init__(
        self, loaded: Loaded, nodes: Sequence[NodeConfig], observer: Observer, program: Sequence[str],
        logs: List[Logs]
    ) -> None:
        self._loop = Loop()
        self._logs = logs
        self._log = logging.getLogger()
        around = Surroundings(self._loop, program, observer, self._changed)
        # As the file had them when they were started; `--join` may have changed one since.
        self._in_file = list(live.match(nodes, loaded))
        self._reader = Reader(self._loop, loaded, nodes, self._reload)
        self._keepers = [Keeper(around, node, logging.getLogger(_name(node))) for node in nodes]
        self._stopping = False
        self._said_ready = False
        self._said_status = ""
        self._exit_status = DONE
        self._had_terminal = os.isatty(_STANDARD_INPUT)

    def run(self) -> int:
        """Turn until nothing is left to guard. A fault of ours ends all nodes by KILL and returns 70."""
        self._loop.on_signal = lambda number: _ON_SIGNAL[number](self, number)
        self._loop.catch(_ON_SIGNAL)
        try:
            for keeper in self._keepers:
                keeper.start()
            Watchdog(self._loop, os.environ, lambda: all(keeper.is_well for keeper in self._keepers))
            self._loop.run(self._is_over)
            return self._exit_status
        except Exception as error:
            self._log.critical("fault of raftctl, please report it: %r", error, exc_info=error)
            return FAULT
        finally:
            for keeper in self._keepers:
                keeper.close()
            self._reader.close()
            self._loop.close()

    def _is_over(self) -> bool:
        return all(keeper.is_over for keeper in self._keepers)

    def _reap(self, number: int) -> None:
        for keeper in self._keepers:
            keeper.reap()

    def _stop(self, number: int) -> None:
        name = signal.Signals(number).name
        if self._stopping:
            self._log.warning("%s again: hurries", name)
            for keeper in self._keepers:
                keeper.hurry()
            return
        self._stopping = True
        self._log.info("%s: stops", name)
        notify("STOPPING=1")
        for keeper in self._keepers:
            keeper.stop()

    def _hang_up(self, number: int) -> None:
        # A terminal that is gone is none any more; `start` in it ends with it, a service gets `kill -HUP`.
        if self._had_terminal and not os.isatty(_STANDARD_INPUT):
            self._stop(number)
            return
        for target in self._logs:
            target.reopen()
        self._log.info("SIGHUP: reads the configuration anew")
        self._reader.begin()

    def _reload(self, fresh: Optional[Fresh], problem: str) -> None:
        """Take over what can change now of a file that is fine; a bad one changes nothing."""
        if fresh is None:
            self._log.error("not reloaded, nothing was changed: %s", problem)
            return
        levels = [fresh.loaded.log_level, *(node.log_level for node in fresh.nodes)]
        files = [fresh.loaded.log_file, *(node.log_file for node in fresh.nodes)]
        for target, file, opened, level in zip(self._logs, files, fresh.opened, levels):
            target.switch(file, opened, level)
        for position, (keeper, after) in enumerate(zip(self._keepers, fresh.nodes)):
            changed, waits = live.compare(self._in_file[position], after)
            if waits:
                self._log.warning("%s: %s can't change while it runs, and waits for the next start",
                                  keeper.node.name, ", ".join(waits))
            keeper.reload(live.update(keeper.node, after))
            self._log.info("%s: reloaded, %s", keeper.node.name,
                           f"with other {', '.join(changed)}" if changed else "nothing else than before")
        # What waits for the next start is said again at each reload, until it is taken back.
        self._in_file = [live.update(before, after) for before, after in zip(self._in_file, fresh.nodes)]

    def _changed(self) -> None:
        self._tell_status()
        self._tell_ready()
        left = [keeper for keeper in self._keepers if keeper.given_up is None]
        # Nobody asked to stop and nobody is left: the last status says why (units don't restart 2 and 74).
        if not left and not self._stopping:
            self._exit_status = max(keeper.given_up or DONE for keeper in self._keepers)

    def _tell_status(self) -> None:
        if len(self._keepers) == 1:
            text = self._keepers[0].status_text
        else:
            text = "; ".join(f"{keeper.node.name}: {keeper.status_text}" for keeper in self._keepers)
        if text != self._said_status and notify("STATUS=" + text.replace("\n", " ")):
            self._said_status = text

    def _tell_ready(self) -> None:
        """READY=1 once all nodes that are left are ready; repeated where it could not be sent."""
        left = [keeper for keeper in self._keepers if keeper.given_up is None and keeper.phase != GONE]
        if self._said_ready or self._stopping or not left or not all(keeper.ever_ready for keeper in left):
            return
        self._said_ready = True
        self._log.info("all nodes are ready")
        self._notify_ready()

    def _notify_ready(self) -> None:
        if os.environ.get("NOTIFY_SOCKET") and not notify("READY=1"):
            self._loop.after(_NOTIFY_AGAIN_NS, self._notify_ready)


_ON_SIGNAL: Dict[int, Callable[[Guardian, int], None]] = {
    signal.SIGCHLD: Guardian._reap,
    signal.SIGTERM: Guardian._stop,
    signal.SIGINT: Guardian._stop,
    signal.SIGHUP: Guardian._hang_up,
}
