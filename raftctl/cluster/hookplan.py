"""Which hook of a node runs next (P5): one lane for leader, follower, start and stop.

Owns the order: one at a time, level-triggered, a new term passes through `follower`, a lost lease ends a
running `leader` hook. Pure: `step(now, event)` gives effects. Leaves to its caller how it knows what holds,
the look at the lease at the instant a `leader` hook starts (answered with `NotStarted`), and running, ending
and timing the process.
"""

from __future__ import annotations

from typing import List, Mapping, NamedTuple, Optional, Tuple, Union

from raftctl.base.errors import require

# What holds of this node: it is LEADER with its lease; another is known to lead; neither is known.
LEADS = "leads"
FOLLOWS = "follows"
UNKNOWN = "unknown"

LEADER_HOOK = "leader"
FOLLOWER_HOOK = "follower"
START_HOOK = "start"
STOP_HOOK = "stop"

# (leader or follower hook that ran last, what holds now) → the hook that is due. UNKNOWN after nothing ran is
# the time before the first election: `follower` has to wait until it is known that another leads.
NEXT_HOOK = {
    (None, LEADS): LEADER_HOOK, (LEADER_HOOK, LEADS): None, (FOLLOWER_HOOK, LEADS): LEADER_HOOK,
    (None, FOLLOWS): FOLLOWER_HOOK, (LEADER_HOOK, FOLLOWS): FOLLOWER_HOOK, (FOLLOWER_HOOK, FOLLOWS): None,
    (None, UNKNOWN): None, (LEADER_HOOK, UNKNOWN): FOLLOWER_HOOK, (FOLLOWER_HOOK, UNKNOWN): None,
}

RETRY_DELAY_NS = 1_000_000_000


class Facts(NamedTuple):
    """What a hook is told (design §7). `state` and `previous` are those that users see."""

    state: str = "UNINITIALIZED"
    previous: str = "UNINITIALIZED"
    term: int = 0
    leader: Optional[str] = None
    reason: str = ""
    members: Tuple[str, ...] = ()


class Holds(NamedTuple):
    """This holds now. `what` is LEADS, FOLLOWS or UNKNOWN; repeating it is harmless."""

    what: str
    facts: Facts


class Ready(NamedTuple):
    """A node process is ready: `start` is due."""


class Outgoing(NamedTuple):
    """Nothing incoming runs any more: `follower` if this node led, `stop` too where the stop is `orderly`.

    Each is answered by `OutgoingDone`. `Ready` ends it (a node that began anew); an orderly one is for good.
    """

    orderly: bool


class Ended(NamedTuple):
    """The hook that ran has ended (or could not be run)."""

    succeeded: bool


class NotStarted(NamedTuple):
    """The `leader` hook was not started: lease or record were over at that instant; `facts` say so."""

    facts: Facts


class SkipStop(NamedTuple):
    """The user hurries: no `stop` hook that has not begun, no further tries. `follower` is never left out."""


class Wake(NamedTuple):
    """The moment of `WakeAt` may have come."""


Event = Union[Holds, Ready, Outgoing, Ended, NotStarted, SkipStop, Wake]


class Run(NamedTuple):
    """Run this hook now; for `leader` only if the lease holds at that instant."""

    hook: str
    facts: Facts
    attempt: int


class EndRunning(NamedTuple):
    """End the running `leader` hook and its process group: TERM, grace, KILL. `Ended` is still due."""

    reason: str


class WakeAt(NamedTuple):
    """Step with `Wake` at this moment, if nothing came before."""

    at_ns: int


class OutgoingDone(NamedTuple):
    """No hook runs, and none that `Outgoing` asked for is due."""


class WorkEnded(NamedTuple):
    """`follower` has ended for good, with status 0 if `succeeded`, or there is none to run."""

    succeeded: bool


Effect = Union[Run, EndRunning, WakeAt, OutgoingDone, WorkEnded]


