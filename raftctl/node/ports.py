"""The turn's ports on real disk, links, clients and tether; thin, called by the node thread."""

from __future__ import annotations

import logging
from typing import Any, Callable, Dict, Optional, Tuple

from raftctl.base import clock
from raftctl.base.addresses import Address
from raftctl.cluster.ports import Identity, Ports, Shown
from raftctl.cluster.serving import Answer, Ask
from raftctl.disk.directory import Directory
from raftctl.disk.writer import Writer
from raftctl.net.links import Links
from raftctl.node.chronicle import Chronicle
from raftctl.node.requests import Requests
from raftctl.node.snapshotter import Snapshotter
from raftctl.node.status import Status
from raftctl.raft.configuration import Configuration
from raftctl.raft.inputs import LEADER, Decision, View
from raftctl.raft.messages import Install, SnapshotMark
from raftctl.store.image import Image
from raftctl.tether import Board, BoardState

_log = logging.getLogger(__name__)


class NodePorts(Ports):
    """`tell` sends a message to the guardian and must not block."""

    def __init__(self, identity: Identity, directory: Directory, writer: Writer, snapshotter: Snapshotter,
                 links: Links, requests: Requests, status: Status, board: Board,
                 tell: Callable[[Dict[str, Any]], None],
                 members_changed: Callable[[Tuple[str, ...]], None], chronicle: Chronicle) -> None:
        self._identity, self._directory, self._writer, self._links = identity, directory, writer, links
        self._snapshotter = snapshotter
        self._requests, self._status, self._board, self._tell = requests, status, board, tell
        self._members_changed, self._chronicle = members_changed, chronicle
        self._published = BoardState()
        self._led_term = 0
        self._state = ""
        self._configuration: Optional[Configuration] = None
        self._members: Tuple[str, ...] = ()
        self._waiting: Optional[str] = None
        self._record = 0

    def submit(self, write: Any) -> None:
        self._status.tally.begin_sync(clock.now())
        self._writer.submit(write)

    def take_snapshot(self, mark: SnapshotMark, image: Image) -> None:
        self._snapshotter.take(mark, image)

    def read_chunk(self, peer: str, wanted: Install) -> None:
        self._snapshotter.read(peer, wanted)

    def adopt_cluster(self, cluster_id: str) -> None:
        self._directory.adopt_cluster(cluster_id)

    def send(self, address: Address, kind: int, body: bytes, urgent: bool) -> bool:
        return self._links.send(address, kind, body, urgent)

    def dial(self, addresses: Tuple[Address, ...]) -> None:
        self._links.set_targets(addresses)

    def answer(self, ask: Ask, answer: Answer) -> None:
        self._requests.deliver(ask, answer)

    def show_lease(self, view: View) -> None:
        leads = view.role == LEADER
        if leads:
            self._led_term = view.term
        state = BoardState(self._identity.incarnation, self._led_term, leads, view.lease_end)
        if state != self._published:
            self._published = state
            self._board.publish(state)

    def show(self, shown: Shown, decisions: Tuple[Decision, ...]) -> None:
        for decision in decisions:
            _log.info("term %d: %s -> %s", shown.view.term, decision.cause, decision.effect)
        state = shown.state(clock.now(), self._identity.instance)
        if shown.view.configuration is not self._configuration:
            self._take_configuration(shown.view.configuration)
        self._chronicle.see(shown, state, decisions)
        if self._status.show(shown, state) or not self._state or shown.record != self._record:
            self._tell_state(shown, state, self._members)
        if shown.waiting_for != self._waiting:
            self._waiting = shown.waiting_for
            _log.info("%s", shown.waiting_for or "in a cluster, waits for nobody")
            self._tell({"kind": "status", "text": shown.waiting_for or f"{state} in term {shown.view.term}"})

    def _take_configuration(self, configuration: Configuration) -> None:
        members = tuple(member.address for member in configuration.members)
        if self._configuration is None or members != self._members:
            self._members_changed(members)
        self._configuration, self._members = configuration, members

    def _tell_state(self, shown: Shown, state: str, members: Tuple[str, ...]) -> None:
        view = shown.view
        if state != self._state:
            _log.info("%s -> %s in term %d, leader %s", self._state or "start", state, view.term,
                      shown.leader_address or "unknown")
        member = view.configuration.find(self._identity.instance)
        role = "none" if member is None else "voter" if member.voter else "learner"
        self._tell({"kind": "state", "state": state, "previous": self._state or "UNINITIALIZED",
                    "term": view.term, "leader": shown.leader_address, "reason": shown.cause, "role": role,
                    "members": list(members), "clusterId": shown.cluster_id, "record": shown.record})
        leader = shown.leader_address or "unknown"
        text = shown.waiting_for or f"{state} in term {view.term}, leader {leader}"
        self._tell({"kind": "status", "text": text})
        self._state, self._record = state, shown.record
