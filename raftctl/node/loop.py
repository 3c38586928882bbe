"""The node thread: takes the inbox whole, feeds the turn, sets the alarm. Decides nothing.

It alone touches core, store and founding. `Call` runs a function on this thread for one that must read them.
"""

from __future__ import annotations

import logging
import threading
from typing import Any, Callable, List, NamedTuple, Optional

from raftctl.base import clock
from raftctl.base.errors import NoLeader, PeerFault
from raftctl.base.instants import Instant
from raftctl.cluster.handshake import Hello
from raftctl.cluster.serving import Ask
from raftctl.cluster.turn import Turn
from raftctl.net.complaints import Complaints
from raftctl.net.links import FrameIn, LinkDown, LinkUp
from raftctl.node.alarm import Alarm
from raftctl.node.inbox import Inbox
from raftctl.node.snapshotter import ChunkRead, Taken
from raftctl.raft.inputs import LEADER, DiskRoom
from raftctl.raft.messages import PLENTY

_log = logging.getLogger(__name__)

# Longest sleep of an idle node thread; only a bound, every deadline comes through the alarm.
LONGEST_WAIT_S = 5.0


class Done(NamedTuple):
    """The disk has write `number`; `has_room` as in `Persisted`."""

    number: int
    has_room: bool


class Room(NamedTuple):
    """The disk is full, has `room` more bytes for entries, and `why` says what to do; None, "": it is not."""

    room: Optional[int]
    why: str


class Ring(NamedTuple):
    """The alarm went off."""


class Heard(NamedTuple):
    """A peer dialled this node and shook hands."""

    hello: Hello


class Expired(NamedTuple):
    """The client of the ask `token` waits no longer."""

    token: int


class Call:
    """A function for the node thread and its result for the thread that asked."""

    def __init__(self, function: Callable[[Turn, Instant], Any]) -> None:
        self._function = function
        self._done = threading.Event()
        self._result: Any = None

    def run(self, turn: Turn, now: Instant) -> None:
        self._result = self._function(turn, now)
        self._done.set()

    def wait(self, timeout_s: float) -> Any:
        """Return the result; raise `NoLeader` where the node thread has not got to it in `timeout_s`."""
        if not self._done.wait(timeout_s):
            raise NoLeader(f"the node was too busy to answer within {timeout_s:g} s; try again")
        return self._result


class Loop:
    """Answers calls from the start, turns from `go` to `end`. Create and run in the node thread's place."""

    def __init__(self, turn: Turn, inbox: Inbox) -> None:
        self._turn, self._inbox = turn, inbox
        self._alarm = Alarm(lambda: inbox.post(Ring()))
        self._complaints = Complaints(_log)
        self._may_go = self._ended = False
        self._wait_s = LONGEST_WAIT_S

    def begin(self) -> None:
        """Take the first turn, in a `Call`: from it on the node shows what it is, and dials."""
        self._wait_s = self._finish()

    def go(self) -> None:
        """Let the turns go on, after `begin`. Any thread."""
        self._may_go = True
        self._inbox.post(Ring())

    def end(self) -> None:
        self._ended = True
        self._inbox.post(Ring())

    def run(self) -> None:
        items = self._idle()
        while not self._ended:
            for item in items:
                try:
                    _STEPS[type(item)](self._turn, clock.now(), item)
                except PeerFault as fault:
                    # The sender is to blame; what it said has changed nothing (P8).
                    self._complaints.bad(item.hello.address, str(fault), f"{fault}; its message is ignored")
            self._wait_s = self._finish()
            items = self._inbox.take(self._wait_s)
        self._alarm.close()

    def _finish(self) -> float:
        """End the turn; return for how long to wait for the next, in s.

        A leader's heartbeats are due ten times a second, and each Timer is a new thread: it waits in the
        inbox instead. A follower's election timer is armed about once an election timeout.
        """
        due = self._turn.finish(clock.now())
        if due is None or self._turn.core.role != LEADER:
            self._alarm.set(due)
            return LONGEST_WAIT_S
        self._alarm.set(None)
        return min(clock.now().until(due) / 1e9, LONGEST_WAIT_S)

    def _idle(self) -> List[Any]:
        """Serve calls alone until `go`; return all else that came."""
        held: List[Any] = []
        while not (self._may_go or self._ended):
            for item in self._inbox.take(LONGEST_WAIT_S):
                if isinstance(item, Call):
                    item.run(self._turn, clock.now())
                else:
                    held.append(item)
        return held


def _take_room(turn: Turn, now: Instant, item: Room) -> None:
    is_full = item.room is not None
    if is_full and not turn.core.is_full:
        _log.warning("%s; until then this node takes no new writes, but votes and follows", item.why)
    elif turn.core.is_full and not is_full:
        _log.warning("the disk has room again: this node takes new writes")
    turn.core.step(now, DiskRoom(PLENTY if item.room is None else item.room))


_STEPS = {
    LinkUp: lambda turn, now, item: turn.link_up(now, item.address, item.generation, item.hello),
    LinkDown: lambda turn, now, item: turn.link_down(now, item.address, item.generation, item.reason,
                                                     item.disowns),
    FrameIn: lambda turn, now, item: turn.frame(now, item.hello, item.kind, item.body),
    Done: lambda turn, now, item: turn.persisted(now, item.number, item.has_room),
    Room: _take_room,
    Taken: lambda turn, now, item: turn.snapshot_taken(now, item.mark),
    ChunkRead: lambda turn, now, item: turn.chunk_read(now, item.peer, item.wanted, item.data),
    Heard: lambda turn, now, item: turn.heard(now, item.hello),
    Ring: lambda turn, now, item: None,
    Ask: lambda turn, now, item: turn.ask(now, item),
    Expired: lambda turn, now, item: turn.serving.expire(item.token),
    Call: lambda turn, now, item: item.run(turn, now),
}
