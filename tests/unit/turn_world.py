"""Nodes of `cluster/turn.py` on a simulated network, disk and clock: one queue, 1 ms a hop, deterministic."""

from __future__ import annotations

import random
from typing import Any, Dict, List, Optional, Tuple

from raftctl.base.addresses import parse
from raftctl.base.instants import Instant
from raftctl.cluster import handshake
from raftctl.cluster.applying import LOG_BYTES
from raftctl.cluster.founding import Founding
from raftctl.cluster.handshake import Hello
from raftctl.cluster.ports import Identity, Ports, Shown
from raftctl.cluster.serving import Answer, Ask
from raftctl.cluster.turn import Turn
from raftctl.raft.configuration import decode
from raftctl.raft.core import Core
from raftctl.raft.inputs import Restored, Timing
from raftctl.raft.messages import ORIGIN, HardState, Install, SnapshotMark, Write
from raftctl.store.image import Image, Loader
from raftctl.store.machine import Store

MS = 1_000_000
TIMING = Timing(100 * MS, 500 * MS, 1000 * MS)


class Node(Ports):
    """One node and its ports. What was persisted outlives `kill`; `wipe` takes a new instance."""

    def __init__(self, world: World, address: str, listed: Tuple[str, ...], join: Optional[str]) -> None:
        self.world, self.address, self.listed, self.join = world, address, listed, join
        self.incarnation, self.wiped = 0, 0
        self.hard, self.cluster_id = HardState(), ""
        self.log, self.base, self.snapshots, self.part = [], ORIGIN, {}, b""
        self.has_room = True                  # for snapshots
        self.alive = False

    @property
    def instance(self) -> str:
        return f"i{self.wiped}-{self.address[6:]}"

    def start(self) -> None:
        self.incarnation += 1
        self.alive, self.targets, self.answers, self.decisions = True, (), {}, []
        self.shown: Optional[Shown] = None
        if self.log and not self.base.index and not self.cluster_id:
            self.cluster_id = decode(self.log[0].body).cluster_id
        draw = random.Random(f"{self.address} {self.incarnation}").random
        loader, marks = Loader(), tuple(self.snapshots)
        if marks:
            loader.feed(self.snapshots[marks[-1]])
        store = Store(loader.finish() if marks else None)
        core = Core(self.instance, self.incarnation, TIMING,
                    Restored(self.hard, tuple(self.log), self.base, marks), self.world.instant, draw)
        founding = None
        if not self.log and not self.cluster_id:
            founding = Founding(self.address, self.instance, self.listed, self.join,
                                lambda: f"c{self.world.count()}")
        identity = Identity(self.address, self.instance, self.incarnation, str(self.world.count()),
                            self.listed)
        self.turn = Turn(identity, self.cluster_id, core, store, TIMING, founding, self,
                         log_bytes=self.world.log_bytes)
        self.due = self.world.instant

    @property
    def store(self) -> Store:
        return self.turn._applying.store

    def kill(self) -> None:
        self.alive = False
        for other in self.world.nodes.values():
            if other.alive and self.address in other.up:
                other.up.discard(self.address)
                other.turn.link_down(self.world.instant, parse(self.address), 0, "gone", False)
                other.finish()
        self.up.clear()

    up: set = set()

    def wipe(self) -> None:
        self.wiped += 1
        self.incarnation = 0
        self.forget()

    def forget(self) -> None:
        """Lose all but the instance, as if nothing had ever reached the disk."""
        self.hard, self.cluster_id = HardState(), ""
        self.log, self.base, self.snapshots, self.part = [], ORIGIN, {}, b""

    def hello(self, expected: str = "") -> Hello:
        shown = self.shown or self.turn.shown()
        return Hello(1, "peer", shown.cluster_id, self.address, expected, self.instance, self.incarnation,
                     "s", fresh=shown.fresh, founding=shown.founding, generation=self.world.generation)

    def finish(self) -> None:
        self.due = self.turn.finish(self.world.instant)

    # ports
    def submit(self, write: Any) -> None:
        self.world.later(self, "disk", write)

    def take_snapshot(self, mark: SnapshotMark, image: Image) -> None:
        self.world.later(self, "taken", (mark, b"".join(image.slices())))

    def read_chunk(self, peer: str, wanted: Install) -> None:
        self.world.later(self, "read", (peer, wanted))

    def keep(self, mark: SnapshotMark, data: bytes) -> None:
        self.snapshots[mark] = data
        newest = sorted(self.snapshots, key=lambda one: one.position.index)[-2:]
        self.snapshots = {one: self.snapshots[one] for one in newest}

    def written(self, write: Write) -> None:
        """What the disk does with a write."""
        self.hard = write.hard_state or self.hard
        if write.chunk:
            self.part = (self.part if write.chunk.offset else b"") + write.chunk.data
            if write.chunk.is_last:
                self.keep(write.chunk.mark, self.part)
        if write.base:
            self.base, self.log = write.base, []
        for entry in write.entries:
            del self.log[entry.index - self.base.index - 1:]
            self.log.append(entry)
        if write.drop_upto > self.base.index:
            gone = write.drop_upto - self.base.index
            self.base, self.log = self.log[gone - 1].position, self.log[gone:]

    def adopt_cluster(self, cluster_id: str) -> None:
        self.cluster_id = cluster_id

    def send(self, address: Any, kind: int, body: bytes, urgent: bool) -> bool:
        if str(address) not in self.up:
            return False
        self.world.later(self.world.nodes[str(address)], "frame", (self.links[str(address)], kind, body))
        return True

    def dial(self, addresses: Any) -> None:
        self.targets = tuple(map(str, addresses))

    def answer(self, ask: Ask, answer: Answer) -> None:
        self.answers[ask.token] = answer

    def show_lease(self, view: Any) -> None:
        pass

    def show(self, shown: Shown, decisions: Any) -> None:
        self.shown = shown
        self.decisions += [f"{decision.cause} -> {decision.effect}" for decision in decisions]

    @property
    def state(self) -> str:
        return self.shown.state(self.world.instant, self.instance)


