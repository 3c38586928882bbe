"""One host: clocks, a disk that forgets what was not synced, a guardian, and at most one process."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Optional, Tuple

from unit.fake_disk import Died, FakeDisk

from raftctl.base.errors import DiskFault
from raftctl.base.instants import Instant
from raftctl.disk.files import DiskFull
from raftctl.cluster import handshake
from raftctl.cluster.handshake import Hello
from raftctl.raft.encoding import encode_message
from raftctl.raft.messages import Release, Standing
from simulation.applications import Guardian
from simulation.clocks import HostClock
from simulation.node import MS, Process

if TYPE_CHECKING:
    from simulation.world import World

RESTART_MS = (5, 400)
REAP_MS = (1, 3)
OUTGOING_MS = (1, 60)


class Host:
    """`listed`: the file's `clusterNodes`; `join`: whom to ask, None where the list says it."""

    def __init__(self, world: World, number: int, listed: Tuple[str, ...], join: Optional[str],
                 clock: HostClock, *, is_copy: bool = False) -> None:
        self.world, self.number, self.listed, self.join, self.clock = world, number, listed, join, clock
        self.is_copy = is_copy
        self.name = f"h{number}" + ("copy" if is_copy else "")
        self.address = f"tcp://h{number}:8089"
        self.draws = world.draws.child(self.name)
        self.timing = world.profile.timing
        profile = world.profile
        # The first is one that can be LEADER: else nobody would have to be in the end.
        choice = profile.priorities if number > 1 else tuple(filter(None, profile.priorities))
        self.standing = Standing(self.draws.child("priority").one_of(choice),
                                 preempt=self.draws.child("preempt").chance(profile.preempting))
        self.disk = FakeDisk()
        self.disk_ms: Tuple[float, float] = world.profile.disk_ms
        self.process: Optional[Process] = None
        self.starts = self.instances = 0
        self.is_paused = self.is_suspended = self.is_stopped = self.is_stopping = False
        self.clocks_resumed: Optional[Instant] = None      # after a hypervisor pause
        self.backup: Optional[FakeDisk] = None
        self.has_gone_back = False                         # it runs on a directory that was copied back
        self.guardian: Optional[Guardian] = None           # where the profile has hooks
        self.note = ""                 # `outgoing` in the data directory
        self.takeover_delay = self.draws.child("delay").one_of(profile.delays_ms) * MS
        self.is_down = False           # by an operator or for good: nobody restarts it
        self.guardian_lives = True
        self.lacked_space = False      # what it is down for
        self.right_list: Optional[Tuple[str, ...]] = None  # what the operator writes there in the end

    @property
    def is_frozen(self) -> bool:
        return self.is_paused or self.is_suspended or self.is_stopped

    def new_instance(self) -> str:
        self.instances += 1
        return f"i{self.number}-{self.instances}"

    # --- life

    def start(self) -> None:
        """What systemd and the guardian do: start the process, unless it runs or shall not."""
        if self.process or self.is_down:
            return
        if self.is_frozen:
            self.world.after(50 * MS, self.start)
            return
        self.starts += 1
        self.guardian_lives = True
        if self.world.profile.hooks and self.guardian is None:
            self.guardian = Guardian(self)
        self.disk = self.disk.restarted()
        try:
            self.process = Process(self)
        except DiskFault as fault:
            self.is_down, self.lacked_space = True, isinstance(fault, DiskFull)
            self.world.trace(self.name, f"start refused: {fault}")
            return
        except Died:
            self.world.trace(self.name, "killed while it started")
            self.start_later()
            return
        self.world.trace(self.name, f"starts, incarnation {self.process.incarnation}")
        self.process.begin()
        if self.guardian:
            self.guardian.began(self.process)

    def comes_back(self) -> None:
        """The operator lets it start."""
        self.is_down = False
        self.start()

    def start_later(self) -> None:
        self.world.after(self.draws.between(RESTART_MS[0] * MS, RESTART_MS[1] * MS), self.start)

    def end_process(self, why: str, *, told: bool = True, releases: bool = True) -> None:
        """The process is dead from now on; the guardian reaps it. `told`: its kernel closes connections."""
        process, self.process = self.process, None
        if process is None:
            return
        self.world.trace(self.name, why)
        self.is_paused = False
        self._interrupt_write(process)
        process.close()
        self.world.checkers.ended(process)
        self.world.clients.ended(process)
        self.world.network.ended(process, told=told)
        if releases and self.guardian_lives:
            self.world.after(self.draws.between(REAP_MS[0] * MS, REAP_MS[1] * MS), self._reap, process)
        if self.is_stopping:
            self.end_guardian()            # the service has ended; the next start has another
        self.start_later()

    def end_guardian(self) -> None:
        self.is_stopping = False
        if self.guardian:
            self.guardian.end()
            self.guardian = None

    def _reap(self, process: Process) -> None:
        self._release(process)
        if self.guardian:
            self.guardian.reaped(process)

    @property
    def is_running_application(self) -> bool:
        return self.world.applications.runs_at(self)

    def _release(self, process: Process) -> None:
        """P4: for just the incarnation and the last led term of the process that was reaped."""
        board = process.board
        if not board.term or not self.guardian_lives or self.is_frozen or process.shown is None:
            return
        members = process.shown.view.configuration.members
        hello = Hello(handshake.VERSION, handshake.GUARDIAN, process.turn.cluster_id, self.address, "",
                      process.instance, process.incarnation, "", board.term)
        body = encode_message(Release(process.instance, process.incarnation, board.term))
        self.world.trace(self.name, f"guardian releases term {board.term}")
        self.world.checkers.released(process, board.term)
        self.world.network.tell(self.address, hello, handshake.RAFT, {member.address: body for member in members
                                                         if member.address != self.address})

    def kill_guardian(self) -> None:
        """kill -9 of the guardian: its node sees the end of the tether and ends; nobody releases."""
        self.guardian_lives = False
        self.end_guardian()
        self.world.after(self.draws.between(0, 5 * MS), self.end_process, "ends, its guardian is gone")

    def lose_power(self) -> None:
        """What was not synced is gone, or torn; nobody is told."""
        self.guardian_lives = False
        self.end_guardian()
        self.world.applications.end(self)
        self.end_process("loses its power", told=False, releases=False)
        keep = self.draws.child(f"power {self.world.now}")
        share = keep.one_of([0.0, 0.5, 1.0])
        self.disk = self.disk.power_cut(lambda: keep.chance(share))

    def back_up(self) -> None:
        """`cp -a` of the directory while the process runs."""
        self.backup = self.disk.copied()

    def go_back(self) -> None:
        """The copy is put in the place of the directory (P7, pitfall 3.5)."""
        self.end_process("its directory is copied back")
        self.disk, self.backup = self.backup or FakeDisk(), None
        self.has_gone_back = True

    def wipe(self) -> None:
        """The operator replaces the disk; the node comes back empty."""
        self.end_process("loses its disk", told=True)
        self.disk, self.backup = FakeDisk(), None
        self.has_gone_back = False
        self.is_down = False

    # --- an orderly stop: outgoing work, RELEASE, end (design §4.1)

    def stop(self) -> None:
        if self.process:
            self.world.trace(self.name, "is told to stop")
            self.process.stop()
            self.is_stopping = True
            if self.guardian:
                process = self.process
                self.guardian.stop(lambda: self._outgoing_ended(process))
                return
            self.world.after(self.draws.between(OUTGOING_MS[0] * MS, OUTGOING_MS[1] * MS),
                             self._outgoing_ended, self.process)

    def _outgoing_ended(self, process: Process) -> None:
        if process is self.process:
            process.post(("resign",))

    def stopped(self, process: Process) -> None:
        """Called in the turn that sent the RELEASE, after it."""
        if process is self.process:
            self.end_process("has stopped")

    def free_space(self) -> None:
        """The operator does what the message says; starts a node whose first segment found no room, too."""
        self.disk.is_full = False
        if self.is_down and self.lacked_space:
            self.is_down = False
            self.start()

    # --- freezing

    def pause(self) -> None:
        self.is_paused = True

    def suspend(self) -> None:
        """The whole host stands still: RAW stops, BOOTTIME goes on."""
        self.is_suspended = True
        self.clock.change(self.world.now, runs_raw=False)

    def stop_clocks(self) -> None:
        """A hypervisor pause: host and both clocks stand still (pitfall 7.1)."""
        self.is_stopped = self.world.clocks_stopped = True
        self.clock.change(self.world.now, runs_raw=False, runs_boot=False)

    def resume(self) -> None:
        if self.is_suspended or self.is_stopped:
            self.clock.change(self.world.now)
        if self.is_stopped:
            self.clocks_resumed = self.clock.at(self.world.now)
        self.is_paused = self.is_suspended = self.is_stopped = False
        if self.process:
            self.process.resume()
            self.world.network.let_go()

    # --- the disk thread

    def write(self, process: Process, write: Any) -> None:
        process.pending = write
        self.world.after(self.disk_span(), self._written, process)

    def disk_span(self) -> int:
        """Return how long the disk takes for a sync, in ns."""
        least, most = self.disk_ms
        return int((least + self.draws.fraction() * (most - least)) * MS)

    def disk_failed(self, fault: DiskFault) -> None:
        """Exit status 74, and nobody restarts it (P3)."""
        self.is_down, self.lacked_space = True, isinstance(fault, DiskFull)
        if self.lacked_space:
            self.world.fail("P3: a full disk ended a node", f"{self.name}: {fault}")
        self.end_process(f"ends: {fault}")

    def _written(self, process: Process) -> None:
        if process is not self.process:
            return
        if self.is_frozen:
            self.world.after(10 * MS, self._written, process)
            return
        write, process.pending = process.pending, None
        try:
            process.append(write)
        except DiskFault as fault:
            self.disk_failed(fault)

    def _interrupt_write(self, process: Process) -> None:
        """It was killed with a write under way: that got as far as it got."""
        if process.pending is None or self.draws.chance(0.3):
            return
        # With the last chunk of a snapshot come its name, and those it displaces, before the journal's part.
        steps = 12 if process.pending.chunk else 4
        self.disk.die_at = self.disk.count + self.draws.between(1, steps)
        with contextlib.suppress(Died, DiskFault):
            process.append_unseen(process.pending)
