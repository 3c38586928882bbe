"""Requests of clients: the leader carries them out, others forward them; each ends with one `Answer`.

Pure: asks come with a token that the caller drew; answers leave through `take_answers`. A proposal that was
handed on and not answered has an unknown outcome; everything else that ends without an answer changed
nothing.
"""

from __future__ import annotations

import struct
from typing import Callable, Dict, List, Mapping, NamedTuple, Optional, Tuple

from raftctl.base.errors import PeerFault, require
from raftctl.base.instants import Instant
from raftctl.raft.configuration import decode
from raftctl.raft.inputs import (
    LEADER,
    Accepted,
    Proposed,
    ReadAsked,
    Refusal,
    Transferred,
    View,
)
from raftctl.raft.messages import COMMAND, CONFIGURATION, TAKEOVER, Entry
from raftctl.store.machine import Store

PROPOSE = 1     # body: a store command
READ = 2        # body: a key, or empty where only the leadership is to be confirmed
TRANSFER = 3    # body: the instance to lead next, or empty for the best; waits for no leader
CHANGE = 4      # body: as `cluster/removing.py` encodes it
TAKEN_OVER = 5  # answered when the `leader` hook of whoever leads has ended
LIMIT = 4096    # asks under way; beyond it clients are told "busy" before anything is proposed

_FORWARD = struct.Struct("!QB")
_REPLY = struct.Struct("!QQ?B")


class Ask(NamedTuple):
    """`origin` is None for an own client, else the address that forwarded it and its token there."""

    token: int
    kind: int
    body: bytes
    origin: Optional[Tuple[str, int]] = None


class Answer(NamedTuple):
    """`code` None: done. `value` None: the key is absent, or nothing was read.

    `value` of a transfer: the instance that was told to lead, of a CHANGE: the addresses of the members, one
    a line; of both where refused: why nothing was changed.
    """

    code: Optional[str]
    revision: int
    value: Optional[bytes]


_NO_LEADER = Answer("no_leader", 0, None)
_UNKNOWN = Answer("unknown_outcome", 0, None)


class Desk:
    """Who decides on asks of a kind on the leader: `cluster/removing.py`, `cluster/handing.py`."""

    def ask(self, ask: Ask) -> None:
        raise NotImplementedError

    def withdraw(self, token: int) -> bool:
        raise NotImplementedError


