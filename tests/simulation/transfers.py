"""Operators who ask a node to hand leadership over; each request is answered at most once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict

from raftctl.cluster.serving import TRANSFER, Answer, Ask

if TYPE_CHECKING:
    from simulation.node import Process
    from simulation.world import World

MS = 1_000_000
PATIENCE_MS = 1500
FIRST_TOKEN = 1 << 40       # beyond those of clients


class Transfers:
    def __init__(self, world: World) -> None:
        self._world = world
        self._answers: Dict[int, int] = {}
        self.done = 0

    def ask(self, process: Process, to: str) -> None:
        """Ask `process` to have the instance `to` lead (empty: whoever is best)."""
        token = FIRST_TOKEN + len(self._answers)
        self._answers[token] = 0
        process.post(("ask", Ask(token, TRANSFER, to.encode("ascii"))))
        self._world.after(PATIENCE_MS * MS, process.post, ("expire", token))

    def answered(self, process: Process, token: int, answer: Answer) -> None:
        self._answers[token] += 1
        if self._answers[token] > 1:
            self._world.fail("a transfer is answered twice", f"{process.host.name}: {answer}")
        self.done += answer.code is None
        text = (answer.value or b"").decode()
        self._world.trace(process.host.name, f"transfer answered: {answer.code or 'told'} {text}")
