"""Load a configuration file, of one node or of several, and pick the node that a command is about (P9).

Only this module knows the two forms of the file. It changes nothing: no directory is made, no log opened.
"""

from __future__ import annotations

import os
from typing import Any, Dict, Mapping, Optional, Tuple

from raftctl.base.errors import UsageError
from raftctl.config import keys, own, places, together, values
from raftctl.config.model import Loaded, NodeConfig
from raftctl.config.nodes import Fields, Surroundings, build
from raftctl.config.read import read_object
from raftctl.config.spelling import fold, shown


def load(
    path: Optional[str],
    *,
    environ: Mapping[str, str],
    for_client: bool = False,
    as_root: Optional[bool] = None,
    can_bind: own.CanBind = own.why_not_here,
) -> Loaded:
    """Return the configuration in `path` (None: RAFTCTL_CONFIG, then /etc/raftctl/config.json).

    `for_client`: a secret file that this user may not read is no error. `as_root` (default: is this root?)
    decides where data is by default. Raises `UsageError`, `PATH: what is wrong; mend`. May ask the resolver
    where the file does not say its own address.
    """
    chosen = places.config_path(path, environ)
    written = read_object(chosen)
    around = Surroundings(
        chosen, os.path.dirname(os.path.abspath(chosen)), environ,
        os.geteuid() == 0 if as_root is None else as_root, can_bind, for_client,
    )  # fmt: skip
    if any(fold(name) == "nodes" for name in written):
        return _load_cluster(written, around)
    return _load_single(written, around)


def _load_single(written: Dict[str, Any], around: Surroundings) -> Loaded:
    where = f"{around.path}: "
    parsed = keys.parse_fields(written, where, lambda key: None)
    node = build(Fields(where, parsed, parsed, is_cluster=False), around)
    nodes = together.default_names([node], [parsed.get("name")])
    return _loaded(around, False, nodes, nodes[0].log_file, nodes[0].log_level)._replace(
        hardened=parsed.get("hardened", False))


def _load_cluster(written: Dict[str, Any], around: Surroundings) -> Loaded:
    where = f"{around.path}: "
    top = keys.parse_fields(written, where, _not_at_top)
    objects = _node_objects(where, top["nodes"])
    inherited = {
        name: value for name, value in top.items() if keys.BY_FOLDED_NAME[fold(name)].place == keys.DEFAULT
    }
    parsed = []
    nodes = []
    for position, item in enumerate(objects, 1):
        here = f"{where}node {position}: "
        own_fields = keys.parse_fields(item, here, _not_in_node)
        _refuse_two_ways(here, own_fields, inherited)
        parsed.append(own_fields)
        nodes.append(build(Fields(here, own_fields, top, is_cluster=True), around))
    named = together.default_names(nodes, [fields.get("name") for fields in parsed])
    together.refuse_collisions(around.path, named, lambda position, key: key not in parsed[position])
    description = top.get("description", f"raftctl cluster of {len(named)} nodes")
    named = tuple(node._replace(description=description) for node in named)
    log_file = top.get("logFile")
    if log_file is not None:
        log_file = os.path.normpath(os.path.join(around.directory, log_file))
    return _loaded(around, True, named, log_file, top.get("logLevel", "info"))._replace(
        hardened=top.get("hardened", False))


def _not_at_top(key: keys.Key) -> Optional[str]:
    if key.place == keys.NODE:
        return 'belongs to one node; move it into an object of "nodes"'
    return None


def _not_in_node(key: keys.Key) -> Optional[str]:
    if key.name == "nodes":
        return "can't stand inside a node; remove it"
    if key.place == keys.FILE:
        return 'is for the whole file; move it beside "nodes"'
    return None


def _node_objects(where: str, value: Any) -> Tuple[Dict[str, Any], ...]:
    example = '[{"address": "tcp://localhost:8089"}]'
    if not isinstance(value, list):
        raise UsageError(f'{where}"nodes": {shown(value)} is no list; write {example}')
    if not value:
        raise UsageError(f'{where}"nodes": [] is empty; write {example}')
    for position, item in enumerate(value, 1):
        if not isinstance(item, dict):
            raise UsageError(f"{where}node {position}: {shown(item)} is no object; write {example[1:-1]}")
    try:
        values.refuse_too_many(len(value))
    except UsageError as error:
        raise UsageError(f'{where}"nodes": {error}') from None
    return tuple(value)


def _refuse_two_ways(where: str, node: Dict[str, Any], top: Dict[str, Any]) -> None:
    """A node that joins may stand beside a shared list only if it says so: we do not guess which holds."""
    for mine, theirs in (("join", "clusterNodes"), ("clusterNodes", "join")):
        if mine in node and theirs in top and theirs not in node:
            raise UsageError(
                f'{where}"{mine}" and the "{theirs}" beside "nodes" exclude each other; '
                f'move "{theirs}" into the nodes that it is for'
            )


def _loaded(
    around: Surroundings,
    is_cluster: bool,
    nodes: Tuple[NodeConfig, ...],
    log_file: Optional[str],
    log_level: str,
) -> Loaded:
    first = nodes[0]
    return Loaded(
        os.path.abspath(around.path), is_cluster, nodes, log_file, log_level,
        first.service_name, first.description, first.user,
    )  # fmt: skip


def pick(loaded: Loaded, choice: Optional[str]) -> NodeConfig:
    """Return the node that `choice` names (--node NAME, ADDRESS, HOST:PORT or PORT); None: the only one."""
    names = ", ".join(f"{node.name} ({node.address})" for node in loaded.nodes)
    if choice is None:
        if len(loaded.nodes) == 1:
            return loaded.nodes[0]
        raise UsageError(f"{loaded.path}: has {len(loaded.nodes)} nodes; choose one with --node: {names}")
    for spelling in (_by_name, _by_address, _by_port):
        found = [node for node in loaded.nodes if spelling(node, choice)]
        if len(found) == 1:
            return found[0]
        if found:
            raise UsageError(f'{loaded.path}: --node "{choice}" fits several nodes; choose one of {names}')
    raise UsageError(f'{loaded.path}: no node is "{choice}"; choose one of {names}')


def _by_name(node: NodeConfig, choice: str) -> bool:
    return node.name == choice


def _by_address(node: NodeConfig, choice: str) -> bool:
    return choice.lower().rstrip("/") in (str(node.address), str(node.address)[len("tcp://") :])


def _by_port(node: NodeConfig, choice: str) -> bool:
    return str(node.address.port) == choice
