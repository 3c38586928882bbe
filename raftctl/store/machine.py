"""Keys, values and revisions: applying a committed command (Raft §5.3, State Machine Safety).

`apply` is a pure function of the state and the entry (pitfall 2.4): no clock, no configuration, no limit that
could differ between members. Not thread-safe: the node thread applies and reads.
"""

from __future__ import annotations

import struct
from typing import Dict, NamedTuple, Optional, Tuple

from raftctl.base.errors import require
from raftctl.store.commands import PUT, Command, decode
from raftctl.store.image import Contents, Image
from raftctl.store.takeovers import encode_record, follow

COMPARE_FAILED = "compare_failed"
NOT_FOUND = "not_found"

_ITEM = struct.Struct("!QII")


class Result(NamedTuple):
    """`revision`: of the change if `ok`, else that of the key now (0: absent). `code` None if `ok`."""

    ok: bool
    revision: int
    code: Optional[str]


class Store:
    """The store as of entry `applied`. A key's revision is the index of the entry that changed it last."""

    def __init__(self, contents: Optional[Contents] = None) -> None:
        """Begin empty, or with `contents`, which nobody else uses any more."""
        contents = contents or Contents({}, 0, 0)
        # In the order of revisions: a changed key goes to the end (`image.py` relies on it).
        self._items: Dict[bytes, Tuple[bytes, int]] = contents.items
        self.applied = contents.applied
        self.bytes = contents.bytes
        self.takeover = contents.takeover

    @property
    def count(self) -> int:
        return len(self._items)

    def apply(self, index: int, body: bytes) -> Result:
        """Apply the command `body` of the committed entry `index` and return what came of it.

        Raises `commands.Malformed` with nothing changed: the caller stops the node. Indexes only rise;
        entries that are no commands are not given here, so there are gaps.
        """
        require(index > self.applied, "an entry applied twice or out of order", index, self.applied)
        command = decode(body)
        self.applied = index
        present = self._items.get(command.key)
        revision = present[1] if present else 0
        if command.if_revision is not None and command.if_revision != revision:
            return Result(False, revision, COMPARE_FAILED)
        if command.operation == PUT:
            return self._put(index, command)
        return self._delete(index, command) if present else Result(False, 0, NOT_FOUND)

    def apply_takeover(self, index: int, term: int, body: bytes) -> None:
        """Apply a TAKEOVER entry; `takeover` is the last record then. Otherwise as `apply`."""
        require(index > self.applied, "an entry applied twice or out of order", index, self.applied)
        self.takeover = follow(self.takeover, index, term, body)
        self.applied = index

    def _put(self, index: int, command: Command) -> Result:
        self._forget(command.key)
        self._items[command.key] = (command.value, index)
        self.bytes += len(command.key) + len(command.value)
        return Result(True, index, None)

    def _delete(self, index: int, command: Command) -> Result:
        self._forget(command.key)
        return Result(True, index, None)

    def _forget(self, key: bytes) -> None:
        value, _ = self._items.pop(key, (None, 0))
        if value is not None:
            self.bytes -= len(key) + len(value)

    def get(self, key: bytes) -> Optional[Tuple[bytes, int]]:
        """Return (value, revision) of `key`, None where it is absent."""
        return self._items.get(key)

    def image(self) -> Image:
        """Return the snapshot of what the store holds now; takes 2 ms for 100,000 keys."""
        return Image(Contents(dict(self._items), self.applied, self.bytes, self.takeover))

    def digest(self) -> str:
        """Return 64 hex digits, equal for equal keys, values, revisions and takeovers (pitfall 2.4).

        Read off the state itself, not kept beside it, so that altered memory shows. Walks the whole store:
        for comparisons at agreed indexes, not for each entry.
        """
        import hashlib  # brings OpenSSL, 2 MiB a daemon, which asks for no digest

        summary = hashlib.sha256(encode_record(self.takeover))
        for key in sorted(self._items):
            value, revision = self._items[key]
            summary.update(_ITEM.pack(revision, len(key), len(value)))
            summary.update(key)
            summary.update(value)
        return summary.hexdigest()
