"""What of a node's life goes into its history: who led and why that changed, as this node knows it.

Owns the choice and a thread that writes, so that neither the node thread nor a client ever waits for that
disk; what does not fit into its queue is counted and said by the next entry that does. The file is
disk/history.py's.
"""

from __future__ import annotations

import collections
import logging
import threading
import time
from typing import Any, Callable, Deque, Dict, List, Optional, Sequence, Tuple

from raftctl.base import clock
from raftctl.base.errors import RaftctlError
from raftctl.cluster.ports import Shown
from raftctl.disk.history import Entry, HistoryFile, read
from raftctl.raft.configuration import Configuration
from raftctl.raft.inputs import Decision
from raftctl.raft.messages import ORIGIN

QUEUE_LIMIT = 256
_LEADER = "LEADER"
# How a lost lease begins in the words of raft/lease.py; who was silent it does not say.
_LEASE_OVER = "lease over"

_log = logging.getLogger(__name__)


class Chronicle:
    """`see` and `note` never wait. `silent()` says which voters are silent, "" for none; node thread."""

    def __init__(self, path: str, silent: Callable[[], str]) -> None:
        self._file, self._silent = HistoryFile(path), silent
        self._changed = threading.Condition()
        self._waiting: Deque[Entry] = collections.deque()
        self._written, self._put = 0, 0
        self._left_out = 0
        self._ended = False
        self._failed = False
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)
        self._leader: Optional[Tuple[int, str]] = None
        self._term = 0
        self._leads = self._removed = False
        self._configuration: Optional[Configuration] = None

    def start(self) -> None:
        self._thread.start()

    # --- what is worth an entry

    def see(self, shown: Shown, state: str, decisions: Sequence[Decision]) -> None:
        """Compare what holds with what held; `decisions` are those of the turn between. Node thread."""
        view = shown.view
        self._term = view.term
        leader = None if shown.leader_address is None else (view.term, shown.leader_address)
        leads, removed = state == _LEADER, view.removed != ORIGIN
        cause = decisions[-1].cause if decisions else shown.reason
        if self._leads and not leads:
            cause = self._why_lost(shown, decisions)
            self._enter("lost", leader, cause)
        elif leader != self._leader:
            self._enter("elected" if leader else "leaderless", leader, _why_elected(decisions) or cause)
        if leads and not self._leads:
            self._enter("leading", leader, cause)
        if removed and not self._removed:
            self._enter("removed", leader, shown.waiting_for)
        self._leader, self._leads, self._removed = leader, leads, removed
        self._see_members(view.configuration, leader)

    def _why_lost(self, shown: Shown, decisions: Sequence[Decision]) -> str:
        if shown.stopping:
            return "this node stops"
        over = next((decision.cause for decision in decisions if decision.cause == _LEASE_OVER), None)
        # Where no turn was taken since it ran out, there is no decision yet.
        cause = over or (decisions[-1].cause if decisions else _LEASE_OVER)
        silent = self._silent() if cause == _LEASE_OVER else ""
        return f"{cause}: {silent}" if silent else cause

    def _see_members(self, configuration: Configuration, leader: Optional[Tuple[int, str]]) -> None:
        before, self._configuration = self._configuration, configuration
        if before is None or before is configuration:
            return
        changes = _changes(before, configuration)
        if changes:
            self._enter("members", leader, ", ".join(changes))

    def _enter(self, event: str, leader: Optional[Tuple[int, str]], cause: str,
               by: Optional[str] = None) -> None:
        self._keep({"time": clock.wall_text(time.time()), "term": self._term, "event": event,
                    "leader": leader[1] if leader else None, "cause": cause, "by": by})

    def note(self, event: str, cause: str, by: Optional[str] = None, at_s: Optional[float] = None) -> None:
        """Enter something that others know: an operator's command, a start, an end (at Unix time `at_s`)."""
        leader = self._leader
        self._keep({"time": clock.wall_text(time.time() if at_s is None else at_s), "term": self._term,
                    "event": event, "leader": leader[1] if leader else None, "cause": cause, "by": by})

    # --- the thread that writes

    def _keep(self, entry: Entry) -> None:
        with self._changed:
            if len(self._waiting) >= QUEUE_LIMIT:
                self._left_out += 1
                return
            if self._left_out:
                entry = {**entry, "leftOut": self._left_out}
                self._left_out = 0
            self._waiting.append(entry)
            self._put += 1
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ended)
                taken: List[Entry] = list(self._waiting)
                self._waiting.clear()
            if not taken:
                return
            self._write(taken)
            with self._changed:
                self._written += len(taken)
                self._changed.notify_all()

    def _write(self, entries: List[Entry]) -> None:
        try:
            self._file.append(entries)
        except OSError as error:
            if not self._failed:
                _log.warning("%s: not written (%s): entries of the history are lost", self._file.path,
                             str(error.strerror).lower())
            self._failed = True
        else:
            self._failed = False

    def read(self, count: int) -> List[Entry]:
        """Return the newest `count` entries that are written, the newest last. Any thread; may block."""
        try:
            return read(self._file.path, count)
        except OSError as error:
            raise RaftctlError(f"{self._file.path}: {str(error.strerror).lower()}") from error

    def flush(self, deadline_s: float) -> bool:
        """Wait until all that was kept before is written, at most `deadline_s`; tell whether it is."""
        with self._changed:
            put = self._put
            return self._changed.wait_for(lambda: self._written >= put, deadline_s)

    def stop(self, deadline_s: float) -> bool:
        """Write what is waiting and end the thread; False where the disk hangs for longer."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._thread.join(deadline_s)
        return not self._thread.is_alive()


def _why_elected(decisions: Sequence[Decision]) -> Optional[str]:
    """Return the cause of the decision that made a leader known, None where none did."""
    return next((decision.cause for decision in decisions
                 if decision.effect.startswith(("leader term", "caretaker term", "follows "))), None)


def _changes(before: Configuration, after: Configuration) -> List[str]:
    old: Dict[str, Any] = {member.instance: member for member in before.members}
    new: Dict[str, Any] = {member.instance: member for member in after.members}
    said = [f"{member.address} is {'a voter' if member.voter else 'a learner'}" for member in after.members
            if member.instance not in old or old[member.instance].voter != member.voter]
    return said + [f"{member.address} is removed" for member in before.members if member.instance not in new]
