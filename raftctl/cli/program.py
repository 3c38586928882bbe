"""How to start this very raftctl again: for children, systemd units and commands to paste."""

from __future__ import annotations

import os
import sys
from typing import List

import raftctl
from raftctl.base.errors import require

# Read when the program starts, while a relative path still means what the caller meant.
_START_FOLDER = os.getcwd()


def program() -> List[str]:
    """Return the argv prefix, absolute: interpreter and zipapp, interpreter and raftctl.py of the checkout,
    or interpreter and `-m raftctl` where it is installed. Any thread.
    """
    require(sys.executable, "no path of the interpreter")
    archive = getattr(raftctl.__spec__.loader, "archive", None)
    if archive is not None:
        return [sys.executable, os.path.join(_START_FOLDER, archive)]
    folder = os.path.dirname(os.path.dirname(os.path.join(_START_FOLDER, raftctl.__file__)))
    launcher = os.path.join(folder, "raftctl.py")
    if os.path.isfile(launcher):
        return [sys.executable, launcher]
    script = os.path.join(_START_FOLDER, sys.argv[0])
    # The script that pip wrote: `-m` would take a raftctl/ of the current folder before the installed one.
    if os.path.basename(script) == "raftctl" and os.path.isfile(script):
        return [sys.executable, script]
    return [sys.executable, "-m", "raftctl"]
