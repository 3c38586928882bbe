"""The events of one run, in the order of their times; the same seed, profile and plan give the same run."""

from __future__ import annotations

import hashlib
import heapq
from typing import Any, Callable, Dict, List, Optional, Tuple

from simulation.applications import Applications
from simulation.checkers import Checkers
from simulation.clients import Clients
from simulation.clocks import HostClock
from simulation.draws import Draws
from simulation.hosts import Host
from simulation.network import Network
from simulation.profiles import Profile
from simulation.snapshots import Traps
from simulation.transfers import Transfers

MS = 1_000_000
TRACE_KEPT = 200

# What a member that forgot its votes, vows and entries can bring about, where nobody could know (P7).
EXCUSABLE = ("P1", "P2", "P3: committed", "the history", "no progress")


class Violation(Exception):
    """Something that must hold does not; the text begins with the rule. `excuse`: why it may happen (P7)."""

    def __init__(self, text: str, excuse: Optional[str] = None) -> None:
        super().__init__(text)
        self.excuse = excuse


class World:
    """One cluster of simulated hosts. `now`: ns since the run began. `tell` gets each line of the trace.

    To be run within `scale.scaled()`.
    """

    def __init__(self, profile: Profile, seed: int, tell: Optional[Callable[[str], None]] = None) -> None:
        self.profile, self.seed = profile, seed
        self.draws = Draws(f"{profile.name} {seed}")
        self.now = 0
        self.events = 0
        self.lines: List[str] = []
        self._tell = tell
        self._digest = hashlib.sha256()
        self._queue: List[Tuple[int, int, Callable, tuple]] = []
        self._pushed = self._clusters = 0
        self._turns = self.draws.child("turns")
        self.hosts: List[Host] = []
        self.copies: List[Host] = []            # second hosts on a copied directory (P7)
        self.excuses: List[str] = []
        self.clocks_stopped = False             # of any host, at any time so far
        self.bootstrapped: Optional[Host] = None    # by an operator, who may leave out whoever is not there (§6)
        self._by_address: Dict[str, Host] = {}
        self.network = Network(self, profile.latency_ms, profile.slow)
        self.checkers = Checkers(self)
        self.traps = Traps()
        self.applications = Applications(self)
        self.clients = Clients(self, profile.clients)
        self.transfers = Transfers(self)

    # --- time

    def at(self, when: int, act: Callable, *arguments: Any) -> None:
        self._pushed += 1
        heapq.heappush(self._queue, (max(when, self.now), self._pushed, act, arguments))

    def after(self, span: int, act: Callable, *arguments: Any) -> None:
        self.at(self.now + span, act, *arguments)

    def run_until(self, when: int, done: Callable[[], bool] = lambda: False) -> bool:
        """Carry out all events up to `when`, or until `done`; return whether it is."""
        while self._queue and self._queue[0][0] <= when:
            self.now, _, act, arguments = heapq.heappop(self._queue)
            self.events += 1
            act(*arguments)
            self.checkers.event()
            if done():
                return True
        self.now = when
        return done()

    def turn_delay(self) -> int:
        """Return how long a node's thread takes to get to its inbox, in ns."""
        return self._turns.between(20_000, 200_000)

    # --- hosts

    def add_host(self, listed: Tuple[str, ...], join: Optional[str] = None) -> Host:
        number = len(self.hosts) + 1
        boot, raw = self.profile.rates(self.draws.child(f"rates {number}"), number)
        host = Host(self, number, listed, join, HostClock(boot, raw))
        self.hosts.append(host)
        self._by_address[host.address] = host
        return host

    def add_copy(self, host: Host) -> Host:
        """Start a second host on a copy of the directory of `host`, with its configuration file."""
        copy = Host(self, host.number, host.listed, host.join, HostClock(), is_copy=True)
        copy.disk = host.disk.copied()
        self.copies.append(copy)
        return copy

    @property
    def everyone(self) -> List[Host]:
        return self.hosts + self.copies

    def host_at(self, address: str) -> Optional[Host]:
        return self._by_address.get(address)

    def new_cluster_id(self) -> str:
        self._clusters += 1
        return f"c{self._clusters}"

    # --- the trace

    def trace(self, who: str, what: str) -> None:
        line = f"[{self.now / MS:10.3f}] {who} {what}"
        self._digest.update(line.encode())
        self.lines.append(line)
        if len(self.lines) > 2 * TRACE_KEPT:
            del self.lines[:TRACE_KEPT]
        if self._tell:
            self._tell(line)

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()[:12]

    def excuse(self, why: str) -> None:
        """From now on a broken rule may follow from a directory that went back, and nobody could know."""
        if why not in self.excuses:
            self.excuses.append(why)
            self.trace("excuse", why)

    def fail(self, rule: str, detail: object) -> None:
        excuse = self.excuses[-1] if self.excuses and rule.startswith(EXCUSABLE) else None
        raise Violation(f"{rule}: at {self.now / MS:.3f} ms: {detail}", excuse)
