"""One turn of a node over ports: inputs in, then `finish` carries out what core, founding and requests want.

The same code runs in the daemon and on simulated ports. Decisions are those of core, founding and joining.
"""

from __future__ import annotations

import functools
from typing import Any, Dict, List, Optional, Tuple

from raftctl.base.addresses import Address, parse
from raftctl.base.errors import PeerFault
from raftctl.base.instants import Instant
from raftctl.cluster import handshake
from raftctl.cluster.applying import LOG_BYTES, Applying
from raftctl.cluster.asking import read_join, read_reply
from raftctl.cluster.dialling import Dialling
from raftctl.cluster.founding import Adopt, Campaign, Facts, Founding, Holder, Send
from raftctl.cluster.handing import Handing
from raftctl.cluster.handshake import Hello
from raftctl.cluster.changing import Changing
from raftctl.cluster.joining import Joining, Reached
from raftctl.cluster.leading import Leading
from raftctl.cluster.memory import Memory
from raftctl.cluster.ports import Identity, Ports, Shown
from raftctl.cluster.removing import Removing
from raftctl.cluster.serving import CHANGE, TAKEN_OVER, TRANSFER, Ask, Serving, encode_reply
from raftctl.cluster.welcoming import Welcoming
from raftctl.cluster.disowning import Disowning
from raftctl.raft import inputs
from raftctl.raft.configuration import NOBODY, Malformed, decode
from raftctl.raft.core import Core
from raftctl.raft.encoding import decode_message, encode_message
from raftctl.raft.inputs import LEADER, Decision, Timing, View
from raftctl.raft.messages import ORIGIN, Install, Release, SnapshotMark, Write
from raftctl.store.machine import Store

# Words that must overtake bulk: all but appends that carry entries (pitfall 6.2).
URGENT_BYTES = 512
TAKEOVER_DELAY_NS = 3_000_000_000
# Without a quorum the end of the outgoing work is not committed: then the next leader waits, not the stop.
RESIGN_NS = 2_000_000_000


