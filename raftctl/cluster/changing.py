"""Changes of the configuration that a leader is to make: who joins, who is removed (design §6). Pure.

One at a time, by the core's rule. Whom to admit is `joining.py`'s, whom to remove `removing.py`'s; this one
brings what they decide to the core, and the removal of the leader itself to `handing.py`.
"""

from __future__ import annotations

from typing import Dict, List, Tuple

from raftctl.base.instants import Instant
from raftctl.cluster.asking import encode_reply
from raftctl.cluster.handing import Handing
from raftctl.cluster.joining import Joining, Reached
from raftctl.cluster.removing import Removing
from raftctl.cluster.serving import Serving
from raftctl.cluster.welcoming import Welcoming
from raftctl.raft.core import Core
from raftctl.raft.inputs import LEADER, ChangeAsked, Refusal, Transfer


class Changing:
    """Node thread only."""

    def __init__(self, core: Core, joining: Joining, removing: Removing, handing: Handing, serving: Serving,
                 welcoming: Welcoming, reached: Dict[str, Reached]) -> None:
        """`reached`: the own dials that are up, by address."""
        self._core, self._joining, self._removing = core, joining, removing
        self._handing, self._serving, self._welcoming = handing, serving, welcoming
        self._reached = reached

    def look(self, now: Instant) -> List[Tuple[str, bytes]]:
        """Ask the core for what is due; return (address, body of a JOIN_REPLY) for those that ask to join."""
        if self._core.role != LEADER:
            self._joining.forget()
            for token in self._removing.forget():
                self._serving.refused(Refusal(token, "no_leader"))
            return []
        wanted = self._joining.next_change(now, self._core, self._reached)
        replies = [(address, encode_reply(reply))
                   for address, reply in self._joining.take_replies(now, self._core, self._reached)]
        if wanted is not None:
            self._core.step(now, ChangeAsked(0, wanted))
            self._welcoming.owe()
        for token, answer in self._removing.refused(self._core, self._reached):
            self._serving.ended(token, answer)
        step = self._removing.next_step(self._core)
        if isinstance(step, Transfer):
            self._handing.begin(step.request, step.to)
        elif step:
            self._core.step(now, step)
        return replies
