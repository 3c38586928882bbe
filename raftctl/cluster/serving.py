"""Requests for the store: the leader proposes and reads, other nodes forward; each ends with one `Answer`.

Pure: asks come with a token that the caller drew; answers leave through `take_answers`. A proposal that was
handed on and not answered has an unknown outcome; everything else that ends without an answer changed
nothing.
"""

from __future__ import annotations

import struct
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

from raftctl.base.errors import PeerFault, require
from raftctl.base.instants import Instant
from raftctl.raft.inputs import LEADER, Accepted, Proposed, ReadAsked, Refusal, View
from raftctl.raft.messages import COMMAND, Entry
from raftctl.store.machine import Store

PROPOSE = 1     # body: a store command
READ = 2        # body: a key, or empty where only the leadership is to be confirmed
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
    """`code` None: done. `value` None: the key is absent, or nothing was read."""

    code: Optional[str]
    revision: int
    value: Optional[bytes]


_NO_LEADER = Answer("no_leader", 0, None)
_UNKNOWN = Answer("unknown_outcome", 0, None)


class Serving:
    """All asks under way on one node. Node thread only."""

    def __init__(self, store: Store, step: Callable[[Instant, object], None],
                 forward: Callable[[str, bytes], bool]) -> None:
        """`step` feeds the core; `forward` sends a FORWARD body to an address: is it on its way?"""
        self._store, self._step, self._forward = store, step, forward
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
        if kind not in (PROPOSE, READ):
            raise PeerFault(f"{address}: forwarded request of unknown kind {kind}")
        ask = Ask(self._next_foreign, kind, body[_FORWARD.size:], (address, token))
        self._next_foreign -= 1
        if self._leads:
            self.ask(now, ask)
        else:
            self._answers.append((ask, _NO_LEADER))

    def _route(self, now: Instant, ask: Ask) -> None:
        if self._leads:
            proposes = ask.kind == PROPOSE
            self._step(now, Proposed(ask.token, COMMAND, ask.body) if proposes else ReadAsked(ask.token))
            return
        address = self._leader_address
        if (ask.origin is None and address
                and self._forward(address, _FORWARD.pack(ask.token, ask.kind) + ask.body)):
            self._forwarded[ask.token] = address
        elif ask.origin is None:
            self._waiting[ask.token] = ask
        else:
            self._answer(ask.token, _NO_LEADER)

    def expire(self, token: int) -> None:
        """The client waits no longer: tell it what is known."""
        ask = self._open.get(token)
        if ask is None:
            return
        unknown = ask.kind == PROPOSE and token not in self._waiting
        self._answer(token, _UNKNOWN if unknown else _NO_LEADER)

    # --- what the core and the leader answer

    def accepted(self, accepted: Accepted) -> None:
        self._at_index[accepted.index] = (accepted.term, accepted.request)

    def refused(self, refusal: Refusal) -> None:
        """A refusal changed nothing: without a leader the ask waits for the next one."""
        ask = self._open.get(refusal.request)
        if ask is None:
            return
        if refusal.code == "no_leader" and ask.origin is None:
            self._waiting[ask.token] = ask
        else:
            self._answer(ask.token, Answer(refusal.code, 0, None))

    def applied(self, entry: Entry) -> None:
        """Apply one committed entry, and answer who proposed it, or what it replaced."""
        result = self._store.apply(entry.index, entry.body) if entry.kind == COMMAND else None
        term, token = self._at_index.pop(entry.index, (0, 0))
        if not token:
            return
        if term != entry.term or result is None:
            # Overwritten by a later leader: it never happened.
            self._answer(token, Answer("no_leader", 0, None))
        else:
            self._answer(token, Answer(result.code, result.revision, None))

    def replaced(self, store: Store, index: int) -> None:
        """Serve `store` from now on, a snapshot up to `index`; what became of proposals in it is unknown."""
        self._store = store
        for at in [at for at in self._at_index if at <= index]:
            self._answer(self._at_index.pop(at)[1], _UNKNOWN)

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
        if answer.code == "no_leader":
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
        self._give_up(lambda leader: leader != address)
        self.retry(now)

    def retry(self, now: Instant) -> None:
        """A leader or a link to it is there: send on what waits."""
        waiting, self._waiting = self._waiting, {}
        for ask in waiting.values():
            self._route(now, ask)

    def link_down(self, address: str) -> None:
        """Words to `address` may be lost: reads are asked again, proposals have an unknown outcome."""
        self._give_up(lambda leader: leader == address)

    def _give_up(self, is_lost: Callable[[str], bool]) -> None:
        for token, leader in list(self._forwarded.items()):
            if not is_lost(leader):
                continue
            del self._forwarded[token]
            ask = self._open[token]
            if ask.kind == READ:
                self._waiting[token] = ask
            else:
                self._answer(token, _UNKNOWN)

    def _answer(self, token: int, answer: Answer) -> None:
        ask = self._open.pop(token, None)
        self._waiting.pop(token, None)
        self._forwarded.pop(token, None)
        if ask is not None:
            self._answers.append((ask, answer))


_CODES = ("", "no_leader", "unknown_outcome", "busy", "stopping", "compare_failed", "not_found", "refused")


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
