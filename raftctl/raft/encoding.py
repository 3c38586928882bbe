"""Bytes of entries and messages: the same entry bytes go to the disk and to every peer.

Big-endian structs; texts are a length and ASCII. Readers trust nothing: whatever no writer of ours produces
raises `Malformed`. Lengths of frames and records, checksums and MACs belong to `net/` and `disk/`.
"""

from __future__ import annotations

import struct
from typing import Callable, Dict, Optional, Tuple

from raftctl.base.errors import require
from raftctl.raft import configuration as configurations
from raftctl.raft.configuration import Malformed
from raftctl.raft.messages import (
    COMMAND,
    CONFIGURATION,
    ENTRY_OVERHEAD,
    NOOP,
    TAKEOVER,
    Append,
    AppendReply,
    Entry,
    HardState,
    Install,
    InstallReply,
    Instance,
    Message,
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

_ENTRY = struct.Struct("!BQQ")
_SIZE = struct.Struct("!I")
require(_SIZE.size + _ENTRY.size == ENTRY_OVERHEAD, "entries take more than is counted", ENTRY_OVERHEAD)
_APPEND = struct.Struct("!QQQQQQQI")
_HARD_STATE = struct.Struct("!QQQQ")
_VOTE = struct.Struct("!QQQ")
_PROOF = struct.Struct("!QQ")
_POSITION = struct.Struct("!QQ")
_INSTANCE_LIMIT = 64
ENTRY_HEAD_SIZE = _ENTRY.size

_INSTALL = struct.Struct("!QQQQQ")
_MARK = struct.Struct("!QQQQI")

PRE_VOTE, PRE_VOTE_REPLY, VOTE, VOTE_REPLY, APPEND, APPEND_REPLY, RELEASE, TIMEOUT_NOW = range(1, 9)
INSTALL, INSTALL_REPLY = 9, 10
STANDING, REMOVED = 11, 12


def encode_entry(entry: Entry) -> bytes:
    """Return kind, term, index (17 bytes), then the body as it is."""
    require(entry.index > 0 and entry.term > 0, "entry without a position", entry.position)
    return _ENTRY.pack(entry.kind, entry.term, entry.index) + entry.body


def decode_entry(data: bytes) -> Entry:
    """Return the entry in `data`; raise `Malformed` where it is none."""
    if len(data) < _ENTRY.size:
        raise Malformed(f"entry of {len(data)} bytes, {_ENTRY.size} are the least")
    kind, term, index = _ENTRY.unpack_from(data)
    if kind not in (NOOP, COMMAND, CONFIGURATION, TAKEOVER) or not term or not index:
        raise Malformed(f"entry of kind {kind}, term {term}, index {index}")
    return Entry(term, index, kind, data[_ENTRY.size:])


def encode_hard_state(state: HardState) -> bytes:
    head = _HARD_STATE.pack(state.term, state.promise, *state.removed)
    return head + _encode_instance(state.vote or "")


def decode_hard_state(data: bytes) -> HardState:
    try:
        term, promise, *removed = _HARD_STATE.unpack_from(data)
    except struct.error as error:
        raise Malformed(f"hard state of {len(data)} bytes") from error
    vote, end = _decode_instance(data, _HARD_STATE.size)
    if end != len(data):
        raise Malformed(f"hard state with {len(data) - end} bytes too many")
    return HardState(term, vote or None, promise, Position(*removed))


def _encode_instance(instance: Instance) -> bytes:
    raw = instance.encode("ascii")
    require(len(raw) <= _INSTANCE_LIMIT, "instance id too long", instance)
    return bytes([len(raw)]) + raw


def _decode_instance(data: bytes, offset: int) -> Tuple[Instance, int]:
    size = data[offset] if offset < len(data) else _INSTANCE_LIMIT + 1
    end = offset + 1 + size
    if size > _INSTANCE_LIMIT or end > len(data):
        raise Malformed(f"instance id cut short at byte {offset}")
    try:
        return data[offset + 1:end].decode("ascii"), end
    except UnicodeDecodeError as error:
        raise Malformed(f"instance id at byte {offset} is not ASCII") from error


# Message kind → its struct after the kind byte; the fields are those of the message, positions flattened.
_FIXED = {
    PRE_VOTE: (PreVote, struct.Struct("!QQQ")),
    PRE_VOTE_REPLY: (PreVoteReply, struct.Struct("!Q?Q")),
    VOTE_REPLY: (VoteReply, struct.Struct("!Q?")),
    APPEND_REPLY: (AppendReply, struct.Struct("!QQQ?QQQQ")),
    INSTALL_REPLY: (InstallReply, struct.Struct("!QQQQQQ")),
    STANDING: (Standing, struct.Struct("!B???Q")),
}
_KIND = {message: kind for kind, (message, _) in _FIXED.items()}


def encode_message(message: Message) -> bytes:
    """Return the body of a RAFT frame: one kind byte, then the fields."""
    if isinstance(message, Append):
        return _encode_append(message)
    if isinstance(message, Install):
        return _encode_install(message)
    if isinstance(message, Vote):
        token = _encode_release(message.token) if message.token else b""
        return bytes([VOTE]) + _VOTE.pack(message.term, *message.last) + token
    if isinstance(message, Release):
        return bytes([RELEASE]) + _encode_release(message)
    if isinstance(message, TimeoutNow):
        return bytes([TIMEOUT_NOW]) + _POSITION.pack(*message.last) + _encode_release(message.token)
    if isinstance(message, Removed):
        return bytes([REMOVED]) + _POSITION.pack(*message.position) + message.configuration
    kind = _KIND[type(message)]
    flat: list = []
    for field in message:
        flat.extend(field) if isinstance(field, Position) else flat.append(field)
    return bytes([kind]) + _FIXED[kind][1].pack(*flat)


def _encode_append(message: Append) -> bytes:
    head = _APPEND.pack(message.term, message.incarnation, message.election_min, message.round,
                        *message.previous, message.commit, len(message.entries))
    parts = [bytes([APPEND]), head]
    for entry in message.entries:
        parts += [_SIZE.pack(_ENTRY.size + len(entry.body)), encode_entry(entry)]
    return b"".join(parts)


def _encode_install(message: Install) -> bytes:
    require(message.data, "a chunk without bytes", message.mark.position, message.offset)
    head = _INSTALL.pack(message.term, message.incarnation, message.election_min, message.round,
                         message.offset)
    return bytes([INSTALL]) + head + encode_mark(message.mark) + message.data


def encode_mark(mark: SnapshotMark) -> bytes:
    """Return position, configuration's index, size in bytes, then the configuration behind its length."""
    require(0 < mark.configuration_index <= mark.position.index, "a snapshot without its configuration", mark)
    head = _MARK.pack(*mark.position, mark.configuration_index, mark.size, len(mark.configuration))
    return head + mark.configuration


def decode_mark(data: bytes, offset: int = 0) -> Tuple[SnapshotMark, int]:
    """Return the mark at `offset` and where it ends; raise `Malformed` where it is none."""
    if offset + _MARK.size > len(data):
        raise Malformed(f"snapshot mark cut short at byte {offset}")
    term, index, configuration_index, size, length = _MARK.unpack_from(data, offset)
    start = offset + _MARK.size
    if not term or not 0 < configuration_index <= index or not size or start + length > len(data):
        raise Malformed(f"snapshot mark {term}:{index} of {size} bytes with configuration "
                        f"{configuration_index} of {length} bytes")
    configurations.decode(data[start:start + length])
    mark = SnapshotMark(Position(term, index), configuration_index, data[start:start + length], size)
    return mark, start + length


def decode_message(data: bytes) -> Message:
    """Return the message in `data`; raise `Malformed` where it is none."""
    kind = data[0] if data else 0
    if kind in _VARIABLE:
        return _VARIABLE[kind](data)
    if kind not in _FIXED:
        raise Malformed(f"message of unknown kind {kind}")
    message, layout = _FIXED[kind]
    if len(data) != 1 + layout.size:
        raise Malformed(f"{message.__name__} of {len(data)} bytes instead of {1 + layout.size}")
    fields = layout.unpack_from(data, 1)
    if message is PreVote:
        return PreVote(fields[0], Position(*fields[1:]))
    if message is AppendReply:
        return AppendReply(*fields[:5], Position(*fields[5:7]), fields[7])
    if message is InstallReply:
        return InstallReply(*fields[:3], Position(*fields[3:5]), fields[5])
    return message(*fields)


def _decode_append(data: bytes) -> Append:
    if len(data) < 1 + _APPEND.size:
        raise Malformed(f"Append of {len(data)} bytes")
    fields = _APPEND.unpack_from(data, 1)
    term, incarnation, election_min, round_, prev_term, prev_index, commit, count = fields
    offset = 1 + _APPEND.size
    entries = []
    expected = prev_index
    for _ in range(count):
        entry, offset = _take_entry(data, offset)
        expected += 1
        if entry.index != expected:
            raise Malformed(f"Append with entry {entry.index} where {expected} should be")
        entries.append(entry)
    if offset != len(data):
        raise Malformed(f"Append with {len(data) - offset} bytes too many")
    return Append(term, incarnation, election_min, round_, Position(prev_term, prev_index), commit,
                  tuple(entries))


def _decode_install(data: bytes) -> Install:
    if len(data) < 1 + _INSTALL.size:
        raise Malformed(f"Install of {len(data)} bytes")
    term, incarnation, election_min, round_, offset = _INSTALL.unpack_from(data, 1)
    mark, start = decode_mark(data, 1 + _INSTALL.size)
    if not start < len(data) <= start + mark.size - offset:
        raise Malformed(f"Install with {len(data) - start} bytes from {offset} on of {mark.size}")
    return Install(term, incarnation, election_min, round_, mark, offset, data[start:])


def _take_entry(data: bytes, offset: int) -> Tuple[Entry, int]:
    start = offset + _SIZE.size
    end: Optional[int] = start + _SIZE.unpack_from(data, offset)[0] if start <= len(data) else None
    if end is None or end > len(data):
        raise Malformed(f"Append cut short at byte {offset}")
    return decode_entry(data[start:end]), end


def _encode_release(release: Release) -> bytes:
    proven = _PROOF.pack(release.incarnation, release.term)
    return proven + _encode_instance(release.instance) + _encode_instance(release.successor)


def _take_release(data: bytes, offset: int) -> Release:
    """Return the RELEASE from `offset` to the end of `data`."""
    if len(data) < offset + _PROOF.size:
        raise Malformed(f"Release cut short at byte {len(data)}")
    incarnation, term = _PROOF.unpack_from(data, offset)
    instance, offset = _decode_instance(data, offset + _PROOF.size)
    successor, offset = _decode_instance(data, offset)
    if offset != len(data) or not instance:
        raise Malformed(f"Release of nobody, or with {len(data) - offset} bytes too many")
    return Release(instance, incarnation, term, successor)


def _decode_vote(data: bytes) -> Vote:
    if len(data) < 1 + _VOTE.size:
        raise Malformed(f"Vote of {len(data)} bytes")
    term, last_term, last_index = _VOTE.unpack_from(data, 1)
    end = 1 + _VOTE.size
    token = _take_release(data, end) if len(data) > end else None
    return Vote(term, Position(last_term, last_index), token)


def _decode_timeout_now(data: bytes) -> TimeoutNow:
    if len(data) < 1 + _POSITION.size:
        raise Malformed(f"TimeoutNow of {len(data)} bytes")
    return TimeoutNow(_take_release(data, 1 + _POSITION.size), Position(*_POSITION.unpack_from(data, 1)))


def _decode_removed(data: bytes) -> Removed:
    if len(data) < 1 + _POSITION.size:
        raise Malformed(f"Removed of {len(data)} bytes")
    body = data[1 + _POSITION.size:]
    configurations.decode(body)
    return Removed(Position(*_POSITION.unpack_from(data, 1)), body)


_VARIABLE: Dict[int, Callable[[bytes], Message]] = {
    VOTE: _decode_vote, APPEND: _decode_append, RELEASE: lambda data: _take_release(data, 1),
    TIMEOUT_NOW: _decode_timeout_now, REMOVED: _decode_removed, INSTALL: _decode_install,
}
