"""The core: one input in, what must happen out. Dispatches only; each rule has its own module beside it."""

from __future__ import annotations

from typing import Callable, Dict, Optional, Tuple

from raftctl.base.errors import require
from raftctl.base.instants import Instant
from raftctl.raft import configuration as configurations
from raftctl.raft import (
    election,
    following,
    fullness,
    installing,
    leadership,
    lease,
    membership,
    preference,
    proposals,
    release,
    removal,
    replication,
    snapshots,
    transfer,
)
from raftctl.raft.inputs import (
    FOLLOWER,
    LEADER,
    Alarm,
    Campaign,
    ChangeAsked,
    DiskRoom,
    Founded,
    Health,
    Input,
    LinkDown,
    LinkUp,
    Persisted,
    Proposed,
    ReadAsked,
    Ready,
    Received,
    Resigned,
    Restored,
    SnapshotTaken,
    Stopping,
    Timing,
    Transfer,
    View,
)
from raftctl.raft.messages import (
    CONFIGURATION,
    PLENTY,
    Append,
    AppendReply,
    Entry,
    Install,
    InstallReply,
    Instance,
    Position,
    PreVote,
    PreVoteReply,
    Release,
    Removed,
    SnapshotMark,
    Standing,
    TimeoutNow,
    Vote,
    VoteReply,
)
from raftctl.raft.progress import Progress
from raftctl.raft.standing import ORDINARY
from raftctl.raft.state import NEVER, State


