"""The data directory: who may use it (lock), who it is (`instance`: cluster, instance, incarnation; P7)."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from typing import Callable, Iterator, Optional, Tuple

from raftctl.base.errors import DiskFault, NotAllowed, UsageError
from raftctl.disk import identity as identities
from raftctl.disk.files import SYSTEM, Files, PlacedFault, guarded, read_all
from raftctl.disk.identity import Identity, UnknownFormat
from raftctl.raft.configuration import Malformed

_DATA = ("log", "snapshots")
_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_TRY_AGAIN_S = 0.05
_MEND = "move the directory away and start: the node rejoins empty"
# The configuration named a place that can't be; the disk is sound. For root, a refused permission is no mode.
_MISPLACED = {
    errno.ENOTDIR: 'a file is in the way; name another "dataDir"',
    errno.ENOENT: 'its parent can\'t be made, or it is a link to nowhere; name another "dataDir"',
    errno.ELOOP: 'name another "dataDir"',
    errno.ENAMETOOLONG: 'name another "dataDir"',
}
_NO_PERMISSION = (errno.EACCES, errno.EPERM)


class Directory:
    """An open data directory; the lock is held until `close` or the end of the process."""

    def __init__(self, path: str, lock: int, identity: Identity, files: Files) -> None:
        self.path, self.identity = path, identity
        self._lock, self._files = lock, files

    @property
    def log_path(self) -> str:
        return os.path.join(self.path, "log")

    @property
    def snapshots_path(self) -> str:
        return os.path.join(self.path, "snapshots")

    def adopt_cluster(self, cluster_id: str) -> None:
        """Belong to `cluster_id` from now on; durable on return. Node thread, once in a directory's life."""
        self.identity = self.identity._replace(cluster_id=cluster_id)
        _write_identity(self._files, self.path, self.identity)

    def remove_data(self) -> None:
        """Give up all data; the next open makes a new instance. Killed half-way, that open goes on with it.

        `instance` first says so, durably, and goes last: a log without one is damage, never what a removal
        left.
        """
        _write_identity(self._files, self.path, self.identity, removed=True)
        _remove_data(self._files, self.path)

    def close(self) -> None:
        self._files.close(self._lock)


def open_directory(path: str, *, deadline_s: float = 2.0, new_instance: Callable[[], str],
                   files: Files = SYSTEM) -> Directory:
    """Make the directory where it is missing, take its lock within `deadline_s`, and begin a new incarnation.

    Raises `NotAllowed` while another daemon has the lock, `UsageError` where the configuration names a place
    that can't be, or /proc is not there, `DiskFault` for all else that the disk refuses.
    """
    path = os.path.abspath(path)
    _make(files, path)
    lock_path = os.path.join(path, "lock")
    with _configured(lock_path, "opening the lock"):
        lock = files.open(lock_path, os.O_RDWR | os.O_CREAT)
    try:
        _take_lock(files, path, lock, deadline_s)
        identity = _begin_incarnation(files, path, lock, new_instance)
    except BaseException:
        files.close(lock)
        raise
    return Directory(path, lock, identity, files)


def _make(files: Files, path: str) -> None:
    missing = []
    parent = path
    while not files.is_directory(parent):
        missing.append(parent)
        parent = os.path.dirname(parent)
    for folder in reversed(missing):
        with _configured(folder, "making the directory"):
            with contextlib.suppress(FileExistsError):
                files.make_directory(folder)
            files.sync_directory(os.path.dirname(folder))


@contextlib.contextmanager
def _configured(path: str, doing: str) -> Iterator[None]:
    """As `guarded`, but what the user's configuration is to blame for is a `UsageError` with the mend."""
    try:
        with guarded(path, doing):
            yield
    except DiskFault as fault:
        number = fault.__cause__.errno if isinstance(fault.__cause__, OSError) else None
        mend = _MISPLACED.get(number)
        if number in _NO_PERMISSION and os.geteuid() != 0:
            mend = 'give it to the daemon\'s user, or name another "dataDir"'
        if mend is None:
            raise
        raise UsageError(f"{path}: {os.strerror(number).lower()} while {doing}; {mend}") from fault


