"""Admission by the leader: learner first, voter once it has caught up (design §6; dissertation §4.2.1).

A stranger is admitted only when the leader's *own* dial to its address reached that very instance. A member
that lost its disk comes back as another instance at the same address: the old one is replaced in one entry,
and only after it was silent for 10 × election max (P7). One change at a time; that is the core's rule.
"""

from __future__ import annotations

import json
from typing import Dict, NamedTuple, Optional, Tuple

from raftctl.base.addresses import parse
from raftctl.base.errors import PeerFault, RaftctlError
from raftctl.base.instants import Instant
from raftctl.cluster.handshake import Hello
from raftctl.raft.configuration import Configuration, Member
from raftctl.raft.core import Core

MEMBER_LIMIT = 7
SILENT_ELECTIONS = 10
# How many of those that ask are remembered; the list is a courtesy, whoever is forgotten asks again in 0.5 s.
ASKING_LIMIT = 16


class Reached(NamedTuple):
    """What the own dial to an address found there."""

    generation: int
    hello: Hello


def read_join(body: bytes) -> Tuple[str, str]:
    """Return (address, instance) of a JOIN frame; raise `PeerFault` where it is none."""
    try:
        asked = json.loads(body.decode("ascii"))
        address, instance = asked["address"], asked["instance"]
        if str(parse(address)) != address or not isinstance(instance, str) or not 0 < len(instance) <= 64:
            raise ValueError(address)
    except (ValueError, KeyError, TypeError, RecursionError, RaftctlError) as error:
        raise PeerFault("JOIN: malformed request") from error
    return address, instance


class Joining:
    """Who asked this leader to be admitted, and what to do about it. Node thread only."""

    def __init__(self, heartbeat_ns: int, election_max_ns: int) -> None:
        self._heartbeat_ns, self._election_max_ns = heartbeat_ns, election_max_ns
        self._asking: Dict[str, str] = {}
        self.problem: Dict[str, str] = {}      # address → why it is not admitted yet

    @property
    def targets(self) -> Tuple[str, ...]:
        """Addresses to dial so that the strangers there can be verified."""
        return tuple(self._asking)

    def ask(self, address: str, instance: str) -> None:
        if address in self._asking or len(self._asking) < ASKING_LIMIT:
            self._asking[address] = instance

    def forget(self) -> None:
        """This node leads no more: they will ask the next leader."""
        self._asking.clear()
        self.problem.clear()

    def next_change(self, now: Instant, core: Core, reached: Dict[str, Reached]) -> Optional[Configuration]:
        """Return the configuration to propose now or None. `reached`: own dials that are up, by address."""
        configuration = core.view().configuration
        if not core.may_change:
            return None
        for member in configuration.members:
            if not member.voter and self._has_caught_up(now, core, member):
                return configuration.replaced(with_member=member._replace(voter=True))
        for address, instance in list(self._asking.items()):
            if configuration.find(instance):
                del self._asking[address]
                self.problem.pop(address, None)
                continue
            wanted = self._admit(now, core, address, instance, reached.get(address))
            if wanted:
                return wanted
        return None

    def _has_caught_up(self, now: Instant, core: Core, member: Member) -> bool:
        progress = core.progress.get(member.instance)
        if progress is None or progress.last_ack is None:
            return False
        return (progress.match_index >= core.view().commit_index
                and now.since(progress.last_ack) <= 2 * self._heartbeat_ns)

    def _admit(self, now: Instant, core: Core, address: str, instance: str,
               found: Optional[Reached]) -> Optional[Configuration]:
        configuration = core.view().configuration
        if found is None or found.hello.instance != instance:
            self.problem[address] = "not reached by the leader's own dial"
            return None
        former = configuration.at_address(address)
        if former is None and len(configuration.members) >= MEMBER_LIMIT:
            self.problem[address] = f"the cluster has {MEMBER_LIMIT} members already"
            return None
        if former and not self._is_silent(now, core, former):
            self.problem[address] = "the member that it replaces was heard a moment ago"
            return None
        newcomer = Member(instance, address, False)
        return configuration.replaced(without=former.instance if former else None, with_member=newcomer)

    def _is_silent(self, now: Instant, core: Core, member: Member) -> bool:
        progress = core.progress.get(member.instance)
        heard = progress.last_ack if progress and progress.last_ack else core.led_since
        return now.since(heard) > SILENT_ELECTIONS * self._election_max_ns
