"""The secret file (P8): one secret a line, readable by its owner only; the first signs, all verify."""

from __future__ import annotations

import os
from typing import Optional, Tuple

from raftctl.base.errors import UsageError
from raftctl.config.read import Unreadable, read_regular

SHORTEST = 16
_MAKE = "(umask 077; head -c 32 /dev/urandom | base64 > {path})"


def how_to_make(path: str) -> str:
    """Return the shell command that writes a new secret to `path`."""
    return _MAKE.format(path=path)


def read_secrets(path: str, *, for_client: bool) -> Tuple[bytes, ...]:
    """Return the secrets in `path`; raise `UsageError` (with the path) if missing, open to others or empty.

    `for_client`: a file that this user may not read yields none; state and status need no secret.
    """
    try:
        mode = os.stat(path).st_mode
        data = read_regular(path, 1 << 16)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; make it: {how_to_make(path)}") from None
    except (Unreadable, PermissionError) as error:
        if for_client:
            return ()
        raise UsageError(f"{path}: permission denied; let this user read it, or use sudo") from error
    except OSError as error:
        raise UsageError(f"{path}: {os.strerror(error.errno or 0).lower()}") from None
    if mode & 0o077:
        raise UsageError(f"{path}: others can use it (mode {mode & 0o777:04o}); chmod 600 {path}")
    secrets = tuple(line.strip() for line in data.splitlines() if line.strip())
    if not secrets:
        raise UsageError(f"{path}: is empty; make it: {how_to_make(path)}")
    if min(map(len, secrets)) < SHORTEST:
        raise UsageError(
            f"{path}: a secret is shorter than {SHORTEST} characters; make it: {how_to_make(path)}"
        )
    return secrets


def default_file(directory: str) -> Optional[str]:
    """Return the file `secret` in `directory` if it is there."""
    path = os.path.join(directory, "secret")
    return path if os.path.lexists(path) else None