class Serving:
    """All asks under way on one node. Node thread only."""

    def __init__(self, store: Store, step: Callable[[Instant, object], None],
                 forward: Callable[[str, bytes], bool], desks: Mapping[int, Desk]) -> None:
        """`step` feeds the core; `forward` sends a FORWARD body to an address: is it on its way?

        `desks`: kind → who is asked on the leader; such an ask ends in `accepted`, `refused`, `transferred`
        or `ended`.
        """
        self._store, self._step, self._forward, self._desks = store, step, forward, desks
        self._callers: Dict[int, str] = {}                 # token of a CHANGE → who forwarded it
        self._open: Dict[int, Ask] = {}
        self._waiting: Dict[int, Ask] = {}                 # no leader is known, or no link to it
        self._at_index: Dict[int, Tuple[int, int]] = {}    # log index → (term, token) of own proposals
        self._forwarded: Dict[int, str] = {}               # token → address of the leader that has it
        self._answers: List[Tuple[Ask, Answer]] = []
        self._leader_address: Optional[str] = None
        self._leads = False
        self._next_foreign = -1

    def take_answers(self) -> Tuple[Tuple[Ask, Answer], ...]:
        taken, self._answers = tuple(self._answers), []
        return taken

    # --- asks

    def ask(self, now: Instant, ask: Ask) -> None:
        """Take one ask; tokens of own clients are positive and unique in this process."""
        if len(self._open) >= LIMIT:
            self._answers.append((ask, Answer("busy", 0, None)))
            return
        self._open[ask.token] = ask
        self._route(now, ask)

    def forwarded(self, now: Instant, address: str, body: bytes) -> None:
        """Take a FORWARD frame from `address`. Not forwarded again: its sender learns that another leads."""
        if len(body) < _FORWARD.size:
            raise PeerFault(f"{address}: forwarded request of {len(body)} bytes")
        token, kind = _FORWARD.unpack_from(body)
        if kind not in (PROPOSE, READ, TRANSFER, CHANGE, TAKEN_OVER):
            raise PeerFault(f"{address}: forwarded request of unknown kind {kind}")
        ask = Ask(self._next_foreign, kind, body[_FORWARD.size:], (address, token))
        self._next_foreign -= 1
        if self._leads:
            self.ask(now, ask)
        else:
            self._answers.append((ask, _NO_LEADER))

    def _route(self, now: Instant, ask: Ask) -> None:
        if self._leads:
            self._lead(now, ask)
            return
        address = self._leader_address
        if (ask.origin is None and address
                and self._forward(address, _FORWARD.pack(ask.token, ask.kind) + ask.body)):
            self._forwarded[ask.token] = address
        elif _may_wait(ask):
            self._waiting[ask.token] = ask
        else:
            self._answer(ask.token, _NO_LEADER)

    def _lead(self, now: Instant, ask: Ask) -> None:
        if ask.kind not in self._desks:
            self._step(now, _INPUTS[ask.kind](ask))
            return
        if ask.kind == CHANGE and ask.origin:
            self._callers[ask.token] = ask.origin[0]
        self._desks[ask.kind].ask(ask)

    @property
    def callers(self) -> Tuple[str, ...]:
        """Who waits for the answer to a CHANGE: to be reached also when it is no member any more."""
        return tuple(self._callers.values())

    def expire(self, token: int) -> None:
        """The client waits no longer: tell it what is known."""
        ask = self._open.get(token)
        if ask is None:
            return
        desk = self._desks.get(ask.kind)
        untouched = token in self._waiting or (desk is not None and desk.withdraw(token))
        unknown = ask.kind != READ and not untouched
        self._answer(token, _UNKNOWN if unknown else _NO_LEADER)

    # --- what the core and the leader answer

    def accepted(self, accepted: Accepted) -> None:
        self._at_index[accepted.index] = (accepted.term, accepted.request)

    def refused(self, refusal: Refusal) -> None:
        """A refusal changed nothing: without a leader the ask waits for the next one."""
        ask = self._open.get(refusal.request)
        if ask is None:
            return
        if refusal.code == "no_leader" and _may_wait(ask):
            self._waiting[ask.token] = ask
        else:
            self._answer(ask.token, Answer(refusal.code, 0, refusal.reason.encode() or None))

    def transferred(self, done: Transferred) -> None:
        """This node leads no more. Who asked for its removal waits for the successor, which does that."""
        ask = self._open.get(done.request)
        if ask is not None and ask.kind == CHANGE:
            self.refused(Refusal(done.request, "no_leader"))
        else:
            self._answer(done.request, Answer(None, 0, done.successor.encode()))

    def applied(self, entry: Entry) -> None:
        """Apply one committed entry, and answer who proposed it, or what it replaced."""
        result = self._store.apply(entry.index, entry.body) if entry.kind == COMMAND else None
        if entry.kind == TAKEOVER:
            self._store.apply_takeover(entry.index, entry.term, entry.body)
        term, token = self._at_index.pop(entry.index, (0, 0))
        if not token:
            return
        if term == entry.term and entry.kind == CONFIGURATION:
            members = "\n".join(member.address for member in decode(entry.body).members)
            self._answer(token, Answer(None, entry.index, members.encode("ascii")))
        elif term != entry.term or result is None:
            # Overwritten by a later leader: it never happened.
            self._answer(token, Answer("no_leader", 0, None))
        else:
            self._answer(token, Answer(result.code, result.revision, None))

    def replaced(self, store: Store, index: int) -> None:
        """Serve `store` from now on, a snapshot up to `index`; what became of proposals in it is unknown."""
        self._store = store
        for at in [at for at in self._at_index if at <= index]:
            self._answer(self._at_index.pop(at)[1], _UNKNOWN)

    def ended(self, token: int, answer: Answer) -> None:
        """An ask of a desk ends without an entry."""
        self._answer(token, answer)

    def confirmed(self, token: int, index: int) -> None:
        """The read may be answered from the store, which has applied up to `index` (dissertation §6.4)."""
        ask = self._open.get(token)
        if ask is None:
            return
        self._answer(token, self.look_up(ask.body))

    def look_up(self, key: bytes) -> Answer:
        """Return what the local copy of the store holds."""
        value, revision = self._store.get(key) or (None, 0) if key else (None, 0)
        return Answer("not_found" if value is None and key else None, revision, value)

    def forward_reply(self, now: Instant, body: bytes) -> None:
        """Take a FORWARD_REPLY frame; answers that nobody waits for any more are dropped."""
        token, answer = decode_reply(body)
        ask = self._open.get(token)
        if ask is None or self._forwarded.pop(token, None) is None:
            return
        if answer.code == "no_leader" and _may_wait(ask):
            self._waiting[token] = ask
        else:
            self._answer(token, answer)

    # --- changes of leader and of links

    def leader_is(self, now: Instant, view: View, address: Optional[str]) -> None:
        """Note who leads (`address` None: nobody known); asks that waited for one go on."""
        leads = view.role == LEADER
        if (leads, address) == (self._leads, self._leader_address):
            return
        self._leads, self._leader_address = leads, address
        # A leader that hands over answers when it leads no more: its answer may come behind that news.
        self._give_up(lambda leader, ask: leader != address and ask.kind not in (TRANSFER, CHANGE))
        self.retry(now)

    def retry(self, now: Instant) -> None:
        """A leader or a link to it is there: send on what waits."""
        waiting, self._waiting = self._waiting, {}
        for ask in waiting.values():
            self._route(now, ask)

    def link_down(self, address: str) -> None:
        """Words to `address` may be lost: reads are asked again, proposals have an unknown outcome."""
        self._give_up(lambda leader, ask: leader == address)

    def _give_up(self, is_lost: Callable[[str, Ask], bool]) -> None:
        for token, leader in list(self._forwarded.items()):
            ask = self._open[token]
            if not is_lost(leader, ask):
                continue
            del self._forwarded[token]
            if ask.kind in (READ, TAKEN_OVER):
                self._waiting[token] = ask
            else:
                self._answer(token, _UNKNOWN)

    def _answer(self, token: int, answer: Answer) -> None:
        ask = self._open.pop(token, None)
        self._waiting.pop(token, None)
        self._forwarded.pop(token, None)
        self._callers.pop(token, None)
        if ask is not None:
            self._answers.append((ask, answer))


