"""Admission by the leader: learner first, voter once it has caught up (design §6; dissertation §4.2.1).

A stranger is admitted only when the leader's *own* dial to its address reached that very instance. A member
that lost its disk comes back as another instance at the same address: the old one is replaced in one entry,
and only after it was silent for 10 × election max (P7). One change at a time; that is the core's rule. Who is
not admitted is told why, each time it asks.
"""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Optional, Tuple

from raftctl.base.durations import render
from raftctl.base.instants import Instant
from raftctl.cluster.asking import JOIN_EVERY_NS, Reply
from raftctl.cluster.handshake import Hello
from raftctl.raft.configuration import Configuration, Member
from raftctl.raft.core import Core

MEMBER_LIMIT = 7
SILENT_ELECTIONS = 10
# How many of those that ask are remembered; the list is a courtesy, whoever is forgotten asks again in 0.5 s.
ASKING_LIMIT = 16
# One that asks no more is dialled no more, and keeps nobody else out.
ASKS_NO_MORE_NS = 20 * JOIN_EVERY_NS


class Reached(NamedTuple):
    """What the own dial to an address found there."""

    generation: int
    hello: Hello


class _Asking(NamedTuple):
    instance: str
    at: Instant
    owed: bool      # is an answer to its last question still due?


class Joining:
    """Who asked this leader to be admitted, and what to do about it. Node thread only."""

    def __init__(self, heartbeat_ns: int, election_max_ns: int) -> None:
        self._heartbeat_ns, self._silence_ns = heartbeat_ns, SILENT_ELECTIONS * election_max_ns
        self._asking: Dict[str, _Asking] = {}

    @property
    def targets(self) -> Tuple[str, ...]:
        """Addresses to dial so that the strangers there can be verified."""
        return tuple(self._asking)

    def ask(self, now: Instant, address: str, instance: str) -> None:
        """`instance` asks to be admitted with `address`."""
        if address in self._asking or len(self._asking) < ASKING_LIMIT:
            self._asking[address] = _Asking(instance, now, True)

    def forget(self) -> None:
        """This node leads no more: they will ask the next leader."""
        self._asking.clear()

    def next_change(self, now: Instant, core: Core, reached: Dict[str, Reached]) -> Optional[Configuration]:
        """Return the configuration to propose now or None. `reached`: own dials that are up, by address."""
        configuration = core.view().configuration
        for address, asking in list(self._asking.items()):
            if configuration.find(asking.instance) or now.since(asking.at) > ASKS_NO_MORE_NS:
                del self._asking[address]
        if not core.may_change:
            return None
        for member in configuration.members:
            if not member.voter and self._has_caught_up(now, core, member):
                return configuration.replaced(with_member=member._replace(voter=True))
        for address, asking in self._asking.items():
            if _is_reached(address, asking, reached) and self._refuse(now, core, address, asking) is None:
                former = configuration.at_address(address)
                return configuration.replaced(without=former.instance if former else None,
                                              with_member=Member(asking.instance, address, False))
        return None

    def take_replies(self, now: Instant, core: Core,
                     reached: Dict[str, Reached]) -> List[Tuple[str, Reply]]:
        """Return (address, reply) for each that asked since its last reply and is not admitted."""
        replies = []
        for address, asking in self._asking.items():
            if not asking.owed or not _is_reached(address, asking, reached):
                continue
            self._asking[address] = asking._replace(owed=False)
            reply = self._refuse(now, core, address, asking)
            if reply:
                replies.append((address, reply))
        return replies

    def _has_caught_up(self, now: Instant, core: Core, member: Member) -> bool:
        progress = core.progress.get(member.instance)
        if progress is None or progress.last_ack is None:
            return False
        return (progress.match_index >= core.view().commit_index
                and now.since(progress.last_ack) <= 2 * self._heartbeat_ns)

    def _refuse(self, now: Instant, core: Core, address: str, asking: _Asking) -> Optional[Reply]:
        """Return why it is not admitted now, None where it may be."""
        configuration = core.view().configuration
        former = configuration.at_address(address)
        if former is None and len(configuration.members) >= MEMBER_LIMIT:
            problem = f"the cluster has {MEMBER_LIMIT} members, the most that it may have"
            return Reply(asking.instance, problem, True)
        if former and not self._is_silent(now, core, former):
            return Reply(asking.instance, "the member that it replaces at that address was heard less than "
                                          f"{render(self._silence_ns)} ago", False)
        return None

    def _is_silent(self, now: Instant, core: Core, member: Member) -> bool:
        progress = core.progress.get(member.instance)
        heard = progress.last_ack if progress and progress.last_ack else core.led_since
        return now.since(heard) > self._silence_ns


def _is_reached(address: str, asking: _Asking, reached: Dict[str, Reached]) -> bool:
    found = reached.get(address)
    return found is not None and found.hello.instance == asking.instance
