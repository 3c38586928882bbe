"""The hooks of one node, carried out: what holds now, the plan's next hook, the process that runs it.

Owns the look at the lease (message and board together, at the instant a `leader` hook starts, P2) and the
logging of hooks. Leaves the order to cluster/hookplan.py and the process to host/hooks.py. It spans all
processes of the node: after a death what held is over, and `follower` runs if `leader` was last.
"""

from __future__ import annotations

import collections
import logging
import os
from typing import Any, Callable, Deque, Dict, Optional, Tuple

from raftctl.base import clock, groups
from raftctl.cluster import hookplan
from raftctl.cluster.hookplan import FOLLOWER_HOOK, FOLLOWS, LEADER_HOOK, LEADS, UNKNOWN, Facts, Plan
from raftctl.config.model import NodeConfig
from raftctl.host.hooks import GRACE_NS, HookProcess, Outcome, Output, document, hook_argv, hook_environment
from raftctl.host.loop import Loop, Timer
from raftctl.host.outgoing import Note, Work
from raftctl.tether import Board

LEADER = "LEADER"
FOLLOWER = "FOLLOWER"
CANDIDATE = "CANDIDATE"

# Shared memory tells nobody that it changed: this often is looked for a lease that the node says it
# has, or will.
_LEASE_LOOK_NS = 100_000_000
_TICK_NS = 1_000_000
_LEFT_PIPES = 16


def read_facts(message: Dict[str, Any]) -> Facts:
    """Return the facts in a `state` message of the tether."""
    members = tuple(str(member) for member in message["members"])
    return Facts(message["state"], message["previous"], message["term"], message["leader"], message["reason"],
                 members)


