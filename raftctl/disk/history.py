"""`dataDir/history`: what a node saw of leadership, one JSON object a line; for people, nothing rests on it.

So it is not synced, and an error costs entries, not the node. It is bounded: what is over `LIMIT_BYTES` is
replaced atomically by its newest half. A torn line, of a host that died or a disk that was full, is skipped
by who reads and closed by who writes next.
"""

from __future__ import annotations

import json
import os
from typing import Any, Dict, List

from raftctl.base.files import write_atomic
from raftctl.base.objects import parse_object

LIMIT_BYTES = 512 * 1024
ENTRY_LIMIT = 4096

Entry = Dict[str, Any]


class HistoryFile:
    """The writer; one thread. Errors are `OSError`."""

    def __init__(self, path: str) -> None:
        self.path = path

    def append(self, entries: List[Entry]) -> None:
        """Write `entries` behind what is there."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            data = (b"\n" if torn else b"") + b"".join(map(_line, entries))
            while data:
                data = data[os.write(descriptor, data):]
            size = os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
        if size > LIMIT_BYTES:
            self._halve()

    def _halve(self) -> None:
        with open(self.path, "rb") as file:
            file.seek(-LIMIT_BYTES // 2, os.SEEK_END)
            kept = file.read()
        # The first line is cut.
        write_atomic(self.path, kept[kept.find(b"\n") + 1:])


def _line(entry: Entry) -> bytes:
    line = json.dumps(entry, separators=(",", ":")).encode("ascii")
    if len(line) > ENTRY_LIMIT:
        line = json.dumps({**entry, "cause": str(entry["cause"])[:256]}).encode("ascii")
    return line + b"\n"


def read(path: str, count: int) -> List[Entry]:
    """Return the newest `count` entries, the oldest of them first; [] where there is no file.

    What is no entry is left out. Raises `OSError`. Any thread, also of another process.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - 2 * LIMIT_BYTES))
            lines = file.read(2 * LIMIT_BYTES).split(b"\n")
    except FileNotFoundError:
        return []
    found: List[Entry] = []
    for line in reversed(lines):
        if len(found) >= count:
            break
        try:
            entry = parse_object(line)
        except ValueError:
            continue
        if isinstance(entry.get("time"), str) and isinstance(entry.get("event"), str):
            found.append(entry)
    return found[::-1]
