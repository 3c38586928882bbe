"""What a data directory holds when a node starts: log, snapshots, and the store that the newest one makes."""

from __future__ import annotations

import logging
from typing import NamedTuple

from raftctl.base.errors import DiskFault
from raftctl.disk.directory import Directory
from raftctl.disk.files import SYSTEM, Files
from raftctl.disk.journal import Journal
from raftctl.disk.recovery import MEND
from raftctl.disk.snapshots import Snapshots
from raftctl.net.auth import Witness
from raftctl.raft.configuration import Malformed as MalformedConfiguration
from raftctl.raft.configuration import decode
from raftctl.raft.inputs import Restored
from raftctl.store.commands import Malformed
from raftctl.store.image import SLICE_BYTES, Loader
from raftctl.store.machine import Store

_log = logging.getLogger(__name__)


class Data(NamedTuple):
    journal: Journal
    snapshots: Snapshots
    restored: Restored
    store: Store
    witness: Witness


def open_data(directory: Directory, files: Files = SYSTEM) -> Data:
    """Open all that is in the open `directory`; raise `DiskFault` for what can't be trusted. Blocks."""
    identity = directory.identity
    snapshots = Snapshots.open(directory.snapshots_path, files)
    for warning in snapshots.warnings:
        _log.warning("%s", warning)
    journal, found = Journal.open(directory.log_path, identity.instance, files,
                                  must_exist=bool(identity.cluster_id), snapshots=snapshots)
    if found.cut_bytes:
        _log.warning("%s: cut a torn tail of %d bytes: a write that was under way when this host or node "
                     "died and that nobody was told of", journal.path, found.cut_bytes)
    if found.entries and not identity.cluster_id:
        # Killed between entry 1 and the cluster's id: before that there is no snapshot.
        directory.adopt_cluster(decode(found.entries[0].body).cluster_id)
    try:
        witness = Witness(found.memory)
    except MalformedConfiguration as error:
        raise DiskFault(f"{journal.path}: {error}; {MEND}") from error
    restored = Restored(found.hard_state, found.entries, found.base, snapshots.marks[::-1])
    return Data(journal, snapshots, restored, load_store(snapshots), witness)


def load_store(snapshots: Snapshots) -> Store:
    """Return the store as of the newest snapshot, an empty one without any."""
    if not snapshots.marks:
        return Store()
    mark, loader = snapshots.marks[0], Loader()
    try:
        for offset in range(0, mark.size, SLICE_BYTES):
            loader.feed(snapshots.read(mark, offset, SLICE_BYTES) or b"")
        return Store(loader.finish())
    except Malformed as error:
        # Its checksum is right: it was written so.
        raise DiskFault(f"{snapshots.path}: the snapshot {mark.position}: {error}; {MEND}") from error
