"""The one table of keys: name, parser, where a key may stand, default and meaning.

The checks, the nearest-key suggestion and the manual page's test go by it. A key is here only when it works.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, NamedTuple, Optional

from raftctl.base import durations
from raftctl.base.errors import UsageError
from raftctl.config import checks, hooks, values
from raftctl.config.spelling import fold, nearest

# Where a key may stand; a single-node file is a node and a whole file at once, so all but `nodes` fit there.
NODE = "node"  # in a node; never at the top of a cluster file
DEFAULT = "default"  # in a node, or at the top of a cluster file as default for all nodes
FILE = "file"  # at the top only

HEARTBEAT_NS = 100 * durations.MILLISECOND
ELECTION_MIN_NS = 500 * durations.MILLISECOND
ELECTION_MAX_NS = durations.SECOND
TAKEOVER_DELAY_NS = 3 * durations.SECOND


class Key(NamedTuple):
    """One key. `parse` takes the JSON value; its `UsageError` names no key. `default` is for people."""

    name: str
    parse: Callable[[Any], Any]
    place: str
    default: str
    help: str


def _nodes(value: Any) -> Any:
    return value  # `load` reads the objects in it.


_election = values.span(20 * durations.MILLISECOND, durations.HOUR)

KEYS = (
    Key("address", values.own_address, NODE, "the one entry of clusterNodes that this host can bind",
        "tcp://host:port that peers dial"),
    Key("listen", values.host, NODE, "the address's host",
        "host or IP that the peer listener binds, where it differs (NAT, 0.0.0.0)"),
    Key("command_port", values.port, NODE, "none: unix socket only", "TCP port for JSON clients and the CLI"),
    Key("command_host", values.host, DEFAULT, "127.0.0.1", "host or IP that the command port binds"),
    Key("http", values.endpoint, NODE, "none",
        "host:port of read-only pages for load balancers and monitoring"),
    Key("name", values.name, NODE, "the address's host where unique, else host:port",
        "what people call the node, for --node"),
    Key("clusterNodes", values.address_list, DEFAULT, "none",
        "the addresses that found a cluster together; may or may not contain the node itself"),
    Key("heartbeat", values.span(durations.MILLISECOND, durations.HOUR), DEFAULT,
        "100 ms, at most a quarter of election min", "time between two messages of an idle leader"),
    Key("election min", _election, DEFAULT, "500 ms", "shortest time without a leader before an election"),
    Key("election max", _election, DEFAULT, "1 s, or twice election min where that is more",
        "longest time without a leader before an election"),
    Key("takeover delay", values.span(0, durations.HOUR), DEFAULT, "3 s",
        "how long a new leader waits for the outgoing work of the former one's host, where it hears nothing"),
    Key("join", values.address, DEFAULT, "none",
        "address of any member: join its cluster instead of founding one"),
    Key("dataDir", values.path, DEFAULT,
        "/var/lib/raftctl/PORT for root, else $XDG_STATE_HOME/raftctl/PORT",
        "directory of the node's data; at the top of a cluster file the parent of one directory PORT a node"),
    Key("logFile", values.path, DEFAULT, "standard error",
        "file of the node's log; at the top of a cluster file the log of the managing process"),
    Key("logLevel", values.level, DEFAULT, "info", "debug, info, warning or error"),
    Key("events", hooks.parse_events, DEFAULT, "none", "event name to script: a path, a list, or an object"),
    Key("check", checks.parse_check, DEFAULT, "none",
        "script that says whether this host is fit to lead: a path, a list, or an object"),
    Key("priority", values.priority, DEFAULT, "100",
        "0 to 255: of those that could lead, the higher campaigns earlier; 0 votes and stores, never LEADER"),
    Key("preempt", values.flag, DEFAULT, "false", "take leadership over from a node with a lower priority"),
    Key("secretFile", values.path, DEFAULT, "the file secret beside the configuration, if it is there",
        "file with one secret a line, readable by its owner only; the first signs, all verify"),
    Key("insecure", values.flag, DEFAULT, "false",
        "listen on other than loopback addresses without a secret"),
    Key("serviceName", values.service, FILE, "raftctl", "name of the systemd service"),
    Key("description", values.description, FILE, "raftctl node ADDRESS, or raftctl cluster of N nodes",
        "description of the systemd service"),
    Key("user", values.user, FILE, "root", "user that the systemd service runs as"),
    Key("hardened", values.flag, FILE, "false", "take from the systemd service what it can do without"),
    Key("nodes", _nodes, FILE, "none",
        "makes the file a cluster file: a list of objects, one a node of this host"),
)  # fmt: skip

BY_FOLDED_NAME: Dict[str, Key] = {fold(key.name): key for key in KEYS}


def find(name: str) -> Optional[Key]:
    """Return the key that `name` spells, None for an unknown one."""
    return BY_FOLDED_NAME.get(fold(name))


def parse_fields(
    written: Dict[str, Any], where: str, refuse: Callable[[Key], Optional[str]]
) -> Dict[str, Any]:
    """Return canonical name -> parsed value of the keys that stand in one object of the file.

    `where` begins every message ("n1.json: node 2: "); `refuse` says why a key may not stand here.
    """
    parsed: Dict[str, Any] = {}
    for name, value in written.items():
        key = find(name)
        if key is None:
            raise UsageError(f'{where}"{name}" is not a key; {_hint(name)}')
        reason = refuse(key)
        if reason is not None:
            raise UsageError(f'{where}"{name}" {reason}')
        try:
            parsed[key.name] = key.parse(value)
        except UsageError as error:
            raise UsageError(f'{where}"{name}": {error}') from None
    return parsed


def _hint(name: str) -> str:
    meant = nearest(name, (key.name for key in KEYS))
    return f'did you mean "{meant}"?' if meant else "keys are " + ", ".join(key.name for key in KEYS)