class Core:
    """One node's Raft. Steps and questions come from one thread; `now` never falls on either clock."""

    def __init__(self, own: Instance, incarnation: int, timing: Timing, restored: Restored, now: Instant,
                 random: Callable[[], float], standing: Standing = ORDINARY) -> None:
        """`random` returns floats in [0, 1). A restored promise begins a start vow at `now` (P2)."""
        self._state = State(own, incarnation, timing, restored, now, random, standing)
        if self._state.configuration.voters == (own,):
            self._state.election_deadline = now      # nobody else to wait for; a start vow holds all the same
        else:
            self._state.set_election_deadline(now)

    def step(self, now: Instant, given: Input) -> None:
        """Take one input. What it causes is in the next `ready`."""
        _STEPS[type(given)](self, now, given)
        if self._state.handover:
            transfer.go_on(self._state, now)

    def ready(self, now: Instant) -> Ready:
        """Return what must happen, once: a second call returns only what came since."""
        state = self._state
        if state.role == LEADER:
            replication.flush(state, now)
        snapshots.compact(state)
        write = state.take_write()
        committed: Tuple[Entry, ...] = ()
        if not state.is_installing:
            committed = state.log.between(state.handed_out, min(state.commit_index, state.durable_index))
        state.handed_out += len(committed)
        installed, state.installed = state.installed, None
        if state.role == LEADER:
            state.uncommitted_bytes -= sum(entry.size for entry in committed)
        ready = Ready(tuple(state.messages), write, committed, tuple(state.confirmed_reads),
                      tuple(state.accepted), tuple(state.refused), tuple(state.transferred),
                      tuple(state.decisions), self._deadline(now), self.view(), installed,
                      tuple(state.chunks))
        for taken in (state.messages, state.confirmed_reads, state.accepted, state.refused, state.transferred,
                      state.decisions, state.chunks):
            taken.clear()
        return ready

    def view(self) -> View:
        state = self._state
        lease_end = state.lease_end if state.shows_leader else NEVER
        log = state.log
        return View(state.role, state.term, state.leader, lease_end, state.commit_index, log.last_index,
                    state.configuration, state.hard.removed, state.snapshot_index,
                    log.last_index - log.base.index, log.size, self.is_full)

    @property
    def role(self) -> str:
        return self._state.role

    @property
    def configuration(self) -> configurations.Configuration:
        """The newest in the log, committed or not (dissertation §4.1); the same object until it changes."""
        return self._state.configuration

    @property
    def progress(self) -> Dict[Instance, Progress]:
        """What this leader knows of each peer (empty on others). To read, not to change."""
        return self._state.progress

    @property
    def founding_entry(self) -> Optional[Entry]:
        """Entry 1: the configuration that the cluster was founded with; None where a snapshot replaced it."""
        log = self._state.log
        return log.entry(1) if log.last_index and not log.base.index else None

    @property
    def is_empty(self) -> bool:
        """Has this node neither an entry nor a snapshot?"""
        return not self._state.log.last_index

    @property
    def may_snapshot(self) -> bool:
        """May another snapshot be taken now? None that is being sent may be displaced."""
        return snapshots.may_take(self._state)

    def snapshot_mark(self, size: int) -> SnapshotMark:
        """Return the mark for a snapshot, of `size` bytes, of all that was handed out to be applied."""
        state = self._state
        position = state.log.position(state.handed_out)
        return SnapshotMark(position, *state.configuration_at(state.handed_out), size)

    @property
    def durable(self) -> Tuple[int, Position]:
        """The term and the last entry as a restart would find them: what a handshake may show (P7)."""
        return self._state.durable_term, self._state.durable_position

    @property
    def acknowledged(self) -> Tuple[Tuple[Instance, int], ...]:
        """How far each peer of this leader has acknowledged what is committed (P7); empty on others."""
        state = self._state
        return tuple((peer, min(progress.match_index, state.commit_index))
                     for peer, progress in state.progress.items())

    @property
    def is_full(self) -> bool:
        """Is the disk of this node full?"""
        return self._state.room != PLENTY

    @property
    def is_settled(self) -> bool:
        """Is the newest configuration known to be committed?"""
        return self._state.configuration_index <= self._state.commit_index

    @property
    def led_since(self) -> Instant:
        """When this leadership began, or on others when a leader was last heard."""
        return self._state.heard_since

    @property
    def term_start(self) -> int:
        """The index of this leader's no-op; of no meaning on others."""
        return self._state.term_start

    @property
    def is_handing_over(self) -> bool:
        """Is a transfer under way that still may come to nothing?"""
        return self._state.handover is not None

    def why_no_transfer(self, now: Instant, to: Optional[Instance]) -> Tuple[str, str]:
        """Return code and reason why a `Transfer` to `to` (None: the best) would be refused; "" if not."""
        return transfer.why_not(self._state, now, to)

    @property
    def may_change(self) -> bool:
        """Is this a leader whose own term is committed and that has no configuration change pending?"""
        state = self._state
        return (state.role == LEADER and not state.stopping and state.commit_index >= state.term_start
                and self.is_settled and state.handover is None)

    def _deadline(self, now: Instant) -> Optional[Instant]:
        state = self._state
        if state.role == LEADER:
            due = state.rounds.last_sent.plus(state.timing.heartbeat)
            return state.lease_end if state.shows_leader and state.lease_end < due else due
        return state.campaign_due if state.can_campaign else None

    # --- one method an input

    def _received(self, now: Instant, given: Received) -> None:
        message = given.message
        if isinstance(message, Append):
            following.receive_append(self._state, now, given.peer, given.generation, message)
            preference.repeat(self._state, now)
            return
        if isinstance(message, Install):
            installing.receive_install(self._state, now, given.peer, given.generation, message)
            return
        if isinstance(message, Release):
            release.receive_release(self._state, now, message)
            return
        _RECEIVERS[type(message)](self._state, now, given.peer, message)

    def _proposed(self, now: Instant, given: Proposed) -> None:
        proposals.propose(self._state, given)

    def _change_asked(self, now: Instant, given: ChangeAsked) -> None:
        membership.ask_change(self._state, now, given.request, given.wanted)

    def _read_asked(self, now: Instant, given: ReadAsked) -> None:
        if self._state.role != LEADER:
            self._state.refuse(given.request, "no_leader")
            return
        self._state.reads.ask(given.request)

    def _transfer(self, now: Instant, given: Transfer) -> None:
        transfer.ask(self._state, now, given.request, given.to)

    def _alarm(self, now: Instant, given: Alarm) -> None:
        if self._state.role == LEADER:
            leadership.leader_alarm(self._state, now)
            preference.repeat(self._state, now)
            if self._state.role == LEADER:
                preference.consider(self._state, now)
        else:
            election.election_alarm(self._state, now)

    def _persisted(self, now: Instant, given: Persisted) -> None:
        state = self._state
        state.persisted(given.number)
        installing.persisted(state, now, given)
        if state.role == LEADER:
            replication.advance_commit(state)
            lease.renew(state, now)
        elif state.role == FOLLOWER:
            following.acknowledge(state)
        else:
            election.count_votes(state, now)

    def _disk_room(self, now: Instant, given: DiskRoom) -> None:
        fullness.note_room(self._state, given.room)

    def _snapshot_taken(self, now: Instant, given: SnapshotTaken) -> None:
        snapshots.taken(self._state, given.mark)

    def _link_up(self, now: Instant, given: LinkUp) -> None:
        known = self._state.incarnations.get(given.peer, 0)
        self._state.incarnations[given.peer] = max(known, given.incarnation)
        self._state.standings.shook_hands(given.peer, given.incarnation)
        replication.link_up(self._state, given.peer, given.generation)
        election.link_up(self._state, given.peer)
        preference.link_up(self._state, given.peer)

    def _link_down(self, now: Instant, given: LinkDown) -> None:
        self._state.links.pop(given.peer, None)

    def _founded(self, now: Instant, given: Founded) -> None:
        state = self._state
        require(not state.log.last_index, "founding on a log that is not empty", state.log.last)
        state.set_hard(term=max(state.term, 1))
        state.append(Entry(1, 1, CONFIGURATION, configurations.encode(given.configuration)))
        # Every founder holds these very bytes before anybody may win (§6): committed by unanimity.
        state.commit_index = 1
        state.set_election_deadline(now)
        state.decide("founding", f"begins with {len(given.configuration.members)} members")

    def _campaign(self, now: Instant, given: Campaign) -> None:
        self._state.hurry_end = now.plus(self._state.timing.election_min)
        self._state.election_deadline = now
        election.election_alarm(self._state, now)

    def _stopping(self, now: Instant, given: Stopping) -> None:
        preference.stop(self._state, now)

    def _health(self, now: Instant, given: Health) -> None:
        preference.set_health(self._state, now, ok=given.ok, cause=given.cause)

    def _resigned(self, now: Instant, given: Resigned) -> None:
        transfer.resign(self._state, now)


_STEPS = {
    Received: Core._received, Proposed: Core._proposed, ChangeAsked: Core._change_asked,
    ReadAsked: Core._read_asked, Transfer: Core._transfer, Alarm: Core._alarm, Persisted: Core._persisted,
    DiskRoom: Core._disk_room, SnapshotTaken: Core._snapshot_taken, LinkUp: Core._link_up,
    LinkDown: Core._link_down, Founded: Core._founded, Campaign: Core._campaign, Stopping: Core._stopping,
    Health: Core._health,
    Resigned: Core._resigned,
}
_RECEIVERS = {
    PreVote: election.receive_pre_vote, PreVoteReply: election.receive_pre_vote_reply,
    Vote: election.receive_vote, VoteReply: election.receive_vote_reply,
    AppendReply: replication.receive_append_reply, InstallReply: replication.receive_install_reply,
    TimeoutNow: transfer.receive_timeout_now, Removed: removal.receive_removed,
    Standing: preference.receive_standing,
}
