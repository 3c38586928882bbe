"""systemd units: rendered from the templates in `units/`, recognised again. Touches no file and runs nothing.

The rules of quoting are those of systemd.syntax(7) and systemd.service(5), "COMMAND LINES".
"""

from __future__ import annotations

import re
import string
from typing import List, NamedTuple, Optional, Sequence, Tuple

from raftctl.base import resources
from raftctl.base.errors import UsageError
from raftctl.cluster.hookplan import RETRY_DELAY_NS
from raftctl.config.model import Loaded, NodeConfig
from raftctl.config.places import SYSTEM_DATA
from raftctl.host import hardening
from raftctl.host.hooks import GRACE_NS

MARKER = "# written by raftctl svcinstall"
_ORIGIN = "# for "
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:-]{0,199}\Z")
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%$=,+-]+\Z")

# Hooks that may have to run to their end, one after the other, before the service has stopped: `start` may be
# running when the stop comes, and a running `leader` hook is ended.
_WAITED_FOR = ("start", "follower", "stop")
_OF_THE_SYSTEM = "Wants=network-online.target\nAfter=network-online.target"
_OF_A_USER = "# A user's manager starts when the network is up, and can't wait for units of the system."
# To end a leader hook, hand over the leadership, and close listeners, disk and links.
STOP_MARGIN_S = 30
_SECOND_NS = 1_000_000_000


class Manner(NamedTuple):
    """How the service runs: with less than it might have; as a user's own service, not the system's."""

    hardened: bool = False
    for_user: bool = False


class Unit(NamedTuple):
    """`file_name` is `<serviceName>.service`; `origin`: which configuration (and node of it) it is for.

    `warnings`: what to tell who installs it; `folders`: what must be there before its first start.
    """

    file_name: str
    origin: str
    text: str
    warnings: Tuple[str, ...] = ()
    folders: Tuple[str, ...] = ()


def render(loaded: Loaded, chosen: Optional[NodeConfig], program: Sequence[str],
           manner: Manner = Manner()) -> Unit:
    """Return the unit that starts all nodes of `loaded`, or only `chosen`.

    `program` is the absolute argv prefix that starts raftctl. `loaded` was read as root reads it
    (`as_root=True`): the service manager starts the unit as root; a user's own unit as that user does. Raises
    `UsageError` for what a unit can't say.
    """
    nodes = loaded.nodes if chosen is None else (chosen,)
    name = _service_name(loaded)
    selection = [] if chosen is None else ["--node", str(chosen.address)]
    origin = " ".join([loaded.path, *selection])
    paths = [loaded.path, *program[1:2], *(node.data_dir for node in nodes)]
    service = hardening.Service(nodes, loaded.user, tuple(paths), _log_files(loaded, nodes),
                                _state_directories(loaded.user, nodes, manner))
    hardened = _harden(service) if manner.hardened else []
    values = {
        "marker": MARKER,
        "origin": _ORIGIN + _one_line("configuration", origin),
        "name": name,
        "description": _specifiers(_one_line("description", loaded.description)),
        "paths": " ".join(_quote(path) for path in _distinct(paths) if path.startswith("/")),
        "command": command_line([*program, "-c", loaded.path, "start", *selection]),
        "after_stop": command_line([*program, "-c", loaded.path, "after-stop", *selection]),
        "identity": "\n".join(_identity(loaded.user, nodes, service.state, manner)),
        "ordering": _OF_A_USER if manner.for_user else _OF_THE_SYSTEM,
        "target": "default.target" if manner.for_user else "multi-user.target",
        "hardening": "\n".join(hardened or ["# It runs without a sandbox: see svcinstall --hardened."]),
        "stop_seconds": str(stop_seconds(nodes)),
    }
    template = "cluster" if len(nodes) > 1 else "node"
    text = resources.read(f"units/{template}.service").decode("utf-8")
    warned = tuple(hardening.warnings(service)) if manner.hardened else ()
    folders = tuple(node.data_dir for node in nodes if node.data_dir not in service.state)
    return Unit(f"{name}.service", origin, string.Template(text).substitute(values), warned,
                folders if manner.hardened else ())


def _harden(service: hardening.Service) -> List[str]:
    writable = " ".join(_quote(folder) for folder in hardening.writable(service))
    return ["# What it and its scripts can do without; a script that fails under it: see svcinstall.",
            *hardening.lines(service), *([f"ReadWritePaths={writable}"] if writable else [])]


def _log_files(loaded: Loaded, nodes: Sequence[NodeConfig]) -> Tuple[str, ...]:
    files = [loaded.log_file, *(node.log_file for node in nodes)]
    return tuple(file for file in files if file is not None)


def _state_directories(user: Optional[str], nodes: Sequence[NodeConfig], manner: Manner) -> Tuple[str, ...]:
    """Return the data directories that systemd makes: a user other than root can't make those of /var/lib."""
    if manner.for_user or (user in (None, "root") and not manner.hardened):
        return ()
    return tuple(node.data_dir for node in nodes if node.data_dir_is_default)


def origin_of(text: str) -> Optional[str]:
    """Return what the unit `text` was written for, None where raftctl did not write it."""
    lines = text.split("\n")
    if lines[0] != MARKER or not lines[1:] or not lines[1].startswith(_ORIGIN):
        return None
    return lines[1][len(_ORIGIN) :]


def stop_seconds(nodes: Sequence[NodeConfig]) -> int:
    """Return how long an orderly stop may take, in s. Nodes stop side by side: the slowest counts."""
    limits = [sum((1 + hook.retry) * hook.timeout_ns + hook.retry * (RETRY_DELAY_NS + 2 * GRACE_NS)
                  for event, hook in node.events if event in _WAITED_FOR) for node in nodes]
    return -(-max(limits) // _SECOND_NS) + STOP_MARGIN_S


def command_line(argv: Sequence[str]) -> str:
    """Return the value of ExecStart= that runs exactly `argv`; argv[0] is an absolute path."""
    if "$" in argv[0]:
        # systemd takes the path as it is, but would expand the same word as argv[0].
        raise UsageError(f'the path of the interpreter, {argv[0]}, has a "$", '
                         "which a systemd unit can't say")
    return " ".join(_quote(word).replace("$", "$$") for word in argv)


def _identity(user: Optional[str], nodes: Sequence[NodeConfig], state: Sequence[str],
              manner: Manner) -> List[str]:
    """Return the lines that say as whom the service runs, and which directories systemd makes for it."""
    if manner.for_user:
        return ["# It runs as the user whose service it is."]
    is_root = user is None or user == "root"
    # The folder of the command sockets is shared by all services of raftctl here: no stop removes it.
    lines = ["RuntimeDirectory=raftctl", "RuntimeDirectoryPreserve=yes"] if is_root else [f"User={user}"]
    if state:
        # The place that it would be for root: /var/lib/raftctl/PORT, made by systemd for this user.
        if not is_root:
            lines.append(f"Environment=XDG_STATE_HOME={SYSTEM_DATA.rpartition('/')[0]}")
        lines.append("StateDirectory=" + " ".join(f"raftctl/{node.address.port}" for node in nodes
                                                  if node.data_dir in state))
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
