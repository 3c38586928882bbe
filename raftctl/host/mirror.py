"""What a hook inherits from its daemon: read off the running process, or as its service would have it.

Owns user, groups, environment, folder, umask and resource limits, and putting them on this process, which is
then good for nothing but to start that hook. The order of putting on is the point: limits before the user.
"""

from __future__ import annotations

import os
import pwd
import resource
from typing import Dict, List, NamedTuple, Optional, Tuple

from raftctl.base.errors import NotAllowed, UsageError

# systemd.exec(5): what a system service has without an Environment= of its own.
SERVICE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LIMITS = tuple(sorted(name for name in dir(resource) if name.startswith("RLIMIT_")))


class Inherited(NamedTuple):
    """`origin` says whose these are. `limits`: (RLIMIT_ number, soft, hard); `umask` None: as it is."""

    origin: str
    user: int
    group: int
    groups: Tuple[int, ...]
    environ: Dict[str, str]
    folder: str
    umask: Optional[int]
    limits: Tuple[Tuple[int, int, int], ...]


def of_process(pid: int) -> Inherited:
    """Return what the children of process `pid` inherit.

    Raises `NotAllowed` where this user may not look at it, `ProcessLookupError` where it has ended.
    """
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            pairs = [entry.partition(b"=") for entry in file.read().split(b"\0") if b"=" in entry]
        status = _read_status(pid)
        folder = os.readlink(f"/proc/{pid}/cwd")
        numbers = {name: getattr(resource, name) for name in _LIMITS}
        limits = tuple((number, *resource.prlimit(pid, number)) for number in numbers.values())
    except PermissionError:
        raise NotAllowed(f"only the user of the daemon (process {pid}) and root may run its scripts; "
                         "use sudo") from None
    except FileNotFoundError:
        raise ProcessLookupError(pid) from None
    environ = {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}
    # Effective ids; the fourth, of the file system, is the same.
    user, group = int(status["Uid"].split()[1]), int(status["Gid"].split()[1])
    groups = tuple(map(int, status["Groups"].split()))
    return Inherited(f"those of the running daemon, process {pid}", user, group, groups, environ, folder,
                     int(status["Umask"], 8), limits)


def _read_status(pid: int) -> Dict[str, str]:
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        pairs = [line.partition(":") for line in file]
    return {name: value.strip() for name, _, value in pairs}


def of_service(user: Optional[str]) -> Inherited:
    """Return what the hooks of the service would inherit, run by `user` (None: root where this is root).

    Somebody who is not root starts a daemon as himself. Raises `UsageError` for a user that is not there.
    """
    origin = "as a systemd service has them, for no daemon answers"
    environ = {"PATH": SERVICE_PATH}
    if user in (None, "root") or os.geteuid() != 0:
        return Inherited(origin, os.geteuid(), os.getegid(), tuple(os.getgroups()), environ, "/", 0o022, ())
    try:
        found = pwd.getpwnam(user)  # type: ignore[arg-type]
    except KeyError:
        raise UsageError(f'"user": there is no user {user} on this host') from None
    environ.update(HOME=found.pw_dir, LOGNAME=found.pw_name, USER=found.pw_name, SHELL=found.pw_shell)
    groups = tuple(os.getgrouplist(found.pw_name, found.pw_gid))
    return Inherited(origin, found.pw_uid, found.pw_gid, groups, environ, "/", 0o022, ())


def put_on(inherited: Inherited) -> List[str]:
    """Make this process what its hook is to inherit; return what of it could not be had, for people.

    Environment apart, which goes with the start. Raises `NotAllowed` for another user than this one's.
    """
    lacking = []
    if os.geteuid() not in (0, inherited.user):
        raise NotAllowed(f"the daemon runs as {user_name(inherited.user)}; use sudo")
    for number, soft, hard in inherited.limits:
        try:
            resource.setrlimit(number, (soft, hard))
        except (ValueError, OSError):
            lacking.append(f"resource limit {_limit_name(number)} is another one here")
    if inherited.umask is not None:
        os.umask(inherited.umask)
    if os.geteuid() == 0:
        os.setgroups(inherited.groups)
        os.setgid(inherited.group)
        os.setuid(inherited.user)
    try:
        os.chdir(inherited.folder)
    except OSError as error:
        lacking.append(f"{inherited.folder} can't be entered ({os.strerror(error.errno or 0).lower()})")
    return lacking


def _limit_name(number: int) -> str:
    return next(name for name in _LIMITS if getattr(resource, name) == number)


def user_name(number: int) -> str:
    """Return the name of a user, the number where it has none."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
