"""Who can change the data of a node by reaching its ports: what `check-config` says of secrets (P8).

The rules are the listeners': with a secret every peer and every client over TCP must prove it; without one,
whoever reaches the peer port may speak as a member, and a command port serves all, but only where nobody from
another host can reach it. What may not be bound at all is the configuration's to refuse.
"""

from __future__ import annotations

from typing import List

from raftctl.base.hosts import is_loopback
from raftctl.config.model import NodeConfig


def describe(node: NodeConfig) -> str:
    """Return the text beside "secrets"."""
    if node.secrets:
        count = len(node.secrets)
        what = "one secret" if count == 1 else f"{count} secrets"
        return f"{node.secret_file}: {what}, which peers and clients over TCP must prove"
    return f"none: {_who(node)} can change its data"


def describe_pages(node: NodeConfig) -> str:
    """Return the text beside "http": read-only pages need no secret, but who sees them is said."""
    if node.http is None:
        return "none"
    host, port = node.http
    who = "every user of this host" if is_loopback(host) else f"every host that reaches port {port}"
    return f"port {port} on {host}: state, members and metrics, read-only, for {who}"


def warnings(node: NodeConfig) -> List[str]:
    """Return where "insecure" does something else than it seems to."""
    found = []
    if node.secrets:
        if node.insecure:
            found.append('"insecure" has no effect beside a secret; take it out')
        return found
    if not is_loopback(node.listen_host):
        found.append(f'"insecure" without a secret: {_who(node)} can change its data')
    elif node.insecure and not _is_command_port_open(node):
        found.append('"insecure" has no effect: other hosts reach no port of this node; take it out')
    if _is_command_port_open(node):
        found.append(f"without a secret the command port on {node.command_host} tells state and status, "
                     "and refuses all else")
    return found


def _who(node: NodeConfig) -> str:
    if is_loopback(node.listen_host):
        return "every user of this host"
    return f"every host that reaches port {node.address.port}"


def _is_command_port_open(node: NodeConfig) -> bool:
    return node.command_port is not None and not is_loopback(node.command_host)
