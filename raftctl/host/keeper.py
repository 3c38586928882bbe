"""One node of the guardian, from its first start to its last end: process, tether, hooks, RELEASE, back-off.

Owns what each phase of host/children.py makes the guardian do, and the deadlines on a node that stops. Leaves
signals, the service manager and the exit status to host/guardian.py, hooks to host/lane.py.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence, Tuple

from raftctl import tether
from raftctl.base.errors import DONE, PeerFault
from raftctl.cluster import handshake
from raftctl.config.model import NodeConfig
from raftctl.host import children
from raftctl.host.check import Check
from raftctl.host.children import TRANSITIONS, Backoff, Child
from raftctl.host.hooks import exit_text, passed_environment
from raftctl.host.lane import Lane
from raftctl.host.loop import READ, Loop, Timer
from raftctl.host.outgoing import Work, read_left
from raftctl.host.pulse import Pulse
from raftctl.host.release import Deliveries, Endpoint, greeting, read_endpoints, summary
from raftctl.net import digest
from raftctl.raft.encoding import encode_message
from raftctl.raft.messages import Release

# For `stopping` after `stop`, and for its end after `outgoing_done`. A node that closed its
# tether has the last one.
_ANSWER_NS = 5_000_000_000
_END_NS = 10_000_000_000
_EOF_NS = 2_000_000_000
_HURRY_NS = 1_000_000_000
_CHUNK = 65536
_CHUNKS_A_TURN = 16


class Surroundings(NamedTuple):
    """What all keepers of a guardian share. `changed`: readiness, status or phase of one may be another."""

    loop: Loop
    program: Sequence[str]
    observe: Callable[[NodeConfig, Dict[str, Any]], None]
    changed: Callable[[], None]


class Keeper:
    """All methods from the guardian's thread. `phase` is one of host/children.py's."""

    def __init__(self, around: Surroundings, node: NodeConfig, log: logging.Logger) -> None:
        self._around = around
        self._loop = around.loop
        self.node = node
        self._log = log
        self._child: Optional[Child] = None
        self.is_ready = False
        self._work = Work(self._loop, node, log, self._tell_work, self._deliver_work)
        self._lane = Lane(self._loop, node, log, self._hooks_done, self._tell_failures, self._work)
        self._check = Check(self._loop, node, log, self._tell_check, lambda: self._lane.facts)
        self._backoff = Backoff()
        if node.secrets:
            digest.prepare()
        self._pulse = Pulse(self._loop, lambda: self._kill("it does not answer"))
        self._timer: Optional[Timer] = None
        self._spawned_at = 0
        self._locked: Optional[Dict[str, Any]] = None
        self._cluster_id = ""
        self._endpoints: Tuple[Endpoint, ...] = ()
        # What the last process said that said it: for words that are no proof of a death.
        self._known: Optional[Dict[str, Any]] = None
        self._peers: Tuple[Endpoint, ...] = ()
        self._deliveries = Deliveries(self._loop, around.changed)
        self._stop_asked = self._was_opened = False
        # The word about an end that the next process is to hear.
        self._last_end: Optional[Dict[str, Any]] = None
        # Whether the file was read anew after this process was started, which may have read the old one.
        self._was_reloaded = False
        self.phase = children.DOWN
        self.ever_ready = False
        self.status_text = "starting"
        # The exit status with which the node was given up, None while it was not.
        self.given_up: Optional[int] = None

    @property
    def is_over(self) -> bool:
        """Is there nothing left to do for this node?"""
        return self.phase == children.GONE and not self._deliveries.under_way

    @property
    def is_well(self) -> bool:
        """Does the node answer, where it should?"""
        return self._pulse.is_well

    def start(self) -> None:
        """Start a node process; where that fails, try again as if it had ended."""
        if self.phase != children.DOWN:
            return
        self._spawned_at = self._loop.now()
        try:
            self._child = Child(self._around.program, self.node.path, str(self.node.address),
                                passed_environment(os.environ))
        except OSError as error:
            self._log.error("node can't be started: %s", error)
            self._start_later(self._backoff.next_ns(0))
            return
        self._log.info("node started, process %d", self._child.pid)
        self._locked, self._endpoints, self._was_reloaded = None, (), False
        self._lane.attach(self._child.board)
        self._loop.watch(self._child.tether, READ, self._read_tether)
        self._check.start()
        self._move(children.SPAWNED)

    def stop(self) -> None:
        """Begin the orderly stop; harmless when repeated."""
        if self._stop_asked or self.phase == children.GONE:
            return
        self._stop_asked = True
        self._move(children.STOP)
        if self.phase == children.STOPPING:
            self._send(tether.STOP)
            self._kill_after(_ANSWER_NS, "it did not say that it is stopping")
        elif self.phase == children.OUTGOING:
            self._lane.outgoing(orderly=True)
        elif self.phase == children.LEAVING:
            self._leave()

    def reload(self, node: NodeConfig) -> None:
        """Go on with `node`, which differs from the one before in what can change while it runs."""
        self.node, self._was_reloaded = node, True
        if node.secrets:
            digest.prepare()
        self._lane.reload(node)
        self._check.reload(node)
        self._tell_settings()

    def hurry(self) -> None:
        """The user asked to stop again: shorten what can be shortened."""
        self._lane.hurry()
        if self.phase in (children.STOPPING, children.ENDING):
            self._kill_after(_HURRY_NS, "stopped in a hurry")

    def reap(self) -> None:
        """Look whether the node or its hook has ended (SIGCHLD)."""
        self._reap_node()
        self._lane.reap()
        self._check.reap()

    def close(self) -> None:
        """The guardian ends: KILL what is left."""
        self._cancel_timer()
        self._lane.close()
        self._check.close()
        self._deliveries.end()
        if self._child:
            self._child.signal(signal.SIGKILL)
            self._loop.forget(self._child.tether)
            self._child.close()

    # --- words of the node

    def _read_tether(self) -> None:
        child = self._child
        try:
            for _ in range(_CHUNKS_A_TURN):
                data = child.tether.recv(_CHUNK)
                if not data:
                    self._tether_closed()
                    return
                for message in child.line.receive(data):
                    self._receive(message)
        except BlockingIOError:
            return
        except ConnectionResetError:
            self._tether_closed()
        except PeerFault as error:
            self._log.error("node is ended: %s", error)
            self._loop.forget(child.tether)
            child.signal(signal.SIGKILL)

    def _tether_closed(self) -> None:
        """It has ended, or is about to, or can be guarded no more. Only `waitpid` proves the first (P4)."""
        self._loop.forget(self._child.tether)
        self._reap_node()
        if self._child:
            self._kill_after(_EOF_NS, "it closed its tether and lives on")

    def _receive(self, message: Dict[str, Any]) -> None:
        if message["kind"] == tether.PONG:
            self._pulse.answered()      # no news for anybody
            return
        receive = _RECEIVE.get(message["kind"])
        if receive:
            receive(self, message)
            self._around.observe(self.node, message)
            self._around.changed()

    def _receive_opened(self, message: Dict[str, Any]) -> None:
        if not self._was_opened:
            self._was_opened = True
            found = read_left(message, self._log)
            if found:
                self._lane.left_behind(found.note, names_record=found.names_record)

    def _receive_locked(self, message: Dict[str, Any]) -> None:
        self._locked = self._known = message
        self._cluster_id = message["clusterId"]
        self._work.of_instance(message["instance"])

    def _receive_ready(self, message: Dict[str, Any]) -> None:
        if self._move(children.READY):
            self.is_ready = self.ever_ready = True
            self._tell_failures()
            self._tell_work()
            self._tell_check()
            self._tell_end()
            self._tell_settings()
            self._pulse.begin(self._child.send)
            self._lane.tell_ready()

    def _receive_status(self, message: Dict[str, Any]) -> None:
        self.status_text = message["text"]

    def _receive_state(self, message: Dict[str, Any]) -> None:
        self._cluster_id = message["clusterId"]
        self._lane.tell_state(message)

    def _receive_peers(self, message: Dict[str, Any]) -> None:
        own = str(self.node.address)
        self._endpoints = tuple(endpoint for endpoint in read_endpoints(message) if endpoint.address != own)
        self._peers = self._endpoints

    def _receive_stopping(self, message: Dict[str, Any]) -> None:
        if self._move(children.SAID_STOPPING):
            self.status_text = "stopping"
            self._kill_after(self._lane.longest_outgoing_ns(), "its outgoing hooks do not end")
            self._lane.outgoing(orderly=self._stop_asked)

    def _hooks_done(self) -> None:
        if self._move(children.HOOKS_DONE):
            self._cancel_timer()
        if self.phase == children.ENDING:
            self._pulse.end()
            self._send(tether.OUTGOING_DONE)
            self._kill_after(_END_NS, "it did not end itself")
        self._around.changed()

    # --- its end

    def _reap_node(self) -> None:
        status = self._child.reap() if self._child else None
        if status is None:
            return
        child, self._child = self._child, None
        self._read_last_words(child)
        orderly = self.phase == children.ENDING and status == DONE
        if not orderly:
            self._release(child)
        self._loop.forget(child.tether)
        child.close()
        self._cancel_timer()
        self._pulse.end()
        was_ready, self.is_ready = self.is_ready, False
        self.status_text = f"node ended, {exit_text(status)}"
        self._log.log(logging.INFO if orderly else logging.ERROR, "%s", self.status_text)
        self._last_end = {"kind": tether.ENDED, "at": time.time(), "text": self.status_text}
        self._around.observe(self.node, {"kind": "ended", "status": status})
        self._go_on(status, was_ready)
        self._around.changed()

    def _go_on(self, status: int, was_ready: bool) -> None:
        """Decide what follows the end, then let the lane run what is due."""
        what = children.verdict(status, was_ready, self.ever_ready)
        if not self._stop_asked and what == children.GIVE_UP:
            self.given_up = status
            self._log.error("node is not started again, %s: see above what is wrong", exit_text(status))
        leaves = self._stop_asked or what == children.GIVE_UP
        self._move(children.LEFT if leaves else children.DIED)
        if not leaves:
            up_ns = self._loop.now() - self._spawned_at
            self._start_later(0 if what == children.AT_ONCE else self._backoff.next_ns(up_ns))
        self._lane.detach(self.status_text)
        if leaves:
            self._leave()

    def _read_last_words(self, child: Child) -> None:
        """Take from a dead node what RELEASE needs; all else it said holds no more, least of all LEADER."""
        try:
            for message in child.line.receive(child.tether.recv(_CHUNK * _CHUNKS_A_TURN)):
                if message["kind"] in (tether.LOCKED, tether.PEERS):
                    _RECEIVE[message["kind"]](self, message)
        except (BlockingIOError, ConnectionResetError):
            pass
        except PeerFault as error:
            self._log.error("last words of the node: %s", error)

    def _leave(self) -> None:
        """No process, and none to come: run the outgoing hooks, within a limit."""
        self._check.stop()
        self._cancel_timer()
        self._timer = self._loop.after(self._lane.longest_outgoing_ns(), self._give_up_hooks)
        self._lane.outgoing(orderly=self._stop_asked)

    def _release(self, child: Child) -> None:
        """End the vows to the process that was just reaped (P4): only what this child itself reported."""
        shown, locked = child.board.read(), self._locked
        if not locked or not shown.term or shown.incarnation != locked["incarnation"]:
            return
        release = Release(locked["instance"], shown.incarnation, shown.term)
        self._deliver(locked, shown.term, (handshake.RAFT, encode_message(release)), self._endpoints,
                      lambda results: self._log.info("released term %d: %s", shown.term, summary(results)))

    def _deliver_work(self, body: bytes) -> None:
        if self._known:
            self._deliver(self._known, self._known["term"], (handshake.OUTGOING, body), self._peers,
                          lambda results: self._log.debug("outgoing work: %s", summary(results)))

    def _deliver(self, locked: Dict[str, Any], term: int, frame: Tuple[int, bytes],
                 endpoints: Tuple[Endpoint, ...], say: Callable[[Dict[str, str]], None]) -> None:
        """Send one frame to the peers, in the role of the guardian of the process that said `locked`."""
        own = greeting(self.node, self._cluster_id, locked["instance"], locked["incarnation"], term)
        self._deliveries.send(own, self.node.secrets, frame, endpoints, say)

    def _start_later(self, wait_ns: int) -> None:
        if wait_ns:
            self._log.info("node is started again in %g s", wait_ns / 1e9)
        self._cancel_timer()
        self._timer = self._loop.after(wait_ns, self.start)

    # --- small acts

    def _tell_settings(self) -> None:
        if self._child and self.is_ready and self._was_reloaded:
            self._child.send({"kind": tether.RELOAD, "logFile": self.node.log_file,
                              "logLevel": self.node.log_level,
                              "secrets": [secret.hex() for secret in self.node.secrets]})

    def _tell_work(self) -> None:
        """Tell the node what of this host's work is over."""
        if self._child and self.is_ready:
            self._child.send(self._work.message())

    def _tell_check(self) -> None:
        """Tell the node what its check says; the word of the next run makes up for one that is lost."""
        if self._child and self.is_ready:
            self._child.send({"kind": tether.CHECK, **self._check.checked._asdict()})

    def _tell_end(self) -> None:
        """Tell the node how the one before it ended: for its history."""
        if self._last_end and self._child:
            self._child.send(self._last_end)
        self._last_end = None

    def _tell_failures(self) -> None:
        """Tell the node how often its hooks failed; the next such word makes up for one that is lost."""
        if self._child and self.is_ready and self._lane.failures:
            self._child.send({"kind": tether.HOOKS, "failures": self._lane.failures})

    def _move(self, event: str) -> bool:
        """Go to the next phase; False where the event does not concern this one."""
        following = TRANSITIONS.get((self.phase, event))
        if following is None:
            self._log.debug("%s means nothing while %s", event, self.phase)
            return False
        self.phase = following
        return True

    def _send(self, kind: str) -> None:
        if not self._child.send({"kind": kind}):
            self._log.error("node takes no words any more")

    def _kill_after(self, span_ns: int, why: str) -> None:
        self._cancel_timer()
        self._timer = self._loop.after(span_ns, lambda: self._kill(why))

    def _kill(self, why: str) -> None:
        if self._child:
            self._log.error("node is killed: %s", why)
            self._child.signal(signal.SIGKILL)

    def _give_up_hooks(self) -> None:
        self._log.error("outgoing hooks do not end; they are killed")
        self._lane.close()
        self._hooks_done()

    def _cancel_timer(self) -> None:
        if self._timer:
            self._timer.cancel()


_RECEIVE = {
    tether.OPENED: Keeper._receive_opened, tether.LOCKED: Keeper._receive_locked,
    tether.READY: Keeper._receive_ready, tether.STATUS: Keeper._receive_status,
    tether.STATE: Keeper._receive_state, tether.PEERS: Keeper._receive_peers,
    tether.STOPPING: Keeper._receive_stopping,
}
