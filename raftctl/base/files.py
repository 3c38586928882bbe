"""Replace a small file so that a crash at any moment leaves the old content or the new one, never a mixture.

Errors are `OSError`: only the caller knows whether it is the disk's fault or a typing mistake. The journal
has file operations of its own (`disk/`).
"""

from __future__ import annotations

import contextlib
import os


def write_atomic(path: str, data: bytes, mode: int = 0o600) -> None:
    """Make `data` the whole content of `path`, durable on return; mode exactly `mode`, whatever the umask.

    Blocks for two fsyncs. The temporary file is `path` + `.new`: one writer a path at a time (the caller
    holds a lock, or is alone), and what a crash left there is overwritten. On an error `path` is as it was.
    """
    temporary = path + ".new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    # O_EXCL after the unlink: a link that somebody put there is never followed.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            os.fchmod(descriptor, mode)
            left = memoryview(data)
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_directory(os.path.dirname(path) or ".")


def sync_directory(path: str) -> None:
    """fsync the directory `path`: names created, renamed or removed in it are durable on return."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
