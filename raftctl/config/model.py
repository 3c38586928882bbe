"""What a loaded configuration is: values, resolved and checked, that nobody changes."""

from __future__ import annotations

from typing import NamedTuple, Optional, Tuple

from raftctl.base.addresses import Address


class Hook(NamedTuple):
    """What to run on an event. `argv[0]` is the absolute path of the script, without its interpreter."""

    argv: Tuple[str, ...]
    timeout_ns: int
    retry: int


class Check(NamedTuple):
    """Whether this host is fit to lead. Begun every `interval_ns`; healthy until `fall` runs in a row failed,
    unhealthy until `rise` in a row passed."""

    argv: Tuple[str, ...]
    interval_ns: int
    timeout_ns: int
    fall: int
    rise: int


class NodeConfig(NamedTuple):
    """All that one node is started with. Paths are absolute."""

    path: Optional[str]
    address: Address
    listen_host: str
    command_host: str
    command_port: Optional[int]
    name: str
    cluster_nodes: Tuple[Address, ...]
    """Sorted, unique, own address included; () when the file has no list."""
    heartbeat_ns: int
    election_min_ns: int
    election_max_ns: int
    join: Optional[Address]
    data_dir: str
    data_dir_is_default: bool
    log_file: Optional[str]
    log_level: str
    events: Tuple[Tuple[str, Hook], ...]
    """In the order of `hooks.EVENTS`, under their canonical names."""
    secret_file: Optional[str]
    secrets: Tuple[bytes, ...]
    """The first signs, all verify. A client that may not read the file has none."""
    insecure: bool
    service_name: str
    description: str
    user: Optional[str]
    priority: int = 100
    preempt: bool = False
    http: Optional[Address] = None
    """Host and port of the HTTP pages; the host may be a wildcard."""
    takeover_delay_ns: int = 3_000_000_000
    check: Optional[Check] = None


class Loaded(NamedTuple):
    """A whole file. `log_file` and `log_level` are the guardian's."""

    path: str
    is_cluster: bool
    nodes: Tuple[NodeConfig, ...]
    log_file: Optional[str]
    log_level: str
    service_name: str
    description: str
    user: Optional[str]
    hardened: bool = False
