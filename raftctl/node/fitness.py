"""Whether this node may lead: an operator's drain and the host's check together, told to the node thread.

A node that may not votes and stores, but does not campaign, and is no LEADER; where nobody may, somebody
leads as caretaker (raft/preference.py).
"""

from __future__ import annotations

import time
from typing import Any

from raftctl.cluster.checking import NONE, Checked, unknown
from raftctl.node.drain import Drain
from raftctl.node.inbox import Inbox
from raftctl.node.loop import Call


class Fitness:
    """Any thread; `take` the main thread alone. `checked` is the guardian's last word of the check."""

    def __init__(self, drain: Drain, inbox: Inbox, *, has_check: bool) -> None:
        """`has_check`: by the file; then the node is unfit until the guardian says otherwise."""
        self.drain, self._inbox = drain, inbox
        self.checked = unknown(time.time()) if has_check else Checked()

    @property
    def why_not(self) -> str:
        """Why this node may not lead, for people; "" where it may."""
        drained = ["drained by an operator"] if self.drain.is_on else []
        return ", and ".join(drained + ([] if self.checked.is_fit else [self.checked.cause]))

    @property
    def has_check(self) -> bool:
        return self.checked.state != NONE

    def take(self, checked: Checked) -> bool:
        """The guardian says what its check found; return whether that is another verdict than before."""
        before, self.checked = self.checked, checked
        if before.state == checked.state:
            return False
        self._apply(checked.cause, outgoing_first=True)
        return True

    def apply_drain(self) -> None:
        """An operator drained this node, and has its leadership handed over; or he has undrained it."""
        self._apply("undrained by an operator", outgoing_first=False)

    def _apply(self, why: str, *, outgoing_first: bool) -> None:
        def act(turn: Any, now: Any) -> None:
            why_not = self.why_not       # of this instant: two words may have overtaken each other
            turn.health(now, not why_not, why_not or why, outgoing_first=outgoing_first)

        self._inbox.post(Call(act))
