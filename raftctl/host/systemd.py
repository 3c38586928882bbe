"""systemd units: rendered from the templates in `units/`, recognised again. Touches no file and runs nothing.

The rules of quoting are those of systemd.syntax(7) and systemd.service(5), "COMMAND LINES".
"""

from __future__ import annotations

import re
import string
from typing import List, NamedTuple, Optional, Sequence, Tuple

from raftctl.base import resources
from raftctl.base.errors import UsageError
from raftctl.config.model import Loaded, NodeConfig
from raftctl.config.places import SYSTEM_DATA

MARKER = "# written by raftctl svcinstall"
_ORIGIN = "# for "
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:-]{0,199}\Z")
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%$=,+-]+\Z")

# Hooks that may have to run to their end, one after the other, before the service has stopped: `start` may be
# running when the stop comes, and a running `leader` hook is ended.
_WAITED_FOR = ("start", "follower", "stop")
# To end a leader hook, hand over the leadership, and close listeners, disk and links.
STOP_MARGIN_S = 30
_SECOND_NS = 1_000_000_000


class Unit(NamedTuple):
    """`file_name` is `<serviceName>.service`; `origin`: which configuration (and node of it) it is for."""

    file_name: str
    origin: str
    text: str


def render(loaded: Loaded, chosen: Optional[NodeConfig], program: Sequence[str]) -> Unit:
    """Return the unit that starts all nodes of `loaded`, or only `chosen`.

    `program` is the absolute argv prefix that starts raftctl. `loaded` was read as root reads it
    (`as_root=True`): the service manager starts the unit as root. Raises `UsageError` for what a unit can't
    say.
    """
    nodes = loaded.nodes if chosen is None else (chosen,)
    name = _service_name(loaded)
    selection = [] if chosen is None else ["--node", str(chosen.address)]
    origin = " ".join([loaded.path, *selection])
    paths = [loaded.path, *program[1:2], *(node.data_dir for node in nodes)]
    values = {
        "marker": MARKER,
        "origin": _ORIGIN + _one_line("configuration", origin),
        "name": name,
        "description": _specifiers(_one_line("description", loaded.description)),
        "paths": " ".join(_quote(path) for path in _distinct(paths) if path.startswith("/")),
        "command": command_line([*program, "-c", loaded.path, "start", *selection]),
        "identity": "\n".join(_identity(loaded.user, nodes)),
        "stop_seconds": str(stop_seconds(nodes)),
    }
    template = "cluster" if len(nodes) > 1 else "node"
    text = resources.read(f"units/{template}.service").decode("utf-8")
    return Unit(f"{name}.service", origin, string.Template(text).substitute(values))


def origin_of(text: str) -> Optional[str]:
    """Return what the unit `text` was written for, None where raftctl did not write it."""
    lines = text.split("\n")
    if lines[0] != MARKER or not lines[1:] or not lines[1].startswith(_ORIGIN):
        return None
    return lines[1][len(_ORIGIN) :]


def stop_seconds(nodes: Sequence[NodeConfig]) -> int:
    """Return how long an orderly stop may take, in s. Nodes stop side by side: the slowest counts."""
    limits = [sum(hook.timeout_ns for event, hook in node.events if event in _WAITED_FOR) for node in nodes]
    return -(-max(limits) // _SECOND_NS) + STOP_MARGIN_S


def command_line(argv: Sequence[str]) -> str:
    """Return the value of ExecStart= that runs exactly `argv`; argv[0] is an absolute path."""
    if "$" in argv[0]:
        # systemd takes the path as it is, but would expand the same word as argv[0].
        raise UsageError(f'the path of the interpreter, {argv[0]}, has a "$", '
                         "which a systemd unit can't say")
    return " ".join(_quote(word).replace("$", "$$") for word in argv)


def _identity(user: Optional[str], nodes: Sequence[NodeConfig]) -> List[str]:
    """Return the lines that say as whom the service runs, and which directories systemd makes for it."""
    if user is None or user == "root":
        # The folder of the command sockets is shared by all services of raftctl here: no stop removes it.
        return ["RuntimeDirectory=raftctl", "RuntimeDirectoryPreserve=yes"]
    lines = [f"User={user}"]
    default = [node.address.port for node in nodes if node.data_dir_is_default]
    if default:
        # The place that it would be for root: /var/lib/raftctl/PORT, made by systemd for this user.
        lines.append(f"Environment=XDG_STATE_HOME={SYSTEM_DATA.rpartition('/')[0]}")
        lines.append("StateDirectory=" + " ".join(f"raftctl/{port}" for port in default))
        lines.append("StateDirectoryMode=0700")
    return lines


def _service_name(loaded: Loaded) -> str:
    name = loaded.service_name
    if not _NAME.match(name) or name.endswith(("@", ".service")):
        raise UsageError(f'{loaded.path}: "serviceName": "{name}" can\'t be the name of a systemd service')
    return name


def _quote(word: str) -> str:
    """Return `word` as one word of a unit file's list, specifiers escaped; `$` is left to the caller."""
    word = _specifiers(_one_line("path", word))
    if _PLAIN.match(word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _specifiers(text: str) -> str:
    return text.replace("%", "%%")


def _one_line(what: str, text: str) -> str:
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise UsageError(f"the {what} {text!r} has a control character, which a systemd unit can't say")
    return text


def _distinct(words: Sequence[str]) -> Tuple[str, ...]:
    return tuple(dict.fromkeys(words))
