"""Who is in the cluster: a configuration's value, its quorum, and its bytes in a log entry (dissertation §4).

A configuration takes effect when it is appended, not when it is committed (dissertation §4.1). Entry 1 of
every log is one: founding wrote it. This module decides nothing about changes; `membership.py` does.
"""

from __future__ import annotations

import struct
from typing import Collection, Mapping, NamedTuple, Optional, Tuple

from raftctl.base.errors import require
from raftctl.raft.messages import Instance

_COUNT = struct.Struct("!H")
_VOTER = 1


class Malformed(ValueError):
    """Bytes that no encoder of ours writes; the caller knows whether a disk or a peer is to blame."""


class Member(NamedTuple):
    """A node named by the configuration. `address` is what its peers dial; learners store but do not vote."""

    instance: Instance
    address: str
    voter: bool


class Configuration(NamedTuple):
    """The members, sorted by instance, of the cluster `cluster_id`."""

    cluster_id: str
    members: Tuple[Member, ...]

    @property
    def voters(self) -> Tuple[Instance, ...]:
        return tuple(member.instance for member in self.members if member.voter)

    def find(self, instance: Instance) -> Optional[Member]:
        for member in self.members:
            if member.instance == instance:
                return member
        return None

    def at_address(self, address: str) -> Optional[Member]:
        return next((member for member in self.members if member.address == address), None)

    def is_voter(self, instance: Instance) -> bool:
        member = self.find(instance)
        return member is not None and member.voter

    def replaced(
        self, *, without: Optional[Instance] = None, with_member: Optional[Member] = None
    ) -> Configuration:
        """Return the configuration after at most one member left and one came (or changed its role)."""
        gone = {without, with_member.instance if with_member else None}
        kept = [member for member in self.members if member.instance not in gone]
        return configuration(self.cluster_id, kept + ([with_member] if with_member else []))


NOBODY = Configuration("", ())


def configuration(cluster_id: str, members: Collection[Member]) -> Configuration:
    """Return the configuration with its members in their one order, so that equal ones have equal bytes."""
    ordered = tuple(sorted(members))
    instances = {member.instance for member in ordered}
    require(len(instances) == len(ordered), "an instance twice in a configuration", ordered)
    return Configuration(cluster_id, ordered)


def quorum_size(voters: Collection[Instance]) -> int:
    return len(voters) // 2 + 1


def is_quorum(found: Collection[Instance], voters: Collection[Instance]) -> bool:
    """Do the members `found` hold a majority of `voters`? Others among them do not count (pitfall 1.6)."""
    require(voters, "a quorum of nobody")
    return sum(1 for voter in voters if voter in found) >= quorum_size(voters)


def quorum_index(acked: Mapping[Instance, int], voters: Collection[Instance]) -> int:
    """Return the highest index that a quorum of `voters` has persisted (0: none).

    `acked` may name learners and former members; they do not count. This alone commits nothing: the entry at
    that index must be of the leader's own term (Raft §5.4.2).
    """
    require(voters, "a quorum of nobody")
    held = sorted((acked.get(voter, 0) for voter in voters), reverse=True)
    return held[len(voters) // 2]


def _text(value: str) -> bytes:
    raw = value.encode()
    require(len(raw) < 65536, "a text too long for a configuration", value)
    return _COUNT.pack(len(raw)) + raw


def encode(value: Configuration) -> bytes:
    """Return the body of a CONFIGURATION entry: cluster id, member count, role, instance, address of each."""
    parts = [_text(value.cluster_id), _COUNT.pack(len(value.members))]
    for member in value.members:
        parts += [bytes([_VOTER if member.voter else 0]), _text(member.instance), _text(member.address)]
    return b"".join(parts)


def decode(body: bytes) -> Configuration:
    """Return the configuration in `body`; raise `Malformed` on anything that `encode` does not write."""
    offset = 0

    def take(size: int) -> bytes:
        nonlocal offset
        if offset + size > len(body):
            raise Malformed(f"configuration ends at byte {len(body)}, {size} more expected at {offset}")
        offset += size
        return body[offset - size:offset]

    def text() -> str:
        try:
            return take(*_COUNT.unpack(take(_COUNT.size))).decode()
        except UnicodeDecodeError as error:
            raise Malformed(f"configuration holds a text that is no UTF-8 before byte {offset}") from error

    cluster_id = text()
    (count,) = _COUNT.unpack(take(_COUNT.size))
    members = []
    for _ in range(count):
        role = take(1)[0]
        if role > _VOTER:
            raise Malformed(f"configuration holds the unknown role {role}")
        members.append(Member(text(), text(), role == _VOTER))
    if offset != len(body):
        raise Malformed(f"configuration has {len(body) - offset} bytes too many")
    if sorted({member.instance for member in members}) != [member.instance for member in members]:
        raise Malformed("configuration names its members twice or out of order")
    return Configuration(cluster_id, tuple(members))
