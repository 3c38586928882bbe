"""Connections between nodes: one a direction, dialled by the sender, in order, each with a generation (P2).

A cut ends connections and loses what is on its way. A redial leaves the words of the old connection on their
way, so that they may arrive behind those of the new one (pitfall 1.2). Rules of loss and doubling act on what
is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, List, Optional, Tuple

from raftctl.raft.inputs import LinkDown, LinkUp, Received
from raftctl.raft.messages import Message

if TYPE_CHECKING:
    from scenario.world import World

Way = Tuple[str, str]


class Connection:
    """From its dialler, who only sends, to its acceptor. `broken`: what is still on its way is lost."""

    __slots__ = ("way", "generation", "broken", "last_arrival_ns")

    def __init__(self, way: Way, generation: int) -> None:
        self.way, self.generation = way, generation
        self.broken = False
        self.last_arrival_ns = 0


class Rule:
    """What happens to the next `times` messages of `kind` (None: any) on `way`: so many copies arrive."""

    __slots__ = ("way", "kind", "times", "copies")

    def __init__(self, way: Way, kind: Optional[str], times: int, copies: int) -> None:
        self.way, self.kind, self.times, self.copies = way, kind, times, copies


class Network:
    def __init__(self, world: World, latency_ns: int) -> None:
        self.world = world
        self.latency_ns = latency_ns
        self.latencies: Dict[Way, int] = {}
        self.cuts: Dict[Way, bool] = {}
        self.rules: List[Rule] = []
        self.open: Dict[Way, Connection] = {}
        self._generations: Dict[Way, int] = {}

    def latency(self, way: Way) -> int:
        return self.latencies.get(way, self.latency_ns)

    # --- connections

    def dial(self, way: Way) -> None:
        """Connect at once, if both ends run and no cut is between."""
        source, target = (self.world.nodes[name] for name in way)
        if way in self.open or way in self.cuts or not (source.is_awake and target.is_awake):
            return
        self._generations[way] = generation = self._generations.get(way, 0) + 1
        self.open[way] = Connection(way, generation)
        source.give(LinkUp(way[1], generation, target.incarnation))

    def dial_all(self, name: str, after_ns: int = 0) -> None:
        """Connect `name` with all others, both ways, `after_ns` from now."""
        ways = [way for other in self.world.nodes if other != name for way in ((name, other), (other, name))]
        for way in ways:
            self.world.at(self.world.now_ns + after_ns, lambda way=way: self.dial(way))

    def hang_up(self, way: Way, *, lose: bool) -> None:
        """End the connection; `lose` what is on its way, or let it arrive."""
        connection = self.open.pop(way, None)
        if connection is None:
            return
        connection.broken = lose
        source = self.world.nodes[way[0]]
        if source.core is not None:
            source.give(LinkDown(way[1]))

    def cut(self, way: Way) -> None:
        self.cuts[way] = True
        self.hang_up(way, lose=True)

    def heal(self, way: Way) -> None:
        self.cuts.pop(way, None)
        self.world.at(self.world.now_ns + self.latency(way), lambda: self.dial(way))

    def redial(self, way: Way) -> None:
        self.hang_up(way, lose=False)
        self.dial(way)

    def node_down(self, name: str) -> None:
        """A process ended: what it sent arrives, what it was sent does not; its generations begin anew."""
        for way in list(self.open):
            if name in way:
                self.hang_up(way, lose=way[1] == name)
        for way in list(self._generations):
            if way[0] == name:
                del self._generations[way]

    # --- messages

    def send(self, source: str, target: str, message: Message) -> None:
        way = (source, target)
        connection = self.open.get(way)
        if connection is None:
            return
        for _ in range(self._copies(way, message)):
            arrival = max(connection.last_arrival_ns, self.world.now_ns + self.latency(way))
            connection.last_arrival_ns = arrival
            self.world.at(arrival, lambda: self._arrive(connection, message))

    def _copies(self, way: Way, message: Message) -> int:
        for rule in self.rules:
            if rule.way == way and rule.times and rule.kind in (None, type(message).__name__):
                rule.times -= 1
                return rule.copies
        return 1

    def _arrive(self, connection: Connection, message: Message) -> None:
        source, target = connection.way
        node = self.world.nodes[target]
        if connection.broken or node.core is None:
            return
        node.give(Received(source, connection.generation, message))