class Plan:
    """The lane of one node, over all its processes. One thread; `now` is ns of any one steady clock."""

    def __init__(self, retries: Mapping[str, int]) -> None:
        """`retries`: configured hook → how often it runs again after it failed."""
        self.configure(retries)
        self._holds = UNKNOWN
        self._facts = Facts()
        # What was last known while this node did not lead: told to `follower` between two terms of its own.
        self._between: Optional[Facts] = None
        self._last: Optional[str] = None
        # The term of that hook; 0 where it was cut short, so that no term is the same.
        self._last_term = 0
        self._before: Tuple[Optional[str], int] = (None, 0)
        self._running: Optional[str] = None
        self._ending = False
        self._retry: Optional[Tuple[str, int]] = None
        self._attempt = 1
        self._start_due = False
        self._started = False
        self._stop_due = False
        self._outgoing: Optional[Outgoing] = None
        self._reported = False
        self._work_ended: List[Effect] = []

    def configure(self, retries: Mapping[str, int]) -> None:
        """Take other hooks. What runs goes on; one that is new runs when it is due the next time."""
        self._retries = dict(retries)

    def led_before(self, term: int) -> None:
        """A `leader` hook of a former guardian ran in `term`, and `follower` not since: it is due."""
        require(self._last is None, "led before, but it began already", self._last)
        self._last, self._last_term = LEADER_HOOK, term

    def will_retry(self, hook: str) -> bool:
        """Has `hook` failed, and is it to be tried again?"""
        return self._retry is not None and self._retry[0] == hook

    @property
    def is_outgoing(self) -> bool:
        """Is a `leader` hook being ended, or is `follower` running or to be tried again?"""
        return (self.will_retry(FOLLOWER_HOOK) or self._running == FOLLOWER_HOOK
                or (self._running == LEADER_HOOK and self._ending))

    @property
    def running(self) -> Optional[str]:
        """The hook that runs now."""
        return self._running

    def step(self, now: int, event: Event) -> List[Effect]:
        """Take in `event` and return what must happen now, in order."""
        _RECEIVE[type(event)](self, now, event)
        effects = self._advance(now)
        ended, self._work_ended = self._work_ended, []
        return ended + effects

    def _receive_holds(self, now: int, event: Holds) -> None:
        if self._outgoing and event.what == LEADS:
            return
        self._holds, self._facts = event.what, event.facts
        if event.what != LEADS:
            self._between = event.facts

    def _receive_ready(self, now: int, event: Ready) -> None:
        if self._outgoing and self._outgoing.orderly:
            return
        self._outgoing = None
        self._start_due = True

    def _receive_outgoing(self, now: int, event: Outgoing) -> None:
        self._reported = False
        if self._outgoing and self._outgoing.orderly:
            return
        self._outgoing = event
        self._start_due = False
        self._stop_due = event.orderly and self._started
        if self._retry and self._retry[0] in (LEADER_HOOK, START_HOOK):
            self._retry = None
        if self._holds == LEADS:
            self._holds = UNKNOWN
            self._facts = self._facts._replace(state="CANDIDATE", previous="LEADER", leader=None,
                                               reason="stopping")

    def _receive_ended(self, now: int, event: Ended) -> None:
        hook, self._running = self._running, None
        require(hook is not None, "a hook ended that did not run")
        if not event.succeeded and not self._ending and self._attempt <= self._retries.get(hook, 0):
            self._retry = (hook, now + RETRY_DELAY_NS)
            self._attempt += 1
        elif hook == FOLLOWER_HOOK:
            self._work_ended.append(WorkEnded(event.succeeded))
        self._ending = False

    def _receive_not_started(self, now: int, event: NotStarted) -> None:
        require(self._running == LEADER_HOOK, "not started", self._running)
        self._running = None
        self._last, self._last_term = self._before
        self._holds, self._facts = UNKNOWN, event.facts

    def _receive_skip_stop(self, now: int, event: SkipStop) -> None:
        self._stop_due = False
        self._retry = None

    def _receive_wake(self, now: int, event: Wake) -> None:
        pass

    def _advance(self, now: int) -> List[Effect]:
        if self._running:
            return self._look_at_running()
        while True:
            hook, attempt = self._choose(now)
            if hook is None:
                return self._at_rest()
            facts = self._facts_for(hook)
            self._begin(hook, attempt)
            if hook == FOLLOWER_HOOK and hook not in self._retries:
                self._work_ended.append(WorkEnded(True))
            if hook in self._retries:
                self._running = hook
                return [Run(hook, facts, attempt)]

    def _look_at_running(self) -> List[Effect]:
        if self._running != LEADER_HOOK or self._ending or self._due() is None:
            return []
        self._ending, self._last_term = True, 0
        return [EndRunning(self._facts.reason)]

    def _due(self) -> Optional[str]:
        """Return which of `leader` and `follower` has to run for what holds."""
        if self._last == LEADER_HOOK and self._holds == LEADS and self._last_term != self._facts.term:
            return FOLLOWER_HOOK
        return NEXT_HOOK[self._last, self._holds]

    def _choose(self, now: int) -> Tuple[Optional[str], int]:
        retry, at_ns = self._retry or (None, 0)
        if self._start_due:
            return START_HOOK, 1
        # `leader` waits for the tries of `start`; any other retry gives way to what is due by now.
        due = self._due()
        if due and retry != START_HOOK:
            return due, 1
        if retry:
            return (retry, self._attempt) if now >= at_ns else (None, 0)
        return (STOP_HOOK, 1) if self._stop_due else (None, 0)

    def _facts_for(self, hook: str) -> Facts:
        if hook != FOLLOWER_HOOK or self._holds != LEADS:
            return self._facts
        if self._between and self._between.term > self._last_term:
            return self._between
        term = self._facts.term
        reason = f"led in term {self._last_term} and leads anew in term {term}"
        return self._facts._replace(state="CANDIDATE", previous="LEADER", leader=None, reason=reason)

    def _begin(self, hook: str, attempt: int) -> None:
        self._retry, self._attempt = None, attempt
        if hook == START_HOOK:
            self._start_due, self._started = False, True
        elif hook == STOP_HOOK:
            self._stop_due = self._started = False
        else:
            self._before = (self._last, self._last_term)
            self._last, self._last_term = hook, self._facts.term
            if hook == LEADER_HOOK:
                self._between = None

    def _at_rest(self) -> List[Effect]:
        if self._retry:
            return [WakeAt(self._retry[1])]
        if self._outgoing is None or self._reported:
            return []
        self._reported = True
        return [OutgoingDone()]


_RECEIVE = {
    Holds: Plan._receive_holds,
    Ready: Plan._receive_ready,
    Outgoing: Plan._receive_outgoing,
    Ended: Plan._receive_ended,
    NotStarted: Plan._receive_not_started,
    SkipStop: Plan._receive_skip_stop,
    Wake: Plan._receive_wake,
}
