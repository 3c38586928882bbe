"""The rules between the nodes of one file: names, and what no two of them may share."""

from __future__ import annotations

import os
from typing import Callable, List, Optional, Sequence, Tuple

from raftctl.base.addresses import Address
from raftctl.base.errors import UsageError
from raftctl.config.model import NodeConfig
from raftctl.config.nodes import overlap


def default_names(nodes: Sequence[NodeConfig], given: Sequence[Optional[str]]) -> Tuple[NodeConfig, ...]:
    """Return the nodes with their names: the given one, else the host where it is unique, else host:port."""
    known: List[Address] = sorted({one for node in nodes for one in (node.address, *node.cluster_nodes)})
    hosts = [one.host for one in known]
    named = []
    for node, name in zip(nodes, given):
        if name is None:
            alone = hosts.count(node.address.host) == 1
            name = node.address.host if alone else str(node.address)[len("tcp://") :]
        named.append(node._replace(name=name))
    return tuple(named)


# In the order in which they are checked: key, value to compare (None: nothing to share), value to show.
_SHARED: Tuple[Tuple[str, Callable[[NodeConfig], object], Callable[[NodeConfig], object]], ...] = (
    ("address", lambda node: node.address, lambda node: node.address),
    ("command_port", lambda node: node.command_port, lambda node: node.command_port),
    ("http", lambda node: node.http, lambda node: f"{node.http.host} port {node.http.port}"),
    ("dataDir", lambda node: os.path.realpath(node.data_dir), lambda node: node.data_dir),
    ("logFile", lambda node: node.log_file and os.path.realpath(node.log_file), lambda node: node.log_file),
    ("name", lambda node: node.name, lambda node: node.name),
)


def refuse_collisions(path: str, nodes: Sequence[NodeConfig], derived: Callable[[int, str], bool]) -> None:
    """Raise `UsageError` for the first two nodes that share what only one can have; it names every such key.

    `derived(position, key)`: did the node at `position` get the key from its address? Then it is implied.
    """
    for later in range(1, len(nodes)):
        for earlier in range(later):
            shared = _shared(nodes, earlier, later, derived)
            if shared:
                both = f"nodes {earlier + 1} and {later + 1}"
                raise UsageError(f"{path}: {both} have the same {_and(shared)}; give each node its own")
    _refuse_crossed_ports(path, nodes)


def _shared(
    nodes: Sequence[NodeConfig], earlier: int, later: int, derived: Callable[[int, str], bool]
) -> List[str]:
    one, other = nodes[earlier], nodes[later]
    found: List[str] = []
    for key, compared, shown in _SHARED:
        value = compared(one)
        if value is None or value != compared(other):
            continue
        if one.address == other.address and derived(earlier, key) and derived(later, key):
            continue
        found.append(f"{key} ({shown(one)})")
    return found


def _and(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def _refuse_crossed_ports(path: str, nodes: Sequence[NodeConfig]) -> None:
    for position, node in enumerate(nodes):
        for other_position, other in enumerate(nodes):
            if node.command_port == other.address.port and overlap(node.command_host, other.listen_host):
                raise UsageError(
                    f'{path}: node {position + 1}: "command_port": {node.command_port} is the port of '
                    f"node {other_position + 1}'s address; choose another"
                )
            _refuse_crossed_http(path, (position, node), (other_position, other))


def _refuse_crossed_http(path: str, mine: Tuple[int, NodeConfig], theirs: Tuple[int, NodeConfig]) -> None:
    (position, node), (other_position, other) = mine, theirs
    if node.http is None:
        return
    taken = [("address", other.listen_host, other.address.port),
             ("command_port", other.command_host, other.command_port)]
    if other.http is not None and position < other_position:
        taken.append(("http", other.http.host, other.http.port))
    for key, host, port in taken:
        if node.http.port == port and overlap(node.http.host, host):
            raise UsageError(f'{path}: node {position + 1}: "http": {port} is the port of '
                             f'node {other_position + 1}\'s "{key}"; choose another')
