"""Has a process group ended? As the kernel and /proc say it; sends and waits for nothing.

A killed process stays in its group as a zombie until its parent reaps it, and the parent of a hook's orphan
is process 1, which in a container may be late, or never look. So `killpg(…, 0)` alone does not tell.
"""

from __future__ import annotations

import os
from typing import Iterator, List

# Fields of /proc/PID/stat behind the name, counted from 0 (proc(5)).
_STATE, _GROUP, _THREADS = 0, 2, 17
_ENDED = (b"Z", b"X")


def is_alive(group: int) -> bool:
    """Has `group` a member that runs, sleeps or is stopped? True as well where its members can't be seen."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    members = [fields for fields in _processes() if int(fields[_GROUP]) == group]
    return not members or not all(map(_has_ended, members))


def _has_ended(fields: List[bytes]) -> bool:
    # A zombie with threads left is a process of which only the first thread has ended.
    return fields[_STATE] in _ENDED and int(fields[_THREADS]) <= 1


def _processes() -> Iterator[List[bytes]]:
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb", buffering=0) as file:
                yield file.read(4096).rpartition(b")")[2].split()
        except OSError:
            continue
