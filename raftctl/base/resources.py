"""The files that come with the code but are no code: `units/`, `man/`, LICENSE.

One function for a checkout and a zipapp (they lie beside the package) and an installation (they lie in it).
Who needs a resource while a daemon runs reads it before READY: the packed file may be replaced under a
running process.
"""

from __future__ import annotations

import contextlib
import os

import raftctl
from raftctl.base.errors import RaftctlError


def read(name: str) -> bytes:
    """Return the content of the resource `name`, such as "units/node.service".

    Raises `RaftctlError` where this copy of raftctl does not have it. Any thread.
    """
    # Not `__loader__`: that of a zipapp's main module is another one.
    loader = raftctl.__spec__.loader
    package = os.path.dirname(raftctl.__file__)
    for folder in (package, os.path.dirname(package)):
        with contextlib.suppress(OSError):
            return loader.get_data(os.path.join(folder, *name.split("/")))  # type: ignore[union-attr]
    raise RaftctlError(f"{package}: {name} is missing from this copy of raftctl; install or copy it again")
