"""The table of commands: what each is called, takes and runs. Parser and help go by it."""

from __future__ import annotations

import argparse
from typing import Any, Dict, NamedTuple, Optional, Tuple

from raftctl.base.errors import UsageError

DEFAULT_TIMEOUT_S = 5.0
LONGEST_TIMEOUT_S = 86400.0

STATES = ("LEADER", "FOLLOWER", "CANDIDATE", "LEARNER", "UNINITIALIZED")

Argument = Tuple[Tuple[str, ...], Dict[str, Any]]


class Command(NamedTuple):
    """`module` under raftctl.cli and its `function(options) -> exit status`; no `summary`: hidden."""

    module: str
    function: str
    summary: Optional[str]
    details: str
    arguments: Tuple[Argument, ...] = ()


def timeout(text: str) -> float:
    """Return `--timeout` in seconds: a number of seconds, or a duration as in the configuration."""
    try:
        seconds = float(text)
    except ValueError:
        from raftctl.base import durations

        seconds = durations.parse(text) / durations.SECOND
    if not 0 < seconds <= LONGEST_TIMEOUT_S:
        raise UsageError(f'--timeout "{text}" is out of range; give seconds, more than 0, at most 86400')
    return seconds


def count(text: str) -> int:
    """Return a revision or a number of nodes; the command checks its range."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f'"{text}" is no whole number from 0')
    if len(text) > 19 or int(text) >= 1 << 63:
        raise argparse.ArgumentTypeError(f"{text} is out of range; it is less than 2^63")
    return int(text)


def port(text: str) -> int:
    number = count(text)
    if not 1 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"port {text} is out of range; use 1 to 65535")
    return number


def states(text: str, named: str = "--is") -> Tuple[str, ...]:
    """Return the states of `S[,S]`, in capitals; `named` begins the complaint about a word that is none."""
    found = tuple(word.strip().upper() for word in text.split(","))
    for word in found:
        if word not in STATES:
            raise UsageError(f'{named}: "{word.lower()}" is no state; states are {", ".join(STATES).lower()}')
    return found


def _argument(*flags: str, **settings: Any) -> Argument:
    return flags, settings


CONFIG = _argument(
    "-c",
    "--config",
    metavar="FILE",
    default=argparse.SUPPRESS,
    help="configuration file (else RAFTCTL_CONFIG, else /etc/raftctl/config.json)",
)
NODE = _argument(
    "--node",
    metavar="NODE",
    default=argparse.SUPPRESS,
    help="node of a cluster file: its name, address or port",
)
JSON = _argument("--json", action="store_true", help="print JSON")
TIMEOUT = _argument(
    "--timeout",
    metavar="SECONDS",
    type=timeout,
    default=DEFAULT_TIMEOUT_S,
    help="how long to wait for the answer (5 s)",
)
KEY = _argument("key", metavar="KEY", help="1 to 1024 bytes of UTF-8 text")
IF_REV = _argument(
    "--if-rev", metavar="N", type=count, help="only if N is the key's present revision, 0: it is absent"
)
_FORCE_REMOVAL = _argument("--force", action="store_true",
                           help="also where the voters that would be left are not connected")
_USER_SERVICE = _argument("--user", action="store_true",
                          help="a service of this user's own manager; needs no root")
DRY_RUN = _argument("--dry-run", action="store_true", help="print what would be done, change nothing")

COMMANDS: Dict[str, Command] = {
    "start": Command("start", "run", "run the node of the configuration, or all nodes of a cluster file",
        "Runs in the foreground until SIGTERM or Ctrl-C. Exit status: 0 stopped, 2 configuration, 6 the data "
        "directory is locked by another daemon, 70 a fault of raftctl, 74 disk. With --local N no "
        "configuration is needed: N nodes on free ports of this machine, in a temporary folder that is "
        "removed at the end.",
        (_argument("--join", metavar="ADDRESS", help="join the cluster of this member; found none"),
         _argument("--local", metavar="N", type=count,
                   help="try it out: a cluster of 1 to 7 nodes on this machine"),
         _argument("--event", metavar="NAME=SCRIPT", action="append", default=[],
                   help="with --local: a script for an event (leader, follower, start, stop)"))),
    "state": Command("state", "run", "print what this node is: LEADER on one node, never on two",
        "Prints { \"state\": \"LEADER\" }, or FOLLOWER, CANDIDATE, LEARNER, UNINITIALIZED. --is prints "
        "none of it: exit status 0 yes, 1 no, both without a word; 3 no daemon answers, with a line on "
        "standard error.",
        (_argument("host", metavar="HOST", nargs="?",
                   help="ask the command port of this host instead; needs no configuration"),
         _argument("port", metavar="PORT", nargs="?", type=port, help="its command_port"),
         _argument("--is", metavar="S[,S]", dest="states", type=states,
                   help="answer by exit status: is it one of these?"),
         JSON, TIMEOUT)),
    "status": Command("status", "run", "show the cluster as this node sees it, and what is wrong",
        "Works without a leader as well: it is read off this node's own tables. Says what the health check "
        "of this host found, too.", (JSON, TIMEOUT)),
    "history": Command("history", "run", "who led, when that changed, and why",
        "As this node saw it, also before its last start; the newest is last. Of a daemon that is down, its "
        "file is read.",
        (_argument("--limit", metavar="N", type=count, default=20, help="so many entries (20)"),
         JSON, TIMEOUT)),
    "wait": Command("wait", "run", "return when there is a leader, a majority, a member, a state",
        "CONDITION is one of: leader (this node knows one), quorum (it reaches a majority of the voters), "
        "member=NAME (a member by name or address votes and is well), state=S[,S] (this node is one of "
        "these). Exit status 0: true, 4: not in time, 3: no daemon answers.",
        (_argument("condition", metavar="CONDITION", help="leader, quorum, member=NAME or state=S[,S]"),
         JSON, _argument("--timeout", metavar="SECONDS", type=timeout, default=60.0,
                         help="how long to wait (60 s)"))),
    "get": Command("kv", "get", "print the value of a key",
        "Prints the bytes as they are, and a newline only on a terminal. Exit status 1: no such key. "
        "What was acknowledged before is seen, unless --stale.",
        (KEY, _argument("--stale", action="store_true",
                        help="read this node's own copy: fast, works without a leader, maybe old"),
         JSON, TIMEOUT)),
    "put": Command("kv", "put", "store a value, print its revision",
        "Prints \"revision N\". Exit status 1: the comparison of --if-rev or --if-absent failed, nothing was "
        "changed; 4: no leader in time, nothing was changed; 5: no answer, it may have been stored or not. "
        "A value that begins with a dash stands behind \"--\".",
        (KEY, _argument("value", metavar="VALUE", help="at most 256 KiB; - reads standard input, any bytes"),
         IF_REV, _argument("--if-absent", action="store_true", help="only if there is no such key"),
         JSON, TIMEOUT)),
    "del": Command("kv", "delete", "remove a key, print the revision of the change",
        "Exit status 1: there is no such key, or the comparison failed.", (KEY, IF_REV, JSON, TIMEOUT)),
    "join": Command("members", "join", "make this node a member of the cluster of ADDRESS",
        "For a running node that is a cluster of its own. Returns when the node votes, and prints the "
        "clusterNodes line to add to its file. Exit status 1: the leader there refuses it; 5: not yet a "
        "voter in time; either way it goes on asking.",
        (_argument("address", metavar="ADDRESS", help="tcp://host:port of any member"),
         _argument("--discard-data", action="store_true",
                   help="also if this node's store holds keys: they are lost"),
         JSON, _argument("--timeout", metavar="SECONDS", type=timeout, default=60.0,
                         help="how long to wait (60 s)"))),
    "bootstrap": Command("members", "bootstrap", "found the cluster with the nodes that are reachable now",
        "On ONE node, and only when a listed node will not come: without it founding waits for all of them.",
        (JSON, TIMEOUT)),
    "remove": Command("members", "remove", "remove the member at ADDRESS from the cluster",
        "Returns when the cluster has it. The node there stays up, outside, with its data; stop it. Exit "
        "status 1: no such member, the last voter, or too few of the others are connected.",
        (_argument("address", metavar="ADDRESS", help="tcp://host:port of the member"),
         _FORCE_REMOVAL, JSON, TIMEOUT)),
    "leave": Command("members", "leave", "remove this node from its cluster",
        "As remove, with this node's own address.", (_FORCE_REMOVAL, JSON, TIMEOUT)),
    "transfer": Command("lead", "transfer", "hand leadership over to the member NAME, or to the best",
        "The follower hook of the leader runs first, as in an orderly stop, and the node stays. Returns when "
        "the leader hook of the new leader has ended, and prints who leads. Exit status 1: refused, or "
        "something failed, with the reason; 4: no leader in time; 5: the outcome is not known.",
        (_argument("name", metavar="NAME", nargs="?", help="name or address of a member"), JSON,
         _argument("--timeout", metavar="SECONDS", type=timeout, default=60.0,
                   help="how long to wait (60 s)"))),
    "drain": Command("lead", "drain", "hand leadership over if this node has it, and do not lead any more",
        "The node goes on voting and storing. It stays drained through restarts, until undrain.",
        (JSON, _argument("--timeout", metavar="SECONDS", type=timeout, default=60.0,
                         help="how long to wait for the hand-over (60 s)"))),
    "undrain": Command("lead", "undrain", "take drain back", "", (JSON, TIMEOUT)),
    "hook": Command("hook", "run", "run the script of an event as the daemon would, show what came of it",
        "hook test EVENT shows its argv, user and environment, its output, and how it ended. The script "
        "really runs: test leader starts what it starts. RAFTCTL_TERM is 0, which a resource that looks at "
        "the token refuses. Exit status 0: the script succeeded, 1: it failed.",
        (_argument("test", metavar="test", choices=("test",), help="run it now"),
         _argument("event", metavar="EVENT", help="leader, follower, start or stop"),
         _argument("--term", metavar="N", type=count, default=0, help="RAFTCTL_TERM for the script (0)"),
         JSON)),
    "check-config": Command("check", "run", "check a configuration file",
        "Prints what holds, with the scripts of events and check. Exit status 2 with one line about what is "
        "wrong.",
        (_argument("file", metavar="FILE", nargs="?", help="instead of --config"), JSON)),
    "inspect": Command("inspect", "run", "show what a data directory holds, and what is damaged in it",
        "Identity, hard state, members, log and snapshots, of a node that runs, is stopped or can't start: "
        "it reads only, and takes no lock. DIR is the configuration's data directory unless given. A value "
        "is never shown. Of a running node the last record may be half written. Exit status 0: sound, also "
        "with a torn tail, 1: damaged, with file, byte and what to do, 2: no data directory, 6: this user "
        "may not read it.",
        (_argument("dir", metavar="DIR", nargs="?", help="the data directory to look at"),
         _argument("--log", action="store_true",
                   help="also the entries: index, term, kind, size, operation and key"),
         JSON)),
    "pack": Command("pack", "run", "write raftctl as one file",
        "The file runs wherever Python 3.9 or newer is: python3 raftctl.pyz.",
        (_argument("-o", "--output", metavar="FILE", default="raftctl.pyz", help="raftctl.pyz unless given"),
         _argument("--compile", action="store_true",
                   help="add byte code for this version of Python: starts faster"))),
    "svcinstall": Command("service", "install", "install the systemd service of the configuration",
        "Writes the unit, enables it and says what to run next. Needs root. --dry-run prints the unit, and "
        "on standard error its place and the steps; --diff prints how the unit that is there would change, "
        "exit status 1 if it would. --hardened takes from the service what it can do without, and warns "
        "where a script may need it.",
        (DRY_RUN, _argument("--diff", action="store_true",
                            help="print how the unit would change, change nothing"),
         _argument("--hardened", action="store_true", help="in a sandbox; the key hardened says it for good"),
         _argument("--run-as", metavar="USER", help="instead of the key user"), _USER_SERVICE,
         _argument("--now", action="store_true", help="start it at once"),
         _argument("--force", action="store_true", help="overwrite a unit that raftctl did not write"))),
    "svcuninstall": Command("service", "uninstall", "stop and remove the systemd service",
        "Data and configuration stay.",
        (DRY_RUN, _USER_SERVICE,
         _argument("--now", action="store_true", help="stop it at once, which is done anyway"),
         _argument("--force", action="store_true", help="remove a unit that raftctl did not write"))),
    "after-stop": Command("after_stop", "run", None,
        "What a unit runs when its service has ended, and a node whose guardian has died. Where it gets the "
        "lock of the data directory, and the last process was started there since this host was booted, it "
        "releases the term of that process, ends the process groups of its scripts, and runs the follower "
        "script if leader ran last. Else it does nothing.",
        (_argument("--board-fd", type=int, help=argparse.SUPPRESS),)),
    "version": Command("help", "version", "print the version", ""),
    "help": Command("help", "run", "explain a command",
        "", (_argument("topic", metavar="COMMAND", nargs="?"),)),
}  # fmt: skip
