"""`check-config`: what each node of a file will use, and its scripts, looked at as the daemon does.

Exit status 0 if a daemon would start with the file and find its scripts, else `UsageError`.
"""

from __future__ import annotations

import argparse
import os
import pwd
import shutil
import socket
import stat
import sys
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from raftctl.base import durations
from raftctl.base.errors import DONE, UsageError
from raftctl.base.hosts import is_loopback, packed
from raftctl.cli import exposure, output
from raftctl.config.hooks import TIMEOUT_NS
from raftctl.config.load import load, pick
from raftctl.config.model import Hook, Loaded, NodeConfig
from raftctl.config.own import why_not_here
from raftctl.config.places import command_socket
from raftctl.host import launch


CHECK = "check"


class Script(NamedTuple):
    """What is known of the script of one hook, or of the check (`event` is then `CHECK`).

    `problem` says why it would not run, None if it would."""

    event: str
    argv: Tuple[str, ...]
    timeout_ns: int
    retry: int
    mode: Optional[str]
    owner: Optional[str]
    interpreter: Optional[str]
    problem: Optional[str]


def run(options: argparse.Namespace) -> int:
    """Check the file of --config (or the argument FILE) and print what holds; --json for one object."""
    file = getattr(options, "file", None)
    if file is not None and options.config is not None:
        raise UsageError("the file is named twice; leave --config out")
    loaded = load(file if file is not None else options.config, environ=os.environ)
    nodes = loaded.nodes if options.node is None else (pick(loaded, options.node),)
    scripts = [_scripts(node) for node in nodes]
    if getattr(options, "json", False):
        output.show_json(_as_json(loaded, nodes, scripts))
    else:
        output.write(
            "".join(f"{line}\n" for line in _as_text(loaded, nodes, scripts)).encode("utf-8", "replace")
        )
    for node in nodes:
        for warning in warnings(node):
            output.complain(f"{loaded.path}: warning: {warning}")
    for found in scripts:
        for script in found:
            if script.problem is not None:
                where = f'"{CHECK}"' if script.event == CHECK else f'"events": "{script.event}"'
                raise UsageError(f"{loaded.path}: {where}: {script.problem}")
    return DONE


def _scripts(node: NodeConfig) -> List[Script]:
    """Return what is known of the script of each hook, and then of the check."""
    found = [look_at(event, hook) for event, hook in node.events]
    if node.check is not None:
        found.append(look_at(CHECK, Hook(node.check.argv, node.check.timeout_ns, 0)))
    return found


def look_at(event: str, hook: Hook) -> Script:
    """Return what a daemon of this user would make of `hook` now."""
    path = hook.argv[0]
    mode = owner = interpreter = problem = None
    try:
        found = os.stat(path)
        mode, owner = f"{stat.S_IMODE(found.st_mode):04o}", _user_name(found.st_uid)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is no regular file")
        first = launch.command(sys.executable, path, [])[0]
        interpreter = "itself" if first == path else first
        if interpreter != "itself" and shutil.which(first) is None:
            problem = f"{path}: its interpreter {first} is not here; install it, or name another script"
        reason = launch.refusal(path, os.getuid()) if os.geteuid() == 0 else ""
        if reason:
            problem = f"{path}: root does not run it: {reason}; chown it to root and chmod go-w it"
    except FileNotFoundError:
        problem = f"{path}: no such file" + _meant(hook.argv[0])
    except OSError as error:
        problem = f"{path}: {os.strerror(error.errno or 0).lower()}"
    except ValueError as error:
        problem = f"{path}: {error}"
    return Script(event, hook.argv, hook.timeout_ns, hook.retry, mode, owner, interpreter, problem)


def _meant(path: str) -> str:
    """Return the mend for a command line written as a path, or a program that is elsewhere."""
    words = os.path.basename(path).split()
    program = shutil.which(words[0]) if words else None
    if program is not None and len(words) > 1:
        return f'; a command with arguments is a list: ["{program}", "{words[1]}"]'
    return (
        f"; did you mean {program}?"
        if program is not None
        else "; a relative path begins beside the configuration"
    )


