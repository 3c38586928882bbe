"""Process groups as the kernel and /proc tell of them: which one is it, has it ended? Waits for nothing.

A killed process stays in its group as a zombie until its parent reaps it, and the parent of a hook's orphan
is process 1, which in a container may be late, or never look. So `killpg(…, 0)` alone does not tell.
"""

from __future__ import annotations

import os
import signal
from typing import Iterator, List, NamedTuple

# Fields of /proc/PID/stat behind the name, counted from 0 (proc(5)).
_STATE, _GROUP, _THREADS, _BEGUN = 0, 2, 17, 19
_ENDED = (b"Z", b"X")


class Group(NamedTuple):
    """A process group by its number, and when its first process began, in clock ticks since boot: the number
    may be given out again."""

    number: int
    begun: int


def of(pid: int) -> Group:
    """Return the group that the process `pid` leads; `begun` 0, which is no time, where it has ended."""
    try:
        return Group(pid, int(_fields(str(pid))[_BEGUN]))
    except OSError:
        return Group(pid, 0)


def is_led(group: Group) -> bool:
    """Is its first process still there, so that it is this very group?"""
    return group.begun != 0 and of(group.number) == group


def end(group: Group, number: int = signal.SIGTERM) -> bool:
    """Send the signal `number` to all of `group`; False where it is not there or may not be ended.

    A stopped process takes its TERM only once it goes on.
    """
    try:
        os.killpg(group.number, number)
        os.killpg(group.number, signal.SIGCONT)
    except (ProcessLookupError, PermissionError):
        return False
    return True


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
            yield _fields(name)
        except OSError:
            continue


def _fields(name: str) -> List[bytes]:
    with open(f"/proc/{name}/stat", "rb", buffering=0) as file:
        return file.read(4096).rpartition(b")")[2].split()
