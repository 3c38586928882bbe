"""Asking to be admitted: the words of asker and leader (JOIN, JOIN_REPLY), and what the asker makes of them.

Pure. The leader answers over its own dial to the asker, so an answer proves that the address is right; that
none comes is told as well. Who is admitted is decided in `joining.py`, whom to ask in `founding.py`.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple, Optional, Tuple

from raftctl.base.addresses import parse
from raftctl.base.durations import MILLISECOND, SECOND
from raftctl.base.errors import PeerFault, RaftctlError, require
from raftctl.base.objects import parse_object

JOIN_EVERY_NS = 500 * MILLISECOND
# An answer that was not repeated for so long is one of a leader that is none any more.
ANSWER_HOLDS_NS = 3 * SECOND
# A leader dials who asks within milliseconds; after so long something is in the way.
UNHEARD_NS = 3 * SECOND
_LONGEST_WORD = 64
_LONGEST_ADDRESS = 300
_LONGEST_PROBLEM = 500


class Reply(NamedTuple):
    """Why the leader does not admit `instance`. `is_final`: waiting alone changes nothing."""

    instance: str
    problem: str
    is_final: bool


def join_body(address: str, instance: str) -> bytes:
    """Return the body of a JOIN frame."""
    return json.dumps({"address": address, "instance": instance}).encode("ascii")


def read_join(body: bytes) -> Tuple[str, str]:
    """Return (address, instance) of a JOIN frame; raise `PeerFault` where it is none."""
    try:
        asked = parse_object(body)
        address = _word(asked["address"], _LONGEST_ADDRESS)
        if str(parse(address)) != address:
            raise ValueError(address)
        return address, _word(asked["instance"], _LONGEST_WORD)
    except (ValueError, KeyError, TypeError, RaftctlError) as error:
        raise PeerFault("JOIN: malformed request") from error


def encode_reply(reply: Reply) -> bytes:
    """Return the body of a JOIN_REPLY frame."""
    require(0 < len(reply.problem) <= _LONGEST_PROBLEM, "reason of a refusal", reply.problem)
    return json.dumps({"instance": reply.instance, "problem": reply.problem,
                       "final": reply.is_final}).encode("ascii")


def read_reply(body: bytes) -> Reply:
    """Return the reply in a JOIN_REPLY frame; raise `PeerFault` where it is none."""
    try:
        said = parse_object(body)
        if not isinstance(said["final"], bool):
            raise ValueError("final")
        return Reply(_word(said["instance"], _LONGEST_WORD), _word(said["problem"], _LONGEST_PROBLEM),
                     said["final"])
    except (ValueError, KeyError) as error:
        raise PeerFault("JOIN_REPLY: malformed answer") from error


def _word(value: Any, longest: int) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= longest or not value.isprintable():
        raise ValueError(value)
    return value


class Asked:
    """What came back to this node since it asks. `now` is ns on any one monotonic clock. Node thread only."""

    def __init__(self, own_address: str) -> None:
        self._address = own_address
        self._now = 0
        self._first_at: Optional[int] = None
        self._was_heard = False
        self._reply: Optional[Tuple[int, str, Reply]] = None

    def asks(self, now: int) -> None:
        """A JOIN is sent now."""
        self._now = now
        self._first_at = now if self._first_at is None else self._first_at

    def heard(self) -> None:
        """A member of a cluster dialled this node: its address is right."""
        self._was_heard = True

    def replied(self, now: int, leader: str, reply: Reply) -> None:
        """The leader, at the address `leader`, answered."""
        self._now = now
        self._reply = (now, leader, reply)

    @property
    def refusal(self) -> str:
        """Why it is not admitted, in the leader's words, where waiting alone does not help; else ""."""
        found = self._holding()
        return found[1].problem if found and found[1].is_final else ""

    def problem(self) -> str:
        """Return what stands in the way, one phrase for people, "" for nothing that is known."""
        found = self._holding()
        if found:
            leader, reply = found
            return f"{leader} does not admit it{'' if reply.is_final else ' yet'}: {reply.problem}"
        if self._first_at is None or self._was_heard or self._now < self._first_at + UNHEARD_NS:
            return ""
        return f"no member has connected to {self._address} yet; is there a leader, and can it reach that?"

    def _holding(self) -> Optional[Tuple[str, Reply]]:
        if self._reply is None or self._now >= self._reply[0] + ANSWER_HOLDS_NS:
            return None
        return self._reply[1:]
