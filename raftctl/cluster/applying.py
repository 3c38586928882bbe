"""Brings the store to what is committed, by entries or by a snapshot, and says when one of its own is due.

Pure. What is kept and sent is the core's (`raft/snapshots.py`); bytes and files are the port's.
"""

from __future__ import annotations

from typing import Optional, Tuple

from raftctl.base.durations import DAY
from raftctl.base.errors import require
from raftctl.base.instants import Instant
from raftctl.cluster.serving import Serving
from raftctl.raft.core import Core
from raftctl.raft.inputs import Ready
from raftctl.raft.log import ENTRY_COST
from raftctl.raft.messages import Chunk, SnapshotMark
from raftctl.store.image import Image, Loader
from raftctl.store.machine import Store

# Of the log in memory between two snapshots; the log begins behind the older, so it has about twice as much.
LOG_BYTES = 8 << 20
# At least this part of the store's bytes: a large one is not written again for each few of its keys.
STORE_SHARE = 4
# Without many writes, so that old entries are not read for ever at each start.
EVERY_NS = DAY


class Applying:
    """The store of one node. `applied`: the index that it stands for. Node thread only."""

    def __init__(self, core: Core, store: Store, serving: Serving, log_bytes: int = LOG_BYTES) -> None:
        """`store` is as of the newest snapshot that `core` was restored with."""
        self._core, self._serving, self._log_bytes = core, serving, log_bytes
        self.store, self.applied = store, core.view().snapshot_index
        self._since = 0                        # bytes applied since the last snapshot was begun
        self._last: Optional[Instant] = None
        self._is_taking = False
        self._loader: Optional[Loader] = None
        self._loading: Optional[SnapshotMark] = None

    def load(self, chunk: Chunk) -> None:
        """Load the bytes of a snapshot that go to the disk now; raises `Malformed`."""
        if chunk.offset == 0:
            self._loader, self._loading = Loader(), chunk.mark
        require(self._loader is not None and self._loading == chunk.mark, "a chunk without those before it",
                chunk.mark.position, chunk.offset)
        self._loader.feed(chunk.data)  # type: ignore[union-attr]

    def carry_out(self, ready: Ready) -> None:
        """Answer requests, and bring the store to what is committed; raises `Malformed`."""
        for accepted in ready.accepted:
            self._serving.accepted(accepted)
        for refusal in ready.refused:
            self._serving.refused(refusal)
        for done in ready.transferred:
            self._serving.transferred(done)
        if ready.installed:
            self._become(ready.installed)
        for entry in ready.committed:
            self._serving.applied(entry)
            self._since += len(entry.body) + ENTRY_COST
            self.applied = entry.index
        for token, index in ready.reads:
            self._serving.confirmed(token, index)

    def _become(self, mark: SnapshotMark) -> None:
        require(self._loader is not None and self._loading == mark, "installed what was not loaded",
                mark.position)
        self.store, self.applied = Store(self._loader.finish()), mark.position.index  # type: ignore
        self._loader = self._loading = None
        self._since = 0
        self._serving.replaced(self.store, self.applied)

    def due(self, now: Instant) -> Optional[Tuple[SnapshotMark, Image]]:
        """Return the snapshot to make durable now, if one is due; then `ended` must follow."""
        self._last = self._last or now
        limit = max(self._log_bytes, self.store.bytes // STORE_SHARE)
        is_due = self._since >= limit or (self._since and now.since(self._last) >= EVERY_NS)
        if not is_due or self._is_taking or not self._core.may_snapshot:
            return None
        self._is_taking, self._since, self._last = True, 0, now
        image = self.store.image()
        return self._core.snapshot_mark(image.size), image

    def ended(self) -> None:
        """The snapshot is durable, or could not be made: then the next is tried after as many bytes."""
        self._is_taking = False
