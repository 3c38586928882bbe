"""Removal of a member by the operator's word (design §6; dissertation §4.1): what the leader does about it.

Pure. One change at a time is the core's rule; who asks waits for it. A voter is never removed for silence:
only who is named is. The last voter stays, and a change after which the voters that are connected are no
majority needs force: it could not be committed (pitfall 3.8). A leader that is to go hands over first, and
its successor removes it (`raft/membership.py` says why).
"""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Optional, Tuple, Union

from raftctl.base.errors import PeerFault
from raftctl.cluster.joining import Reached
from raftctl.cluster.serving import Answer, Ask, Desk
from raftctl.raft.configuration import Configuration, Member, quorum_size
from raftctl.raft.core import Core
from raftctl.raft.inputs import ChangeAsked, Transfer

_FORCED = b"\x01"


def encode_removal(address: str, *, forced: bool) -> bytes:
    """Return the body of a CHANGE ask that removes the member at `address`."""
    return (_FORCED if forced else b"\x00") + address.encode("ascii")


class Removal(NamedTuple):
    address: str
    forced: bool


def decode_removal(body: bytes) -> Removal:
    """Return what `encode_removal` wrote; raise `PeerFault` for anything else."""
    if body[:1] not in (b"\x00", _FORCED) or not body[1:].isascii():
        raise PeerFault(f"request to remove a member of {len(body)} bytes")
    return Removal(body[1:].decode("ascii"), body[:1] == _FORCED)


class Removing(Desk):
    """The removals that this leader was asked for and has not appended yet. Node thread only."""

    def __init__(self, own: str) -> None:
        """`own` is this node's instance."""
        self._own = own
        self._asks: Dict[int, Removal] = {}

    def ask(self, ask: Ask) -> None:
        """Take a CHANGE ask; it leaves by `refused`, `next_step`, `forget` or `withdraw`."""
        self._asks[ask.token] = decode_removal(ask.body)

    def withdraw(self, token: int) -> bool:
        """Forget an ask that nobody waits for any more; return whether it had not been appended yet."""
        return self._asks.pop(token, None) is not None

    def forget(self) -> List[int]:
        """Return the tokens of all that wait: this node leads no more, the next leader is to be asked."""
        tokens = list(self._asks)
        self._asks.clear()
        return tokens

    def refused(self, core: Core, reached: Dict[str, Reached]) -> List[Tuple[int, Answer]]:
        """Return, once each, the answers to removals that can't be."""
        answers = []
        for token, removal in list(self._asks.items()):
            answer = self._judge(core.configuration, removal, reached)
            if answer:
                del self._asks[token]
                answers.append((token, answer))
        return answers

    def next_step(self, core: Core) -> Union[ChangeAsked, Transfer, None]:
        """Return what to ask the core for now, None for nothing; taken."""
        if not core.may_change:
            return None
        for token, removal in self._asks.items():
            member = core.configuration.at_address(removal.address)
            if member:
                del self._asks[token]
                if member.instance == self._own:
                    return Transfer(token, None)
                return ChangeAsked(token, core.configuration.replaced(without=member.instance))
        return None

    def _judge(self, configuration: Configuration, removal: Removal,
               reached: Dict[str, Reached]) -> Optional[Answer]:
        member = configuration.at_address(removal.address)
        if member is None:
            return Answer("not_found", 0, None)
        left = [voter for voter in configuration.voters if voter != member.instance]
        if not left:
            return _refuse(f"{removal.address} is the last voter: it can't leave; stop it instead")
        connected = sum(1 for voter in left if self._is_connected(configuration.find(voter), reached))
        if connected >= quorum_size(left) or removal.forced:
            return None
        return _refuse(f"only {connected} of the {len(left)} voters that would be left are connected, "
                       f"{quorum_size(left)} are needed to commit the change")

    def _is_connected(self, member: Optional[Member], reached: Dict[str, Reached]) -> bool:
        if member is None or member.instance == self._own:
            return member is not None
        found = reached.get(member.address)
        return found is not None and found.hello.instance == member.instance


def _refuse(message: str) -> Answer:
    return Answer("refused", 0, f"{message}; nothing was changed".encode("ascii"))
