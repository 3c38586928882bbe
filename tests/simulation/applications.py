"""Guardians and the application that their hooks begin and end; the checker of P6: never two at once.

The lane, its plan and its records are the shipped ones (`host/lane.py`, `host/outgoing.py`) on simulated time,
processes and note. An application outlives its node and its guardian; only `follower`, or the host's end,
ends it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Tuple

from raftctl.base.addresses import parse
from raftctl.cluster import handshake
from raftctl.cluster.handshake import Hello
from raftctl.cluster.ports import Shown
from raftctl.cluster.takeover import HostWork
from raftctl.config.model import Hook, NodeConfig
from raftctl.host.hooks import Outcome
from raftctl.host.lane import Lane
from raftctl.host.loop import Timer
from raftctl.host.outgoing import Work, parse_note
from raftctl.tether import MESSAGES, WORK

if TYPE_CHECKING:
    from simulation.hosts import Host
    from simulation.node import Process
    from simulation.world import World

MS = 1_000_000
TETHER_NS = 200_000
HOOK_TIMEOUT_NS = 30_000 * MS
_NOTE_AT = 8            # of a hook's argv: `host/hooks.py: hook_argv`
OK, FAILED = Outcome(True, "status 0"), Outcome(False, "status 1")


class Applications:
    """Where the application runs."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._running: List[Host] = []
        self.begun = 0

    def begin(self, host: Host) -> None:
        self._world.trace(host.name, "application begins")
        # Whose guardian is dead, nobody ends the application there: not promised (P6).
        others = [other for other in self._running if other is not host and other.guardian_lives]
        if others:
            self._world.fail("P6: two applications at once", f"{host.name} beside {others[0].name}")
        if host not in self._running:
            self._running.append(host)
        self.begun += 1

    def end(self, host: Host) -> None:
        if host in self._running:
            self._world.trace(host.name, "application has ended")
            self._running.remove(host)

    def runs_at(self, host: Host) -> bool:
        return host in self._running

    @property
    def at_leader(self) -> bool:
        """Does it run on the host that is LEADER, and there alone?"""
        return len(self._running) == 1 and any(
            host.process and host.process.shows_leader for host in self._running)


class _Loop:
    """The guardian's loop on the world's time; stands still with its host, ends with its guardian."""

    def __init__(self, guardian: Guardian) -> None:
        self._guardian, self._world = guardian, guardian.world

    def now(self) -> int:
        return self._world.now

    def after(self, span_ns: int, callback: Callable[[], None]) -> Timer:
        return self.at(self._world.now + span_ns, callback)

    def at(self, when: int, callback: Callable[[], None]) -> Timer:
        timer = Timer(callback)
        self._world.at(when, self._fire, timer)
        return timer

    def _fire(self, timer: Timer) -> None:
        host = self._guardian.host
        if not self._guardian.is_alive:
            return
        if host.is_suspended or host.is_stopped:
            self._world.after(10 * MS, self._fire, timer)
        else:
            timer.fire()


class _Log:
    def __init__(self, host: Host) -> None:
        self._host = host

    def info(self, text: str, *arguments: Any) -> None:
        self._host.world.trace(self._host.name, text % arguments)

    error = warning = info

    def debug(self, text: str, *arguments: Any) -> None:
        pass

    def log(self, level: int, text: str, *arguments: Any) -> None:
        self.info(text, *arguments)


class _Output:
    is_open = False


class _Process:
    """A hook: `leader` begins the application and returns, `follower` ends it."""

    def __init__(self, loop: _Loop, on_line: Callable, on_end: Callable[[Outcome], None]) -> None:
        self._loop, self._on_end = loop, on_end
        self._guardian = loop._guardian
        self.output = _Output()
        self._over = False

    def start(self, argv: Any, environment: Any, told: Dict[str, Any], timeout_ns: int) -> None:
        path, text = argv[_NOTE_AT:_NOTE_AT + 2]
        host, draws = self._guardian.host, self._guardian.draws
        world, profile = host.world, host.world.profile
        if told["event"] == "leader":
            self._loop.after(draws.between(0, 5 * MS), lambda: self._begin(path, text))
            return
        least, most = profile.ending_ms
        span = draws.between(least * MS, most * MS)
        # The application is the host's, not the guardian's: it ends by then whoever is alive.
        if host.is_running_application:
            world.after(span, world.applications.end, host)
        fails = draws.chance(profile.failing_hooks)
        self._loop.after(span + MS, lambda: self._finish(FAILED if fails else OK))

    def _begin(self, path: str, text: str) -> None:
        if self._over:
            return
        if path:
            self._guardian.host.note = text
        self._loop.after(self._guardian.draws.between(0, 30 * MS), self._run)

    def _run(self) -> None:
        if not self._over:
            self._guardian.host.world.applications.begin(self._guardian.host)
            self._loop.after(self._guardian.draws.between(0, 20 * MS), lambda: self._finish(OK))

    def _finish(self, outcome: Outcome) -> None:
        if not self._over:
            self._over = True
            self._on_end(outcome)

    def end(self, why: str) -> None:
        """TERM: what has not begun by the end of the grace does not; here it ends soon."""
        self._loop.after(self._guardian.draws.between(0, 40 * MS), lambda: self._finish(FAILED))

    def kill(self, why: str) -> None:
        self._finish(FAILED)

    def reap(self) -> None:
        pass

    def abandon(self) -> None:
        self._over = True