class Turn:
    """The node as a value machine. One thread calls all methods, each with the instant of the call."""

    def __init__(self, identity: Identity, cluster_id: str, core: Core, store: Store, timing: Timing,
                 founding: Optional[Founding], ports: Ports, memory: Optional[Memory] = None,
                 log_bytes: int = LOG_BYTES, takeover_delay: int = TAKEOVER_DELAY_NS) -> None:
        """`founding` is None where the directory belongs to a cluster already. By `memory` links judge.

        `store` is as of the newest snapshot in `core`; the next one is due after `log_bytes` of log.
        """
        self.identity, self.cluster_id, self.core, self.ports = identity, cluster_id, core, ports
        removing, handing = Removing(identity.instance), Handing()
        desks = {CHANGE: removing, TRANSFER: handing, TAKEN_OVER: handing}
        self.serving = Serving(store, core.step, self._forward, desks)  # type: ignore[arg-type]
        self.joining, self._timing = Joining(timing.heartbeat, timing.election_max), timing
        self.reached: Dict[str, Reached] = {}
        self._welcoming = Welcoming()
        self._changing = Changing(core, self.joining, removing, handing, self.serving, self._welcoming,
                                  self.reached)
        self._applying = Applying(core, store, self.serving, log_bytes)
        self.leading = Leading(identity.instance, core, self._applying, self.serving, handing,
                                takeover_delay, self._report_work)
        self._memory, self._disowning = memory or Memory(), Disowning()
        self._founding: Any = founding
        self._adopting = self._stopping = False
        self._configuration = NOBODY
        self._named: Dict[str, None] = {}      # instances that a configuration named since the start
        self._dialling = Dialling(identity.address, identity.listed)
        self._deadline: Optional[Instant] = None
        self._decisions: List[Decision] = []
        self._reason = "starting"
        self._become_holder()


    def link_up(self, now: Instant, address: Address, generation: int, hello: Hello) -> None:
        """Our own dial to `address` shook hands with `hello.instance`."""
        text = str(address)
        self.reached[text] = Reached(generation, hello)
        self._disowning.accepted(text)
        if self._founding:
            self._founding.link_up(now.boot, text, _facts(hello))
        self._welcoming.owe()
        self.core.step(now, inputs.LinkUp(hello.instance, generation, hello.incarnation))
        self.serving.retry(now)

    def link_down(self, now: Instant, address: Address, generation: int, reason: str, disowns: bool) -> None:
        """Our own dial ended, or failed (generation 0), for `reason`. `disowns`: refused as an old self."""
        text = str(address)
        self._decisions += self._disowning.refused(text) if disowns else ()
        lost = self.reached.pop(text, None)
        if lost:
            self.core.step(now, inputs.LinkDown(lost.hello.instance))
            self.serving.link_down(text)
        if self._founding:
            self._founding.link_down(text, reason)

    def heard(self, now: Instant, hello: Hello) -> None:
        """A node dialled us and shook hands."""
        if self._founding:
            self._founding.heard(now.boot, hello.address, _facts(hello))

    def frame(self, now: Instant, hello: Hello, kind: int, body: bytes) -> None:
        """A frame of an accepted connection. `PeerFault` where malformed: its sender is to blame, not we."""
        if kind == handshake.RAFT:
            self._receive_raft(now, hello, body)
        elif kind == handshake.OUTGOING:
            self.leading.heard(now, hello.instance, body)
        elif hello.role == handshake.GUARDIAN:
            raise PeerFault(f"{hello.address}: a guardian may only release")
        elif kind in _FRAMES:
            _FRAMES[kind](self, now, hello, body)

    def persisted(self, now: Instant, number: int, has_room: bool = True) -> None:
        self.core.step(now, inputs.Persisted(number, has_room))
        if self._adopting:
            # Entry 1 was in this write or an earlier one: only now may the cluster id be on disk (§6).
            self._adopting = False
            self._adopt_cluster(self.core.configuration.cluster_id)
            self._founding.adopted()

    def ask(self, now: Instant, ask: Ask) -> None:
        self.serving.ask(now, ask)

    def bootstrap(self, now: Instant) -> Optional[str]:
        """Found with the listed nodes that are reachable; return why not, None when it has begun."""
        if self._founding is None:
            return "this node belongs to a cluster already"
        return self._founding.bootstrap(now.boot)

    def stop(self, now: Instant) -> None:
        """LEADER no more, no candidacy; heartbeats go on until `resign` (design §4.1, orderly stop)."""
        self._stopping = True
        self.core.step(now, inputs.Stopping())

    def health(self, now: Instant, ok: bool, cause: str, *, outgoing_first: bool = True) -> None:
        self.leading.health(now, inputs.Health(ok, cause), outgoing_first=outgoing_first)

    def resign(self, now: Instant, patience: int = RESIGN_NS) -> None:
        """The outgoing work has ended: RELEASE (P4), once the cluster knows that: `leading.has_resigned`.

        At most `patience` ns from now.
        """
        self.leading.resign(now, min(self._timing.election_max, patience))

    def snapshot_taken(self, now: Instant, mark: Optional[SnapshotMark]) -> None:
        """`take_snapshot` has ended: `mark` is durable, or None: there is no room for it."""
        self._applying.ended()
        if mark:
            self.core.step(now, inputs.SnapshotTaken(mark))

    def chunk_read(self, now: Instant, peer: str, wanted: Install, data: Optional[bytes]) -> None:
        """`read_chunk` has ended; without `data` that snapshot is kept no more, and the core asks again."""
        view = self.core.view()
        if data and (view.role, view.term) == (LEADER, wanted.term):
            self._send_raft(view, peer, wanted._replace(data=data))

    # --- the end of a turn

    def finish(self, now: Instant) -> Optional[Instant]:
        """Carry out what the inputs of this turn caused; return when the next is due, None for no need."""
        if self._deadline and now.reached(self._deadline):
            self.core.step(now, inputs.Alarm())
        if self._founding:
            due = self._founding.deadline()
            if due is not None and now.boot >= due:
                self._founding.alarm(now.boot)
            self._carry_out_founding(now)
        self.leading.before(now)
        self._change_members(now)
        ready = self.core.ready(now)
        self.ports.show_lease(ready.view)
        self._memory.acknowledged_are(self.core.acknowledged)
        # Messages first: the way over a peer is the longer one, and the disk's thread takes the interpreter
        # as it wakes.
        for peer, message in ready.messages:
            self._send_raft(ready.view, peer, message)
        if ready.write:
            self._submit(ready.write, ready.view)
        for peer, wanted in ready.chunks:
            self.ports.read_chunk(peer, wanted)
        self._applying.carry_out(ready)
        waited = self.leading.wait
        again = self.leading.look(now, ready.view, stops=self._stopping)
        self._decisions += self.leading.decisions(waited)
        snapshot = self._applying.due(now)
        if snapshot:
            self.ports.take_snapshot(*snapshot)
        leader = self._leader_address(ready.view)
        self.serving.leader_is(now, ready.view, leader)
        self._answer()
        self._follow_configuration(now, ready.view)
        self._show(ready.view, leader, ready.decisions)
        self._deadline = ready.deadline
        due = self._next(now)
        return again if again is not None and (due is None or again < due) else due

    def _submit(self, write: Write, view: View) -> None:
        members = tuple(member.instance for member in view.configuration.members)
        memory = self._memory.take(members, committed=self.core.is_settled)
        if write.chunk:
            self._applying.load(write.chunk)
        self.ports.submit(write._replace(memory=memory))

    def _next(self, now: Instant) -> Optional[Instant]:
        due = self._founding.deadline() if self._founding else None
        if due is None:
            return self._deadline
        founding = now.plus(max(due - now.boot, 0))
        return founding if self._deadline is None or founding < self._deadline else self._deadline

    def _answer(self) -> None:
        for ask, answer in self.serving.take_answers():
            if ask.origin is None:
                self.ports.answer(ask, answer)
            else:
                address, token = ask.origin
                self.ports.send(self._address(address), handshake.FORWARD_REPLY, encode_reply(token, answer),
                                False)

    def _show(self, view: View, leader: Optional[str], decisions: Tuple[Decision, ...]) -> None:
        if decisions:
            self._reason = f"{decisions[-1].cause} -> {decisions[-1].effect}"
        self.ports.show(self._shown(view, leader), tuple(self._decisions) + decisions)
        self._decisions.clear()

    def shown(self) -> Shown:
        """Return what holds now; `ports.show` gets it at each end of a turn."""
        view = self.core.view()
        return self._shown(view, self._leader_address(view))

    def _shown(self, view: View, leader: Optional[str]) -> Shown:
        waiting = self._founding.waiting_for() if self._founding else ""
        if not waiting and view.configuration.find(self.identity.instance) is None:
            waiting = "waiting to be admitted"
        if view.removed != ORIGIN:
            waiting = f"removed from its cluster, as of {view.removed}"
        refusal = self._founding.refusal if self._founding else ""
        return Shown(view, self._applying.applied, self.cluster_id, leader, waiting, refusal, self._stopping,
                     self.core.durable, self._is_fresh, self._reason, self._offered, self.leading.wait,
                     self.leading.index)

    # --- frames

    def _receive_raft(self, now: Instant, hello: Hello, body: bytes) -> None:
        try:
            message = decode_message(body)
        except Malformed as error:
            raise PeerFault(f"{hello.address}: {error}") from error
        releases_own = isinstance(message, Release) and message.instance == hello.instance
        if hello.role == handshake.GUARDIAN and not releases_own:
            raise PeerFault(f"{hello.address}: a guardian may only release its own node")
        configuration = self.core.configuration
        # A founder's connection may be older than the cluster: then its instance is, or was, named.
        if not self.cluster_id or self._disowning.is_disowned or (
                hello.cluster_id != self.cluster_id and hello.instance not in self._named):
            return
        if not configuration.members:
            self._dialling.introduce(hello.address)
        elif not configuration.find(hello.instance):
            self._dialling.called(now, hello.address)
        self._memory.heard(hello.instance, message)
        self.core.step(now, inputs.Received(hello.instance, hello.generation, message))

    def _found(self, now: Instant, hello: Hello, body: bytes) -> None:
        if self._founding:
            self._founding.found(now.boot, hello.address, body, hello.instance)

    def _found_ack(self, now: Instant, hello: Hello, body: bytes) -> None:
        if self._founding:
            self._founding.ack(hello.address)

    def _welcomed(self, now: Instant, hello: Hello, body: bytes) -> None:
        """A leader has admitted this node as a learner: what it sends from now on is our cluster's."""
        cluster_id = body.decode("ascii", "replace")
        # It may have joined itself since it dialled us, and shown no cluster then.
        is_its_own = cluster_id and hello.cluster_id in ("", cluster_id)
        if self.cluster_id or not self._is_fresh or not is_its_own:
            return
        self._founding = None
        self._named[hello.instance] = None
        self._decisions.append(Decision(f"{hello.address} welcomes this node",
                                        f"joins cluster {cluster_id[:8]}"))
        self._adopt_cluster(cluster_id)

    def _asked_to_join(self, now: Instant, hello: Hello, body: bytes) -> None:
        address, instance = read_join(body)
        view = self.core.view()
        if view.role == LEADER:
            self.joining.ask(now, address, instance)
        elif view.leader and hello.address == address:     # forwarded once: to the leader, to no third node
            leader = self._leader_address(view)
            if leader:
                self.ports.send(self._address(leader), handshake.JOIN, body, False)

    def _join_replied(self, now: Instant, hello: Hello, body: bytes) -> None:
        if self._founding and self._is_fresh and hello.cluster_id:
            self._founding.replied(now.boot, hello.address, read_reply(body))

    # --- acts

    def _send_raft(self, view: View, peer: str, message: Any) -> None:
        member = view.configuration.find(peer)
        text = member.address if member else next(
            (address for address, found in self.reached.items() if found.hello.instance == peer), None)
        found = self.reached.get(text) if text else None
        if found is None or found.hello.instance != peer or self._disowning.is_disowned:
            return       # No link: Raft repeats what matters once there is one.
        body = encode_message(message)
        self.ports.send(self._address(text), handshake.RAFT, body, len(body) <= URGENT_BYTES)

    def _forward(self, address: str, body: bytes) -> bool:
        return (address in self.reached
                and self.ports.send(self._address(address), handshake.FORWARD, body, False))

    def _report_work(self, view: View, body: bytes) -> None:
        leader = self._leader_address(view)
        if leader and leader in self.reached:
            self.ports.send(self._address(leader), handshake.OUTGOING, body, True)

    def _adopt_cluster(self, cluster_id: str) -> None:
        self.ports.adopt_cluster(cluster_id)
        self.cluster_id = cluster_id

    def _carry_out_founding(self, now: Instant) -> None:
        for effect in self._founding.effects():
            if isinstance(effect, Adopt):
                self._adopting = True
                self.core.step(now, inputs.Founded(decode(effect.body)))
            elif isinstance(effect, Send):
                self.ports.send(self._address(effect.address), effect.kind, effect.body, True)
            elif isinstance(effect, Campaign):
                self.core.step(now, inputs.Campaign())

    def _change_members(self, now: Instant) -> None:
        for address, body in self._changing.look(now):
            self.ports.send(self._address(address), handshake.JOIN_REPLY, body, True)
        if self.core.role != LEADER:
            return
        founders = self._founding.configuration if self._founding else None
        for address, (generation, hello) in self._welcoming.due(self.core, founders, self.reached):
            self.ports.send(self._address(address), handshake.WELCOME, self.cluster_id.encode("ascii"), True)
            # What it was sent before, it has ignored: begin anew with it.
            self.core.step(now, inputs.LinkUp(hello.instance, generation, hello.incarnation))

    def _become_holder(self) -> None:
        entry = self.core.founding_entry
        if self._founding is None and entry and self.cluster_id:
            self._founding = Holder(self.identity.instance, entry.body)
            for address, found in self.reached.items():
                self._founding.link_up(0, address, _facts(found.hello))

    def _follow_configuration(self, now: Instant, view: View) -> None:
        self._become_holder()
        if view.configuration is not self._configuration:
            self._configuration = view.configuration
            self._named.update((member.instance, None) for member in view.configuration.members)
        founding = self._founding.targets if self._founding else ()
        targets = self._dialling.changed(now, view, founding + self.joining.targets + self.serving.callers)
        if targets is not None:
            self.ports.dial(tuple(self._address(address) for address in targets))

    @property
    def _is_fresh(self) -> bool:
        return self.core.is_empty and (self._founding is None or self._founding.is_fresh)

    @property
    def _offered(self) -> Tuple[str, ...]:
        fresh = self._founding is not None and self._founding.is_fresh
        return self._founding.offered if fresh else self.identity.listed

    def _leader_address(self, view: View) -> Optional[str]:
        member = view.configuration.find(view.leader) if view.leader else None
        return member.address if member else None

    # Of any node that ever called: bounded.
    _address = staticmethod(functools.lru_cache(256)(parse))

    @property
    def key_count(self) -> int:
        return self._applying.store.count


_FRAMES = {
    handshake.FOUND: Turn._found, handshake.FOUND_ACK: Turn._found_ack, handshake.WELCOME: Turn._welcomed,
    handshake.JOIN: Turn._asked_to_join,
    handshake.FORWARD: lambda turn, now, hello, body: turn.serving.forwarded(now, hello.address, body),
    handshake.FORWARD_REPLY: lambda turn, now, hello, body: turn.serving.forward_reply(now, body),
    handshake.JOIN_REPLY: Turn._join_replied,
}


def _facts(hello: Hello) -> Facts:
    return Facts(hello.fresh, hello.founding, hello.cluster_id, hello.instance)
