"""What may run on this host under which takeover record, and that it is over (P6): the guardian's side.

Owns the note `outgoing` in the data directory, the marks that decide whether a `leader` hook may begin, and
the words about them. Leaves the order of hooks to cluster/hookplan.py, running them to host/lane.py, and what
a leader makes of the words to cluster/takeover.py. The note is written by the hook's own process, before the
script, and removed by another: the guardian waits for no disk.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
from typing import Any, Callable, Dict, NamedTuple, Optional, Tuple

from raftctl import tether
from raftctl.cluster import takeover
from raftctl.cluster.hookplan import FOLLOWER_HOOK, LEADER_HOOK, RETRY_DELAY_NS
from raftctl.cluster.takeover import ENDED, FAILED, GOES_ON, GOES_ON_EVERY_NS, NONE, OPEN, HostWork
from raftctl.config.model import Hook, NodeConfig
from raftctl.host.hooks import GRACE_NS
from raftctl.host.loop import Loop, Timer

_NOTE = "outgoing"
_REMOVE = ("/bin/sh", "-c", 'exec rm -f -- "$0"')


class Note(NamedTuple):
    """What a `leader` hook left behind whose outgoing work has not ended; 0 and "" where it can't be read."""

    instance: str
    index: int
    term: int


def read_note(path: str) -> Optional[Note]:
    """Return the note at `path`, None where there is none."""
    try:
        with open(path, encoding="ascii") as file:
            found = json.load(file)
        return Note(str(found["instance"]), int(found["index"]), int(found["term"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return Note("", 0, 0)       # it is there: that is what counts


def limit_ns(hooks: Dict[str, Hook]) -> int:
    """Return how long outgoing work may take: to end a running `leader` hook, then `follower` with its tries.
    """
    limit = 2 * GRACE_NS
    follower = hooks.get(FOLLOWER_HOOK)
    if follower:
        limit += (1 + follower.retry) * (follower.timeout_ns + 2 * GRACE_NS) + follower.retry * RETRY_DELAY_NS
    return limit


class Work:
    """The work of one node over all its processes. All methods from the guardian's thread."""

    def __init__(self, loop: Loop, node: NodeConfig, log: logging.Logger, tell: Callable[[], None],
                 deliver: Callable[[bytes], None]) -> None:
        """`tell` is called when `message` has changed; `deliver` sends an OUTGOING body to all peers."""
        self._loop, self._log, self._tell, self._deliver = loop, log, tell, deliver
        self._path = os.path.join(node.data_dir, _NOTE)
        # Two of them before a successor with the same delay would begin.
        self._first_word_ns = min(GOES_ON_EVERY_NS, node.takeover_delay_ns // 4)
        self._hooks: Dict[str, Hook] = {}
        self._instance = ""
        self._armed = self._ended = 0      # records: the last that the node told of; all up to here are over
        self._begun, self._begun_well = 0, True
        self._remover: Optional[subprocess.Popen] = None
        self._timer: Optional[Timer] = None
        self.found = self._read_note()
        self._state, self._open = (OPEN, self.found.index) if self.found else (NONE, 0)

    def _read_note(self) -> Optional[Note]:
        return read_note(self._path)

    def configure(self, hooks: Dict[str, Hook]) -> None:
        self._hooks = hooks
        self._tell()

    def message(self) -> Dict[str, Any]:
        """Return what the node is to know, as a message of the tether."""
        work = HostWork(self._state, self._open, self._ended, LEADER_HOOK in self._hooks,
                        limit_ns(self._hooks), self._begun, self._begun_well)
        return encode_work(work)

    def of_instance(self, instance: str) -> None:
        """The node says which instance it is: records of another name nothing here."""
        if self._instance == "" and self.found and self.found.instance != instance:
            self._open = 0
        elif self._instance not in ("", instance):
            self._armed = self._ended = self._begun = self._open = 0
        self._instance = instance

    # --- records

    def arm(self, index: int) -> None:
        """The node leads, and its record `index` is open."""
        self._armed = max(self._armed, index)

    def disarm(self) -> None:
        """The node leads no more: what has not begun by now does not under this record."""
        if self._state == NONE and self._armed > self._ended:
            self._ended = self._armed
            self._tell()

    @property
    def may_begin(self) -> bool:
        """May a `leader` hook begin, or go on, under the record that the node told of?"""
        if LEADER_HOOK not in self._hooks:
            return True
        return self._armed > self._ended and self._remover is None

    def begin(self, term: int) -> Tuple[str, str]:
        """A `leader` hook is about to begin: return the note that it writes first, and its text."""
        self._state, self._open = OPEN, self._armed
        self._tell()
        note = Note(self._instance, self._open, term)
        return self._path, json.dumps(note._asdict(), separators=(",", ":"))

    def leader_hook_ended(self, *, well: bool) -> None:
        """A `leader` hook has run to its end, and will not be tried again."""
        self._begun, self._begun_well = self._armed, well
        self._tell()

    def end(self, *, succeeded: bool) -> None:
        """The outgoing work has ended: `follower` did, or there is none. Only its status 0 ends a record."""
        if self._state == NONE:
            return
        if not succeeded:
            self._state = FAILED
            self._log.error("outgoing work has failed: a new leader elsewhere waits for its takeover delay")
            self._tell()
            return
        index, self._open = self._open, 0
        self._state, self._ended = NONE, max(self._ended, index)
        self._remove()
        self._tell()
        if index:
            self._deliver(takeover.encode_word(ENDED, index))

    # --- the words that it goes on

    def watch(self, *, is_outgoing: bool) -> None:
        """Repeat to the peers that outgoing work goes on, as long as it does."""
        goes_on = is_outgoing and self._state != NONE
        if goes_on and self._timer is None:
            self._timer = self._loop.after(self._first_word_ns, self._say_goes_on)
        elif not goes_on and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _say_goes_on(self) -> None:
        self._timer = self._loop.after(GOES_ON_EVERY_NS, self._say_goes_on)
        if self._open:
            self._deliver(takeover.encode_word(GOES_ON, self._open))

    # --- the note

    def _remove(self) -> None:
        try:
            self._remover = subprocess.Popen([*_REMOVE, self._path], stdin=subprocess.DEVNULL)
        except OSError as error:
            self._log.error("%s is not removed: %s", self._path, error)

    def reap(self) -> bool:
        """Look whether the note is removed by now (SIGCHLD); return whether that is news."""
        if self._remover is None or self._remover.poll() is None:
            return False
        if self._remover.returncode:
            self._log.error("%s is not removed: follower will run at the next start", self._path)
        self._remover = None
        return True

    def close(self) -> None:
        """The guardian ends."""
        if self._timer:
            self._timer.cancel()


def encode_work(work: HostWork) -> Dict[str, Any]:
    """Return `work` as a message of the tether."""
    return {"kind": tether.WORK, "state": work.state, "index": work.index, "ended": work.ended,
            "hooked": work.hooked, "limit": work.limit, "begun": work.begun, "begunWell": work.begun_well}
