"""What a start makes of a segment's bytes: the state, a torn tail to cut, or damage to refuse (design §4.3).

Pure. Cut is only a last batch that runs past the end of the file or lacks a whole sector: it was never
acknowledged, as its sync never returned. All else is damage: what is behind may have been acknowledged.
"""

from __future__ import annotations

import errno
from typing import List, NamedTuple, Tuple

from raftctl.base.errors import DiskFault
from raftctl.disk import records
from raftctl.disk.records import Batch
from raftctl.raft.configuration import Malformed
from raftctl.raft.messages import Entry, HardState

NOT_SUPPORTED = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
_MEND = "move the directory away and start: the node rejoins empty"


class Found(NamedTuple):
    """`end` is where the next record goes, `chain` its checksum's beginning. `is_new`: no header yet.

    `cut_bytes` is the length of a torn tail from `end` to its last byte that is not zero.
    """

    hard_state: HardState
    entries: Tuple[Entry, ...]
    end: int
    chain: int
    cut_bytes: int
    is_new: bool
    memory: bytes = b""


def recover(path: str, data: bytes, instance: str) -> Found:
    """Return what the segment at `path` holds; raise `DiskFault` that names the place of the damage."""
    if not any(data[:records.SECTOR]) and not any(data):
        header = records.encode_segment(instance, 1)
        return Found(HardState(), (), records.SECTOR, records.decode_segment(header)[2], 0, True)
    try:
        owner, _, chain = records.decode_segment(data[:records.SECTOR])
    except Malformed as error:
        raise DiskFault(f"{path}: {error}; {_MEND}") from error
    if owner != instance:
        raise DiskFault(f"{path}: belongs to instance {owner}, the directory to {instance}; {_MEND}")
    return _replay(path, data, chain)


def _replay(path: str, data: bytes, chain: int) -> Found:
    newest, entries, offset = Batch(HardState(), (), b""), [], records.SECTOR
    while any(data[offset:offset + records.HEAD_SIZE]):
        head = records.decode_head(data[offset:offset + records.HEAD_SIZE], chain)
        if head is None:
            break
        record = data[offset:offset + head.size]
        decoded = records.decode_record(record, chain) if len(record) == head.size else None
        if decoded is None:
            if len(record) == head.size and not records.is_torn(record, head, offset):
                raise _damaged(path, offset, "its checksum is wrong and no sector of it is missing")
            return _cut(path, data, offset, offset + len(record), newest, entries, chain)
        body, chain = decoded
        newest = _take(path, offset, body, newest, entries)
        offset += head.size
    return _end(path, data, offset, newest, entries, chain)


def _take(path: str, offset: int, body: bytes, newest: Batch, entries: List[Entry]) -> Batch:
    """Add the record's entries to `entries`; return what it and those before say last of all else."""
    try:
        batch = records.decode_items(body)
    except Malformed as error:
        raise _damaged(path, offset, str(error)) from error
    for entry in batch.entries:
        if not 0 < entry.index <= len(entries) + 1:
            raise _damaged(path, offset, f"entry {entry.index} follows {len(entries)}")
        # A conflict is overwritten logically: a later entry replaces that one and all behind it.
        del entries[entry.index - 1:]
        entries.append(entry)
    memory = newest.memory if batch.memory is None else batch.memory
    return Batch(batch.hard_state or newest.hard_state, (), memory)


def _end(path: str, data: bytes, offset: int, newest: Batch, entries: List[Entry], chain: int) -> Found:
    rest = data[offset:]
    if not any(rest):
        return Found(newest.hard_state, tuple(entries), offset, chain, 0, False, newest.memory)
    first_sector_end = offset - offset % records.SECTOR + records.SECTOR
    if len(rest) >= records.HEAD_SIZE and any(data[offset:first_sector_end]):
        raise _damaged(path, offset, "its head is damaged")
    # Without a head the batch's size is unknown: a sound head anywhere behind says that this sector was
    # once synced.
    if _has_later_record(data, offset + records.HEAD_SIZE):
        raise _damaged(path, offset,
                       "its first sector is zeros, but more records follow it, so it is no torn tail")
    return _cut(path, data, offset, len(data), newest, entries, chain)


def _has_later_record(data: bytes, begin: int) -> bool:
    found = data.find(records.BATCH, begin)
    while found != -1:
        if found % records.ALIGNMENT == 0:
            # The record before may be damaged; its checksum is taken as it stands: only the head must fit
            # to it.
            chain = records.chain_before(data, found)
            head = data[found:found + records.HEAD_SIZE]
            if chain is not None and records.decode_head(head, chain) is not None:
                return True
        found = data.find(records.BATCH, found + 1)
    return False


def _cut(path: str, data: bytes, offset: int, record_end: int, newest: Batch, entries: List[Entry],
         chain: int) -> Found:
    """Cut a torn last batch, unless more follows that no torn last batch could leave behind."""
    if any(data[record_end:]):
        raise _damaged(path, offset, "more records follow it, so it is no torn tail")
    cut_bytes = len(data.rstrip(b"\x00")) - offset
    return Found(newest.hard_state, tuple(entries), offset, chain, cut_bytes, False, newest.memory)


def _damaged(path: str, offset: int, why: str) -> DiskFault:
    return DiskFault(f"{path}: the record at byte {offset} is damaged: {why}; {_MEND}")