def _user_name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def warnings(node: NodeConfig) -> List[str]:
    """Return what is allowed and still looks like a mistake."""
    found = []
    for key, path in (
        ("dataDir", node.data_dir),
        ("logFile", node.log_file),
        ("secretFile", node.secret_file),
    ):
        if path is not None and "$" in path:
            found.append(f'"{key}": {path} holds a "$"; nothing is substituted in it')
    found += [f"{node.name}: {one}" for one in exposure.warnings(node)]
    hooks = dict(node.events)
    follower = hooks.get("follower")
    # Not the default limit, which nobody wrote: a script that is done in time is fine.
    is_written = follower is not None and follower.timeout_ns != TIMEOUT_NS
    if "leader" in hooks and is_written and follower.timeout_ns > node.takeover_delay_ns:
        found.append(f'{node.name}: "follower" may take {durations.render(follower.timeout_ns)}, but a new '
                     f'leader waits {durations.render(node.takeover_delay_ns)} for a host that it does not '
                     'hear; raise "takeover delay", or lower the "timeout"')
    hosts = [("listen" if node.listen_host != node.address.host else "address", node.listen_host)]
    if node.command_port is not None:
        hosts.append(("command_host", node.command_host))
    if node.http is not None:
        hosts.append(("http", node.http.host))
    for key, host in hosts:
        reason = why_not_here(host) if host != "*" else None
        if reason is not None:
            found.append(f'{node.name}: "{key}": {host}: {reason}; a daemon on this host waits until it is')
    if any(not is_loopback(one.host) for one in node.cluster_nodes):
        inner = _loopback_of(node.listen_host)
        if inner is not None:
            found.append(
                f"{node.name}: {node.listen_host} is {inner} on this host (/etc/hosts), where no peer "
                'reaches it; write "listen": "0.0.0.0", or the IP'
            )
    return found


def _loopback_of(host: str) -> Optional[str]:
    """Return the loopback address that the name `host` means here, None if it means another."""
    if packed(host) is not None or host == "*":
        return None
    try:
        found = [place[4][0] for place in socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError):
        return None
    return str(found[0]) if all(is_loopback(str(one)) for one in found) else None


def _as_text(loaded: Loaded, nodes: Tuple[NodeConfig, ...], scripts: List[List[Script]]) -> List[str]:
    count = len(loaded.nodes)
    kind = f"a cluster file of {count} node{'s' if count > 1 else ''}" if loaded.is_cluster else "one node"
    lines = [f"{loaded.path}: {kind}, service {loaded.service_name} ({loaded.description})"]
    if loaded.is_cluster:
        lines.append(f"  log of the managing process  {_log(loaded.log_file, loaded.log_level)}")
    for node, found in zip(nodes, scripts):
        lines += ["", f"node {node.name}"]
        rows = [*_rows(node), *(_script_row(node, script) for script in found)]
        width = max(len(label) for label, _ in rows)
        lines += [f"  {label.ljust(width)}  {text}" for label, text in rows]
    return lines


def _rows(node: NodeConfig) -> List[Tuple[str, str]]:
    together = " ".join(map(str, node.cluster_nodes))
    if node.join is not None:
        together = f"joins the cluster of {node.join}"
    port = "none" if node.command_port is None else f"{node.command_port} on {node.command_host}"
    return [
        ("address", str(node.address)),
        ("listens on", f"{node.listen_host}, port {node.address.port}"),
        ("command port", port),
        ("command socket", _socket(node)),
        ("http", exposure.describe_pages(node)),
        ("cluster", together or "a cluster of one, until it joins another"),
        ("heartbeat", durations.render(node.heartbeat_ns)),
        ("election", f"{durations.render(node.election_min_ns)} to {durations.render(node.election_max_ns)}"),
        ("takeover", f"after {durations.render(node.takeover_delay_ns)} where nothing is heard"),
        ("data", node.data_dir),
        ("log", _log(node.log_file, node.log_level)),
        ("secrets", exposure.describe(node)),
    ]


