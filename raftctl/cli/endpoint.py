"""Where the daemon is that a command means, and one question to it.

Reads the configuration as a client does (a secret that this user may not read is done without), tries the
unix sockets and then the command port. Leaves the protocol to `net/client.py` and the codes to
`net/error_codes.py`.
"""

from __future__ import annotations

import argparse
import os
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from raftctl.base.errors import Unreachable
from raftctl.base.hosts import is_loopback
from raftctl.config import places
from raftctl.config.load import load, pick
from raftctl.config.model import Loaded
from raftctl.net.client import CommandClient
from raftctl.net.error_codes import from_reply

# At its deadline the daemon itself answers "timeout"; that answer needs its time on the way.
_GRACE_S = 1.0
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "*": "127.0.0.1"}


class Daemon(NamedTuple):
    """Where a daemon listens, in the order to try; `start` is the command to start it, "" if unknown."""

    endpoints: Tuple[tuple, ...]
    secrets: Tuple[bytes, ...]
    start: str

    def ask(self, request: Dict[str, Any], timeout_s: float) -> Dict[str, Any]:
        """Return the fields of the reply, without `ok`.

        Raises `CommandError` (refused), `Unreachable`, `OutcomeUnknown` (sent, no answer), `NotAllowed`.
        """
        asked = dict(request, timeoutMs=max(1, round(timeout_s * 1000)))
        try:
            with CommandClient(
                self.endpoints, secrets=self.secrets, timeout_s=timeout_s + _GRACE_S
            ) as client:
                reply = client.request(asked)
        except Unreachable as error:
            raise Unreachable("; ".join(filter(None, (str(error), self._mend(str(error)))))) from None
        if not reply.get("ok"):
            raise from_reply(reply)
        return {name: value for name, value in reply.items() if name not in ("ok", "id")}

    def _mend(self, said: str) -> str:
        """Return what to do about the client's words `said`, "" for nothing."""
        if "permission denied" in said:
            return "this user may not look there: use sudo, or give the node a command_port"
        if said.startswith("no daemon at"):
            return f"start one: {self.start}" if self.start else self._mend_address(said)
        if "timed out" in said:
            return "something is there and says nothing: look into the node's log, or wait longer: --timeout"
        return "" if self.start else "name the command_port of the node, not the port of its address"

    def _mend_address(self, said: str) -> str:
        host = self.endpoints[0][1]
        if "connection refused" in said and not is_loopback(host):
            return f'a command port is for 127.0.0.1 only, unless its "command_host" is set; ask on {host}'
        return ""


def find(options: argparse.Namespace) -> Daemon:
    """Return the daemon of --config and --node; `UsageError` where they name none, or several."""
    loaded = load(options.config, environ=os.environ, for_client=True)
    node = pick(loaded, options.node)
    endpoints: List[tuple] = [("unix", path) for path in places.command_sockets(node)]
    if node.command_port is not None:
        endpoints.append(("tcp", _WILDCARDS.get(node.command_host, node.command_host), node.command_port))
    return Daemon(tuple(endpoints), node.secrets, _how_to_start(loaded))


def _how_to_start(loaded: Loaded) -> str:
    """Return the command that starts the daemon: its service, where `svcinstall` made one of this file."""
    name = f"{loaded.service_name}.service"
    try:
        with open(os.path.join(places.SYSTEM_UNITS, name), encoding="utf-8", errors="replace") as unit:
            origin = unit.read(4096).split("\n", 2)[1:2]
    except OSError:
        origin = []
    is_ours = origin and f"{origin[0]} ".startswith(f"# for {loaded.path} ")
    return f"systemctl start {name}" if is_ours else f"raftctl -c {loaded.path} start"


def at(host: str, port: int) -> Daemon:
    """Return the daemon whose command port is `host`:`port`; no configuration, no secret."""
    return Daemon((("tcp", host.strip("[]"), port),), (), "")


def ask(
    options: argparse.Namespace, request: Dict[str, Any], *, timeout_s: Optional[float] = None
) -> Dict[str, Any]:
    """Ask the daemon of --config and --node once."""
    return find(options).ask(request, options.timeout if timeout_s is None else timeout_s)
