"""Simulated time: one queue of events, and the nodes that they turn. The same script gives the same run."""

from __future__ import annotations

import heapq
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from raftctl.base.instants import Instant
from raftctl.raft.configuration import Configuration, Member, configuration, encode
from raftctl.raft.inputs import Timing
from raftctl.raft.messages import COMMAND, CONFIGURATION, Entry, HardState
from scenario.clock import Clock
from scenario.disk import Disk
from scenario.invariants import Invariants
from scenario.network import Network
from scenario.node import Node
from scenario.trace import MS, Trace

CLUSTER_ID = "c" * 32
TURNS_AT_ONE_MOMENT = 20_000
SETTLE_NS = 20_000 * MS


class Stuck(Exception):
    """Time does not go on, or a setting does not come about."""


class Setting:
    """What a `cluster` line says. Spans in ns; `disk_ns` is the delay of a sync."""

    def __init__(self) -> None:
        self.voters: List[str] = []
        self.learners: List[str] = []
        self.timing = Timing(100 * MS, 500 * MS, 1000 * MS)
        self.latency_ns = MS
        self.disk_ns = 0
        self.leader: Optional[str] = None
        self.priorities: Dict[str, int] = {}
        self.preempting: Sequence[str] = ()
        self.term = 2
        self.last_index = 2


class World:
    """All nodes and what lies between. `begin` starts them; before it disks, clocks and draws can be set."""

    def __init__(self, setting: Setting) -> None:
        self.setting, self.timing = setting, setting.timing
        self.now_ns = 0
        self.begun = False
        self.request = 0
        self.trace = Trace()
        self.network = Network(self, setting.latency_ns)
        self.nodes: Dict[str, Node] = {}
        self.invariants = Invariants(self)
        self._events: List[Tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0
        members = [Member(name, name, True) for name in setting.voters]
        members += [Member(name, name, False) for name in setting.learners]
        self.founded: Configuration = configuration(CLUSTER_ID, members)
        for place, name in enumerate(setting.voters + setting.learners):
            node = self.add_node(name)
            node.draw = (place + 1) / (len(members) + 1)
            old_terms = [1] + [setting.term - 1] * (setting.last_index - 2)
            self.put_log(node, old_terms if setting.leader else [1])
            node.disk.hard_state = HardState(setting.term - 1 if setting.leader else 1)

    def add_node(self, name: str) -> Node:
        """Create a node with an empty disk; its clocks share no zero with those of others."""
        host = len(self.nodes) + 1
        clock = Clock(self.now_ns, Instant(host * 1_000_000 * MS, host * 300_000 * MS))
        self.nodes[name] = node = Node(self, name, clock, Disk(self.setting.disk_ns, self.invariants.committed))
        return node

    def put_log(self, node: Node, terms: Sequence[int]) -> None:
        """Write a log with these terms, from index 1, on the node's disk. Entry 1 is the founding."""
        entries = [Entry(terms[0], 1, CONFIGURATION, encode(self.founded))] if terms else []
        entries += [Entry(term, index, COMMAND, f"{term}:{index}".encode())
                    for index, term in enumerate(terms[1:], 2)]
        node.disk.entries = entries

    # --- time

    def at(self, true_ns: int, act: Callable[[], None]) -> None:
        """Do `act` at that time; acts of one moment are done in the order in which they were asked for."""
        self._sequence += 1
        heapq.heappush(self._events, (true_ns, self._sequence, act))

    def run_to(self, true_ns: int) -> None:
        """Let everything happen up to and with that moment."""
        turns, moment = 0, -1
        while self._events and self._events[0][0] <= true_ns:
            when, _, act = heapq.heappop(self._events)
            turns = turns + 1 if when == moment else 0
            if turns > TURNS_AT_ONE_MOMENT:
                raise Stuck(f"time stands still at {(when - self.trace.origin_ns) // MS} ms")
            moment = self.now_ns = when
            act()
        self.now_ns = true_ns

    # --- beginning

    def begin(self) -> None:
        """Start all nodes, connected; a `leader` wins and settles first, untraced, zero at a heartbeat."""
        self.begun = True
        draws = {name: node.draw for name, node in self.nodes.items()}
        leader = self.setting.leader
        self.trace.muted = leader is not None
        for name, node in self.nodes.items():
            if leader:
                node.draw = 0.0 if name == leader else 0.99
            node.start()
        for name in self.nodes:
            self.network.dial_all(name)
        self.run_to(self.now_ns)
        if leader:
            self._settle(self.nodes[leader], draws)

    def _settle(self, leader: Node, draws: Dict[str, float]) -> None:
        limit = self.now_ns + SETTLE_NS
        while not leader.is_leased and self.now_ns < limit:
            self.run_to(self.now_ns + MS)
        if not leader.is_leased:
            raise Stuck(f"{leader.name} does not become leader in this setting")
        for name, node in self.nodes.items():
            node.draw = draws[name]
        heartbeat = leader.next_alarm_ns
        assert heartbeat is not None
        self.run_to(heartbeat)
        self.trace.origin_ns = heartbeat
        self.run_to(heartbeat + self._round_trip_ns())
        self.trace.muted = False

    def _round_trip_ns(self) -> int:
        return 2 * max([self.network.latency_ns, *self.network.latencies.values()]) + self.setting.disk_ns

    @property
    def leader(self) -> Optional[Node]:
        """The running leader of the highest term."""
        leading = [node for node in self.nodes.values() if node.view is not None
                   and node.view.role == "leader"]
        return max(leading, key=lambda node: node.view.term if node.view else 0, default=None)

    def next_request(self, node: Node, what: str) -> int:
        self.request += 1
        node.requests[self.request] = what
        return self.request