class World:
    def __init__(self) -> None:
        self.now_ms, self.generation, self._count = 1000, 0, 0
        self.nodes: Dict[str, Node] = {}
        self.unreachable: set = set()      # addresses to which nobody can connect
        self.log_bytes, self.chunk_bytes = LOG_BYTES, 50
        self.queue: List[Tuple[int, Node, int, str, Any]] = []

    @property
    def instant(self) -> Instant:
        return Instant(self.now_ms * MS, self.now_ms * MS)

    def count(self) -> int:
        self._count += 1
        return self._count

    def add(self, port: int, listed: Tuple[int, ...] = (), join: Optional[int] = None) -> Node:
        address = f"tcp://h:{port}"
        node = Node(self, address, tuple(f"tcp://h:{other}" for other in listed),
                    f"tcp://h:{join}" if join else None)
        node.up, node.links = set(), {}
        self.nodes[address] = node
        node.start()
        node.finish()
        return node

    def later(self, node: Node, kind: str, what: Any) -> None:
        self.queue.append((self.now_ms + 1, node, node.incarnation, kind, what))

    def _dial(self) -> None:
        for node in self.nodes.values():
            for target in node.targets if node.alive else ():
                other = self.nodes.get(target)
                if target in node.up or other is None or not other.alive or target in self.unreachable:
                    continue
                theirs, ours = other.hello(), node.hello(target)
                if handshake.judge(ours, theirs, lambda instance: None):
                    continue
                self.generation += 1
                node.up.add(target)
                node.links[target] = node.hello(target)._replace(generation=self.generation)
                node.turn.link_up(self.instant, parse(target), self.generation, theirs)
                node.finish()
                other.turn.heard(self.instant, node.links[target])
                other.finish()

    def run(self, span_ms: int) -> None:
        for _ in range(span_ms):
            self.now_ms += 1
            due = [item for item in self.queue if item[0] <= self.now_ms]
            self.queue = [item for item in self.queue if item[0] > self.now_ms]
            for _, node, incarnation, kind, what in due:
                if node.alive and node.incarnation == incarnation:
                    _deliver(node, kind, what)
            for node in self.nodes.values():
                if node.alive and node.due and self.instant.reached(node.due):
                    node.finish()
            self._dial()

    def ask(self, node: Node, kind: int, body: bytes, span_ms: int = 50) -> Optional[Answer]:
        token = self.count()
        node.turn.ask(self.instant, Ask(token, kind, body))
        node.finish()
        self.run(span_ms)
        return node.answers.get(token)

    def leaders(self) -> List[Node]:
        return [node for node in self.nodes.values() if node.alive and node.state == "LEADER"]


def _deliver(node: Node, kind: str, what: Any) -> None:
    if kind == "disk":
        node.written(what)
        node.turn.persisted(node.world.instant, what.number)
    elif kind == "taken":
        if node.has_room:
            node.keep(*what)
        node.turn.snapshot_taken(node.world.instant, what[0] if node.has_room else None)
    elif kind == "read":
        peer, wanted = what
        data = node.snapshots.get(wanted.mark, b"")[wanted.offset:wanted.offset + node.world.chunk_bytes]
        node.turn.chunk_read(node.world.instant, peer, wanted, data or None)
    else:
        node.turn.frame(node.world.instant, *what)
    node.finish()
