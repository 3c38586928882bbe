"""From the parsed fields of one node to its `NodeConfig`: defaults, paths, and the rules within one node."""

from __future__ import annotations

import os
from typing import Any, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple, TypeVar

from raftctl.base import durations
from raftctl.base.addresses import Address
from raftctl.base.errors import UsageError
from raftctl.base.hosts import is_loopback, is_wildcard
from raftctl.config import keys, places, secrets, values
from raftctl.config.model import Check, Hook, NodeConfig
from raftctl.config.own import CanBind, own_address


Script = TypeVar("Script", Hook, Check)


class Surroundings(NamedTuple):
    """What a file's meaning depends on beside its text; tests give their own."""

    path: str
    """The file as the user named it; begins all messages."""
    directory: str
    """Absolute; relative paths of the file begin here."""
    environ: Mapping[str, str]
    as_root: bool
    can_bind: CanBind
    for_client: bool


class Fields(NamedTuple):
    """The parsed keys of one node and of the top of its file (the same in a single-node file)."""

    where: str
    node: Dict[str, Any]
    top: Dict[str, Any]
    is_cluster: bool

    def get(self, name: str, default: Any = None) -> Any:
        """Return what holds for the node: its own key, else the file's, else `default`."""
        if name in self.node:
            return self.node[name]
        return self.top.get(name, default)


def build(fields: Fields, around: Surroundings) -> NodeConfig:
    """Return the node of `fields` (its name still ""), or raise `UsageError` for the first rule it breaks."""
    try:
        return _build(fields, around)
    except UsageError as error:
        raise type(error)(f"{fields.where}{error}") from None


def _build(fields: Fields, around: Surroundings) -> NodeConfig:
    address = _address(fields, around)
    cluster_nodes = _cluster_nodes(fields, address)
    join = _join(fields, address)
    heartbeat, shortest, longest = _timing(fields)
    data_dir, is_default = _data_dir(fields, around, address.port)
    secret_file, secret_list = _secrets(fields, around)
    node = NodeConfig(
        path=os.path.abspath(around.path), address=address, name="",
        listen_host=fields.get("listen", address.host),
        command_host=fields.get("command_host", "127.0.0.1"), command_port=fields.get("command_port"),
        cluster_nodes=cluster_nodes, join=join,
        heartbeat_ns=heartbeat, election_min_ns=shortest, election_max_ns=longest,
        data_dir=data_dir, data_dir_is_default=is_default,
        log_file=_resolve_optional(around, fields.node.get("logFile")),
        log_level=fields.get("logLevel", "info"),
        events=tuple((event, _resolve_script(around, hook)) for event, hook in fields.get("events", ())),
        secret_file=secret_file, secrets=secret_list, insecure=fields.get("insecure", False),
        service_name=fields.top.get("serviceName", "raftctl"), user=fields.top.get("user"),
        description=fields.top.get("description", f"raftctl node {address}"),
        http=fields.node.get("http"),
        priority=fields.get("priority", 100), preempt=fields.get("preempt", False),
        check=_resolve_script(around, fields.get("check")) if fields.get("check") else None,
        takeover_delay_ns=fields.get("takeover delay", keys.TAKEOVER_DELAY_NS),
    )  # fmt: skip
    _refuse_shared_port(node)
    _refuse_open_listeners(node, around)
    return node


def _address(fields: Fields, around: Surroundings) -> Address:
    written = fields.node.get("address")
    if written is not None:
        return written
    listed = fields.get("clusterNodes")
    if fields.is_cluster:
        raise UsageError('"address" is missing; write "address": "tcp://HOST:8089"')
    if listed is None:
        raise UsageError(
            '"address" is missing; write "address": "tcp://HOST:8089", or list all hosts in "clusterNodes"'
        )
    refuse_mixed_loopback('"clusterNodes"', listed)
    return own_address(listed, around.can_bind)


def _cluster_nodes(fields: Fields, address: Address) -> Tuple[Address, ...]:
    listed = fields.get("clusterNodes")
    if listed is None:
        return ()
    together = tuple(sorted(set(listed) | {address}))
    try:
        values.refuse_too_many(len(together))
    except UsageError as error:
        raise UsageError(f'"clusterNodes" with this node\'s address: {error}') from None
    refuse_mixed_loopback(
        '"clusterNodes" with "address"' if address not in listed else '"clusterNodes"', together
    )
    return together


def refuse_mixed_loopback(what: str, listed: Sequence[Address]) -> None:
    """localhost means another host on each host: beside other hosts it is always a mistake."""
    inner = [one for one in listed if is_loopback(one.host)]
    outer = [one for one in listed if not is_loopback(one.host)]
    if inner and outer:
        raise UsageError(
            f"{what} names {inner[0]} beside {outer[0]}, whose host can't reach that; "
            f"write a name or IP of this host instead of {inner[0].host}"
        )


