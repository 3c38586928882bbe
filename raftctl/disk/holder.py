"""Who holds the lock of a data directory, without taking it: read off /proc/locks (proc(5)).

To try the lock would take it for a moment, and a daemon that starts just then would give up.
"""

from __future__ import annotations

import os
from typing import NamedTuple, Optional

from raftctl.disk.files import Files, read_all

LOCKS = "/proc/locks"


class Holder(NamedTuple):
    """`held` None: this system does not tell. `pid`: of the process that holds it."""

    held: Optional[bool]
    pid: Optional[int]


def find_holder(files: Files, lock_path: str, locks_path: str = LOCKS) -> Holder:
    """Return who holds the flock(2) of `lock_path`, as far as this process sees others (pid name spaces).

    Raises `OSError` where the lock file can't be looked at.
    """
    try:
        device, inode = files.device_and_inode(lock_path)
        said = read_all(files, lock_path).strip()
    except FileNotFoundError:
        return Holder(False, None)
    try:
        with open(locks_path, encoding="ascii", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return Holder(None, None)
    place = f"{os.major(device):02x}:{os.minor(device):02x}:{inode}"
    for line in lines:
        fields = line.split()
        # A lock that somebody waits for has "->" in front of its kind.
        if len(fields) < 6 or fields[1] != "FLOCK":
            continue
        pid, found = fields[4], fields[5]
        # On some file systems (btrfs) stat(2) names another device than the kernel's table.
        is_it = found == place or (found.endswith(f":{inode}") and pid.encode() == said)
        if is_it:
            return Holder(True, int(pid) if pid.isdigit() and int(pid) else None)
    return Holder(False, None)
