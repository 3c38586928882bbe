"""What is left to do for nodes that ended without a guardian: RELEASE, process groups, outgoing work.

Owns the order (P4, P6, design §4.1): all at once, but the outgoing work waits for the groups. That
nobody can be the node any more, and which term it may have led in, is the caller's to prove (pitfall 1.3).
"""

from __future__ import annotations

import logging
import signal
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from raftctl.base import groups
from raftctl.base.groups import Group
from raftctl.cluster import handshake
from raftctl.config.model import NodeConfig
from raftctl.host.hooks import GRACE_NS
from raftctl.host.lane import Lane
from raftctl.host.loop import Loop
from raftctl.host.outgoing import Note, Work
from raftctl.host.release import Delivery, Endpoint, greeting, summary
from raftctl.raft.encoding import encode_message
from raftctl.raft.messages import Release

_LOOK_NS = 20_000_000
# A process that does not end after KILL waits for a disk or a network file system.
_UNKILLABLE_NS = 5_000_000_000


class Ended(NamedTuple):
    """A node of which it is proved that it has ended. `term`: the last in which it may have led, 0: none.

    `note`: of outgoing work that is open, None for none; `groups`: what may still run of its hooks.
    """

    node: NodeConfig
    cluster_id: str
    instance: str
    incarnation: int
    term: int
    endpoints: Tuple[Endpoint, ...]
    note: Optional[Note]
    groups: Tuple[Group, ...]


def run(found: Sequence[Tuple[Ended, logging.Logger]]) -> None:
    """Do it for all of `found` side by side; return when all is over, or on SIGTERM. Main thread."""
    loop = Loop()
    widows: List[Widow] = []
    is_ended = []

    def on_signal(number: int) -> None:
        if number == signal.SIGCHLD:
            for widow in widows:
                widow.reap()
        else:
            is_ended.append(number)

    loop.on_signal = on_signal
    loop.catch((signal.SIGCHLD, signal.SIGTERM, signal.SIGINT))
    try:
        widows += [Widow(loop, ended, log) for ended, log in found]
        loop.run(lambda: bool(is_ended) or all(widow.is_over for widow in widows))
    finally:
        for widow in widows:
            widow.close()
        loop.close()


class Ender:
    """Ends process groups: TERM, KILL after the grace; `on_done` is called once, from the loop."""

    def __init__(self, loop: Loop, given: Sequence[Group], say: Callable[[str], None],
                 on_done: Callable[[], None]) -> None:
        self._loop, self._say, self._on_done = loop, say, on_done
        self._left = [group for group in given if groups.is_led(group)]
        self._kill_at = loop.now() + GRACE_NS
        self._is_killed = False
        for group in self._left:
            say(f"process group {group.number} has outlived its guardian and is ended")
            groups.end(group)
        loop.after(0, self._look)

    def _look(self) -> None:
        self._left = [group for group in self._left if groups.is_alive(group.number)]
        now = self._loop.now()
        if self._left and now >= self._kill_at + _UNKILLABLE_NS:
            self._say("process groups do not end after KILL (they wait for a disk or a network file system?)")
            self._left.clear()
        if not self._left:
            self._on_done()
            return
        if now >= self._kill_at and not self._is_killed:
            self._is_killed = True
            for group in self._left:
                groups.end(group, signal.SIGKILL)
        self._loop.after(_LOOK_NS, self._look)


class Widow:
    """The work for one node. All methods from the loop's thread."""

    def __init__(self, loop: Loop, ended: Ended, log: logging.Logger) -> None:
        self._loop, self._ended, self._log = loop, ended, log
        self._deliveries: List[Delivery] = []
        self._work = Work(loop, ended.node, log, lambda: None, self._deliver_work)
        self._lane = Lane(loop, ended.node, log, self._outgoing_done, lambda: None, self._work)
        self._is_done = False
        self._release()
        if ended.note:
            # The end of the groups is outgoing work as well: a new leader waits for it.
            self._work.of_instance(ended.instance)
            self._work.left_behind(ended.note, names_record=self._names_record)
            self._work.watch(is_outgoing=True)
        Ender(loop, ended.groups, lambda text: log.warning("%s", text), self._groups_ended)

    @property
    def _names_record(self) -> bool:
        return self._ended.note.instance == self._ended.instance

    @property
    def is_over(self) -> bool:
        return self._is_done and not self._deliveries and not self._work.is_removing

    def reap(self) -> None:
        """Look whether a hook has ended (SIGCHLD)."""
        self._lane.reap()

    def close(self) -> None:
        self._lane.close()
        for delivery in list(self._deliveries):
            delivery.end()

    def _release(self) -> None:
        ended = self._ended
        if ended.term:
            release = Release(ended.instance, ended.incarnation, ended.term)
            self._deliver(handshake.RAFT, encode_message(release), lambda results: self._log.info(
                "released term %d: %s", ended.term, summary(results)))

    def _deliver_work(self, body: bytes) -> None:
        self._deliver(handshake.OUTGOING, body,
                      lambda results: self._log.debug("outgoing work: %s", summary(results)))

    def _deliver(self, kind: int, body: bytes, say: Callable[[Dict[str, str]], None]) -> None:
        ended = self._ended
        own = greeting(ended.node, ended.cluster_id, ended.instance, ended.incarnation, ended.term)

        def finish(results: Dict[str, str]) -> None:
            self._deliveries.remove(delivery)
            say(results)

        delivery = Delivery(self._loop, own, ended.node.secrets, kind, body, ended.endpoints, finish)
        self._deliveries.append(delivery)

    def _groups_ended(self) -> None:
        note = self._ended.note
        if note is None:
            self._is_done = True
            return
        self._loop.after(self._lane.longest_outgoing_ns(), self._give_up)
        self._lane.left_behind(note, names_record=self._names_record)
        self._lane.outgoing(orderly=False)

    def _outgoing_done(self) -> None:
        self._is_done = True

    def _give_up(self) -> None:
        if not self._is_done:
            self._log.error("outgoing work does not end; it is killed")
            self._lane.close()
            self._is_done = True
