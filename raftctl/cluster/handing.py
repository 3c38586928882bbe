"""A hand-over by will: outgoing work first, then the core's transfer (P6; dissertation §3.10).

By the word of an operator, or because the check of this host fails.

Pure. While the work goes on the leader leads on and is no LEADER to users; all can be undone until the core
releases the term, and is, where the work fails or the successor does not catch up. Also answers who waits for
a takeover to be over: until the `leader` hook of whoever leads has ended.
"""

from __future__ import annotations

from typing import List, NamedTuple, Optional, Tuple

from raftctl.base.instants import Instant
from raftctl.cluster.serving import TRANSFER, Answer, Ask, Desk
from raftctl.cluster.takeover import FAILED, Takeover, Verdict
from raftctl.raft.core import Core
from raftctl.raft.inputs import LEADER, Refusal, Transfer
from raftctl.raft.messages import Instance
from raftctl.store.takeovers import Record

# Beyond the limit of the outgoing work itself: processes have to be ended, and the record to be committed.
SLACK_NS = 10_000_000_000
_BY_OPERATOR = "hands over as an operator asked"


class _Under(NamedTuple):
    token: int
    to: Optional[Instance]
    term: int
    deadline: Instant
    why: str
    is_asked: bool = False       # the core was asked; by its answer all is over


class Handing(Desk):
    """The hand-overs that this leader was asked for. Node thread only."""

    def __init__(self) -> None:
        self._asks: List[Tuple[int, Optional[Instance], str]] = []
        self._watches: List[int] = []
        self._under: Optional[_Under] = None

    def ask(self, ask: Ask) -> None:
        if ask.kind == TRANSFER:
            self.begin(ask.token, ask.body.decode("ascii", "replace") or None)
        else:
            self._watches.append(ask.token)

    def withdraw(self, token: int) -> bool:
        """Nobody waits for `token` any more; a hand-over that has begun goes on."""
        self._watches = [watch for watch in self._watches if watch != token]
        return False

    def begin(self, token: int, to: Optional[Instance], why: str = _BY_OPERATOR) -> None:
        """Hand over to `to` (None: the best). Ends in a refusal by `look`, or in what the core answers.

        `token` 0: nobody waits for an answer.
        """
        self._asks.append((token, to, why))

    @property
    def is_busy(self) -> bool:
        """Is there a hand-over that has yet to end?"""
        return bool(self._asks or self._under)

    @property
    def yields(self) -> str:
        """Why this leader is no LEADER to users, "" where it hands over to nobody."""
        return self._under.why if self._under else ""

    def look(self, now: Instant, core: Core, takeover: Takeover, last: Optional[Record]) -> List[Refusal]:
        """Go on with what is under way; return, once each, what comes to nothing."""
        term = core.view().term
        refused = self._give_up(core.role == LEADER, term)
        for token, to, why in self._asks:
            code, reason = core.why_no_transfer(now, to)
            if self._under:
                code, reason = "busy", "hands over already"
            if code:
                refused.append(Refusal(token, code, f"{reason}; nothing was changed"))
                continue
            limit = takeover.host.limit if takeover.host else 0
            self._under = _Under(token, to, term, now.plus(limit + SLACK_NS), why)
        self._asks.clear()
        return refused + self._go_on(now, core, takeover, last)

    def _give_up(self, leads: bool, term: int) -> List[Refusal]:
        under, refused = self._under, []
        if under and (not leads or under.term != term):
            self._under = None
            refused += [] if under.is_asked else [Refusal(under.token, "no_leader")]
        if not leads:
            refused += [Refusal(token, "no_leader") for token, _, _ in self._asks]
            refused += [Refusal(token, "no_leader") for token in self._watches]
            self._asks.clear()
            self._watches.clear()
        return refused

    def _go_on(self, now: Instant, core: Core, takeover: Takeover, last: Optional[Record]) -> List[Refusal]:
        under = self._under
        if under is None:
            return []
        if under.is_asked:
            if not core.is_handing_over:
                self._under = None          # undone, and answered by the core: it leads on
            return []
        if takeover.is_clear(last, under.term):
            self._under = under._replace(is_asked=True)
            core.step(now, Transfer(under.token, under.to))
            if not core.is_handing_over:
                self._under = None
            return []
        reason = ""
        if takeover.host and takeover.host.state == FAILED:
            reason = "the follower hook of the leader failed, see its log; it leads on"
        elif now.reached(under.deadline):
            reason = "the outgoing work of the leader does not end; it leads on"
        if not reason:
            return []
        self._under = None
        return [Refusal(under.token, "refused", reason)]

    def due(self) -> Optional[Instant]:
        """Return when to look again at the latest."""
        return self._under.deadline if self._under and not self._under.is_asked else None

    def answers(self, own: Instance, verdict: Verdict, takeover: Takeover) -> List[Tuple[int, Answer]]:
        """Return the answers to those who wait for the takeover of this fit leader, when it is over."""
        host = takeover.host
        if verdict.waits or (host and host.hooked and not 0 < host.begun == verdict.index):
            return []
        well = not host or not host.hooked or host.begun_well
        answer = Answer(None, 0, own.encode("ascii"))
        if not well:
            answer = Answer("refused", 0, b"its leader hook failed; it leads on")
        found = [(token, answer) for token in self._watches]
        self._watches.clear()
        return found