class Lane:
    """All methods from the guardian's thread. `on_outgoing_done` answers each `outgoing`, maybe inside it."""

    process_type = HookProcess

    def __init__(
        self, loop: Loop, node: NodeConfig, log: logging.Logger, on_outgoing_done: Callable[[], None],
        on_failure: Callable[[], None], work: Work,
    ) -> None:
        """`on_failure` is called when `failures`, hook → how often it failed, has changed."""
        self._loop = loop
        self._log = log
        self._on_outgoing_done, self._on_failure = on_outgoing_done, on_failure
        self.failures: Dict[str, int] = {}
        self._plan = Plan({})
        self._work = work
        self._configure(node)
        self._facts = Facts()
        self._board: Optional[Board] = None
        self._process: Optional[HookProcess] = None
        self._lease_timer: Optional[Timer] = None
        self._wake_timer: Optional[Timer] = None
        # Pipes that outlive their hook: a background process holds them and may still have something to say.
        self._left: Deque[Output] = collections.deque()

    def _configure(self, node: NodeConfig) -> None:
        self._node, self._hooks = node, dict(node.events)
        self._plan.configure({name: hook.retry for name, hook in node.events})
        self._work.configure(self._hooks)
        self._watches_lease = LEADER_HOOK in self._hooks or FOLLOWER_HOOK in self._hooks

    def reload(self, node: NodeConfig) -> None:
        """Go on with the hooks of `node`; see `Plan.configure`."""
        self._configure(node)
        self.look()

    def longest_outgoing_ns(self) -> int:
        """Return how long `outgoing` may last: a running hook, then `follower`, `stop`, each to its limit."""
        longest = max((hook.timeout_ns for hook in self._hooks.values()), default=0)
        tries = sum(1 + hook.retry for hook in self._hooks.values())
        return tries * (longest + 2 * GRACE_NS + hookplan.RETRY_DELAY_NS)

    def attach(self, board: Board) -> None:
        """A process of the node has begun, with this board."""
        self._board = board
        self._name_groups()

    def _name_groups(self) -> None:
        """Show on the board what runs, for the case that this guardian dies (P6)."""
        if self._board:
            self._board.name_groups((groups.of(self._process.pid),) if self._process else ())

    def tell_state(self, message: Dict[str, Any]) -> None:
        """The node says what it is (`state` of the tether)."""
        self._facts = read_facts(message)
        if self._facts.state == LEADER:
            self._work.arm(message["record"])
        else:
            self._work.disarm()
        self.look()

    def left_behind(self, note: Note, *, names_record: bool) -> None:
        """A former run left the work of `note` open: `follower` runs before all else. Before `tell_ready`."""
        self._work.left_behind(note, names_record=names_record)
        self._facts = Facts(reason="a former run left its work open", term=note.term)
        self._plan.led_before(note.term)
        self.look()

    @property
    def facts(self) -> Facts:
        """What holds at this instant."""
        return self._holding()[1]

    def tell_ready(self) -> None:
        self._step(hookplan.Ready())

    def detach(self, reason: str) -> None:
        """The process has ended: whatever it held is over."""
        self._board = None
        self._facts = self._lapsed(reason)
        self._work.disarm()
        self.look()

    def outgoing(self, *, orderly: bool) -> None:
        """Run what goes out; from now on nothing comes in (see `hookplan.Outgoing`)."""
        self._step(hookplan.Outgoing(orderly))

    def hurry(self) -> None:
        """The user asks again: KILL what runs, leave out what is no `follower`."""
        self._step(hookplan.SkipStop())
        if self._process:
            self._process.kill("killed in a hurry")

    def reap(self) -> None:
        """Look whether the hook has ended."""
        if self._process:
            self._process.reap()
        if self._work.reap():
            self.look()

    def look(self) -> None:
        """Compare what the node said with its board and the clock, and go on from there."""
        if self._lease_timer:
            self._lease_timer.cancel()
        what, facts = self._holding()
        if self._facts.state == LEADER and self._board and self._watches_lease:
            self._lease_timer = self._loop.after(self._until_next_look(what), self.look)
        self._step(hookplan.Holds(what, facts))

    def _holding(self) -> Tuple[str, Facts]:
        facts = self._facts
        if facts.state == LEADER:
            lacks = self._lacks()
            return (UNKNOWN, self._lapsed(lacks)) if lacks else (LEADS, facts)
        if facts.state == FOLLOWER and facts.leader and facts.leader != str(self._node.address):
            return FOLLOWS, facts
        return UNKNOWN, facts

    def _lacks(self) -> str:
        """Return what a `leader` hook lacks to begin, or go on, at this instant; "" for nothing."""
        if not self._has_lease():
            return "the lease is over"
        return "" if self._work.may_begin else "its takeover record has yet to be opened"

    def _has_lease(self) -> bool:
        """Does the node hold, at this instant, the lease of the term that it told of?"""
        board = self._board
        return board is not None and board.read().term == self._facts.term and board.leased(clock.now())

    def _until_next_look(self, what: str) -> int:
        if what != LEADS:
            return _LEASE_LOOK_NS
        return clock.now().left_within(self._board.read().lease_end) + _TICK_NS

    def _lapsed(self, reason: str) -> Facts:
        return self._facts._replace(state=CANDIDATE, previous=self._facts.state, leader=None, reason=reason)

    def _step(self, event: hookplan.Event) -> None:
        for effect in self._plan.step(self._loop.now(), event):
            _CARRY_OUT[type(effect)](self, effect)
        self._work.watch(is_outgoing=self._plan.is_outgoing)

    def _run(self, effect: hookplan.Run) -> None:
        note = ("", "")
        if effect.hook == LEADER_HOOK:
            lacks = self._lacks()
            if lacks:
                self._step(hookplan.NotStarted(self._lapsed(lacks)))
                return
            note = self._work.begin(effect.facts.term)
        hook = self._hooks[effect.hook]
        told = document(effect.hook, str(self._node.address), self._node.path, effect.facts)
        again = f", try {effect.attempt}" if effect.attempt > 1 else ""
        self._say(effect.hook,
                  f"begins, term {effect.facts.term}: {effect.facts.reason or effect.facts.state}{again}")
        process = self.process_type(self._loop, lambda line: self._say(effect.hook, line), self._ended)
        try:
            process.start(hook_argv(hook.argv, note), hook_environment(os.environ, told), told,
                          hook.timeout_ns)
        except OSError as error:
            self._log.error("[Event: %s] can't be started: %s", effect.hook, error)
            self._count_failure(effect.hook)
            self._step(hookplan.Ended(False))
            return
        self._process = process
        self._name_groups()

    def _say(self, hook: str, line: str) -> None:
        self._log.info("[Event: %s] %s", hook, line)

    def _ended(self, outcome: Outcome) -> None:
        self._keep_pipe(self._process.output)
        hook, self._process = self._plan.running, None
        self._name_groups()
        level = logging.INFO if outcome.succeeded else logging.ERROR
        self._log.log(level, "[Event: %s] %s: %s", hook, "ended" if outcome.succeeded else "failed",
                      outcome.text)
        if not outcome.succeeded:
            self._count_failure(hook)
        # What holds may have changed while nothing was said: the next hook is the one for this instant.
        self._step(hookplan.Holds(*self._holding()))
        self._step(hookplan.Ended(outcome.succeeded))
        if hook == LEADER_HOOK and not self._plan.will_retry(LEADER_HOOK):
            self._work.leader_hook_ended(well=outcome.succeeded)

    def _work_ended(self, effect: hookplan.WorkEnded) -> None:
        self._work.end(succeeded=effect.succeeded)

    def _count_failure(self, hook: str) -> None:
        self.failures[hook] = self.failures.get(hook, 0) + 1
        self._on_failure()

    def _keep_pipe(self, output: Output) -> None:
        self._left = collections.deque(left for left in self._left if left.is_open)
        if output.is_open:
            self._left.append(output)
        if len(self._left) > _LEFT_PIPES:
            self._left.popleft().close()

    def _end_running(self, effect: hookplan.EndRunning) -> None:
        if self._process:
            self._process.end(effect.reason or "the lease is over")

    def _wake_at(self, effect: hookplan.WakeAt) -> None:
        if self._wake_timer:
            self._wake_timer.cancel()
        self._wake_timer = self._loop.at(effect.at_ns, lambda: self._step(hookplan.Wake()))

    def _outgoing_done(self, effect: hookplan.OutgoingDone) -> None:
        self._on_outgoing_done()

    def close(self) -> None:
        """The guardian ends: nothing of this lane runs on."""
        if self._process:
            self._process.abandon()
        for output in self._left:
            output.close()
        self._work.close()


_CARRY_OUT = {
    hookplan.Run: Lane._run,
    hookplan.EndRunning: Lane._end_running,
    hookplan.WakeAt: Lane._wake_at,
    hookplan.OutgoingDone: Lane._outgoing_done,
    hookplan.WorkEnded: Lane._work_ended,
}
