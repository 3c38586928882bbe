"""One node of the world: a core, its clocks, its disk, and the turn that carries out each `Ready`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Dict, List, Optional, Sequence, TypeVar

from raftctl.base.instants import Instant
from raftctl.raft import snapshots
from raftctl.raft.configuration import Configuration, decode
from raftctl.raft.core import Core
from raftctl.raft.inputs import Alarm, Health, Input, Ready, Restored, SnapshotTaken, View
from raftctl.raft.messages import COMMAND, NOOP, Entry, Release, SnapshotMark, Standing
from scenario.clock import Clock
from scenario.disk import Disk

if TYPE_CHECKING:
    from scenario.world import World

T = TypeVar("T")


class Node:
    """A process that may crash, be paused and start again on the same disk."""

    def __init__(self, world: World, name: str, clock: Clock, disk: Disk) -> None:
        self.world, self.name, self.clock, self.disk = world, name, clock, disk
        self.core: Optional[Core] = None
        self.view: Optional[View] = None
        self.incarnation = 0
        self.timing = world.timing
        self.draw = 0.5                    # what the random source answers: an election timeout as a fraction
        self.paused = False
        self.healthy = True
        priority = world.setting.priorities.get(name, 100)
        self.standing = Standing(priority, preempt=name in world.setting.preempting)
        self.applied = 0
        self.store = b""                   # what was applied, one after the other
        self._inbox: List[Input] = []
        self._deadline: Optional[Instant] = None
        self._alarm = 0                    # number of the alarm that counts
        self._shown = 0                    # entries whose application was traced, restarts included
        self.requests: Dict[int, str] = {}

    @property
    def now(self) -> Instant:
        return self.clock.read(self.world.now_ns)

    @property
    def is_awake(self) -> bool:
        return self.core is not None and not self.paused

    @property
    def is_leased(self) -> bool:
        """Would this node answer LEADER now? A paused one still may when it wakes: it counts."""
        return self.view is not None and self.view.role == "leader" and self.now.within(self.view.lease_end)

    # --- life

    def start(self) -> None:
        self.incarnation += 1
        self.healthy = True
        disk = self.disk
        restored = Restored(disk.hard_state, tuple(disk.entries[disk.base.index:]), disk.base, disk.marks)
        self._become(disk.marks[-1] if disk.marks else None)
        self.core = Core(self.name, self.incarnation, self.timing, restored, self.now,
                         lambda: self.draw, self.standing)
        self._carry_out(self.core.ready(self.now))

    def crash(self) -> None:
        """The process is gone at once; the write in flight is lost."""
        self.disk.crash()
        self.core = self.view = self._deadline = None
        self.paused = False
        self._inbox, self.requests = [], {}
        self._alarm += 1
        self.world.network.node_down(self.name)

    def resume(self) -> None:
        """Wake: the late alarm comes first, then all that waited, in one turn (pitfall 7.3)."""
        self.paused = False
        late = self._deadline is not None and self.now.reached(self._deadline)
        inputs, self._inbox = self._inbox, []
        self.turn(([Alarm()] if late else []) + inputs)
        if not late:
            self._arm(self._deadline)
        self.world.network.dial_all(self.name)

    # --- turns

    def give(self, given: Input) -> None:
        if self.paused:
            self._inbox.append(given)
        else:
            self.turn([given])

    def turn(self, inputs: List[Input]) -> None:
        """Step the core through `inputs`, then do what it wants."""
        core = self.core
        assert core is not None
        for given in inputs:
            self._guarded(lambda given=given: core.step(self.now, given))
            self.world.invariants.stepped(self)
            if isinstance(given, Health):
                self.healthy = given.ok
        self._carry_out(self._guarded(lambda: core.ready(self.now)))

    def _guarded(self, act: Callable[[], T]) -> T:
        try:
            return act()
        except Exception as error:
            raise self.world.invariants.core_ended(self, error) from error

    def _carry_out(self, ready: Ready) -> None:
        world = self.world
        self.view = ready.view
        for decision in ready.decisions:
            world.trace.note(world.now_ns, self.name, *decision)
        for accepted in ready.accepted:
            self._answer(accepted.request, f"appended {accepted.term}:{accepted.index}", keep=True)
        for refusal in ready.refused:
            reason = f": {refusal.reason}" if refusal.reason else ""
            self._answer(refusal.request, f"refused, {refusal.code}{reason}")
        for done in ready.transferred:
            self._answer(done.request, f"tells {done.successor} to lead")
        for target, message in ready.messages:
            world.invariants.sending(self, target, message)
            world.network.send(self.name, target, message)
        for target, wanted in ready.chunks:
            data = self.disk.snapshots[wanted.mark][wanted.offset:wanted.offset + snapshots.CHUNK_BYTES]
            world.network.send(self.name, target, wanted._replace(data=data))
        if ready.write is not None:
            self.disk.submit(ready.write)
            self.sync_later()
        if ready.installed:
            self._become(ready.installed)
        self._apply(ready.committed)
        for request, index in ready.reads:
            self._answer(request, f"answered at {index}")
        self._arm(ready.deadline)
        world.invariants.stepped(self)

    def _answer(self, request: int, effect: str, *, keep: bool = False) -> None:
        self.world.trace.note(self.world.now_ns, self.name, self.requests[request], effect)
        if not keep:
            del self.requests[request]

    def _become(self, mark: Optional[SnapshotMark]) -> None:
        self.applied = mark.position.index if mark else 0
        self.store = self.disk.snapshots[mark].rstrip(b" ") if mark else b""
        self._shown = max(self._shown, self.applied)
        self.world.invariants.applied(self)

    def take_snapshot(self, size: int) -> None:
        """Make a snapshot of all that was applied durable, filled up with spaces to `size` bytes."""
        assert self.core is not None
        if not self.core.may_snapshot:
            self.world.trace.say(f"{self.name} takes none while the older one is being sent")
            return
        data = self.store.ljust(size) or b" "
        mark = self.core.snapshot_mark(len(data))
        self.disk.keep(mark, data)
        self.give(SnapshotTaken(mark))

    def _apply(self, entries: Sequence[Entry]) -> None:
        shown = []
        for entry in entries:
            self.world.invariants.applying(self, entry)
            self.applied = entry.index
            self.store += entry.body + b"\n" if entry.kind == COMMAND else b""
            self.world.invariants.applied(self)
            if entry.index > self._shown and entry.kind != NOOP:
                shown.append(entry.body.decode() if entry.kind == COMMAND else describe(decode(entry.body)))
            self._shown = max(self._shown, entry.index)
        if shown:
            self.world.trace.note(self.world.now_ns, self.name, f"{entries[-1].position} committed",
                                  f"applies {', '.join(shown)}")

    # --- disk and alarm

    def sync_later(self) -> None:
        """Let the write in flight become durable after the disk's delay."""
        write, delay, incarnation = self.disk.in_flight, self.disk.delay_ns, self.incarnation
        if write is None or delay is None:
            return

        def synced() -> None:
            if self.incarnation == incarnation and self.disk.in_flight is write:
                self.give(self.disk.sync())

        self.world.at(self.world.now_ns + delay, synced)

    def rearm(self) -> None:
        """Ask for the alarm again: the clocks' rates changed."""
        self._arm(self._deadline)

    def _arm(self, deadline: Optional[Instant]) -> None:
        self._deadline = deadline
        self._alarm += 1
        number = self._alarm
        if deadline is None:
            return

        def ring() -> None:
            if self._alarm == number and self.is_awake:
                self.turn([Alarm()])

        self.world.at(self.clock.true_time_of(self.world.now_ns, deadline), ring)

    @property
    def next_alarm_ns(self) -> Optional[int]:
        return None if self._deadline is None else self.clock.true_time_of(self.world.now_ns, self._deadline)

    def proof_of_death(self) -> Release:
        """What the guardian says once it has reaped this node: its last incarnation, and the term on disk."""
        return Release(self.name, self.incarnation, self.disk.hard_state.term)


def describe(value: Configuration) -> str:
    """Return `voters n1 n2, learners n3` for people."""
    voters = " ".join(member.instance for member in value.members if member.voter)
    learners = " ".join(member.instance for member in value.members if not member.voter)
    return f"voters {voters}" + (f", learners {learners}" if learners else "")