def _socket(node: NodeConfig) -> str:
    return command_socket(node, as_root=os.geteuid() == 0 and node.user in (None, "root"))


def _log(file: Optional[str], level: str) -> str:
    return f"{file or 'standard error'}, level {level}"


def _script_row(node: NodeConfig, script: Script) -> Tuple[str, str]:
    limits = f"timeout {durations.render(script.timeout_ns)}"
    if script.event != CHECK:
        return f"hook {script.event}", _script_text(script, f"{limits}, retry {script.retry}")
    check: Any = node.check
    return CHECK, _script_text(script, f"every {durations.render(check.interval_ns)}, {limits}, "
                                       f"fall {check.fall}, rise {check.rise}")


def _script_text(script: Script, limits: str) -> str:
    if script.problem is not None:
        return f"{' '.join(script.argv)}: WOULD NOT RUN; {limits}"
    found = f"mode {script.mode}, owner {script.owner}, run by {script.interpreter}"
    return f"{' '.join(script.argv)}: {found}; {limits}"


def _as_json(loaded: Loaded, nodes: Tuple[NodeConfig, ...], scripts: List[List[Script]]) -> Dict[str, Any]:
    return {
        "path": loaded.path, "isCluster": loaded.is_cluster, "serviceName": loaded.service_name,
        "description": loaded.description, "user": loaded.user,
        "logFile": loaded.log_file, "logLevel": loaded.log_level,
        "nodes": [_node_json(node, found) for node, found in zip(nodes, scripts)],
    }  # fmt: skip


def _node_json(node: NodeConfig, scripts: List[Script]) -> Dict[str, Any]:
    return {
        "name": node.name, "address": str(node.address), "listen": node.listen_host,
        "commandHost": node.command_host, "commandPort": node.command_port, "commandSocket": _socket(node),
        "http": None if node.http is None else {"host": node.http.host, "port": node.http.port},
        "clusterNodes": [str(one) for one in node.cluster_nodes],
        "join": None if node.join is None else str(node.join),
        "heartbeatMs": _ms(node.heartbeat_ns), "electionMinMs": _ms(node.election_min_ns),
        "electionMaxMs": _ms(node.election_max_ns), "takeoverDelayMs": _ms(node.takeover_delay_ns),
        "dataDir": node.data_dir, "logFile": node.log_file, "logLevel": node.log_level,
        "secretFile": node.secret_file, "secrets": len(node.secrets), "insecure": node.insecure,
        "priority": node.priority, "preempt": node.preempt,
        "events": {script.event: _hook_json(script) for script in scripts if script.event != CHECK},
        "check": next((_check_json(node, script) for script in scripts if script.event == CHECK), None),
        "warnings": warnings(node),
    }  # fmt: skip


def _hook_json(script: Script) -> Dict[str, Any]:
    return {**_script_json(script), "retry": script.retry}


def _check_json(node: NodeConfig, script: Script) -> Dict[str, Any]:
    check: Any = node.check
    return {**_script_json(script), "intervalMs": _ms(check.interval_ns), "fall": check.fall,
            "rise": check.rise}


def _script_json(script: Script) -> Dict[str, Any]:
    return {
        "run": list(script.argv), "timeoutMs": _ms(script.timeout_ns),
        "mode": script.mode, "owner": script.owner, "interpreter": script.interpreter,
        "problem": script.problem,
    }  # fmt: skip


def _ms(span_ns: int) -> float:
    whole, rest = divmod(span_ns, durations.MILLISECOND)
    return span_ns / durations.MILLISECOND if rest else whole
