"""P7 in a run: who has seen what of whom, kept apart from the product's own memory, and what follows from it.

A peer's memory is what it saw since it started, and what of that went with a batch to its disk before. Where
a peer that knows better lets an old self in, P7 is broken. Where nobody that is asked can know, the run goes
on, but a rule that breaks from then on is excused and counted (`World.fail`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, NamedTuple, Optional, Tuple

from raftctl.cluster.handshake import Hello
from raftctl.cluster.memory import _DURABLE_TERM
from raftctl.raft.inputs import LEADER
from raftctl.raft.messages import Instance

if TYPE_CHECKING:
    from simulation.node import Process
    from simulation.world import World


class Known(NamedTuple):
    """The newest that one instance showed to one peer; `acked`: committed entries that it acknowledged."""

    incarnation: int
    start_id: str
    term: int
    acked: int


class Remembering:
    def __init__(self, world: World) -> None:
        self._world = world
        self._known: Dict[Instance, Dict[Instance, Known]] = {}      # observer → instance → what it showed
        self._durable: Dict[Instance, Dict[Instance, Known]] = {}
        self._at_disk: Dict[Instance, Dict[Instance, Known]] = {}
        self._told: Dict[Tuple[str, int], Dict[str, int]] = {}       # process → peer → refusals in a row
        self.refusals = 0

    def _of(self, observer: Process) -> Dict[Instance, Known]:
        return self._known.setdefault(observer.key, {})

    # --- what a peer sees

    def shook(self, observer: Process, hello: Hello, process: Process) -> None:
        """`observer` let `process` in, which said `hello`."""
        known = self._of(observer).get(hello.instance)
        if known is not None and _is_older(hello, known):
            self._world.fail("P7: an old self is let in by one that knows better",
                             f"{observer.host.name} knows {known}, {process.host.name} shows {hello}")
        self._of(observer)[hello.instance] = Known(hello.incarnation, hello.start_id, hello.term,
                                                   known.acked if known else 0)
        if process.host.has_gone_back:
            self._world.excuse(f"{observer.host.name} can't know that {process.host.name} went back")

    def disowned(self, process: Process, address: str) -> None:
        """The peer at `address` refused the dial of `process` as one whose directory went back."""
        told = self._told.setdefault((process.key, process.incarnation), {})
        told[address] = told.get(address, 0) + 1
        self.refusals += 1

    def let_in(self, process: Process, address: str) -> None:
        self._told.get((process.key, process.incarnation), {}).pop(address, None)

    def heard(self, observer: Process, instance: Instance, message: object) -> None:
        known = self._of(observer).get(instance)
        if known is not None and isinstance(message, _DURABLE_TERM) and message.term > known.term:
            self._of(observer)[instance] = known._replace(term=message.term)

    def turned(self, observer: Process) -> None:
        if observer.turn.core.role != LEADER:
            return
        for instance, index in observer.turn.core.acknowledged:
            known = self._of(observer).get(instance)
            if known is not None and index > known.acked:
                self._of(observer)[instance] = known._replace(acked=index)

    # --- what a start of the peer finds again

    def writing(self, observer: Process) -> None:
        """A batch is on its way to the disk, and with it what is known of the members."""
        members = observer.turn.core.configuration
        self._at_disk[observer.key] = {instance: known for instance, known in self._of(observer).items()
                                       if members.find(instance)}

    def durable(self, observer: Process) -> None:
        self._durable[observer.key] = self._at_disk.get(observer.key, {})

    def started(self, observer: Process) -> None:
        if observer.host.has_gone_back:
            self._durable.pop(observer.key, None)       # its own memory went back as well: to what, is open
        self._known[observer.key] = dict(self._durable.get(observer.key, {}))

    # --- what must not be

    def is_disowned(self, process: Process) -> bool:
        """Did one peer say twice in a row, and take nothing back, that this directory went back?"""
        return max(self._told.get((process.key, process.incarnation), {}).values(), default=0) > 1


def _is_older(hello: Hello, known: Known) -> Optional[bool]:
    if hello.incarnation == known.incarnation and hello.start_id != known.start_id:
        return True
    return (hello.incarnation < known.incarnation or hello.term < known.term
            or hello.last.index < known.acked)
