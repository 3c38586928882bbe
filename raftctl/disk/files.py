"""Every file operation of `disk/` in one replaceable object, and the words for what goes wrong with one.

`Files` only passes on to the system; it decides nothing and raises `OSError`. Callers turn that into a
`DiskFault` with `disk_fault`, which says where, what and what to do.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from typing import Iterator, List, Optional, Sequence, Tuple, Union

from raftctl.base import files
from raftctl.base.errors import DiskFault

Buffer = Union[bytes, memoryview]

FREE_SPACE = "free space there, then start the node again"
REPLACE = ("see the kernel log (dmesg); on a sound disk, move the directory away and start: "
           "the node rejoins empty")
_ADVICE = {
    errno.ENOSPC: FREE_SPACE,
    errno.EDQUOT: "raise the quota or free space there, then start the node again",
    errno.EFBIG: "raise the file size limit (ulimit -f), then start the node again",
    errno.EROFS: "the file system is mounted read-only: " + REPLACE,
    errno.EACCES: "give the directory to the daemon's user, then start the node again",
    errno.EPERM: "give the directory to the daemon's user, then start the node again",
    errno.EMFILE: "raise the limit of open files (ulimit -n), then start the node again",
    errno.ENFILE: "raise the limit of open files (fs.file-max), then start the node again",
}


class PlacedFault(DiskFault):
    """A fault of one file, for who shows it in parts. `offset`: its byte, None where it has no one place."""

    def __init__(self, path: str, why: str, mend: str, offset: Optional[int] = None) -> None:
        super().__init__(f"{path}: {why}; {mend}")
        self.path, self.why, self.mend, self.offset = path, why, mend, offset


def disk_fault(path: str, doing: str, error: OSError) -> PlacedFault:
    """Return the fault for a failed operation on `path`; `doing` is like "syncing" or "writing 4 bytes"."""
    number = error.errno or errno.EIO
    return PlacedFault(path, f"{os.strerror(number).lower()} while {doing}", _ADVICE.get(number, REPLACE))


@contextlib.contextmanager
def guarded(path: str, doing: str) -> Iterator[None]:
    """Turn an `OSError` of the block into the `DiskFault` for `path`."""
    try:
        yield
    except OSError as error:
        raise disk_fault(path, doing, error) from error


class Files:
    """The system's own. Stateless, any thread; blocks as long as the disk does. Offsets and sizes: bytes."""

    def open(self, path: str, flags: int, mode: int = 0o600) -> int:
        """Return a descriptor that no child inherits."""
        return os.open(path, flags | os.O_CLOEXEC, mode)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def size(self, descriptor: int) -> int:
        return os.fstat(descriptor).st_size

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        """Return up to `size` bytes; fewer do not mean the end, none does."""
        return os.pread(descriptor, size, offset)

    def write(self, descriptor: int, buffers: Sequence[Buffer], offset: int) -> int:
        """Write in one call; return how many bytes were taken, maybe fewer than given (pwritev(2))."""
        return os.pwritev(descriptor, buffers, offset)

    def sync(self, descriptor: int) -> None:
        """Make data, and the size where it grew, durable (fdatasync(2))."""
        os.fdatasync(descriptor)

    def allocate(self, descriptor: int, offset: int, size: int) -> None:
        """Make the file cover the range, in zeros where it is new (posix_fallocate(3))."""
        os.posix_fallocate(descriptor, offset, size)

    def forget_cached(self, descriptor: int) -> None:
        """Drop the clean cached pages of the file, so that the next read asks the disk (pitfall 5.1)."""
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def try_lock(self, descriptor: int) -> bool:
        """Take the exclusive flock(2) of the open file; False when another open file has it."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def truncate(self, descriptor: int) -> None:
        os.ftruncate(descriptor, 0)

    def device_and_inode(self, path_or_descriptor: Union[str, int]) -> Tuple[int, int]:
        found = os.stat(path_or_descriptor)
        return found.st_dev, found.st_ino

    def make_directory(self, path: str) -> None:
        """Create one directory, for its owner only."""
        os.mkdir(path, 0o700)

    def is_directory(self, path: str) -> bool:
        return os.path.isdir(path)

    def names(self, path: str) -> List[str]:
        """Return the names in a directory, sorted."""
        return sorted(os.listdir(path))

    def rename(self, path: str, target: str) -> None:
        """Give the file at `path` the name `target`, in place of what has it."""
        os.rename(path, target)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def remove_directory(self, path: str) -> None:
        """Remove an empty directory."""
        os.rmdir(path)

    def sync_directory(self, path: str) -> None:
        files.sync_directory(path)

    def write_atomic(self, path: str, data: bytes) -> None:
        files.write_atomic(path, data)


SYSTEM = Files()


# What a file system answers that can't reserve space.
_NOT_SUPPORTED = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
_SLICE = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)


class DiskFull(DiskFault):
    """There is no room for a file that was to be made; nothing has changed."""


def reserve(through: Files, path: str, descriptor: int, size: int) -> None:
    """Make the new file cover `size` bytes of the disk, as zeros; raise `DiskFull` where it lacks them."""
    try:
        try:
            through.allocate(descriptor, 0, size)
        except OSError as error:
            if error.errno not in _NOT_SUPPORTED:
                raise
            for offset in range(through.size(descriptor), size, _SLICE):
                write_all(through, path, descriptor, [bytes(min(_SLICE, size - offset))], offset)
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFull(f"{path}: {os.strerror(error.errno).lower()} while making a file of {size} bytes; "
                           f"free space in {os.path.dirname(path)}, or raise its quota") from error
        raise disk_fault(path, f"growing to {size} bytes", error) from error


def write_all(through: Files, path: str, descriptor: int, buffers: Sequence[Buffer], offset: int) -> None:
    """Write all of `buffers` at `offset`, in one call where the disk takes it so; raises `OSError`."""
    total = sum(map(len, buffers))
    written = through.write(descriptor, buffers, offset)
    if written == total:
        return
    left = memoryview(b"".join(buffers))[written:]
    while left:
        taken = through.write(descriptor, [left], offset + total - len(left))
        if not taken:
            raise DiskFault(f"{path}: the disk takes no more bytes; {FREE_SPACE}")
        left = left[taken:]


def read_range(through: Files, descriptor: int, offset: int, size: int) -> bytes:
    """Return `size` bytes from `offset`, fewer only where the file ends before."""
    parts: List[bytes] = []
    while size:
        part = through.read(descriptor, min(size, _SLICE), offset)
        if not part:
            break
        parts.append(part)
        offset, size = offset + len(part), size - len(part)
    return b"".join(parts)


def read_all(through: Files, path: str) -> bytes:
    """Return the content of a small file; `FileNotFoundError` where there is none."""
    descriptor = through.open(path, os.O_RDONLY)
    try:
        parts: List[bytes] = []
        offset = 0
        while True:
            part = through.read(descriptor, 65536, offset)
            if not part:
                return b"".join(parts)
            parts.append(part)
            offset += len(part)
    finally:
        through.close(descriptor)
