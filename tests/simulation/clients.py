"""Clients in closed loops at random hosts: puts, compare-and-sets, deletes, reads, and their history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, List, NamedTuple, Optional

from raftctl.cluster.serving import PROPOSE, READ, Answer, Ask
from raftctl.store.commands import encode_delete, encode_put
from simulation.leases import Confirmed

if TYPE_CHECKING:
    from simulation.node import Process
    from simulation.world import World

MS = 1_000_000
KEYS = (b"a", b"b", b"c")
THINK_MS = (5, 150)
PATIENCE_MS = (200, 1500)
GRACE_MS = 500

# What an operation ended with. `UNKNOWN`: it may have been done, now or later.
DONE, REFUSED, UNKNOWN = "done", "refused", "unknown"


class Operation(NamedTuple):
    """`revision`, `value`, `code`: of the answer. `written`: what it puts. `expected`: of a compare-and-set."""

    kind: str
    key: bytes
    begin: int
    end: int
    outcome: str
    revision: int
    written: Optional[bytes]
    value: Optional[bytes]
    expected: Optional[int]
    code: Optional[str]


class _Pending(NamedTuple):
    client: int
    kind: str
    key: bytes
    begin: int
    written: Optional[bytes]
    expected: Optional[int]     # revision of a compare-and-set; of "state", the term
    process: Process


class Clients:
    def __init__(self, world: World, count: int) -> None:
        self._world = world
        self._draws = world.draws.child("clients")
        self._count = count
        self._token = 0
        self._pending: Dict[int, _Pending] = {}
        self._revisions: Dict[bytes, int] = dict.fromkeys(KEYS, 0)
        self._stopped = self._avoids_waiting = False
        self.history: List[Operation] = []
        self.done = 0

    def start(self) -> None:
        for client in range(self._count):
            self._world.after(self._draws.between(0, 500 * MS), self._ask, client)

    def ask_members_alone(self) -> None:
        """From now on, ask no node that waits to be admitted or was removed: it can serve nobody."""
        self._avoids_waiting = True

    def stop(self) -> None:
        """Ask no more; what is not answered by now may have been done or not."""
        self._stopped = True
        for token in list(self._pending):
            self._end(token, Answer("unknown_outcome", 0, None))

    def _ask(self, client: int) -> None:
        draws = self._draws
        kind = draws.one_of(("put", "put", "cas", "delete", "get", "get", "state"))
        processes = [host.process for host in self._world.hosts
                     if host.process and (kind != "state" or host.process.shows_leader)
                     and not (self._avoids_waiting and host.process.shown and host.process.shown.waiting_for)]
        if self._stopped:
            return
        if not processes:
            self._think(client)
            return
        self._token += 1
        process, token = draws.one_of(processes), self._token
        key = draws.one_of(KEYS) if kind != "state" else b""
        written = f"v{token}".encode() if kind in ("put", "cas") else None
        expected = self._revisions[key] if kind == "cas" else None
        if kind == "state":
            expected = process.shown.view.term
        self._pending[token] = _Pending(client, kind, key, self._world.now, written, expected, process)
        if kind in ("get", "state"):
            ask = Ask(token, READ, key)
        elif kind == "delete":
            ask = Ask(token, PROPOSE, encode_delete(key, None))
        else:
            ask = Ask(token, PROPOSE, encode_put(key, written or b"", expected))
        process.post(("ask", ask))
        patience = draws.between(PATIENCE_MS[0] * MS, PATIENCE_MS[1] * MS)
        self._world.after(patience, self._lose_patience, token)

    def _lose_patience(self, token: int) -> None:
        pending = self._pending.get(token)
        if pending:
            pending.process.post(("expire", token))
            # A process that stands still does not answer; its client goes away without knowing.
            self._world.after(GRACE_MS * MS, self._end, token, Answer("unknown_outcome", 0, None))

    def answered(self, process: Process, token: int, answer: Answer) -> None:
        self._end(token, answer)

    def ended(self, process: Process) -> None:
        for token in [token for token, pending in self._pending.items() if pending.process is process]:
            self._end(token, Answer("unknown_outcome", 0, None))

    def _end(self, token: int, answer: Answer) -> None:
        pending = self._pending.pop(token, None)
        if pending is None:
            return
        if pending.kind == "state":
            self._say_leader(pending, answer)
            return
        outcome = _OUTCOMES.get(answer.code or "", DONE)
        if outcome == UNKNOWN and pending.kind == "get":
            outcome = REFUSED
        if outcome == DONE:
            self.done += 1
            self._revisions[pending.key] = answer.revision
        self.history.append(Operation(pending.kind, pending.key, pending.begin, self._world.now, outcome,
                                      answer.revision, pending.written, answer.value, pending.expected,
                                      answer.code))
        self._think(pending.client)

    def _say_leader(self, pending: _Pending, answer: Answer) -> None:
        """`state` says LEADER only where a round after the question confirmed it, and it still holds (P2)."""
        process = pending.process
        if answer.code is None and process.shows_leader and process.shown.view.term == pending.expected:
            self._world.checkers.leases.confirmed(
                Confirmed(pending.begin, self._world.now, process.host.name, pending.expected or 0))
        self._think(pending.client)

    def _think(self, client: int) -> None:
        self._world.after(self._draws.between(THINK_MS[0] * MS, THINK_MS[1] * MS), self._ask, client)


_OUTCOMES = {"no_leader": REFUSED, "busy": REFUSED, "store_full": REFUSED, "stopping": REFUSED,
             "refused": REFUSED, "unknown_outcome": UNKNOWN}
