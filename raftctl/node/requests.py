"""The actions of the command protocol (raftctl-protocol(7)): a table from action to handler.

Runs in the threads of the command listener: it checks and encodes there, asks the node thread, and waits with
the request's own deadline. Errors leave as `CommandError`.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import threading
import time
from typing import Any, Callable, Dict, Optional, Tuple

from raftctl.base.addresses import parse
from raftctl.base.errors import UsageError
from raftctl.cluster.removing import encode_removal
from raftctl.cluster.serving import CHANGE, PROPOSE, READ, TAKEN_OVER, TRANSFER, Answer, Ask
from raftctl.net.commands import Caller
from raftctl.net.error_codes import CommandError
from raftctl.node.chronicle import Chronicle
from raftctl.node.fitness import Fitness
from raftctl.node.inbox import Inbox
from raftctl.node.loop import Expired
from raftctl.node.status import Status
from raftctl.node.waiting import Waiting
from raftctl.raft.inputs import LEADER
from raftctl.store import commands

_Object = Dict[str, Any]

DEFAULT_TIMEOUT_MS = 5000
LONGEST_TIMEOUT_MS = 600_000
DEFAULT_ENTRIES, MOST_ENTRIES = 20, 1000
# The history's own disk may hang; then it is read as it stands.
_FLUSH_S = 1.0
# After its deadline an ask is answered by the node thread at once; this bounds a node thread that hangs.
_EXPIRY_S = 2.0

# Without what the hint of net/error_codes.py says: people read both, one behind the other.
_MESSAGES = {
    "no_leader": "no leader within {seconds:g} s; nothing was changed",
    "unknown_outcome": "the leader was lost, or the {seconds:g} s were over, before it answered",
    "busy": "too many requests are under way",
    "not_found": "no such key",
    "compare_failed": "the key has revision {revision}{absent}, not the expected one; nothing was changed",
}


class _Waiter:
    """One client's place to wait for its answer.

    A bare lock: an Event costs six times as much, 3 µs, much of it on the node thread, for every answer.
    """

    __slots__ = ("_done", "answer")

    def __init__(self) -> None:
        self._done = threading.Lock()
        self._done.acquire()
        self.answer: Optional[Answer] = None

    def set(self, answer: Answer) -> None:
        """Give the answer, once."""
        self.answer = answer
        self._done.release()

    def wait(self, timeout_s: float) -> bool:
        """Wait from 0 to `timeout_s` seconds; is the answer there? Not to be asked again after a yes."""
        return self._done.acquire(timeout=timeout_s)


class Requests:
    """`answer` is what the command listener calls, in any of its threads."""

    def __init__(self, inbox: Inbox, status: Status, give_up_cluster: Callable[[str, bool], None],
                 chronicle: Chronicle, fitness: Fitness) -> None:
        """`give_up_cluster(address, discard_data)` starts the node again as one that joins, or raises."""
        self._inbox, self._status, self._give_up_cluster = inbox, status, give_up_cluster
        self._chronicle, self._fitness = chronicle, fitness
        self._tokens = itertools.count(1)
        self._waiters: Dict[int, _Waiter] = {}
        self.stopping = False
        # Why all but `state` and `status` is refused for the time being, "" where it is not.
        self.waiting = ""

    def answer(self, request: _Object, caller: Caller) -> _Object:
        """Return the reply to `request` without its id; raise `CommandError`."""
        action = request.get("action")
        handler = _ACTIONS.get(action) if isinstance(action, str) else None
        if handler is None:
            raise CommandError("unknown_action",
                               f"unknown action {action!r}; known: {', '.join(sorted(_ACTIONS))}")
        if self.stopping and handler not in _ALWAYS:
            raise CommandError("stopping", "this node is stopping; nothing was changed")
        if self.waiting and handler not in _ALWAYS:
            raise CommandError("no_leader",
                               f"nothing was changed, this node waits for an address: {self.waiting}")
        timeout_s = _timeout_s(request)
        if action in _NOTED:
            whom = request.get("address", request.get("to") or "")
            self._chronicle.note("asked", f"{action} {whom}".rstrip(), by=caller.who)
        return handler(self, request, timeout_s)

    def deliver(self, ask: Ask, answer: Answer) -> None:
        """Hand an answer to who waits for it. Node thread."""
        waiter = self._waiters.pop(ask.token, None)
        if waiter is not None:
            waiter.set(answer)

    def _post(self, kind: int, body: bytes) -> Tuple[_Waiter, int]:
        waiter, token = _Waiter(), next(self._tokens)
        self._waiters[token] = waiter
        self._inbox.post(Ask(token, kind, body))
        return waiter, token

    def _ask(self, kind: int, body: bytes, timeout_s: float) -> Answer:
        waiter, token = self._post(kind, body)
        if not waiter.wait(timeout_s):
            self._inbox.post(Expired(token))
            if not waiter.wait(_EXPIRY_S):
                self._waiters.pop(token, None)
                raise CommandError("unknown_outcome", "this node hangs; see its log")
        answer: Answer = waiter.answer  # type: ignore[assignment]
        if answer.code is not None:
            text = _MESSAGES.get(answer.code) or (answer.value or b"refused by the leader").decode("ascii")
            extra = {"revision": answer.revision} if answer.code == "compare_failed" else {}
            absent = "" if answer.revision else " (it is absent)"
            raise CommandError(answer.code, text.format(seconds=timeout_s, revision=answer.revision,
                                                        absent=absent), **extra)
        return answer

    def _is_confirmed(self, timeout_s: float) -> bool:
        """Does a quorum confirm that this node leads? No as soon as its lease is over: nobody need wait."""
        deadline_s = time.monotonic() + timeout_s
        waiter, token = self._post(READ, b"")
        while True:
            left_s = min(self._status.lease_left_s(), deadline_s - time.monotonic())
            if waiter.wait(max(left_s, 0)):
                return waiter.answer is not None and waiter.answer.code is None
            if left_s <= 0:
                self._waiters.pop(token, None)
                self._inbox.post(Expired(token))
                return False

    # --- actions

    def _state(self, request: _Object, timeout_s: float) -> _Object:
        """`state`: LEADER is confirmed by a round sent after the question (P2, pitfall 7.1)."""
        found = self._status.state()
        if found["state"] == "LEADER":
            if not self._is_confirmed(timeout_s):
                return self._status.state(unconfirmed=True)
            again = self._status.state()
            return again if again["term"] == found["term"] else self._status.state(unconfirmed=True)
        return found

    def _cluster_status(self, request: _Object, timeout_s: float) -> _Object:
        return self._status.cluster(self._state(request, timeout_s), timeout_s)

    def _history(self, request: _Object, timeout_s: float) -> _Object:
        limit = request.get("limit", DEFAULT_ENTRIES)
        if type(limit) is not int or limit < 1:
            raise CommandError("bad_request", '"limit" is a whole number from 1')
        self._chronicle.flush(min(timeout_s, _FLUSH_S))
        return {"entries": self._chronicle.read(min(limit, MOST_ENTRIES))}

    def _wait(self, request: _Object, timeout_s: float) -> _Object:
        waiting = Waiting(self._status, lambda left_s: self._state({}, left_s), lambda: self.stopping)
        return waiting.wait(request, timeout_s)

    def _get(self, request: _Object, timeout_s: float) -> _Object:
        key, is_stale = _key(request), _flag(request, "stale")
        self._status.check_initialized()
        if is_stale:
            answer = self._status.stale(key, timeout_s)
            if answer.code:
                raise _no_key(request)
        else:
            answer = self._ask_of_key(request, READ, key, timeout_s)
        return {"key": request["key"], **_show_value(answer.value or b""), "revision": answer.revision}

    def _put(self, request: _Object, timeout_s: float) -> _Object:
        key, value = _key(request), _value(request)
        if_revision = _revision(request)
        if _flag(request, "ifAbsent"):
            if if_revision:
                raise CommandError("bad_request",
                                   '"ifAbsent" and "ifRev" exclude each other; send one of them')
            if_revision = 0
        self._status.check_initialized()
        return {"revision": self._ask(PROPOSE, commands.encode_put(key, value, if_revision),
                                      timeout_s).revision}

    def _delete(self, request: _Object, timeout_s: float) -> _Object:
        key = _key(request)
        self._status.check_initialized()
        body = commands.encode_delete(key, _revision(request))
        return {"revision": self._ask_of_key(request, PROPOSE, body, timeout_s).revision}

    def _ask_of_key(self, request: _Object, kind: int, body: bytes, timeout_s: float) -> Answer:
        """As `_ask`; where the key is absent, its name is said."""
        try:
            return self._ask(kind, body, timeout_s)
        except CommandError as error:
            if error.code == "not_found":
                raise _no_key(request) from error
            raise

    def _bootstrap(self, request: _Object, timeout_s: float) -> _Object:
        refusal = self._status.bootstrap(timeout_s)
        if refusal:
            raise CommandError("refused", refusal)
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            view = self._status.wait_for_change(0.5).view
            if view.configuration.members:
                return {"clusterId": view.configuration.cluster_id,
                        "members": [member.address for member in view.configuration.members]}
        # Not "timeout": that says that nothing was changed.
        raise CommandError("unknown_outcome", hint="raftctl status says whether it got through",
                           message=f"the founding has begun and was not on disk within {timeout_s:g} s")

    def _join(self, request: _Object, timeout_s: float) -> _Object:
        address = request.get("address")
        if not isinstance(address, str):
            raise CommandError("bad_request", '"address" is missing; send the address of any member')
        self._give_up_cluster(address, _flag(request, "discardData"))
        return {"accepted": True}

    def _remove(self, request: _Object, timeout_s: float) -> _Object:
        text, forced = request.get("address"), _flag(request, "force")
        if not isinstance(text, str):
            raise CommandError("bad_request", '"address" is missing; send the address of a member')
        address = _address(text)
        self._status.check_initialized()
        try:
            answer = self._ask(CHANGE, encode_removal(address, forced=forced), timeout_s)
        except CommandError as error:
            if error.code == "not_found":
                raise CommandError("not_found", f"no member has the address {address}",
                                   hint="raftctl status lists them") from error
            if error.code == "refused":
                raise CommandError("refused", error.message,
                                   hint="start the others first; --force appends it all the same") from error
            raise
        return {"address": address, "members": (answer.value or b"").decode("ascii").split("\n")}

    def _transfer(self, request: _Object, timeout_s: float) -> _Object:
        """Hand leadership over, and wait until the `leader` hook of whoever leads then has ended (P6)."""
        deadline_s, to = time.monotonic() + timeout_s, request.get("to")
        if to is not None and (not isinstance(to, str) or not to):
            raise CommandError("bad_request", '"to" is the name or address of a member; leave it out for any')
        self._status.check_initialized()
        wanted = self._status.member(to, timeout_s) if to else None
        successor = self._hand_over(wanted["instance"] if wanted else "", timeout_s)
        address = self._address_of(successor)
        try:
            answer = self._ask(TAKEN_OVER, b"", max(deadline_s - time.monotonic(), 0.001))
        except CommandError as error:
            if error.code == "refused":
                raise CommandError("refused", f"leadership was handed over to {address}: {error.message}",
                                   hint="see the log of that node") from error
            raise CommandError("unknown_outcome", f"{address} was told to lead; whether it does, and its "
                               f"leader hook has ended, was not known within {timeout_s:g} s",
                               hint="raftctl status says who leads") from error
        leader = self._address_of((answer.value or b"").decode("ascii"))
        if wanted and leader != wanted["address"]:
            raise CommandError("refused", f"{wanted['address']} was told to lead, but {leader} leads now")
        return {"leader": leader}

    def _hand_over(self, instance: str, timeout_s: float) -> str:
        """Return the instance that was told to lead; raise `CommandError` where the leader leads on."""
        try:
            answer = self._ask(TRANSFER, instance.encode("ascii"), timeout_s)
        except CommandError as error:
            if error.code in ("refused", "timeout"):
                raise CommandError("refused", f"not handed over: {error.message}",
                                   hint="raftctl status says who could lead") from error
            raise
        return (answer.value or b"").decode("ascii")

    def _address_of(self, instance: str) -> str:
        member = self._status.shown.view.configuration.find(instance)
        return member.address if member else "a former member"

    def _drain(self, request: _Object, timeout_s: float) -> _Object:
        """Hand over if this node leads, and campaign no more until `undrain`."""
        try:
            self._fitness.drain.keep(True)
        except OSError as error:
            raise CommandError("refused", f"the data directory takes no file: {error}") from error
        problem = None
        if self._status.shown.view.role == LEADER:
            try:
                self._hand_over("", timeout_s)
            except CommandError as error:
                problem = error.message
        self._fitness.apply_drain()
        return {"drained": True, "problem": problem}

    def _undrain(self, request: _Object, timeout_s: float) -> _Object:
        try:
            self._fitness.drain.keep(False)
        except OSError as error:
            raise CommandError("refused", f"the file in the data directory stays: {error}") from error
        self._fitness.apply_drain()
        return {"drained": False}


_ACTIONS: Dict[str, Callable[[Requests, _Object, float], _Object]] = {
    "state": Requests._state, "status": Requests._cluster_status, "get": Requests._get, "put": Requests._put,
    "del": Requests._delete, "bootstrap": Requests._bootstrap, "join": Requests._join,
    "remove": Requests._remove, "wait": Requests._wait,
    "history": Requests._history, "transfer": Requests._transfer, "drain": Requests._drain,
    "undrain": Requests._undrain,
}
_ALWAYS = (Requests._state, Requests._cluster_status, Requests._wait, Requests._history)
# What an operator asks for and the history is to name him for; of reads and writes there are too many.
_NOTED = ("bootstrap", "join", "remove", "transfer", "drain", "undrain")


def _address(text: str) -> str:
    try:
        return str(parse(text))
    except UsageError as error:
        raise CommandError("bad_request", str(error)) from error


def _timeout_s(request: _Object) -> float:
    value = request.get("timeoutMs", DEFAULT_TIMEOUT_MS)
    if type(value) is not int or not 0 < value <= LONGEST_TIMEOUT_MS:
        raise CommandError("bad_request", f'"timeoutMs" is a whole number from 1 to {LONGEST_TIMEOUT_MS}')
    return value / 1000


def _no_key(request: _Object) -> CommandError:
    return CommandError("not_found", f'no key "{request["key"]}"')


def _flag(request: _Object, name: str) -> bool:
    value = request.get(name, False)
    if not isinstance(value, bool):
        raise CommandError("bad_request", f'"{name}" is true or false')
    return value


def _revision(request: _Object) -> Optional[int]:
    value = request.get("ifRev")
    if value is None:
        return None
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise CommandError("bad_request",
                           '"ifRev" is the revision of an earlier reply, or 0 for an absent key')
    return value


def _key(request: _Object) -> bytes:
    text = request.get("key")
    if not isinstance(text, str):
        raise CommandError("bad_request", '"key" is missing or no text')
    return _checked(commands.check_key, text.encode("utf-8", "surrogatepass"))


def _value(request: _Object) -> bytes:
    text, encoding = request.get("value"), request.get("encoding")
    if not isinstance(text, str):
        raise CommandError("bad_request",
                           '"value" is missing or no text; other bytes go with "encoding": "base64"')
    if encoding not in (None, "base64"):
        raise CommandError("bad_request",
                           f'"encoding" {encoding!r} is unknown; leave it out or send "base64"')
    try:
        value = base64.b64decode(text, validate=True) if encoding else text.encode("utf-8")
    except (binascii.Error, ValueError) as error:
        raise CommandError("bad_request", f'"value" can\'t be read as {encoding or "UTF-8 text"}') from error
    return _checked(commands.check_value, value)


def _checked(check: Callable[[bytes], None], data: bytes) -> bytes:
    try:
        check(data)
    except UsageError as error:
        code = "too_large" if isinstance(error, commands.TooLarge) else "bad_request"
        raise CommandError(code, str(error)) from error
    return data


def _show_value(value: bytes) -> _Object:
    """Return "value" as text where the bytes are UTF-8, else as base64 with "encoding"."""
    try:
        return {"value": value.decode("utf-8")}
    except UnicodeDecodeError:
        return {"value": base64.b64encode(value).decode("ascii"), "encoding": "base64"}