def _join(fields: Fields, address: Address) -> Optional[Address]:
    join = fields.get("join")
    if join is None:
        return None
    refuse_join(join, address, has_list=fields.get("clusterNodes") is not None, name='"join"')
    return join


def refuse_join(join: Address, address: Address, *, has_list: bool, name: str) -> None:
    """Raise `UsageError` where the node at `address` can't be told to join `join`, by what is called `name`.

    `has_list`: it has "clusterNodes".
    """
    if has_list:
        raise UsageError(
            f'{name} and "clusterNodes" exclude each other; keep {name} to enter a running cluster, '
            '"clusterNodes" to found one'
        )
    if join == address:
        raise UsageError(f"{name}: {join} is this node itself; write the address of a member")
    if is_loopback(address.host) and not is_loopback(join.host):
        refuse_mixed_loopback(f'{name} with "address"', (address, join))


def _timing(fields: Fields) -> Tuple[int, int, int]:
    """Return heartbeat, election min and election max in ns."""
    shortest = fields.get("election min", keys.ELECTION_MIN_NS)
    longest = fields.get("election max", max(keys.ELECTION_MAX_NS, 2 * shortest))
    heartbeat = fields.get("heartbeat", min(keys.HEARTBEAT_NS, shortest // 4))
    shown_shortest = durations.render(shortest) + ("" if fields.get("election min") else ", the default")
    if longest < shortest:
        raise UsageError(
            f'"election max": {durations.render(longest)} is less than "election min" ({shown_shortest}); '
            'raise it, or lower "election min"'
        )
    if 2 * heartbeat >= shortest:
        raise UsageError(
            f'"heartbeat": {durations.render(heartbeat)} is not less than half of "election min" '
            f"({shown_shortest}); lower it, or leave it out"
        )
    return heartbeat, shortest, longest


def _data_dir(fields: Fields, around: Surroundings, port: int) -> Tuple[str, bool]:
    if "dataDir" in fields.node:
        return _resolve(around, fields.node["dataDir"]), False
    if "dataDir" in fields.top:
        return os.path.join(_resolve(around, fields.top["dataDir"]), str(port)), False
    parent = places.data_parent(around.environ, as_root=around.as_root)
    if parent is None:
        raise UsageError('"dataDir" is missing and there is no HOME; write "dataDir": "/var/lib/raftctl"')
    return os.path.join(parent, str(port)), True


def _secrets(fields: Fields, around: Surroundings) -> Tuple[Optional[str], Tuple[bytes, ...]]:
    named = _resolve_optional(around, fields.get("secretFile"))
    path = named or secrets.default_file(around.directory)
    if path is None:
        return None, ()
    try:
        return path, secrets.read_secrets(path, for_client=around.for_client)
    except UsageError as error:
        raise UsageError(f'"secretFile": {error}') from None


def overlap(one: str, other: str) -> bool:
    """Could listeners on these two hosts want the same socket?"""
    return (
        one == other
        or is_wildcard(one)
        or is_wildcard(other)
        or (is_loopback(one) and is_loopback(other))
    )


def _refuse_shared_port(node: NodeConfig) -> None:
    if node.command_port == node.address.port and overlap(node.listen_host, node.command_host):
        raise UsageError(f'"command_port": {node.command_port} is the port of "address" too; choose another')
    if node.http is None:
        return
    for key, host, port in (("address", node.listen_host, node.address.port),
                            ("command_port", node.command_host, node.command_port)):
        if node.http.port == port and overlap(node.http.host, host):
            raise UsageError(f'"http": {port} is the port of "{key}" too; choose another')


def _refuse_open_listeners(node: NodeConfig, around: Surroundings) -> None:
    """P8: nothing listens for other hosts without a secret unless the file says so."""
    if node.insecure or node.secret_file is not None:
        return
    listeners = [("listen" if node.listen_host != node.address.host else "address", node.listen_host)]
    if node.command_port is not None:
        listeners.append(("command_host", node.command_host))
    for key, host in listeners:
        if not is_loopback(host):
            make = secrets.how_to_make(os.path.join(around.directory, "secret"))
            raise UsageError(
                f'"{key}": {host} can be reached by other hosts, and there is no secret; make one, '
                f'the same on all hosts: {make}; or set "insecure": true'
            )


def _resolve(around: Surroundings, written: str) -> str:
    return os.path.normpath(os.path.join(around.directory, written))


def _resolve_optional(around: Surroundings, written: Optional[str]) -> Optional[str]:
    return None if written is None else _resolve(around, written)


def _resolve_script(around: Surroundings, script: Script) -> Script:
    """Return a hook or a check with the absolute path of its script."""
    return script._replace(argv=(_resolve(around, script.argv[0]), *script.argv[1:]))
