"""What a turn needs from outside (`Ports`), and what the outside may read of it (`Shown`)."""

from __future__ import annotations

from typing import Any, NamedTuple, Optional, Tuple

from raftctl.base.addresses import Address
from raftctl.base.instants import Instant
from raftctl.cluster.leading import Wait
from raftctl.cluster.serving import Ask
from raftctl.raft.inputs import FOLLOWER, LEADER, Decision, View
from raftctl.raft.messages import ORIGIN, Install, SnapshotMark
from raftctl.store.image import Image


class Identity(NamedTuple):
    """What this process is: `incarnation` and `start_id` as in P7, `listed` the configuration file's list."""

    address: str
    instance: str
    incarnation: int
    start_id: str
    listed: Tuple[str, ...]


class Shown(NamedTuple):
    """What other threads read of the node, swapped whole. `founding`: as `Hello` shows it.

    `wait`: why a leader is no LEADER yet (P6); `record`: under which record its `leader` hook may start.
    `join_refusal`: why a cluster does not admit this node, where waiting alone does not help; else "".
    """

    view: View
    applied: int
    cluster_id: str
    leader_address: Optional[str]
    waiting_for: str
    join_refusal: str
    stopping: bool
    durable: Tuple[int, Any]
    fresh: bool
    reason: str
    founding: Tuple[str, ...]
    wait: Optional[Wait] = None
    record: int = 0

    @property
    def cause(self) -> str:
        """Why the state is what it is: for people, and for hooks."""
        return self.waiting_for or (self.wait.reason if self.wait else self.reason)

    def state(self, now: Instant, own: str) -> str:
        """Return the state that users see (design §3) now; LEADER ends with the lease, not with a turn."""
        view = self.view
        member = view.configuration.find(own)
        if member is None or view.removed != ORIGIN:
            return "UNINITIALIZED"
        if not member.voter:
            return "LEARNER"
        if view.role == LEADER:
            leads = now.within(view.lease_end) and not self.stopping and self.wait is None
            return "LEADER" if leads else "CANDIDATE"
        return "FOLLOWER" if view.role == FOLLOWER else "CANDIDATE"


class Ports:
    """What a turn needs done; `node/` and the simulator implement it. Nothing here may block."""

    def submit(self, write: Any) -> None:
        """Make a write durable and then call `Turn.persisted` with its number."""
        raise NotImplementedError

    def take_snapshot(self, mark: SnapshotMark, image: Image) -> None:
        """Make the image durable as `mark`, in slices and elsewhere; then call `Turn.snapshot_taken`."""
        raise NotImplementedError

    def read_chunk(self, peer: str, wanted: Install) -> None:
        """Read `CHUNK_BYTES` from `wanted.offset` of that snapshot; then call `Turn.chunk_read` with them."""
        raise NotImplementedError

    def adopt_cluster(self, cluster_id: str) -> None:
        """Make the cluster id durable before returning (once in the life of a directory)."""
        raise NotImplementedError

    def send(self, address: Address, kind: int, body: bytes, urgent: bool) -> bool:
        raise NotImplementedError

    def dial(self, addresses: Tuple[Address, ...]) -> None:
        raise NotImplementedError

    def answer(self, ask: Ask, answer: Any) -> None:
        raise NotImplementedError

    def show_lease(self, view: View) -> None:
        """Publish who leads in which term until when; called before any word of that term leaves (P4)."""
        raise NotImplementedError

    def show(self, shown: Shown, decisions: Tuple[Decision, ...]) -> None:
        raise NotImplementedError
