"""The second half of founding: who has entry 1 hands it to the fresh nodes named in it (design §6.2).

The author may die half-way; so every holder repeats FOUND, also after a restart, until each named fresh peer
has acknowledged (pitfall 3.2). Pure: `now` is an int of ns on any one monotonic clock, effects are values for
the caller to carry out. Leaves how entry 1 came about to `founding.py`, and all later entries to the core.
"""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Optional, Tuple, Union

from raftctl.base.durations import MILLISECOND
from raftctl.cluster.handshake import FOUND, FOUND_ACK
from raftctl.raft.configuration import Configuration, decode, is_quorum

FOUND_EVERY_NS = 200 * MILLISECOND


class Facts(NamedTuple):
    """What founding reads of a peer's `Hello`. `founding` is the peer's list, () for none.

    `fresh` with a cluster id: a welcomed learner. Neither: entry 1 is on its way to the peer's disk.
    """

    fresh: bool
    founding: Tuple[str, ...]
    cluster_id: str
    instance: str


class Adopt(NamedTuple):
    """Make entry 1 (term 1, CONFIGURATION, this body) durable, then the cluster id; then call `adopted()`."""

    body: bytes


class Send(NamedTuple):
    """Send one frame on the own dial to `address`; where there is none, it will be repeated."""

    address: str
    kind: int
    body: bytes


class Campaign(NamedTuple):
    """A quorum holds entry 1 and nobody leads yet: the author begins the first election at once."""


Effect = Union[Adopt, Send, Campaign]


class Holder:
    """One node with entry 1. `author`: it wrote the entry in this process, and so begins the first election.

    Has the inputs of `Founding`, so that a caller need not know which of the two it drives. Node thread only.
    """

    is_fresh = False
    refusal = ""
    targets: Tuple[str, ...] = ()

    def __init__(self, own_instance: str, body: bytes, *, author: bool = False) -> None:
        self.body = body
        self.configuration: Configuration = decode(body)
        self._held = {own_instance}
        self._due: Dict[str, int] = {}
        self._instances: Dict[str, str] = {}
        self._campaigns = author
        self._effects: List[Effect] = []
        self._look_at_quorum()

    def effects(self) -> Tuple[Effect, ...]:
        """Return what must be done now, in order; taken: asking twice gives it once."""
        taken, self._effects = tuple(self._effects), []
        return taken

    def deadline(self) -> Optional[int]:
        """Return when `alarm` is due, None for never."""
        return min(self._due.values(), default=None)

    def link_up(self, now: int, address: str, facts: Facts) -> None:
        """Our own dial to `address` shook hands."""
        self._due.pop(address, None)
        self._instances[address] = facts.instance
        if facts.cluster_id == self.configuration.cluster_id:
            self._note_held(facts.instance)
        if facts.cluster_id:
            # Without a log: a welcomed learner, or a log that somebody deleted. Founding is over for both.
            return
        self._effects.append(Send(address, FOUND, self.body))
        # One that is not named gets the bytes once a connection: it learns of the cluster, and asks to join.
        if self.configuration.find(facts.instance):
            self._due[address] = now + FOUND_EVERY_NS

    def heard(self, now: int, address: str, facts: Facts) -> None:
        """A peer dialled us: nothing to do, what it lacks is sent on our own dial."""

    def link_down(self, address: str, refusal: str = "") -> None:
        self._due.pop(address, None)

    def found(self, now: int, address: str, body: bytes, instance: str = "") -> None:
        """A holder offers entry 1: acknowledged if it is ours, else ignored; one adopts only once."""
        if body == self.body:
            self._effects.append(Send(address, FOUND_ACK, b""))

    def ack(self, address: str) -> None:
        """`address` says that it holds entry 1 durably."""
        self._due.pop(address, None)
        self._note_held(self._instances.get(address, ""))

    def alarm(self, now: int) -> None:
        """Repeat what is due."""
        for address, due in self._due.items():
            if due <= now:
                self._effects.append(Send(address, FOUND, self.body))
                self._due[address] = now + FOUND_EVERY_NS

    def bootstrap(self, now: int) -> Optional[str]:
        return f"this node already belongs to cluster {self.configuration.cluster_id}"

    def waiting_for(self) -> str:
        return ""

    def _note_held(self, instance: str) -> None:
        self._held.add(instance)
        self._look_at_quorum()

    def _look_at_quorum(self) -> None:
        if self._campaigns and is_quorum(self._held, self.configuration.voters):
            self._campaigns = False
            self._effects.append(Campaign())
