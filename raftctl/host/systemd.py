"""Rendering of the systemd unit (systemd.service(5)); pure text. `cli/service.py` installs it."""

from __future__ import annotations

import re
import string
from typing import Sequence

from raftctl.base import resources
from raftctl.base.durations import SECOND
from raftctl.config.model import Loaded, NodeConfig

MARK = "# written by raftctl svcinstall"
TEMPLATE = "units/raftctl.service"

# Beside the hooks' own limits: RELEASE, closing, and KILL of a hook that does not heed TERM.
_STOP_MARGIN_S = 15
_OUTGOING_EVENTS = ("follower", "stop")
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+\Z")


def quote(word: str) -> str:
    """Return `word` as one argument of ExecStart=: specifiers (%) and variables ($) mean nothing, quotes are kept."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return escaped if _PLAIN.match(escaped) else f'"{escaped}"'


def stop_seconds(nodes: Sequence[NodeConfig]) -> int:
    """Return TimeoutStopSec: the outgoing hooks of the slowest node, and a margin; nodes stop side by side."""
    longest = 0
    for node in nodes:
        limits = [hook.timeout_ns for event, hook in node.events if event in _OUTGOING_EVENTS]
        longest = max(longest, sum(limits))
    return -(-longest // SECOND) + _STOP_MARGIN_S


def render(loaded: Loaded, nodes: Sequence[NodeConfig], program: Sequence[str], node_option: str = "") -> str:
    """Return the unit that runs `nodes` of `loaded` with the argv prefix `program`. All its paths are absolute."""
    argv = [*program, "-c", loaded.path, "start"] + (["--node", node_option] if node_option else [])
    mounts = sorted({node.data_dir for node in nodes})
    return string.Template(resources.read(TEMPLATE).decode()).substitute(
        description=" ".join(loaded.description.replace("%", "%%").split()),
        mounts=" ".join(quote(path) for path in mounts),
        command=" ".join(quote(word) for word in argv),
        stop_seconds=stop_seconds(nodes),
        user_line=f"User={loaded.user}\n" if loaded.user else "",
    )
