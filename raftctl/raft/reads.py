"""ReadIndex (dissertation §6.4): reads wait for a round sent after they came, never for an earlier one."""

from __future__ import annotations

from typing import List, Tuple


class Reads:
    """Two queues of one leadership: reads without a round yet, (request, round, index) in order of rounds."""

    def __init__(self) -> None:
        self._asked: List[int] = []
        self._in_round: List[Tuple[int, int, int]] = []

    @property
    def wait_for_round(self) -> bool:
        return bool(self._asked)

    def ask(self, request: int) -> None:
        self._asked.append(request)

    def join_round(self, number: int, commit_index: int) -> None:
        """Bind all reads that came before round `number` to it; they see at least `commit_index`."""
        self._in_round += [(request, number, commit_index) for request in self._asked]
        self._asked = []

    def take_confirmed(self, quorum_round: int) -> List[Tuple[int, int]]:
        """Return (request, index) of the reads whose round a quorum has acknowledged."""
        confirmed = [(request, index) for request, number, index in self._in_round if number <= quorum_round]
        self._in_round = self._in_round[len(confirmed):]
        return confirmed

    def drop(self) -> List[int]:
        """Return all requests that wait, and forget them: the leadership is over."""
        dropped = [request for request, _, _ in self._in_round] + self._asked
        self._in_round, self._asked = [], []
        return dropped
