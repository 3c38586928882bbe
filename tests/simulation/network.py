"""Connections between hosts: order within one, none between two; cuts stall, resets lose words under way.

A connection carries frames one way, from the dialler; like TCP it neither loses nor doubles nor reorders what
it carries, but what it carried may arrive after its successor is up. A cut of a direction stalls the words
that way; a connection that is stalled for longer than its silence limit ends on both sides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, List, Tuple

from raftctl.cluster.handshake import Hello

if TYPE_CHECKING:
    from simulation.node import Process
    from simulation.world import World

MS = 1_000_000
REDIAL_MS = (5, 250)
# What is on its way for longer, TCP gives up; and a healed network has no words of long ago.
LONGEST_MS = 400
# A guardian gives up a delivery after a second.
WORD_TRY_MS, WORD_TRIES = 5, 200


class Connection:
    """One dialled connection. `hello`: what the dialler said, stands beside each frame."""

    def __init__(self, dialler: Process, acceptor: Process, hello: Hello, opened: int) -> None:
        self.dialler, self.acceptor, self.hello = dialler, acceptor, hello
        self.is_open = True
        self.stalled_since = 0
        self.stalled: List[Tuple[int, bytes]] = []
        self.arrives = opened      # of the last frame: later ones come later

    @property
    def way(self) -> Tuple[str, str]:
        return self.dialler.address, self.acceptor.address


class Network:
    """All connections, which directions are cut, and how long words take."""

    def __init__(self, world: World, latency_ms: Tuple[float, float], slow: float) -> None:
        """`slow`: the share of frames that take ten times as long."""
        self._world, self._latency, self._slow = world, latency_ms, slow
        self._draws = world.draws.child("network")
        self._cut: Dict[Tuple[str, str], int] = {}      # direction → how many cuts lie on it
        self._connections: List[Connection] = []
        self._generation = 0
        self.delays: Dict[Tuple[str, str], float] = {}  # direction → times as long (slow reader)

    # --- cuts

    def is_cut(self, source: str, target: str) -> bool:
        return self._cut.get((source, target), 0) > 0

    @property
    def has_cuts(self) -> bool:
        return any(self._cut.values())

    def cut(self, ways: List[Tuple[str, str]]) -> None:
        for way in ways:
            self._cut[way] = self._cut.get(way, 0) + 1

    def heal(self, ways: List[Tuple[str, str]]) -> None:
        for way in ways:
            self._cut[way] -= 1
        self.let_go()

    def let_go(self) -> None:
        """Carry what was stalled and is so no more: a way is open again, or a host goes on."""
        for connection in list(self._connections):
            if not self.is_cut(*connection.way):
                self._carry_stalled(connection)

    def _carry_stalled(self, connection: Connection) -> None:
        stalled, connection.stalled, connection.stalled_since = connection.stalled, [], 0
        if not connection.is_open:
            return
        for kind, body in stalled:
            self._carry(connection, kind, body)

    # --- connections

    def dial(self, process: Process, address: str) -> None:
        """Try to connect now; again later where it fails, as long as the process wants it."""
        if not process.is_alive or address not in process.targets or address in process.connections:
            return
        host = self._world.host_at(address)
        other = host.process if host else None
        refusal, disowns = "no answer", False
        if other is None or not other.is_reachable:
            refusal = "refused"
        elif process.is_reachable and not (self.is_cut(process.address, address)
                                           or self.is_cut(address, process.address)):
            refusal, disowns = self._shake(process, other, address)
        if refusal:
            process.failed_to_dial(address, refusal, disowns)
            wait = self._draws.between(REDIAL_MS[0] * MS, REDIAL_MS[1] * MS)
            self._world.after(wait, self.dial, process, address)

    def _shake(self, process: Process, other: Process, address: str) -> Tuple[str, bool]:
        """Return why one of the two refuses, "" for neither, and whether `process` is called an old self."""
        self._generation += 1
        ours = process.hello(address, self._generation)
        theirs = other.hello("", 0)
        memory = self._world.checkers.memory
        for observer, subject, own, shown in ((other, process, theirs, ours), (process, other, ours, theirs)):
            refusal = observer.witness(own, shown)
            if refusal:
                return refusal.message, observer is other and refusal.code == "instance"
            memory.shook(observer, shown, subject)
        connection = Connection(process, other, ours, self._world.now)
        self._connections.append(connection)
        process.connections[address] = connection
        process.connected(address, self._generation, theirs)
        other.accepted(ours)
        # An accepted handshake resets one's own back-off (design §6).
        self._world.after(self.latency((address, process.address)), self.dial, other, process.address)
        return "", False

    def send(self, connection: Connection, kind: int, body: bytes) -> bool:
        """Take a frame of the dialler; False where the connection is known to be gone."""
        if not connection.is_open:
            return False
        if self.is_cut(*connection.way) or connection.acceptor.is_deaf:
            connection.stalled.append((kind, body))
            if not connection.stalled_since:
                connection.stalled_since = self._world.now
                self._world.after(connection.dialler.silence_ns, self._judge_silence, connection)
        else:
            self._carry(connection, kind, body)
        return True

    def _judge_silence(self, connection: Connection) -> None:
        if connection.is_open and connection.stalled_since:
            if self._world.now - connection.stalled_since >= connection.dialler.silence_ns:
                self.end(connection, "silent too long")

    def latency(self, way: Tuple[str, str]) -> int:
        least, most = self._latency
        span = (least + self._draws.fraction() * (most - least)) * self.delays.get(way, 1.0)
        span = span * 10 if self._draws.chance(self._slow) else span
        return int(min(span, LONGEST_MS) * MS)

    def _carry(self, connection: Connection, kind: int, body: bytes) -> None:
        # In order within the connection; a later connection may well be faster.
        arrives = max(connection.arrives, self._world.now + self.latency(connection.way))
        connection.arrives = arrives
        self._world.at(arrives, self._deliver, connection, kind, body)

    def _deliver(self, connection: Connection, kind: int, body: bytes) -> None:
        acceptor = connection.acceptor
        if not acceptor.is_alive or self.is_cut(*connection.way):
            return
        acceptor.post(("frame", connection.hello, kind, body))

    def end(self, connection: Connection, reason: str) -> None:
        """End it for the dialler; what is on its way still arrives, as on a real one."""
        if not connection.is_open:
            return
        connection.is_open = False
        self._connections.remove(connection)
        dialler = connection.dialler
        address = connection.acceptor.address
        if dialler.connections.get(address) is connection:
            del dialler.connections[address]
            dialler.disconnected(address, connection.hello.generation, reason)
            self._world.after(self._draws.between(REDIAL_MS[0] * MS, REDIAL_MS[1] * MS), self.dial, dialler,
                              address)

    def reset(self, source: str, target: str) -> None:
        """A middlebox resets the connection of `source` to `target`."""
        for connection in [one for one in self._connections if one.way == (source, target)]:
            self.end(connection, "reset")

    def ended(self, process: Process, *, told: bool) -> None:
        """`process` is no more. `told`: its kernel closes the connections (no loss of power)."""
        for connection in [one for one in self._connections if process in (one.dialler, one.acceptor)]:
            if connection.dialler is process:
                connection.is_open = False
                self._connections.remove(connection)
            elif told and not self.is_cut(process.address, connection.dialler.address):
                self._world.after(self.latency(connection.way), self.end, connection, "closed by the peer")
            else:
                self._world.after(connection.dialler.silence_ns, self.end, connection, "silent too long")

    def tell(self, source: str, guardian_hello: Hello, kind: int, bodies: Dict[str, bytes]) -> None:
        """A guardian's own connections to all peers: one frame, or nothing where no way leads."""
        for address, body in bodies.items():
            if self.is_cut(source, address) or self.is_cut(address, source):
                continue
            self._world.after(self.latency((source, address)), self._deliver_word, address, guardian_hello,
                              kind, body)

    def _deliver_word(self, address: str, hello: Hello, kind: int, body: bytes,
                      tries: int = WORD_TRIES) -> None:
        host = self._world.host_at(address)
        if host and host.process and host.process.is_reachable:
            host.process.post(("frame", hello, kind, body))
        elif host and host.is_paused and tries:
            # The kernel took the connection; a process that goes on in time shakes hands.
            self._world.after(WORD_TRY_MS * MS, self._deliver_word, address, hello, kind, body, tries - 1)
