"""What `state` and `status` say: read off the frozen `Shown` that the node thread swaps (design §4.1, §8)."""

from __future__ import annotations

import os
import threading
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

from raftctl.base import clock
from raftctl.base.addresses import Address, parse
from raftctl.base.instants import Instant
from raftctl.cluster import members
from raftctl.cluster.ports import Identity, Shown
from raftctl.cluster.serving import Answer
from raftctl.config.model import NodeConfig
from raftctl.net.error_codes import CommandError
from raftctl.net.links import LinkStatus
from raftctl.node import outlook
from raftctl.node.contacts import Contacts
from raftctl.node.fitness import Fitness
from raftctl.node.inbox import Inbox
from raftctl.node.loop import Call
from raftctl.node.outlook import Outlook, Row
from raftctl.node.tally import Tally
from raftctl.raft.messages import ORIGIN
from raftctl.version import __version__

_MS = 1_000_000
# A connection whose peer is silent for so many election max is closed (net/listen.py); so long is silence.
SILENT_ELECTIONS = 2


class Status:
    """`show` by the node thread, everything else from any thread."""

    def __init__(self, node: NodeConfig, identity: Identity, inbox: Inbox, shown: Shown,
                 links: Callable[[], Dict[Address, LinkStatus]], contacts: Contacts,
                 write_since: Callable[[], Optional[Instant]], fitness: Fitness) -> None:
        """`write_since` says since when the present write is at the disk, None without one."""
        self.tally, self._fitness = Tally(), fitness
        self._contacts, self._write_since = contacts, write_since
        self._node, self._identity, self._inbox, self._links = node, identity, inbox, links
        self._shown = shown
        self._state = "UNINITIALIZED"
        self._since = time.time()
        self._began = self._leaderless_since = clock.now()
        self._changed = threading.Condition()

    @property
    def shown(self) -> Shown:
        return self._shown

    def show(self, shown: Shown, state: str) -> bool:
        """Swap in what holds now; return whether users see another state, term or leader than before."""
        before, self._shown = self._shown, shown
        if shown.leader_address is None and before.leader_address is not None:
            self._leaderless_since = clock.now()
        differs = (state, shown.view.term, shown.leader_address) != (self._state, before.view.term,
                                                                     before.leader_address)
        self.tally.see_leader(shown.view.term, shown.leader_address)
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

    def silent_voters(self) -> str:
        """Return which other voters were not heard for half of election min, in words; "" for none.

        A leader's heartbeats, which they acknowledge, are closer together than that.
        """
        now, found = clock.now(), []
        for member in self._shown.view.configuration.members:
            if member.voter and member.instance != self._identity.instance:
                age_ms = self._contacts.age_ms(member.instance, now)
                if age_ms is None:
                    found.append(f"{member.address} never heard")
                elif 2 * age_ms * _MS >= self._node.election_min_ns:
                    found.append(f"{member.address} silent for {age_ms} ms")
        return ", ".join(found)

    def lease_left_s(self) -> float:
        """Return for how long this node holds the lease from now on, in s; 0 where it does not."""
        return clock.now().left_within(self._shown.view.lease_end) / 1e9

    def check_initialized(self) -> None:
        if not self._shown.view.configuration.members:
            raise CommandError("not_initialized",
                               f"this node is in no cluster yet: {self._shown.waiting_for}",
                               hint="raftctl status says what to try")

    def state(self, *, unconfirmed: bool = False) -> Dict[str, Any]:
        """Return what `state --json` prints, "state" first. `unconfirmed`: a LEADER whom nobody answered."""
        now, shown = clock.now(), self._shown
        view = shown.view
        state = shown.state(now, self._identity.instance)
        if unconfirmed and state == "LEADER":
            state = "CANDIDATE"
        member = view.configuration.find(self._identity.instance)
        is_outside = member is None or view.removed != ORIGIN
        role = "none" if is_outside else "voter" if member.voter else "learner"
        lease_ns = now.left_within(view.lease_end) if state == "LEADER" else 0
        reason, takeover_ms = self._reason(now, state)
        return {
            "state": state, "reason": reason, "takeoverMs": takeover_ms,
            "drained": self._fitness.drain.is_on, "check": self._check(),
            "joinProblem": shown.join_refusal or None, "address": self._identity.address,
            "name": self._node.name, "leader": shown.leader_address, "term": view.term, "role": role,
            "commitIndex": view.commit_index, "lastApplied": shown.applied, "leaseMs": lease_ns // _MS,
            "since": clock.wall_text(self._since), "clusterId": shown.cluster_id,
            "instance": self._identity.instance, "incarnation": self._identity.incarnation,
            "version": __version__, "pid": os.getpid(),
        }

    def _reason(self, now: Instant, state: str) -> Tuple[str, Optional[int]]:
        """Return why the state is what it is, and for how long at most a leader still waits (P6), in ms."""
        shown = self._shown
        wait, unfit = shown.wait, self._fitness.why_not
        if wait is None or wait.until is None or state != "CANDIDATE":
            is_said = unfit in shown.cause
            return shown.cause if is_said else f"{shown.cause}; does not lead: {unfit}", None
        left_ms = -(-now.until(wait.until) // _MS)
        return f"{wait.reason}, {left_ms / 1000:.1f} s more at most", left_ms

    def _check(self) -> Optional[Dict[str, Any]]:
        """Return what is known of the health check, None where there is none."""
        checked = self._fitness.checked
        if not self._fitness.has_check:
            return None
        return {
            "state": checked.state, "since": clock.wall_text(checked.since), "cause": checked.cause,
            "lastPassed": checked.passed if checked.count else None, "inARow": checked.count,
            "lastStatus": checked.status or None, "lastLine": checked.line or None,
        }

    def stale(self, key: bytes, timeout_s: float) -> Answer:
        """Return what the local copy holds under `key`."""
        return self._call(lambda turn, now: turn.serving.look_up(key), timeout_s)

    def member(self, name: str, timeout_s: float) -> Row:
        """Return the row of the member that `name` means: a name, an address, or one without tcp://."""
        rows = self.cluster({}, timeout_s)["members"]
        row = next((row for row in rows if name in (row["name"], row["address"], row["address"][6:])), None)
        if row is None:
            raise CommandError("not_found", f"no member is called {name}",
                               hint="raftctl status lists their names and addresses")
        return row

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
        rows = self._call(
            lambda turn, now: members.rows(now, turn.identity.instance, turn.core, turn.reached), timeout_s)
        if self._shown.view.removed != ORIGIN:
            rows = []          # what it knows is what was before
        rows.sort(key=lambda row: parse(row["address"]))
        links = self._links()
        self._complete(rows, links)
        waiting = outlook.unreached(links) if not rows else []
        found = self._outlook(rows, waiting)
        view = self._shown.view
        return {
            "state": state, "members": rows,
            "unreached": [{"address": address, "problem": problem} for address, problem in waiting],
            "tolerates": max(found.reachable - found.needed, 0),
            "votersReachable": found.reachable, "votersNeeded": found.needed,
            "problem": found.problem, "hint": found.hint, "lastDecision": self._shown.reason,
            "framesDropped": self._inbox.dropped, "diskWriteMs": self._disk_write_ms(),
            "diskFull": view.is_full,
            "snapshotIndex": view.snapshot_index, "logEntries": view.log_count, "logBytes": view.log_bytes,
        }

    def wait_for_turn(self, timeout_s: float) -> None:
        """Return once the node thread has taken a turn; raise `NoLeader` where it does not in time."""
        self._call(lambda turn, now: None, timeout_s)

    def _disk_write_ms(self) -> Optional[int]:
        """Return for how long the present write has been at the disk: a hung sync shows (pitfall 5.5)."""
        since = self._write_since()
        return None if since is None else clock.now().since(since) // _MS

    def _complete(self, rows: List[Row], links: Dict[Address, LinkStatus]) -> None:
        """Add to each row what the links and the contacts know."""
        now, silent_after_ms = clock.now(), self._silent_after_ms()
        hosts = [parse(row["address"]).host for row in rows]
        for row in rows:
            address = parse(row["address"])
            link = links.get(address)
            row["name"] = self._name(row, address, is_alone=hosts.count(address.host) == 1)
            row["lastContactMs"] = self._contact_ms(row, link, now)
            row["problem"] = outlook.member_problem(row, link, silent_after_ms)
            row["framesDropped"] = link.dropped if link is not None else 0

    def _name(self, row: Row, address: Address, *, is_alone: bool) -> str:
        # A name of its own is in the node's file only; the others know what `--node` takes as well.
        if row["instance"] == self._identity.instance:
            return self._node.name
        return address.host if is_alone else f"{address.host}:{address.port}"

    def _contact_ms(self, row: Row, link: Optional[LinkStatus], now: Instant) -> Optional[int]:
        """Return how long ago the member was heard: by an acknowledgement, any message, or a handshake."""
        if row["instance"] == self._identity.instance:
            return None
        known = [row["lastContactMs"], self._contacts.age_ms(row["instance"], now)]
        if row["connected"] and link is not None and link.connected_since_s is not None:
            known.append(int((time.monotonic() - link.connected_since_s) * 1000))
        return min((age for age in known if age is not None), default=None)

    def _silent_after_ms(self) -> Optional[int]:
        """Return after how long a member counts as silent, None so soon after the start.

        Every member sends this node a PING where it has nothing else to say, followers too.
        """
        limit_ns = SILENT_ELECTIONS * self._node.election_max_ns
        return limit_ns // _MS if clock.now().since(self._began) > limit_ns else None

    def _outlook(self, rows: List[Row], waiting: List[Tuple[str, str]]) -> Outlook:
        if self._shown.view.removed != ORIGIN:
            return outlook.judge_removed(self._shown.waiting_for)
        member = self._shown.view.configuration.find(self._identity.instance)
        if member and member.address != self._identity.address:
            return outlook.judge_moved(member.address, self._identity.address)
        if member and rows:
            limit_ns = SILENT_ELECTIONS * self._node.election_max_ns
            return outlook.judge(rows, self._shown.leader_address,
                                 lasting=clock.now().since(self._leaderless_since) > limit_ns)
        return outlook.judge_outside(self._shown.waiting_for, waiting, bool(rows))
