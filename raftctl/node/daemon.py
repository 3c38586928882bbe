"""One node as a process: builds the parts, starts the threads, and waits for its guardian's words and end.

The main thread owns the tether. Our faults in any thread end the process with 70, a failed disk with 74 (P3).
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from typing import Any, Dict, Optional, Sequence, Tuple

from raftctl import tether
from raftctl.base import clock, errors, memory
from raftctl.base.addresses import parse
from raftctl.base.files import write_atomic
from raftctl.base.logs import Logs, open_target, setup
from raftctl.cluster import handshake
from raftctl.cluster.checking import Checked
from raftctl.cluster.founding import Founding
from raftctl.cluster.handshake import Hello
from raftctl.cluster.ports import Identity
from raftctl.cluster.takeover import HostWork
from raftctl.cluster.turn import RESIGN_NS, Turn
from raftctl.config.model import NodeConfig
from raftctl.disk.directory import open_directory, read_note
from raftctl.disk.writer import Writer
from raftctl.net.binding import NotHere
from raftctl.net.error_codes import CommandError
from raftctl.net.links import FrameIn, Links
from raftctl.net.listen import PeerListener
from raftctl.node import orphan
from raftctl.node.chronicle import Chronicle
from raftctl.node.contacts import Contacts
from raftctl.node.data import Data, open_data
from raftctl.node.drain import Drain
from raftctl.node.draws import draw, draw_id
from raftctl.node.endpoints import Endpoints
from raftctl.node.fitness import Fitness
from raftctl.node.inbox import Inbox
from raftctl.node.leash import Leash
from raftctl.node.listeners import Listeners
from raftctl.node.loop import Call, Done, Heard, Loop, Room
from raftctl.node.ports import NodePorts
from raftctl.node.requests import Requests
from raftctl.node.snapshotter import Snapshotter
from raftctl.node.rejoining import parse_target
from raftctl.node.status import Status
from raftctl.raft.core import Core
from raftctl.raft.inputs import Timing
from raftctl.raft.messages import ORIGIN, Standing

_log = logging.getLogger(__name__)

# Python's default of 5 ms lets one busy thread delay heartbeats by as much (p50 5.5 against 0.2 ms).
SWITCH_INTERVAL_S = 0.0005
CLOSE_S = 2.0
RESIGN_LOOK_S = 0.003
# A node without a guardian releases its term within this time, or `after-stop` does it.
ORPHAN_S = 0.3
# The first turn only hands its write to the disk thread; a busy host may still keep it waiting.
FIRST_TURN_S = 60.0
# How often an address that this host lacks is looked for.
LOOK_AGAIN_S = 0.5


def run(node: NodeConfig, tether_fd: int, board_fd: int, after_stop: Sequence[str]) -> int:
    """Be the node until the guardian says stop; return the exit status (design §8). Main thread.

    Without a guardian it becomes the program `after_stop`.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    logs = setup(str(node.address), node.log_file, node.log_level)
    faulthandler.register(signal.SIGUSR1)
    # A terminal's Ctrl-C reaches all: the guardian says what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.excepthook = lambda args: _die(logs, args.exc_value)
    try:
        return Daemon(node, tether_fd, board_fd, logs, after_stop).run()
    except errors.RaftctlError as error:
        _log.error("%s", error)
        return error.exit_status
    except Exception as error:
        _die(logs, error)
        return errors.FAULT
    finally:
        logs.close()


def _die(logs: Logs, error: Optional[BaseException]) -> None:
    """Log why and end the process at once: no thread dies alone."""
    known = isinstance(error, errors.RaftctlError)
    if known:
        _log.error("%s", error)
    else:
        _log.critical("fault of raftctl, please report it: %r", error, exc_info=error)
    logs.flush()
    os._exit(error.exit_status if known else errors.FAULT)  # type: ignore[union-attr]


