"""What a node has bound itself to, as values: a vow, an ack that it owes, a transfer that has begun."""

from __future__ import annotations

from typing import List, NamedTuple, Optional

from raftctl.base.instants import Instant
from raftctl.raft.inputs import Proposed
from raftctl.raft.messages import Instance


class Vow(NamedTuple):
    """P2: until both clocks reached `end`, no vote, no pre-vote, no candidacy, no term from a vote request.

    Owed to the leader `to` of that incarnation and term; None where a start can't know to whom (start vow).
    """

    to: Optional[Instance]
    incarnation: int
    term: int
    end: Instant


class Acknowledgement(NamedTuple):
    """What this follower owes its leader: the round to echo, and how far its words proved our log equal."""

    leader: Instance
    generation: int
    round: int
    proved: int


class Handover(NamedTuple):
    """A transfer before its RELEASE: `successor` has until `deadline` to catch up; proposals are `held`.

    `request` None: the leader's own wish.
    """

    request: Optional[int]
    successor: Instance
    deadline: Instant
    held: List[Proposed]
