"""What `state` and `status` say: read off the frozen `Shown` that the node thread swaps (design §4.1, §8)."""

from __future__ import annotations

import os
import threading
import time
from typing import Any, Callable, Dict, List, Optional

from raftctl.base import clock
from raftctl.base.addresses import Address, parse
from raftctl.cluster.ports import Identity, Shown
from raftctl.cluster.serving import Answer
from raftctl.config.model import NodeConfig
from raftctl.net.error_codes import CommandError
from raftctl.net.links import LinkStatus
from raftctl.node.inbox import Inbox
from raftctl.node.loop import Call
from raftctl.raft.configuration import quorum_size
from raftctl.version import __version__

_MS = 1_000_000


class Status:
    """`show` by the node thread, everything else from any thread."""

    def __init__(self, node: NodeConfig, identity: Identity, inbox: Inbox, shown: Shown,
                 links: Callable[[], Dict[Address, LinkStatus]]) -> None:
        self._node, self._identity, self._inbox, self._links = node, identity, inbox, links
        self._shown = shown
        self._state = "UNINITIALIZED"
        self._since = time.time()
        self._changed = threading.Condition()
        self.longest_confirmation_s = node.election_max_ns / 1e9

    @property
    def shown(self) -> Shown:
        return self._shown

    def show(self, shown: Shown, state: str) -> bool:
        """Swap in what holds now; return whether users see another state, term or leader than before."""
        before, self._shown = self._shown, shown
        differs = (state, shown.view.term, shown.leader_address) != (self._state, before.view.term,
                                                                     before.leader_address)
        if state != self._state:
            self._state, self._since = state, time.time()
        if differs or shown.view.configuration is not before.view.configuration:
            with self._changed:
                self._changed.notify_all()
        return differs

    def wait_for_change(self, timeout_s: float) -> Shown:
        """Return what is shown after a change of state, term, leader or configuration, or the time-out."""
        with self._changed:
            self._changed.wait(timeout_s)
        return self._shown

    def check_initialized(self) -> None:
        if not self._shown.view.configuration.members:
            raise CommandError("not_initialized",
                               f"this node is in no cluster yet: {self._shown.waiting_for}")

    def state(self, *, unconfirmed: bool = False) -> Dict[str, Any]:
        """Return what `state --json` prints, "state" first. `unconfirmed`: a LEADER whom nobody answered."""
        now, shown = clock.now(), self._shown
        view = shown.view
        state = shown.state(now, self._identity.instance)
        if unconfirmed and state == "LEADER":
            state = "CANDIDATE"
        member = view.configuration.find(self._identity.instance)
        role = "none" if member is None else "voter" if member.voter else "learner"
        lease_ns = now.left_within(view.lease_end) if state == "LEADER" else 0
        return {
            "state": state, "reason": shown.waiting_for or shown.reason,
            "joinProblem": shown.join_refusal or None, "address": self._identity.address,
            "name": self._node.name, "leader": shown.leader_address, "term": view.term, "role": role,
            "commitIndex": view.commit_index, "lastApplied": shown.applied, "leaseMs": lease_ns // _MS,
            "since": clock.wall_text(self._since), "clusterId": shown.cluster_id,
            "instance": self._identity.instance, "incarnation": self._identity.incarnation,
            "version": __version__, "pid": os.getpid(),
        }

    def stale(self, key: bytes, timeout_s: float) -> Answer:
        """Return what the local copy holds under `key`."""
        return self._call(lambda turn, now: turn.serving.look_up(key), timeout_s)

    def count_keys(self) -> int:
        return self._call(lambda turn, now: turn.key_count, 1.0)

    def bootstrap(self, timeout_s: float) -> Optional[str]:
        return self._call(lambda turn, now: turn.bootstrap(now), timeout_s)

    def _call(self, function: Callable, timeout_s: float) -> Any:
        call = Call(function)
        self._inbox.post(call)
        return call.wait(timeout_s)

    def cluster(self, state: Dict[str, Any], timeout_s: float) -> Dict[str, Any]:
        """Return what `status --json` prints: the state, a row a member, and what is wrong if anything."""
        rows = self._call(lambda turn, now: turn.members(now), timeout_s)
        links = self._links()
        hosts = [parse(row["address"]).host for row in rows]
        for row in rows:
            link = links.get(parse(row["address"]))
            address = parse(row["address"])
            row["name"] = f"{address.host}:{address.port}" if hosts.count(address.host) > 1 else address.host
            row["problem"] = link.problem if link and not row["connected"] else None
        voters = [row for row in rows if row["role"] == "voter"]
        reachable = sum(1 for row in voters if row["connected"])
        problem = self._problem(voters, reachable)
        waiting = [{"address": str(address), "problem": link.problem}
                   for address, link in sorted(links.items())
                   if not rows and link.problem]
        return {
            "state": state, "members": rows, "unreached": waiting,
            "tolerates": max(reachable - quorum_size(voters), 0) if voters else 0,
            "problem": problem, "hint": _hint(problem, rows), "lastDecision": self._shown.reason,
        }

    def _problem(self, voters: List[Dict[str, Any]], reachable: int) -> Optional[str]:
        if not voters:
            return self._shown.waiting_for
        if self._shown.leader_address is not None:
            return None
        missing = ", ".join(f"{row['address']} ({row['problem'] or 'not connected'})"
                            for row in voters if not row["connected"])
        return (f"no leader: {reachable} of {len(voters)} voters are reachable, "
                f"{quorum_size(voters)} are needed"
                + (f"; missing: {missing}" if missing else ""))


def _hint(problem: Optional[str], rows: List[Dict[str, Any]]) -> Optional[str]:
    if problem is None:
        return None
    return "start the missing nodes, or look into their logs" if rows else "start the nodes that are missing"
