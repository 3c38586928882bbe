"""The file `peers` of a data directory: where the other members listen, for words of `after-stop` (P4).

A look-up may hang, so it was done while the node lived. What stands there is a hint: who reads it checks it.
"""

from __future__ import annotations

import os

from raftctl.disk.files import SYSTEM, Files, read_all

_NAME = "peers"


def write_peers(data_dir: str, text: str, files: Files = SYSTEM) -> None:
    """Replace it, whole; raise `OSError`. Blocks as long as the disk does."""
    files.write_atomic(os.path.join(data_dir, _NAME), text.encode("ascii"))


def read_peers(data_dir: str, files: Files = SYSTEM) -> str:
    """Return what stands there; raise `OSError`, `UnicodeDecodeError`."""
    return read_all(files, os.path.join(data_dir, _NAME)).decode("ascii")
