"""How a cluster begins: unanimous, with one author, once a directory (design §6; pitfalls 3.1, 3.2, 3.12).

Pure, like everything here: `now` is an int of ns on any one monotonic clock, the random cluster id is drawn
by the caller's function, effects are values. One `Founding` lives while the directory is *fresh* (its log is
empty and it has no cluster id); with entry 1 it turns into a `Holder`. Leaves admission to the leader,
dialling to the links.

Why there are never two clusters that work: only the lowest listed address writes entry 1, for just the
instances that are fresh on connections still open, and nobody hears of it before it is durable. Whoever
adopted never adopts again, in this process or a later one. Should two authors write all the same (one wiped
within milliseconds, a `bootstrap` at the very moment when the last node comes), each entry needs a quorum of
adopters and the two quorums share a node: one stays dead. Not covered is `bootstrap` on both sides of a cut,
nor on one side while a founding of the whole list works on the other, whose author heard from all before the
cut: that the word is given on ONE node, and that no other works, is the operator's.
"""

from __future__ import annotations

from typing import Callable, Dict, List, Optional, Tuple

from raftctl.base.addresses import parse
from raftctl.base.durations import SECOND
from raftctl.base.errors import PeerFault, UsageError, require
from raftctl.cluster.asking import JOIN_EVERY_NS, Asked, Reply, join_body
from raftctl.cluster.handshake import JOIN
from raftctl.cluster.holder import Adopt, Campaign, Effect, Facts, Holder, Send
from raftctl.raft.configuration import Configuration, Malformed, Member, configuration, decode, encode

__all__ = ["Adopt", "Campaign", "Effect", "Facts", "Founding", "Holder", "Send", "join_body"]

ALONE_AFTER_NS = 2 * SECOND
# Addresses beside the list that may call, and be dialled for the cluster that they show.
STRANGER_LIMIT = 64
CLUSTER_LIMIT = 16


