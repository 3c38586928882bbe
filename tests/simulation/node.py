"""One process of a host: the shipped directory, journal, core and turn, on simulated ports."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple

from unit.fake_disk import Died

from raftctl.base.addresses import parse
from raftctl.base.errors import DiskFault
from raftctl.cluster import handshake
from raftctl.cluster.founding import Founding
from raftctl.cluster.handshake import Hello
from raftctl.cluster.ports import Identity, Ports, Shown
from raftctl.cluster.serving import TRANSFER, Answer, Ask
from raftctl.cluster.turn import Turn
from raftctl.disk.directory import open_directory
from raftctl.node.data import open_data
from raftctl.raft.core import Core
from raftctl.raft.encoding import decode_message
from raftctl.raft.inputs import LEADER, Decision, DiskRoom, View
from raftctl.raft.messages import PLENTY, Install, SnapshotMark
from raftctl.store.image import Image
from raftctl.store.machine import Store
from raftctl.tether import BoardState
from simulation.snapshots import Snapshotter

if TYPE_CHECKING:
    from simulation.hosts import Host
    from simulation.network import Connection

MS = 1_000_000
RETRY_NS = 1000 * MS     # as `disk/writer.py` tries again
DATA = "/data"
# What is sent is looked at here and there.
_decoded = functools.lru_cache(256)(decode_message)


class Process(Ports):
    """What `node/daemon.py` is on a real host. Ends by `Host.end_process` only."""

    def __init__(self, host: Host) -> None:
        """Start on the host's disk; raises `DiskFault` or `Died` as the real start would end."""
        self.host, self.world = host, host.world
        self.address = host.address
        self.is_alive = True
        self.targets: Tuple[str, ...] = ()
        self.connections: Dict[str, Connection] = {}
        self.shown: Optional[Shown] = None
        self.board = BoardState()
        self.timing = host.timing
        self.silence_ns = 2 * host.timing.election_max
        self._inbox: List[tuple] = []
        self._turn_is_due = False
        self._alarm: Optional[int] = None
        self._effects = 0
        self.crash_at_effect = 0
        self.pending: Any = None       # the write that is at the disk
        self._room: Optional[int] = None
        self._next_try = 0
        self._led_term = 0
        self._open()

    def _open(self) -> None:
        host, draws = self.host, self.host.draws.child(f"start {self.host.starts}")
        self.start_id = f"s{self.host.number}-{self.host.starts}"
        self._directory = open_directory(DATA, deadline_s=0.0, new_instance=host.new_instance,
                                         files=host.disk)
        identity = self._directory.identity
        self.instance, self.incarnation = identity.instance, identity.incarnation
        data = open_data(self._directory, host.disk)
        identity = self._directory.identity
        self._journal, self.snapshots, self.witness = data.journal, data.snapshots, data.witness
        self._snapshotter = Snapshotter(self)
        self.key = self.instance + ("/copy" if host.is_copy else "")     # one disk, one process at a time
        self.world.checkers.recovered(self, data.restored)
        core = Core(self.instance, self.incarnation, self.timing, data.restored, self.now,
                    draws.child("core").fraction, host.standing)
        founding = None
        if not data.restored.entries and not identity.cluster_id:
            founding = Founding(self.address, self.instance, host.listed, host.join,
                                self.world.new_cluster_id)
        self.turn = Turn(Identity(self.address, self.instance, self.incarnation, self.start_id, host.listed),
                         identity.cluster_id, core, data.store, self.timing, founding, self, self.witness,
                         self.world.profile.log_bytes, host.takeover_delay)

    # --- what the world sees

    @property
    def store(self) -> Store:
        return self.turn._applying.store

    @property
    def now(self):
        return self.host.clock.at(self.world.now)

    @property
    def is_reachable(self) -> bool:
        """Does a handshake get through: running, not stopped, the host's network up?"""
        return self.is_alive and not self.host.is_frozen

    @property
    def is_deaf(self) -> bool:
        return self.is_alive and (self.host.is_suspended or self.host.is_stopped)

    @property
    def leases(self) -> bool:
        """Does it hold the lease at this instant, by the board that its guardian reads?"""
        return self.board.leading and self.now.within(self.board.lease_end)

    @property
    def shows_leader(self) -> bool:
        return (self.is_alive and self.shown is not None
                and self.shown.state(self.now, self.instance) == "LEADER")

    def hello(self, expected: str, generation: int) -> Hello:
        shown = self.shown or self.turn.shown()
        term, last = shown.durable
        return Hello(handshake.VERSION, handshake.PEER, shown.cluster_id, self.address, expected,
                     self.instance, self.incarnation, self.start_id, term, last, shown.fresh,
                     shown.founding, generation, election_min_ns=self.timing.election_min,
                     heartbeat_ns=self.timing.heartbeat)

    # --- inputs

    def begin(self) -> None:
        self._show_room()
        self._finish()

    def post(self, item: tuple) -> None:
        """Leave an input for the next turn, which comes soon, or when the process runs again."""
        if self.is_alive:
            self._inbox.append(item)
            self._call_turn()

    def resume(self) -> None:
        self._call_turn()

    def _call_turn(self) -> None:
        if not self._turn_is_due and not self.host.is_frozen:
            self._turn_is_due = True
            self.world.after(self.world.turn_delay(), self._take_turn)

    def _take_turn(self) -> None:
        self._turn_is_due = False
        if not self.is_alive or self.host.is_frozen:
            return
        items, self._inbox = self._inbox, []
        try:
            for item in items:
                _STEPS[item[0]](self, *item[1:])
            self._finish()
        except Died:
            self.host.end_process("killed in the midst of a turn")

    def _finish(self) -> None:
        due = self.turn.finish(self.now)
        self.world.checkers.turned(self)
        self._alarm = None if due is None else self.host.clock.reaches(self.world.now, due)
        if self._alarm is not None:
            self.world.at(self._alarm, self._ring, self._alarm)

    def _ring(self, alarm: int) -> None:
        if self.is_alive and alarm == self._alarm:
            self.post(("ring",))

    def connected(self, address: str, generation: int, hello: Hello) -> None:
        self.post(("link_up", address, generation, hello))

    def accepted(self, hello: Hello) -> None:
        self.post(("heard", hello))

    def disconnected(self, address: str, generation: int, reason: str) -> None:
        self.post(("link_down", address, generation, reason, False))

    def failed_to_dial(self, address: str, reason: str, disowns: bool) -> None:
        self.post(("link_down", address, 0, reason, disowns))

    # --- ports

    def _effect(self) -> None:
        self._effects += 1
        if self._effects == self.crash_at_effect:
            raise Died(self._effects)

    def submit(self, write: Any) -> None:
        self._effect()
        if write.memory is not None:
            self.world.checkers.memory.writing(self)
        if write.chunk:
            self.world.traps.chunk(self.host)
        self.host.write(self, write)

    def take_snapshot(self, mark: SnapshotMark, image: Image) -> None:
        self._effect()
        self._snapshotter.take(mark, image)

    def read_chunk(self, peer: str, wanted: Install) -> None:
        self._snapshotter.read(peer, wanted)

    def append(self, write: Any) -> None:
        """What the disk thread does, at its own moment."""
        has_room = self._journal.append(write)
        self.world.checkers.durable(self, write)
        self.post(("done", write.number, has_room))
        self._tidy()

    def _tidy(self) -> None:
        self._journal.tidy(may_grow=not self._journal.full or self.world.now >= self._next_try)
        self._show_room()

    def _show_room(self) -> None:
        if self._journal.full and self.world.now >= self._next_try:
            self._next_try = self.world.now + RETRY_NS
            self.world.at(self._next_try, self._try_again)
        if self._journal.room != self._room:
            self._room = self._journal.room
            self.post(("room", PLENTY if self._room is None else self._room))

    def _try_again(self) -> None:
        if self.is_alive and self._journal.full:
            try:
                self._tidy()
            except DiskFault as fault:
                self.host.disk_failed(fault)

    def append_unseen(self, write: Any) -> None:
        """Its last write, of which nobody will hear."""
        self._journal.append(write)
        self._journal.tidy()

    def adopt_cluster(self, cluster_id: str) -> None:
        self._effect()
        self._directory.adopt_cluster(cluster_id)

    def send(self, address: Any, kind: int, body: bytes, urgent: bool) -> bool:
        self._effect()
        connection = self.connections.get(str(address))
        if connection is None:
            return False
        if kind == handshake.RAFT:
            message = _decoded(body)
            self.world.checkers.sending(self, connection.acceptor, message)
        return self.world.network.send(connection, kind, body)

    def dial(self, addresses: Any) -> None:
        self._effect()
        self.targets = tuple(map(str, addresses))
        for address in self.targets:
            self.world.after(0, self.world.network.dial, self, address)

    def answer(self, ask: Ask, answer: Answer) -> None:
        self._effect()
        asked = self.world.transfers if ask.kind == TRANSFER else self.world.clients
        asked.answered(self, ask.token, answer)

    def show_lease(self, view: View) -> None:
        self._effect()
        leads = view.role == LEADER
        if leads:
            self._led_term = view.term
        self.board = BoardState(self.incarnation, self._led_term, leads, view.lease_end)

    def show(self, shown: Shown, decisions: Tuple[Decision, ...]) -> None:
        self.shown = shown
        if self.host.guardian:
            self.host.guardian.shown(self, shown)
        for decision in decisions:
            self.world.trace(self.host.name, f"{decision.cause} -> {decision.effect}")

    # --- changes that only an operator or a later release asks for

    def stop(self) -> None:
        self.post(("stop",))

    def close(self) -> None:
        """The process is gone: nothing of it runs any more."""
        self.is_alive = False
        self._snapshotter.interrupt(self.host)
        self._directory.close()
        self._journal.close()
        self.snapshots.close()

    def _frame(self, hello: Hello, kind: int, body: bytes) -> None:
        self.turn.frame(self.now, hello, kind, body)
        if kind == handshake.RAFT:
            self.world.checkers.memory.heard(self, hello.instance, _decoded(body))

    def _link_up(self, address: str, generation: int, hello: Hello) -> None:
        self.world.checkers.memory.let_in(self, address)
        self.turn.link_up(self.now, parse(address), generation, hello)

    def _link_down(self, address: str, generation: int, reason: str, disowns: bool) -> None:
        if disowns:
            self.world.checkers.memory.disowned(self, address)
        self.turn.link_down(self.now, parse(address), generation, reason, disowns)

    def _health(self, ok: bool) -> None:
        self.turn.health(self.now, ok, "check passes" if ok else "check fails")

    @property
    def is_healthy(self) -> bool:
        """As the core was told last: of a leader that fails, only after its outgoing work (P6)."""
        return self.turn.core._state.standings.own.healthy

    def _resign(self) -> None:
        self.turn.resign(self.now)
        self.world.after(0, self._await_release)

    def _await_release(self) -> None:
        if self.turn.leading.has_resigned:
            self.host.stopped(self)
        elif self.is_alive:
            self.world.after(MS, self._await_release)


_STEPS = {
    "frame": Process._frame,
    "ring": lambda process: None,
    "link_up": Process._link_up,
    "link_down": Process._link_down,
    "heard": lambda process, hello: process.turn.heard(process.now, hello),
    "done": lambda process, *done: process.turn.persisted(process.now, *done),
    "taken": lambda process, mark: process.turn.snapshot_taken(process.now, mark),
    "chunk_read": lambda process, *read: process.turn.chunk_read(process.now, *read),
    "room": lambda process, room: process.turn.core.step(process.now, DiskRoom(room)),
    "ask": lambda process, ask: process.turn.ask(process.now, ask),
    "expire": lambda process, token: process.turn.serving.expire(token),
    "bootstrap": lambda process: process.turn.bootstrap(process.now),
    "work": lambda process, work: process.turn.leading.host_works(work),
    "stop": lambda process: process.turn.stop(process.now),
    "resign": Process._resign, "health": Process._health,
    "change": lambda process, step: process.turn.core.step(process.now, step),
}