class Daemon:
    """All parts of one node. Built and run by the main thread."""

    def __init__(self, node: NodeConfig, tether_fd: int, board_fd: int, logs: Logs,
                 after_stop: Sequence[str]) -> None:
        self._node, self._logs, self._after_stop = node, logs, after_stop
        self._board = tether.Board.attach(board_fd)
        self._leash = Leash(tether_fd, self._take, lambda: _die(
            logs, errors.RaftctlError("the guardian has not read for long: this node ends")))
        self._tell = self._leash.tell
        self._inbox = Inbox()
        self._contacts = Contacts()
        self._again = False
        self._start_id = draw_id(8)
        self._directory = open_directory(node.data_dir, new_instance=draw_id)
        self._tell({"kind": tether.OPENED, "instance": self._directory.identity.instance,
                    "note": read_note(node.data_dir), "sameLock": self._directory.same_lock,
                    "sameBoot": self._directory.same_boot})
        if os.path.exists(self._join_file) and self._directory.identity.cluster_id:
            self._start_over()       # killed between the operator's `join` and the end of the old data
        self._build(open_data(self._directory))

    @property
    def _join_file(self) -> str:
        return os.path.join(self._node.data_dir, "join")

    def _start_over(self) -> None:
        self._directory.remove_data()
        self._directory.close()
        self._directory = open_directory(self._node.data_dir, new_instance=draw_id)

    def _join_address(self) -> Optional[str]:
        if os.path.exists(self._join_file):
            with open(self._join_file, encoding="ascii") as file:
                return str(parse(file.read().strip()))
        return str(self._node.join) if self._node.join else None

    def _build(self, data: Data) -> None:
        node, own = self._node, self._directory.identity
        listed = tuple(str(address) for address in node.cluster_nodes)
        identity = self._identity = Identity(str(node.address), own.instance, own.incarnation, self._start_id,
                                             listed)
        self._endpoints = Endpoints(self._tell, identity.address, node.data_dir)
        timing = Timing(node.heartbeat_ns, node.election_min_ns, node.election_max_ns)
        witness = data.witness
        fitness = self._fitness = Fitness(Drain(node.data_dir), self._inbox, has_check=bool(node.check))
        core = Core(own.instance, own.incarnation, timing, data.restored, clock.now(), draw,
                    Standing(node.priority, healthy=not fitness.why_not, preempt=node.preempt))
        founding = None
        if not data.restored.entries and not own.cluster_id:
            founding = Founding(identity.address, own.instance, listed, self._join_address(), draw_id)
        silence_ns = 2 * node.election_max_ns
        self._links = Links(self._hello, node.secrets, witness, self._inbox.post, silence_ns=silence_ns,
                            longest_backoff_s=lambda: 0.25 if self._status.shown.fresh else 1.0)
        turn = Turn(identity, own.cluster_id, core, data.store, timing, founding,
                    None, witness, takeover_delay=node.takeover_delay_ns)  # type: ignore[arg-type]
        self._status = Status(node, identity, self._inbox, turn.shown(), self._links.status, self._contacts,
                              lambda: self._writer.in_flight_since, fitness)
        self._chronicle = Chronicle(os.path.join(node.data_dir, "history"), self._status.silent_voters)
        self._requests = Requests(self._inbox, self._status, self._give_up_cluster, self._chronicle, fitness)
        self._writer = Writer(data.journal, self._synced, lambda error: _die(self._logs, error),
                              lambda room, why: self._inbox.post(Room(room, why)))
        self._snapshotter = Snapshotter(data.snapshots, self._inbox.post,
                                        lambda error: _die(self._logs, error))
        turn.ports = NodePorts(identity, self._directory, self._writer, self._snapshotter, self._links,
                               self._requests, self._status, self._board, self._tell, self._members_changed,
                               self._chronicle)
        self._loop = Loop(turn, self._inbox)
        self._node_thread = threading.Thread(target=self._loop.run, name="node", daemon=True)
        self._listeners = Listeners(node, self._requests, self._status, lambda: self._logs.dropped)
        self._peers: Optional[PeerListener] = None
        self._bind_peers = lambda: PeerListener(
            (node.listen_host,), node.address.port, self._hello, self._node.secrets, witness,
            self._post_frame, silence_ns=silence_ns, insecure=node.insecure, accepted=self._accepted,
            pinged=lambda hello: self._contacts.heard(hello, clock.now()))
        self._locked = {"kind": tether.LOCKED, "instance": own.instance, "incarnation": own.incarnation,
                        "term": data.restored.hard_state.term, "clusterId": own.cluster_id}

    def _synced(self, number: int, has_room: bool) -> None:
        self._status.tally.end_sync(clock.now())
        self._inbox.post(Done(number, has_room))

    def _hello(self, expected: str, generation: int) -> Hello:
        shown, node, identity = self._status.shown, self._node, self._identity
        term, last = shown.durable
        return Hello(handshake.VERSION, handshake.PEER, shown.cluster_id, identity.address, expected,
                     identity.instance, identity.incarnation, identity.start_id, term, last, shown.fresh,
                     shown.founding, generation, election_min_ns=node.election_min_ns,
                     heartbeat_ns=node.heartbeat_ns)

    def _post_frame(self, frame: Any) -> None:
        if isinstance(frame, FrameIn):
            self._contacts.heard(frame.hello, clock.now())
            self._inbox.post_frame(frame.hello.address, len(frame.body), frame)
        else:
            self._inbox.post(frame)

    def _accepted(self, hello: Hello) -> None:
        self._contacts.heard(hello, clock.now())
        if hello.role == handshake.PEER:
            self._links.nudge(parse(hello.address))
            self._inbox.post(Heard(hello))

    # --- the life of the process

    def run(self) -> int:
        """Start all threads, say READY, and go on until the guardian says stop or is gone."""
        self._tell(self._locked)
        self._writer.start()
        self._snapshotter.start()
        self._chronicle.start()
        self._chronicle.note("started", f"incarnation {self._identity.incarnation}")
        self._node_thread.start()
        self._listeners.start()
        word = self._listen()
        if word is None:
            # The guardian hears what this node is, then that it is ready, then what changes: `start` is the
            # first hook of this process, and is told of this process.
            self._on_node_thread(lambda turn, now: self._loop.begin(), FIRST_TURN_S)
            self._peers.start()
            memory.settle()
            self._tell({"kind": tether.READY})
            self._loop.go()
            word = self._leash.wait_for(tether.STOP, tether.OUTGOING_DONE)
        if word == tether.STOP:
            self._stop_leading()
            word = self._leash.wait_for(tether.OUTGOING_DONE)
        if not word:
            return self._end_as_orphan()
        self._resign()
        self._close()
        return self._end()

    def _end_as_orphan(self) -> int:
        """The guardian is gone, or hangs: end what it ran, release the term, and become `after-stop` (P6)."""
        _log.error("the guardian is gone: this node ends")
        orphan.end_groups(self._board)
        orphan.resign(self._resign_at_once)
        self._logs.flush()
        orphan.become(self._after_stop, self._board)
        return errors.FAULT

    def _resign_at_once(self) -> None:
        self._on_node_thread(lambda turn, now: turn.stop(now), ORPHAN_S)
        self._on_node_thread(lambda turn, now: turn.resign(now, 0), ORPHAN_S)
        self._wait_for_release(ORPHAN_S)

    def _listen(self) -> Optional[str]:
        """Bind what others connect to; an address that this host lacks at boot is waited for.

        Return None when all is bound, else what the guardian said meanwhile, as `_wait_for`.
        """
        word: Optional[str] = None
        while word is None:
            try:
                self._bind()
            except NotHere as error:
                self._show_waiting(str(error))
                word = self._leash.wait_for(tether.STOP, tether.OUTGOING_DONE, timeout_s=LOOK_AGAIN_S)
            except errors.UsageError:
                self._listeners.close(0.0)
                raise
            else:
                if self._requests.waiting:
                    _log.info("listens at %s", self._node.address)
                self._requests.waiting = ""
                return None
        return word

    def _bind(self) -> None:
        self._listeners.bind()
        self._peers = self._bind_peers()

    def _show_waiting(self, problem: str) -> None:
        """Say in the log, to the service manager, and in `state` and `status` what this node waits for."""
        if problem == self._requests.waiting:
            return
        self._requests.waiting = problem
        self._on_node_thread(lambda turn, now: self._status.show(
            turn.shown()._replace(waiting_for=problem), "UNINITIALIZED"))
        _log.warning("waits for an address: %s", problem)
        self._tell({"kind": tether.STATUS, "text": f"waits for an address: {problem}"})

    def _stop_leading(self) -> None:
        """First half of an orderly stop: LEADER no more, then the guardian runs the outgoing hooks (§4.1)."""
        self._requests.stopping = True
        self._chronicle.note("stopping", "its guardian was told to stop" if not self._again
                             else "gives up its own cluster to join another")
        self._on_node_thread(lambda turn, now: turn.stop(now))
        self._tell({"kind": tether.STOPPING})

    def _resign(self) -> None:
        """Return when the RELEASE has left, which waits until the cluster knows of the end of the work."""
        self._on_node_thread(lambda turn, now: turn.resign(now))
        self._wait_for_release(RESIGN_NS / 1e9 + CLOSE_S)

    def _wait_for_release(self, timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        # A call is answered in the turn after: what `finish` sent before it has left.
        while (time.monotonic() < deadline_s
               and not self._on_node_thread(lambda turn, now: turn.leading.has_resigned)):
            time.sleep(RESIGN_LOOK_S)

    def _close(self) -> None:
        self._listeners.close(CLOSE_S)
        self._links.close(CLOSE_S)
        if self._peers:
            self._peers.close(CLOSE_S)
        self._loop.end()
        self._node_thread.join(CLOSE_S)
        # The journal's last write may have a chunk for the snapshots.
        if self._writer.stop(CLOSE_S):
            self._snapshotter.stop(CLOSE_S)
        self._chronicle.stop(CLOSE_S)

    def _end(self) -> int:
        if not self._again:
            self._directory.close()
            return errors.DONE
        self._directory.remove_data()
        self._directory.close()
        return errors.AGAIN

    def _on_node_thread(self, function: Any, timeout_s: float = CLOSE_S) -> Any:
        call = Call(function)
        self._inbox.post(call)
        return call.wait(timeout_s)

    def _take(self, message: Dict[str, Any]) -> None:
        """Take in a word of the guardian that asks for no answer."""
        if message["kind"] == tether.PING:
            self._inbox.post(Call(lambda turn, now: self._tell({"kind": tether.PONG})))
        elif message["kind"] == tether.HOOKS:
            self._status.tally.take_failures(message["failures"])
        elif message["kind"] == tether.ENDED:
            self._chronicle.note("ended", message["text"], by="guardian", at_s=message["at"])
        elif message["kind"] == tether.WORK:
            work = HostWork(*(message[name] for name in tether.MESSAGES[tether.WORK]))
            self._inbox.post(Call(lambda turn, now: turn.leading.host_works(work)))
        elif message["kind"] == tether.CHECK:
            if self._fitness.take(Checked(*(message[name] for name in tether.MESSAGES[tether.CHECK]))):
                self._chronicle.note("check", message["cause"], by="guardian")
        elif message["kind"] == tether.RELOAD:
            secrets = tuple(map(bytes.fromhex, message["secrets"]))
            self._reload(message["logFile"], message["logLevel"], secrets)

    def _reload(self, log_file: Optional[str], log_level: str, secrets: Tuple[bytes, ...]) -> None:
        """Go on with what the guardian found in the file and checked."""
        try:
            descriptor = None if log_file == self._node.log_file else open_target(log_file)
        except errors.UsageError as error:
            _log.error("%s; this node's log goes on as it was", error)
            return
        self._logs.switch(log_file, descriptor, log_level)
        self._node = self._node._replace(log_file=log_file, log_level=log_level, secrets=secrets)
        self._links.set_secrets(secrets)
        self._listeners.set_secrets(secrets)
        if self._peers:
            self._peers.set_secrets(secrets)

    def _members_changed(self, members: Tuple[str, ...]) -> None:
        if members and os.path.exists(self._join_file):
            os.unlink(self._join_file)       # admitted: from now on the configuration says who the others are
        self._endpoints.set_members(members)

    def _give_up_cluster(self, address: str, discard_data: bool) -> None:
        """`join` on a node that leads a cluster of one: start again, fresh, and ask `address` (design §6)."""
        target = parse_target(address, self._identity.address)
        view = self._status.shown.view
        members, is_removed = view.configuration.members, view.removed != ORIGIN
        if len(members) > 1 and not is_removed:
            raise CommandError("refused", f"this node is in a cluster of {len(members)} members already",
                               hint="a node of another cluster comes without data: stop it, move its data "
                                    'directory away, and start it with "join" in its file')
        if self._identity.listed and not is_removed:
            raise CommandError("refused", 'this node has a "clusterNodes" list, it joins those by itself; '
                                          "take the list out of its file first")
        if self._status.count_keys() and not discard_data:
            raise CommandError("refused", "this node's store holds data that joining would lose; "
                                          "repeat with --discard-data")
        write_atomic(self._join_file, str(target).encode("ascii") + b"\n")
        self._again = True
        self._stop_leading()