def _take_lock(files: Files, path: str, lock: int, deadline_s: float) -> None:
    # A guardian starts its node again at once: the former process may still be dying.
    end = time.monotonic() + deadline_s
    with guarded(path, "locking"):
        while not files.try_lock(lock):
            if time.monotonic() >= end:
                holder = files.read(lock, 32, 0).decode("ascii", "replace").strip() or "unknown"
                raise NotAllowed(f"{path} is in use by another raftctl (pid {holder}); stop that one first, "
                                 "or give this node a dataDir of its own")
            time.sleep(_TRY_AGAIN_S)
        files.truncate(lock)
        files.write(lock, [f"{os.getpid()}\n".encode()], 0)


def _begin_incarnation(files: Files, path: str, lock: int, new_instance: Callable[[], str]) -> Identity:
    with guarded(path, "looking at the lock"):
        device, inode = files.device_and_inode(lock)
    boot_id = _read_boot_id()
    before = _read_identity(files, path)
    if before is None:
        _begin_fresh(files, path)
        before = Identity("", new_instance(), 0, "", 0, 0)
    identity = Identity(before.cluster_id, before.instance, before.incarnation + 1, boot_id, device, inode)
    _write_identity(files, path, identity)
    return identity


def _read_boot_id() -> str:
    try:
        with open(_BOOT_ID, encoding="ascii") as file:
            return file.read().strip()
    except OSError as error:
        raise UsageError(f"{_BOOT_ID}: {(error.strerror or str(error)).lower()}, and without it this start "
                         "of the host can't be told from the next; mount /proc, also in a container or chroot"
                         ) from error


def _begin_fresh(files: Files, path: str) -> None:
    """Refuse data that has lost its `instance`; make the directory's own name durable, whoever made it."""
    require_no_data(files, path)
    folder = path
    while folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
        try:
            with guarded(folder, "syncing the directory"):
                files.sync_directory(folder)
        except DiskFault as fault:
            if not isinstance(fault.__cause__, PermissionError):
                raise
            return   # not readable by us, so not made by us


def require_no_data(files: Files, path: str) -> None:
    """Raise `PlacedFault` where a directory without `instance` holds a log or snapshots."""
    with guarded(path, "looking for a log"):
        data = [name for name in _DATA if files.is_directory(os.path.join(path, name))
                and files.names(os.path.join(path, name))]
    if data:
        raise PlacedFault(os.path.join(path, "instance"), f'is missing, but there is "{data[0]}" beside it',
                          f"put it back, or {_MEND}")


def _read_identity(files: Files, path: str) -> Optional[Identity]:
    found = read_identity(files, path)
    if found is None:
        return None
    identity, removed = found
    if removed:
        _remove_data(files, path)
        return None
    return identity


def read_identity(files: Files, path: str) -> Optional[Tuple[Identity, bool]]:
    """Return what `instance` in the data directory says, and whether its data is being given up; None where
    there is no such file. Raises `PlacedFault` where it can't be trusted."""
    name = os.path.join(path, "instance")
    try:
        with guarded(name, "reading"):
            raw = read_all(files, name)
    except DiskFault as fault:
        if isinstance(fault.__cause__, FileNotFoundError):
            return None
        raise
    try:
        return identities.decode(raw)
    except UnknownFormat as error:
        (number,) = error.args
        mend = "use a newer one" if number > identities.FORMAT else f"no release wrote it; {_MEND}"
        raise PlacedFault(name, f"format {number} is unknown, this raftctl reads {identities.FORMAT}",
                          mend) from error
    except Malformed as error:
        raise PlacedFault(name, f"is damaged ({error})", _MEND) from error


def _write_identity(files: Files, path: str, identity: Identity, *, removed: bool = False) -> None:
    name = os.path.join(path, "instance")
    with _configured(name, "writing"):
        files.write_atomic(name, identities.encode(identity, removed=removed))


def _remove_data(files: Files, path: str) -> None:
    with guarded(path, "removing its data"):
        for folder in (os.path.join(path, name) for name in _DATA):
            with contextlib.suppress(FileNotFoundError):
                for name in files.names(folder):
                    files.unlink(os.path.join(folder, name))
                files.remove_directory(folder)
        files.sync_directory(path)
        files.unlink(os.path.join(path, "instance"))
        files.sync_directory(path)
