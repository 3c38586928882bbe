"""What being a leader asks of a turn beyond Raft: takeover records and hand-overs, carried out on the core.

Decides nothing: the rules are `takeover.py`'s and `handing.py`'s.
"""

from __future__ import annotations

from typing import Callable, List, NamedTuple, Optional, Tuple

from raftctl.base.instants import Instant
from raftctl.cluster.applying import Applying
from raftctl.cluster.handing import Handing
from raftctl.cluster.serving import Answer, Serving
from raftctl.cluster.takeover import ENDED, HostWork, Leadership, Takeover, Verdict, encode_word
from raftctl.raft.core import Core
from raftctl.raft.inputs import LEADER, Decision, Health, Proposed, Resigned, View
from raftctl.raft.messages import TAKEOVER, Instance
from raftctl.store.takeovers import Record


class Wait(NamedTuple):
    """Why a leader is no LEADER to users yet, and until when at most (None: it is not known).

    `is_long`: by the work of a host, not just for an entry to be applied.
    """

    reason: str
    until: Optional[Instant]
    is_long: bool


class Leading:
    """Node thread only. `index`: the record under which the `leader` hook may start; 0: it must not."""

    def __init__(self, own: Instance, core: Core, applying: Applying, serving: Serving, handing: Handing,
                 delay: int, report: Callable[[View, bytes], None]) -> None:
        """`report` sends the body of an OUTGOING frame to the leader, if that can be reached."""
        self._core, self._applying, self._serving, self._handing = core, applying, serving, handing
        self._own = own
        self._takeover, self._report = Takeover(own, delay, self._name), report
        self._resign_by: Optional[Instant] = None
        self._health: Optional[Health] = None      # what the core has yet to be told
        self.has_resigned = False
        self.wait: Optional[Wait] = None
        self.index = 0

    def host_works(self, work: HostWork) -> None:
        """The guardian says what of this host's work is over."""
        self._takeover.host = work

    def heard(self, now: Instant, instance: Instance, body: bytes) -> None:
        """A member, or its guardian, says so of its own host; raises `PeerFault`."""
        if self._core.configuration.find(instance):
            self._takeover.heard(now, instance, body)

    def resign(self, now: Instant, patience: int) -> None:
        """Release the term once the end of the outgoing work is committed, at most `patience` ns from now."""
        self._resign_by = now.plus(patience)

    def health(self, now: Instant, given: Health, *, outgoing_first: bool) -> None:
        """This host is fit to lead, or no more. A leader ends its outgoing work first, then hands over, and
        only then counts as unhealthy; where that comes to nothing it does all the same, as caretaker.

        `outgoing_first` False: that was done.
        """
        self._health = given
        leads = self._core.role == LEADER and now.within(self._core.view().lease_end)
        if leads and outgoing_first and not given.ok:
            self._handing.begin(0, None, given.cause)

    @property
    def _health_is_due(self) -> bool:
        given = self._health
        return given is not None and (given.ok or self._core.role != LEADER or not self._handing.is_busy)

    @property
    def _last(self) -> Optional[Record]:
        return self._applying.store.takeover

    def before(self, now: Instant) -> None:
        """At the begin of the end of a turn: what must not wait for the next."""
        if self._health_is_due:
            given, self._health = self._health, None
            self._core.step(now, given)  # type: ignore[arg-type]
        if self._resign_by is None:
            return
        settled = self._core.role != LEADER or self._takeover.is_settled(self._last)
        if settled or now.reached(self._resign_by):
            self._resign_by, self.has_resigned = None, True
            self._core.step(now, Resigned())

    def look(self, now: Instant, view: View, *, stops: bool) -> Optional[Instant]:
        """After what is committed was applied: return when the next turn is due, None for no need.

        `stops`: this node is stopping.
        """
        was_handing_over = self._core.is_handing_over
        for refusal in self._handing.look(now, self._core, self._takeover, self._last):
            self._serving.refused(refusal)
        leadership, is_ready = None, True
        if self._core.role == LEADER:
            is_ready = self._applying.applied >= self._core.term_start
            is_fit = not stops and now.within(view.lease_end)
            leadership = Leadership(view.term, self._core.led_since, is_ready, is_fit, self._handing.yields)
        verdict = self._takeover.look(now, self._last, leadership)
        self.index = verdict.index
        self.wait = Wait(verdict.waits, verdict.until, is_ready) if verdict.waits else None
        for token, answer in self._answers(leadership, verdict):
            self._serving.ended(token, answer)
        if verdict.report:
            self._report(view, encode_word(ENDED, verdict.report))
        if verdict.propose:
            self._core.step(now, Proposed(0, TAKEOVER, verdict.propose))
        if (verdict.propose or self._core.is_handing_over != was_handing_over
                or self._core.role != view.role or self._health_is_due):
            return now           # the core was given something, or is to be
        return self._earliest(now, verdict.due, self._handing.due(), self._resign_by)

    def _answers(self, leadership: Optional[Leadership], verdict: Verdict) -> List[Tuple[int, Answer]]:
        if leadership is None or not leadership.is_fit:
            return []
        return self._handing.answers(self._own, verdict, self._takeover)

    @staticmethod
    def _earliest(now: Instant, *given: Optional[Instant]) -> Optional[Instant]:
        return min((due for due in given if due is not None), key=now.until, default=None)

    def _name(self, instance: Instance) -> str:
        member = self._core.configuration.find(instance)
        return member.address if member else f"a former member, {instance[:8]}"

    def decisions(self, before: Optional[Wait]) -> List[Decision]:
        """Return what to say of a wait that began or ended since `before`; not of one for the own no-op."""
        if self.wait and self.wait.is_long and (before is None or before.reason != self.wait.reason):
            return [Decision(self.wait.reason, "is no LEADER to users")]
        if before and before.is_long and not self.wait and self._core.role == LEADER:
            return [Decision("there is nothing to wait for any more", "may be LEADER to users")]
        return []
