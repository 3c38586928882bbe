"""What must hold after every step: Raft's five properties (P1), one lease holder (P2), disk first (P3).

Looks into the cores' logs; a scenario with a faithful trace of a broken rule still fails here.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Dict, List, Tuple

from raftctl.base.errors import require
from raftctl.raft.configuration import decode, quorum_size
from raftctl.raft.inputs import LEADER, View
from raftctl.raft.messages import (
    CONFIGURATION,
    AppendReply,
    Entry,
    InstallReply,
    Message,
    Position,
    Release,
    TimeoutNow,
    Vote,
    VoteReply,
)

if TYPE_CHECKING:
    from scenario.node import Node
    from scenario.world import World


class Broken(Exception):
    """An invariant does not hold."""


class Invariants:
    """Remembers what never changes again: leaders of terms, votes, entries by position, committed entries."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._leaders: Dict[int, str] = {}
        self._votes: Dict[Tuple[str, int], str] = {}
        self._entries: Dict[Position, Tuple[Entry, int]] = {}      # position → the entry, the term before it
        self._committed: List[Entry] = []
        self._committed_in: List[int] = []                         # the term of the leader that committed each
        self._stores: Dict[int, bytes] = {0: b""}
        self._given_up: Dict[Tuple[str, int], int] = {}            # (node, incarnation) → released term
        self._leader_logs: Dict[Tuple[str, int, int], List[Entry]] = {}

    def _require(self, holds: bool, rule: str, node: Node, detail: object) -> None:
        if not holds:
            raise Broken(f"at {self._ms:.3f} ms, {node.name}: {rule}: {detail}")

    @property
    def _ms(self) -> float:
        return (self._world.now_ns - self._world.trace.origin_ns) / 1_000_000

    def core_ended(self, node: Node, error: Exception) -> Broken:
        """Any exception out of a core ends the daemon (exit status 70): return what to raise for it."""
        return Broken(f"at {self._ms:.3f} ms, {node.name}: the core ended with "
                      f"{type(error).__name__}: {error}")

    def committed(self, upto: int) -> List[Entry]:
        """Return the committed entries up to that index: what a snapshot stands for."""
        require(upto <= len(self._committed), "a snapshot of what is not committed", upto)
        return self._committed[:upto]

    # --- before a message leaves

    def sending(self, node: Node, target: str, message: Message) -> None:
        """P3: votes, candidacies and acks rest on what is durable; one vote a term, restarts included."""
        durable = node.disk.hard_state
        if isinstance(message, VoteReply) and message.granted:
            self._vote(node, message.term, target)
        elif isinstance(message, Vote):
            self._vote(node, message.term, node.name)
            token = message.token
            self._require(token is None or (token.term + 1, token.successor) == (message.term, node.name),
                          "P4: a token in another candidacy than its own", node, message)
        elif isinstance(message, (Release, TimeoutNow)):
            proof = message if isinstance(message, Release) else message.token
            self._given_up[proof.instance, proof.incarnation] = proof.term
        elif isinstance(message, AppendReply):
            self._require(durable.term >= message.term, "an answer in a term that is not durable", node,
                          message)
            if message.accepted:
                self._acknowledged(node, target, message)
        elif isinstance(message, InstallReply):
            self._require(message.offset <= node.disk.received(message.position),
                          "acknowledged bytes of a snapshot that are not durable", node, message)
            self._require(durable.term >= message.term and durable.promise > 0, "a vow that is not on disk",
                          node, durable)

    def _vote(self, node: Node, term: int, candidate: str) -> None:
        durable = node.disk.hard_state
        # A later term on disk does as well: no other vote in the earlier one can follow.
        self._require(durable.term > term or (durable.term, durable.vote) == (term, candidate),
                      "a vote that is not durable", node, f"{candidate} in term {term}, disk has {durable}")
        voted = self._votes.setdefault((node.name, term), candidate)
        self._require(voted == candidate, "two votes in a term", node,
                      f"{voted} and {candidate} in term {term}")

    def _acknowledged(self, node: Node, target: str, message: AppendReply) -> None:
        disk, leader = node.disk, self._world.nodes.get(target)
        assert node.core is not None
        self._require(message.match <= disk.last_index, "acknowledged beyond the disk", node, message)
        # A vow to a later leader replaces it: that one was elected, so the earlier lease was over by then.
        replaced = node.core._state.vow.term > message.term
        promised = leader.timing.election_min if leader and not replaced else 0
        self._require(disk.hard_state.promise >= promised, "a vow that is not on disk", node, disk.hard_state)
        if node.core.view().term > message.term:
            return                  # a later leader may have overwritten it in this turn: the ack was true
        self._require(disk.entries[:message.match] == log_of(node)[:message.match],
                      "acknowledged an entry that was overwritten since", node, message)
        if leader is None or leader.view is None or leader.view[:2] != (LEADER, message.term):
            return
        theirs = log_of(leader)[:message.match]
        self._require(disk.entries[:message.match] == theirs, "acknowledged what the leader has not", node,
                      message)

    # --- after a step

    def applying(self, node: Node, entry: Entry) -> None:
        self._require(entry.index == node.applied + 1, "applied out of order", node, entry.position)
        self._require(entry.index <= node.disk.last_index, "applied before it was durable here", node,
                      entry.position)

    def applied(self, node: Node) -> None:
        """Stores are equal at equal indexes, whether by entries or by a snapshot (pitfall 2.4)."""
        known = self._stores.setdefault(node.applied, node.store)
        self._require(known == node.store, "stores differ", node, f"at {node.applied}")

    def stepped(self, node: Node) -> None:
        """Check all that a step of `node`, or taking its `Ready`, may have broken."""
        assert node.core is not None
        view, log = node.core.view(), log_of(node)
        self._log_matching(node, log)
        if view.role == LEADER:
            self._leading(node, view.term, log)
        self._commit(node, view, log)
        self._vote_taken(node, view, log)
        leased = [other.name for other in self._world.nodes.values() if other.is_leased]
        self._require(len(leased) <= 1, "P2: two lease holders", node, " ".join(leased))
        fit = node.standing.priority and node.healthy
        self._require(not node.is_leased or fit, "a caretaker shows LEADER", node, view.term)
        given_up = self._given_up.get((node.name, node.incarnation), 0)
        self._require(not node.is_leased or view.term > given_up, "P4: a lease in a released term", node,
                      view.term)

    def _log_matching(self, node: Node, log: List[Entry]) -> None:
        before = 0
        for place, entry in enumerate(log, 1):
            self._require(entry.index == place, "a log with a gap", node, entry.position)
            known = self._entries.setdefault(entry.position, (entry, before))
            self._require(known == (entry, before), "Log Matching", node, entry.position)
            before = entry.term

    def _leading(self, node: Node, term: int, log: List[Entry]) -> None:
        first = self._leaders.setdefault(term, node.name)
        self._require(first == node.name, "Election Safety", node, f"{first} leads term {term}, too")
        key = (node.name, node.incarnation, term)
        earlier = self._leader_logs.get(key)
        if earlier is None:
            # Not those *of* earlier terms: votes may be read late, when a later leader has committed more.
            held = self._committed[:bisect_left(self._committed_in, term)]
            self._require(log[:len(held)] == held, "Leader Completeness", node, f"term {term}")
        else:
            self._require(log[:len(earlier)] == earlier, "Leader Append-Only", node, f"term {term}")
        self._leader_logs[key] = log

    def _commit(self, node: Node, view: View, log: List[Entry]) -> None:
        index = view.commit_index
        self._require(index <= len(log), "commit_index behind the log", node, index)
        known = self._committed[:index]
        self._require(log[:len(known)] == known, "State Machine Safety", node, f"commits {index}")
        if index <= len(self._committed):
            return
        # Save of entry 1 (founding) no follower may be the first to know; a leader may release its term in
        # the very step in which it commits.
        assert node.core is not None
        led = view.role == LEADER or node.core._state.resigned_term == view.term
        self._require(led or index == 1, "committed by a follower", node, index)
        nodes, voters = self._world.nodes, view.configuration.voters
        held = [name for name in voters if name in nodes and nodes[name].disk.entries[:index] == log[:index]]
        self._require(len(held) >= quorum_size(voters), "committed without a quorum of disks", node,
                      f"{index} held by {' '.join(held)}")
        self._committed = log[:index]
        self._committed_in += [view.term] * (index - len(self._committed_in))

    def _vote_taken(self, node: Node, view: View, log: List[Entry]) -> None:
        """Who holds the entry that took its vote holds it committed, else all may stick (`membership.py`)."""
        if view.configuration.is_voter(node.name):
            return
        changes = [entry for entry in log if entry.kind == CONFIGURATION][-2:]
        if len(changes) == 2 and decode(changes[0].body).is_voter(node.name):
            self._require(changes[1] in self._committed, "lost its vote by an uncommitted entry", node,
                          changes[1].position)


def log_of(node: Node) -> List[Entry]:
    """Return the log in a running node's memory, and what was committed for what a snapshot stands for."""
    assert node.core is not None
    log = node.core._state.log            # the product has no reason to show it
    return node.world.invariants.committed(log.base.index) + list(log.between(log.base.index, log.last_index))