class _Board:
    def __init__(self, process: Process) -> None:
        self._process = process

    def read(self) -> Any:
        return self._process.board

    def leased(self, now: Any) -> bool:
        return self._process.leases


class _Work(Work):
    def __init__(self, guardian: Guardian, *arguments: Any) -> None:
        self._guardian = guardian
        super().__init__(*arguments)

    def _remove(self) -> None:
        self._guardian.host.note = ""


class _Lane(Lane):
    process_type = _Process

    def _name_groups(self) -> None:
        """What runs on a host is `Applications`' to know."""

    def __init__(self, guardian: Guardian, *arguments: Any) -> None:
        self._guardian = guardian
        super().__init__(*arguments)

    def _until_next_look(self, what: str) -> int:
        process = self._guardian.process
        if what != "leads" or process is None:
            return 100 * MS
        return process.now.left_within(process.board.lease_end) + MS


class Guardian:
    """The guardian of one host, from one start of the service to its end."""

    def __init__(self, host: Host) -> None:
        self.host, self.world = host, host.world
        self.draws = host.draws.child(f"guardian {host.starts}")
        self.is_alive = True
        self.process: Optional[Process] = None
        self._known: Optional[Process] = None
        self._said: Tuple = ()
        self._was_opened = False
        retry = 1 if self.draws.chance(0.3) else 0
        events = tuple((name, Hook(("/" + name,), HOOK_TIMEOUT_NS, retry)) for name in ("leader", "follower"))
        address = parse(host.address)
        node = NodeConfig("/c", address, address.host, address.host, None, host.name, (), 1, 2, 3, None,
                          "/simulated", False, None, "info", events, None, (), True, "x", "", None,
                          takeover_delay_ns=host.takeover_delay)
        loop, log = _Loop(self), _Log(host)
        self._work = _Work(self, loop, node, log, self._tell, self._deliver)
        self._lane = _Lane(self, loop, node, log, self._outgoing_done, lambda: None, self._work)
        self._on_outgoing_done: Optional[Callable[[], None]] = None

    # --- its node

    def began(self, process: Process) -> None:
        """LOCKED, then READY."""
        self.process = self._known = process
        self._said = ()
        self._work.of_instance(process.instance)
        if self.host.note and not self._was_opened:
            note = parse_note(self.host.note)
            self._lane.left_behind(note, names_record=note.instance == process.instance)
        self._was_opened = True
        self._lane.attach(_Board(process))
        self._lane.tell_ready()
        self._tell()

    def shown(self, process: Process, shown: Shown) -> None:
        """The node says what it is, where that has changed: `node/ports.py`."""
        state = shown.state(process.now, process.instance)
        said = (state, shown.view.term, shown.leader_address, shown.record)
        if said == self._said or process is not self.process:
            return
        previous, self._said = (self._said or ("UNINITIALIZED",))[0], said
        message = {"kind": "state", "state": state, "previous": previous, "term": shown.view.term,
                   "leader": shown.leader_address, "reason": shown.cause, "role": "voter", "members": [],
                   "clusterId": shown.cluster_id, "record": shown.record}
        self._lane_later(process, message)

    def _lane_later(self, process: Process, message: Dict[str, Any]) -> None:
        def deliver() -> None:
            if self.is_alive and process is self.process:
                self._lane.tell_state(message)
        self.world.after(TETHER_NS, deliver)

    def reaped(self, process: Process) -> None:
        if self.is_alive and process is self.process:
            self.process = None
            self._lane.detach("node ended")

    def stop(self, done: Callable[[], None]) -> None:
        """Run what goes out; then `done`."""
        self._on_outgoing_done = done
        self._lane.outgoing(orderly=True)

    def end(self) -> None:
        """It is dead, or its service has stopped: nothing of it happens any more."""
        self.is_alive = False
        self._lane.close()

    # --- what it says

    def _outgoing_done(self) -> None:
        if self._on_outgoing_done:
            self._on_outgoing_done()

    def _tell(self) -> None:
        process = self.process
        if process is None:
            return
        message = self._work.message()
        work = HostWork(*(message[name] for name in MESSAGES[WORK]))
        self.world.after(TETHER_NS, process.post, ("work", work))

    def _deliver(self, body: bytes) -> None:
        known = self._known
        if known is None or known.shown is None:
            return
        members = known.shown.view.configuration.members
        hello = Hello(handshake.VERSION, handshake.GUARDIAN, known.turn.cluster_id, self.host.address, "",
                      known.instance, known.incarnation, "", known.board.term)
        self.world.network.tell(self.host.address, hello, handshake.OUTGOING, {
            member.address: body for member in members if member.address != self.host.address})
