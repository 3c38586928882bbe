"""What of a configuration can change while a node runs (SIGHUP), and what waits for its next start. Pure."""

from __future__ import annotations

from typing import Dict, List, Sequence, Tuple

from raftctl.base.errors import UsageError
from raftctl.config.model import Loaded, NodeConfig

# Field of `NodeConfig` → the key that people know it by.
LIVE: Dict[str, str] = {
    "events": "events", "check": "check", "log_file": "logFile", "log_level": "logLevel",
    "secrets": "secretFile",
}
FIXED: Dict[str, str] = {
    "address": "address", "listen_host": "listen", "command_host": "command_host",
    "command_port": "command_port", "name": "name", "cluster_nodes": "clusterNodes",
    "heartbeat_ns": "heartbeat", "election_min_ns": "election min", "election_max_ns": "election max",
    "join": "join", "data_dir": "dataDir", "insecure": "insecure", "http": "http", "priority": "priority",
    "preempt": "preempt", "user": "user", "takeover_delay_ns": "takeover delay",
}
# Follow from others, or are for people and svcinstall alone.
OTHER = ("path", "data_dir_is_default", "secret_file", "service_name", "description")


def match(nodes: Sequence[NodeConfig], loaded: Loaded) -> Tuple[NodeConfig, ...]:
    """Return what `loaded` says of each of `nodes`, in their order; raise `UsageError` where one is gone."""
    by_address = {node.address: node for node in loaded.nodes}
    for node in nodes:
        if node.address not in by_address:
            raise UsageError(f"{loaded.path}: no node has the address {node.address} any more, which runs")
    return tuple(by_address[node.address] for node in nodes)


def compare(before: NodeConfig, after: NodeConfig) -> Tuple[List[str], List[str]]:
    """Return the keys that changed: those that can change now, and those that wait for the next start."""
    live = [key for field, key in LIVE.items() if getattr(before, field) != getattr(after, field)]
    fixed = [key for field, key in FIXED.items() if getattr(before, field) != getattr(after, field)]
    if "secretFile" in live and _is_first_or_last_secret(before, after):
        live.remove("secretFile")
        fixed.append("secretFile")
    return live, fixed


def update(running: NodeConfig, after: NodeConfig) -> NodeConfig:
    """Return `running` with all of `after` that can change now."""
    changes = {field: getattr(after, field) for field in LIVE}
    if _is_first_or_last_secret(running, after):
        # Whether there is one at all decides which addresses are bound (P8), and what a handshake says.
        del changes["secrets"]
    return running._replace(**changes)


def _is_first_or_last_secret(before: NodeConfig, after: NodeConfig) -> bool:
    return bool(before.secrets) != bool(after.secrets)