def _may_wait(ask: Ask) -> bool:
    # A transfer is meant for the leader of now: the next one must not hand over once more.
    return ask.origin is None and ask.kind != TRANSFER


_INPUTS: Dict[int, Callable[[Ask], object]] = {
    PROPOSE: lambda ask: Proposed(ask.token, COMMAND, ask.body),
    READ: lambda ask: ReadAsked(ask.token),
}
_CODES = ("", "no_leader", "unknown_outcome", "busy", "stopping", "compare_failed", "not_found", "refused",
          "timeout", "store_full")


def encode_reply(token: int, answer: Answer) -> bytes:
    """Return the body of a FORWARD_REPLY: asker's token, revision, whether a value follows, code, value."""
    code = answer.code or ""
    require(code in _CODES, "answer code without a number", code)
    head = _REPLY.pack(token, answer.revision, answer.value is not None, _CODES.index(code))
    return head + (answer.value or b"")


def decode_reply(body: bytes) -> Tuple[int, Answer]:
    """Return (token, answer); raise `PeerFault` for anything that `encode_reply` does not write."""
    if len(body) < _REPLY.size or body[_REPLY.size - 1] >= len(_CODES):
        raise PeerFault(f"forward reply of {len(body)} bytes")
    token, revision, has_value, code = _REPLY.unpack_from(body)
    return token, Answer(_CODES[code] or None, revision, body[_REPLY.size:] if has_value else None)