class Founding:
    """The founding of one fresh node.

    `cluster_list` is the file's list with the own address in it, () for none; `join` the one address to ask.
    `deadline()` is 0, at once, before the first input that carries `now`. Node thread only.
    """

    def __init__(
        self,
        own_address: str,
        own_instance: str,
        cluster_list: Tuple[str, ...],
        join: Optional[str],
        draw_cluster_id: Callable[[], str],
        alone_after_ns: int = ALONE_AFTER_NS,
    ) -> None:
        self._address = own_address
        self._instance = own_instance
        self._list = tuple(sorted({*cluster_list, own_address}, key=parse)) if cluster_list else ()
        self._others = tuple(address for address in self._list if address != own_address)
        self._join = join
        self._draw_cluster_id = draw_cluster_id
        self._alone_after_ns = alone_after_ns
        self._now = 0
        self._began: Optional[int] = None
        self._open: Dict[str, Facts] = {}
        self._shown: Dict[str, str] = {}  # address -> the instance that was last seen there
        self._clusters: Dict[str, Tuple[str, str]] = {}  # address -> cluster id, and who showed it
        self._refusals: Dict[str, str] = {}
        self._asks = 0
        self._asked = Asked(own_address)
        self._ask_at: Optional[int] = None
        self._adopting: Optional[bytes] = None
        self._author = False
        self._owed: List[str] = []  # to whom an acknowledgement goes once the bytes are durable
        self._holder: Optional[Holder] = None
        self._effects: List[Effect] = []
        self.targets = self._targets()

    # What the caller reads.

    @property
    def is_fresh(self) -> bool:
        """What `Hello.fresh` says: not any more from the moment when entry 1 is on its way to the disk."""
        return self._adopting is None and self._holder is None

    @property
    def offered(self) -> Tuple[str, ...]:
        """The list that `Hello.founding` shows: () from the moment when a cluster was seen.

        Who knows a cluster must not be counted for another founding: where several listed nodes lost their
        disks, the first that hears of the cluster speaks for all (P7).
        """
        return () if self._clusters else self._list

    @property
    def configuration(self) -> Optional[Configuration]:
        """Return the configuration of entry 1 once it is chosen (not yet durable), else None."""
        if self._holder:
            return self._holder.configuration
        return decode(self._adopting) if self._adopting else None

    def effects(self) -> Tuple[Effect, ...]:
        """Return what must be done now, in order; taken: asking twice gives it once."""
        taken, self._effects = tuple(self._effects), []
        return taken + (self._holder.effects() if self._holder else ())

    def deadline(self) -> Optional[int]:
        """Return when `alarm` is due, None for never; 0: at once."""
        if self._holder:
            return self._holder.deadline()
        if self._adopting is not None:
            return None
        if self._began is None:
            return 0
        if self._is_alone():
            return self._began + self._alone_after_ns
        return self._ask_at if self._askable() else None

    # Inputs.

    def link_up(self, now: int, address: str, facts: Facts) -> None:
        """Our own dial to `address` shook hands; `facts` hold until `link_down` (but it may adopt)."""
        facts = Facts(facts.fresh, tuple(facts.founding), facts.cluster_id, facts.instance)
        self._open[address] = facts
        self._refusals.pop(address, None)
        if self._holder:
            self._holder.link_up(now, address, facts)
        self._saw(now, address, facts)

    def heard(self, now: int, address: str, facts: Facts) -> None:
        """A node that calls itself `address` dialled this one and shook hands."""
        if facts.cluster_id:
            self._asked.heard()
        self._saw(now, address, facts)

    def _saw(self, now: int, address: str, facts: Facts) -> None:
        if address not in self.targets and address not in self._shown and len(self._shown) >= STRANGER_LIMIT:
            return
        self._shown[address] = facts.instance
        former = self._clusters.get(address)
        if facts.cluster_id:
            self._note_cluster(now, address, facts.cluster_id, facts.instance)
        elif former and former[1] != facts.instance:
            del self._clusters[address]  # The operator wiped it: it is no more of a cluster than we are.
            self.targets = self._targets()
        self._turn(now)

    def link_down(self, address: str, refusal: str = "") -> None:
        """Our own dial ended or failed; `refusal` is the reason to show beside the address, "" for none."""
        self._open.pop(address, None)
        if refusal:
            self._refusals[address] = refusal
        else:
            self._refusals.pop(address, None)
        if self._holder:
            self._holder.link_down(address)

    def found(self, now: int, address: str, body: bytes, instance: str = "") -> None:
        """A FOUND frame came from `address`, dialled by `instance` ("": unknown). May raise `PeerFault`."""
        offered = _read(body)
        if self._holder:
            self._holder.found(now, address, body)
            return
        if self._adopting is not None:
            if body == self._adopting and address not in self._owed:
                self._owed.append(address)
            return
        if instance and self._shown.get(address, instance) != instance:
            return  # Words of a wiped author, read after its successor shook hands: that one may found anew.
        if offered.find(self._instance):
            # The author did not know what this node knows: that its list lives on in another cluster (P7).
            if all(cluster_id == offered.cluster_id for cluster_id, _ in self._clusters.values()):
                self._adopt(body, owed=[address])
            return
        self._note_cluster(now, address, offered.cluster_id, instance or self._shown.get(address, ""))
        self._turn(now)

    def adopted(self) -> None:
        """Entry 1 and the cluster id are durable: from here on this node is a holder."""
        require(self._adopting is not None and self._holder is None, "adopted without Adopt")
        body, self._adopting = self._adopting or b"", None
        self._holder = Holder(self._instance, body, author=self._author)
        self.targets = self._targets()
        for address, facts in self._open.items():
            self._holder.link_up(self._now, address, facts)
        for address in self._owed:
            self._holder.found(self._now, address, body)

    def ack(self, address: str) -> None:
        """FOUND_ACK came from `address`."""
        if self._holder:
            self._holder.ack(address)

    def replied(self, now: int, leader: str, reply: Reply) -> None:
        """JOIN_REPLY came from `leader`."""
        if self._asks and reply.instance == self._instance:
            self._asked.replied(now, leader, reply)

    @property
    def refusal(self) -> str:
        """Why the cluster asked does not admit this node, where waiting alone does not help; else ""."""
        return self._asked.refusal if self.is_fresh and self._askable() else ""

    def alarm(self, now: int) -> None:
        """The deadline has passed, or any other moment."""
        if self._holder:
            self._holder.alarm(now)
        self._turn(now)

    def bootstrap(self, now: int) -> Optional[str]:
        """Found with the listed nodes that are reachable now; return why not, or None when it has begun.

        The operator's word replaces unanimity, on ONE node. The configuration is then in `configuration`.
        """
        refusal = self._refuse_bootstrap()
        if refusal is None:
            self._begin(now)
            self._found(self._others)
        return refusal

    def waiting_for(self) -> str:
        """Return for whom or what this node waits, one line for `status` and systemd, "" for nothing."""
        if self._holder:
            return ""
        if self._adopting is not None:
            return "writing the first configuration"
        if self._join:
            return self._join_text()
        if self._clusters:
            return self._cluster_text()
        if self._is_alone():
            return "waiting whether a cluster knows this address, then founding a cluster of one"
        return self._list_text()

    # Decisions.

    def _begin(self, now: int) -> None:
        self._now = max(self._now, now)
        if self._began is None:
            self._began = now

    def _turn(self, now: int) -> None:
        self._begin(now)
        if not self.is_fresh:
            return
        if self._join or self._clusters:
            self._ask(now)
        elif self._is_alone():
            if now >= (self._began or 0) + self._alone_after_ns:
                self._found(())
        elif self._list[0] == self._address and not self._missing() and not self._twins():
            self._found(self._others)

    def _targets(self) -> Tuple[str, ...]:
        """Return whom to dial: the list, whom to join, clusters that reached us. Sorted.

        A holder has members to dial, and may have removed one that is listed.
        """
        if self._holder:
            return ()
        wanted = {*self._others, *self._clusters, *([self._join] if self._join else [])}
        return tuple(sorted(wanted, key=parse))

    def _is_alone(self) -> bool:
        return not (self._others or self._join or self._clusters)

    def _missing(self) -> List[str]:
        """The listed nodes that have not answered "fresh, same list" on a connection that is still open."""
        return [address for address in self._others if not self._agrees(address)]

    def _agrees(self, address: str) -> bool:
        facts = self._open.get(address)
        if facts is None or self._shown[address] != facts.instance:
            return False  # Not there, or this connection is a predecessor's and its end not yet seen.
        return facts.fresh and not facts.cluster_id and facts.founding == self._list

    def _twins(self) -> List[str]:
        """Reachable listed nodes that show one instance: copies of one data directory."""
        reached = [address for address in self._others if address in self._open]
        shown = [self._instance] + [self._open[address].instance for address in reached]
        return [address for address in reached if shown.count(self._open[address].instance) > 1]

    def _found(self, others: Tuple[str, ...]) -> None:
        members = [Member(self._instance, self._address, True)]
        there = [address for address in others if self._agrees(address)]
        members += [Member(self._open[address].instance, address, True) for address in there]
        self._author = True
        self._adopt(encode(configuration(self._draw_cluster_id(), members)), owed=[])

    def _adopt(self, body: bytes, owed: List[str]) -> None:
        require(self.is_fresh, "a second founding entry")
        self._adopting, self._owed = body, owed
        self._effects.append(Adopt(body))

    def _refuse_bootstrap(self) -> Optional[str]:
        if self._holder:
            return self._holder.bootstrap(self._now)
        if self._adopting is not None:
            return "the founding has begun already; ask again"
        if self._join:
            return (f'this node is told to join {self._join}; take "join" out of its file first, or where '
                    'the command join said so, stop it and remove the file "join" from its data directory')
        if self._clusters:
            address, (cluster_id, _) = min(self._clusters.items())
            return f"{address} has data of cluster {cluster_id}; this node joins it instead"
        for address in self._others:
            if address in self._open and not self._agrees(address):
                return f"{address} {self._disagreement(address)}"
        if self._twins():
            return self._twins_text()
        if self._others and not self._missing() and self._list[0] != self._address:
            count, author = len(self._list), self._list[0]
            return f"all {count} listed nodes are reachable: {author} founds the cluster by itself"
        return None

    # Asking to join.

    def _note_cluster(self, now: int, address: str, cluster_id: str, instance: str) -> None:
        if address not in self._clusters and len(self._clusters) >= CLUSTER_LIMIT:
            return
        if self.is_fresh and not self._clusters and not self._join:
            # Not at once: where entry 1 names this very instance, FOUND is on the way (pitfall 3.2).
            self._ask_at = now + JOIN_EVERY_NS
        self._clusters[address] = (cluster_id, instance)
        self.targets = self._targets()

    def _askable(self) -> List[str]:
        """Whom to ask over a connection that is up: the address to join, else every member that was seen."""
        if self._join:
            return [self._join] if self._join in self._open else []
        if len({cluster_id for cluster_id, _ in self._clusters.values()}) > 1:
            return []
        return sorted((address for address in self._clusters if address in self._open), key=parse)

    def _ask(self, now: int) -> None:
        askable = self._askable()
        if not askable or (self._ask_at is not None and now < self._ask_at):
            return
        address = askable[self._asks % len(askable)]
        self._asks += 1
        self._asked.asks(now)
        self._ask_at = now + JOIN_EVERY_NS
        self._effects.append(Send(address, JOIN, join_body(self._address, self._instance)))

    # Words for people.

    def _disagreement(self, address: str) -> str:
        facts = self._open[address]
        if not facts.fresh:
            return "is being founded; wait for it"
        if not facts.founding:
            return "has no clusterNodes list, or has seen a cluster; give it the same list, or wait"
        return f"has another list: {' '.join(facts.founding)}; here it is {' '.join(self._list)}"

    def _list_text(self) -> str:
        missing = self._missing()
        if self._twins():
            return "waiting: " + self._twins_text()
        if not missing:
            count = len(self._list)
            return f"waiting for {self._list[0]} to found the cluster, {count} of {count} are there"
        names = []
        for address in missing:
            why = self._disagreement(address) if address in self._open else self._refusals.get(address)
            names.append(f"{address} ({why})" if why else address)
        return f"waiting for {' and '.join(names)}, {len(self._list) - len(missing)} of {len(self._list)}"

    def _twins_text(self) -> str:
        twins = " and ".join(self._twins())
        return f"{twins} run on an instance that another node has: one data directory is a copy"

    def _join_text(self) -> str:
        waiting = f"waiting for {self._join} to admit this node"
        problem = self._asked.problem() if self._join in self._open else self._refusals.get(self._join, "")
        return f"{waiting}: {problem}" if problem else waiting

    def _cluster_text(self) -> str:
        seen = sorted(self._clusters.items())
        if len({cluster_id for _, (cluster_id, _) in seen}) > 1:
            listed = " and ".join(f"{address} of {cluster_id}" for address, (cluster_id, _) in seen)
            return f"waiting: the list leads to two clusters, {listed}; take one of them out"
        waiting = f"waiting for the cluster of {' '.join(address for address, _ in seen)} to admit this node"
        problem = self._asked.problem() if self._askable() else ""
        return f"{waiting}: {problem}" if problem else waiting


def _is_address(text: str) -> bool:
    try:
        return text.isprintable() and str(parse(text)) == text
    except UsageError:
        return False


def _read(body: bytes) -> Configuration:
    try:
        offered = decode(body)
    except Malformed as error:
        raise PeerFault(f"FOUND: {error}") from error
    if not offered.cluster_id or not offered.voters:
        raise PeerFault("FOUND: a configuration without a cluster id or voters")
    if not all(_is_address(member.address) for member in offered.members):
        raise PeerFault("FOUND: a configuration with an address that is none")
    return offered
