"""`wait`: answers once something is true of the node or its cluster, instead of being asked again and again.

ONE table of conditions, each a question that returns "" where it is met, else what is missing. It looks at
each change of state, term, leader or configuration, and `LOOK_S` after the last look, since nothing tells
when a peer falls silent. Threads of the command listener.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Dict

from raftctl.net.error_codes import CommandError
from raftctl.node.status import Status

_Object = Dict[str, Any]

LOOK_S = 0.25
STATES = ("LEADER", "FOLLOWER", "CANDIDATE", "LEARNER", "UNINITIALIZED")


class Waiting:
    """`ask_state(timeout_s)` is the reply of the action `state`, its LEADER confirmed (P2)."""

    def __init__(self, status: Status, ask_state: Callable[[float], _Object],
                 is_stopping: Callable[[], bool]) -> None:
        self._status, self._ask_state, self._is_stopping = status, ask_state, is_stopping

    def wait(self, request: _Object, timeout_s: float) -> _Object:
        """Return the node's state once the condition of `request` is met.

        Raises `CommandError`: bad_request, timeout, or stopping, which ends a wait at once.
        """
        name = request.get("for")
        condition = _CONDITIONS.get(name) if isinstance(name, str) else None
        if condition is None:
            raise CommandError("bad_request", f'"for" is one of {", ".join(_CONDITIONS)}')
        began_s = time.monotonic()
        while True:
            left_s = began_s + timeout_s - time.monotonic()
            missing = condition(self, request, max(left_s, 0.001))
            if not missing:
                state = self._status.state()
                return {"waitedMs": int((time.monotonic() - began_s) * 1000), "leader": state["leader"],
                        "term": state["term"]}
            if self._is_stopping():
                raise CommandError("stopping", "this node is stopping")
            if left_s <= 0:
                raise CommandError("timeout", f"not within {timeout_s:g} s: {missing}")
            self._status.wait_for_change(min(LOOK_S, left_s))

    def _leader(self, request: _Object, timeout_s: float) -> str:
        state = self._status.state()
        if state["leader"] is None:
            return state["reason"] or "this node knows no leader"
        if state["leader"] == state["address"] and state["state"] != "LEADER":
            return f"this node leads and is {state['state']}"
        return ""

    def _quorum(self, request: _Object, timeout_s: float) -> str:
        found = self._status.cluster({}, timeout_s)
        reachable, needed = found["votersReachable"], found["votersNeeded"]
        if not needed:
            return found["problem"] or "this node is in no cluster"
        return "" if reachable >= needed else found["problem"] or f"{reachable} of {needed} voters"

    def _member(self, request: _Object, timeout_s: float) -> str:
        wanted = request.get("member")
        if not isinstance(wanted, str) or not wanted:
            raise CommandError("bad_request", '"member" is missing; send an address or a name')
        rows = self._status.cluster({}, timeout_s)["members"]
        row = next((row for row in rows if wanted in _names_of(row)), None)
        if row is None:
            return f"no member is {wanted}"
        if row["problem"]:
            return f"{row['address']}: {row['problem']}"
        return "" if row["role"] == "voter" else f"{row['address']} is a {row['role']}"

    def _state(self, request: _Object, timeout_s: float) -> str:
        wanted = request.get("states")
        if not isinstance(wanted, list) or not wanted or not all(word in STATES for word in wanted):
            raise CommandError("bad_request", f'"states" is a list of {", ".join(STATES)}')
        state = self._status.state()["state"]
        if state == "LEADER" and state in wanted:
            state = self._ask_state(timeout_s)["state"]
        return "" if state in wanted else f"this node is {state}"


def _names_of(row: _Object) -> tuple:
    return row["address"], row["address"][len("tcp://"):], row["name"]


_CONDITIONS: Dict[str, Callable[[Waiting, _Object, float], str]] = {
    "leader": Waiting._leader, "quorum": Waiting._quorum, "member": Waiting._member, "state": Waiting._state,
}
