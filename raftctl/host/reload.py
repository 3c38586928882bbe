"""SIGHUP: the configuration read anew, beside the guardian's one thread, which must not wait for a disk.

A thread reads and checks the file and opens the log files that it names; the loop gets a `Fresh` or the one
line that says why not. So either all of a file counts, or nothing of it. What a change does is
host/guardian.py's and host/keeper.py's.
"""

from __future__ import annotations

import os
import socket
import threading
from typing import Any, Callable, List, NamedTuple, Optional, Sequence, Tuple

from raftctl.base import logs
from raftctl.base.errors import RaftctlError
from raftctl.config import live
from raftctl.config.load import load
from raftctl.config.model import Loaded, NodeConfig
from raftctl.host.loop import READ, Loop

DEADLINE_NS = 10_000_000_000


class Fresh(NamedTuple):
    """A file that is fine. `opened` are the descriptors of the guardian's log and of each node's, in order;
    None for one that stays as it is."""

    loaded: Loaded
    nodes: Tuple[NodeConfig, ...]
    opened: Tuple[Optional[int], ...]


class Reader:
    """One reading at a time; a request that comes meanwhile is one more reading behind it. Loop's thread.

    `done(fresh, problem)` is called from the loop with one of both.
    """

    def __init__(self, loop: Loop, loaded: Loaded, nodes: Sequence[NodeConfig],
                 done: Callable[[Optional[Fresh], str], None]) -> None:
        self._loop, self._path, self._done = loop, loaded.path, done
        self._nodes = tuple(nodes)
        self._log_files = [loaded.log_file, *(node.log_file for node in nodes)]
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._number, self._is_reading, self._again = 0, False, False
        self._result: Tuple[int, Optional[Fresh], str] = (0, None, "")
        self._timer: Any = None
        loop.watch(self._ours, READ, self._take)

    def begin(self) -> None:
        """Read the file in a thread; returns at once."""
        if self._is_reading:
            self._again = True
            return
        self._number += 1
        self._is_reading, self._again = True, False
        self._timer = self._loop.after(DEADLINE_NS, self._give_up)
        arguments = (self._number, tuple(self._log_files))
        threading.Thread(target=self._read, args=arguments, name="reload", daemon=True).start()

    def _read(self, number: int, log_files: Sequence[Optional[str]]) -> None:
        fresh, problem = None, ""
        try:
            fresh = read(self._path, self._nodes, log_files)
        except RaftctlError as error:
            problem = str(error)
        self._result = number, fresh, problem
        self._theirs.send(b"r")

    def _take(self) -> None:
        self._ours.recv(64)
        number, fresh, problem = self._result
        if number != self._number or not self._is_reading:
            _close(fresh)        # its deadline was over before
            return
        if fresh is not None:
            self._log_files = [fresh.loaded.log_file, *(node.log_file for node in fresh.nodes)]
        self._end(fresh, problem)

    def _give_up(self) -> None:
        self._end(None, f"{self._path}: it can't be read within {DEADLINE_NS // 1_000_000_000} s "
                        "(a file system that hangs?)")

    def _end(self, fresh: Optional[Fresh], problem: str) -> None:
        self._timer.cancel()
        self._is_reading = False
        self._done(fresh, problem)
        if self._again:
            self.begin()

    def close(self) -> None:
        """The loop ends: a thread that still reads ends with the process."""
        self._loop.forget(self._ours)
        self._ours.close()


def read(path: str, nodes: Sequence[NodeConfig], log_files: Sequence[Optional[str]]) -> Fresh:
    """Read and check the file for the running `nodes`; raise `UsageError` where it can't be used.

    `log_files`: those open now, the guardian's first. Nothing stays open then.
    """
    own = {node.address.host for node in nodes}
    # The network may be gone for the moment: which entry of a list this host is, is known.
    loaded = load(path, environ=os.environ, can_bind=lambda host: None if host in own else "another host's")
    found = live.match(nodes, loaded)
    opened: List[Optional[int]] = []
    try:
        for before, after in zip(log_files, [loaded.log_file, *(node.log_file for node in found)]):
            opened.append(None if before == after else logs.open_target(after))
    except RaftctlError:
        _close_all(opened)
        raise
    return Fresh(loaded, found, tuple(opened))


def _close(fresh: Optional[Fresh]) -> None:
    if fresh is not None:
        _close_all(fresh.opened)


def _close_all(opened: Sequence[Optional[int]]) -> None:
    for descriptor in opened:
        if descriptor is not None and descriptor != logs.STANDARD_ERROR:
            os.close(descriptor)
