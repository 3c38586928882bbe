"""Where things are when the file does not say: the file itself, data directories, command sockets."""

from __future__ import annotations

import os
from typing import Mapping, Optional, Tuple

from raftctl.base.errors import UsageError
from raftctl.config.model import NodeConfig

DEFAULT_CONFIG = "/etc/raftctl/config.json"
SYSTEM_DATA = "/var/lib/raftctl"
SYSTEM_RUNTIME = "/run/raftctl"
SYSTEM_UNITS = "/etc/systemd/system"


def config_path(path: Optional[str], environ: Mapping[str, str]) -> str:
    """Return the file in use: `path` (--config), else RAFTCTL_CONFIG, else /etc/raftctl/config.json."""
    if path is not None:
        return _existing(path, "check the name")
    named = environ.get("RAFTCTL_CONFIG")
    if named:
        return _existing(named, "RAFTCTL_CONFIG names it; change that, or name another: --config FILE")
    if not os.path.lexists(DEFAULT_CONFIG):
        raise NoneNamed(f"{DEFAULT_CONFIG}: no such file; name one: --config FILE")
    return DEFAULT_CONFIG


class NoneNamed(UsageError):
    """No configuration was named, and there is none in the usual place."""


def _existing(chosen: str, mend: str) -> str:
    if not chosen:
        raise UsageError("the name of the configuration file is empty; name one: --config FILE")
    if not os.path.lexists(chosen):
        raise UsageError(f"{chosen}: no such file; {mend}")
    return chosen


def data_parent(environ: Mapping[str, str], *, as_root: bool) -> Optional[str]:
    """Return the directory that holds the default data directories, one a port; None without a home."""
    if as_root:
        return SYSTEM_DATA
    state = environ.get("XDG_STATE_HOME", "")
    if os.path.isabs(state):  # The XDG base directory specification: relative paths are to be ignored.
        return os.path.join(state, "raftctl")
    home = environ.get("HOME") or os.path.expanduser("~")
    return os.path.join(home, ".local", "state", "raftctl") if os.path.isabs(home) else None


def command_socket(node: NodeConfig, *, as_root: Optional[bool] = None) -> str:
    """Return the unix socket that the daemon of `node`, running as this user, binds."""
    as_root = os.geteuid() == 0 if as_root is None else as_root
    return _runtime_socket(node) if as_root and node.data_dir_is_default else _data_socket(node.data_dir)


def command_sockets(node: NodeConfig) -> Tuple[str, ...]:
    """Return the unix sockets at which a client looks for the daemon of `node`, the likeliest first.

    With the default data directory a client can't know as whom the daemon runs: root's places count as well.
    """
    if not node.data_dir_is_default:
        return (_data_socket(node.data_dir),)
    system = _data_socket(os.path.join(SYSTEM_DATA, str(node.address.port)))
    own = _data_socket(node.data_dir)
    candidates = (own, _runtime_socket(node), system) if own != system else (_runtime_socket(node), system)
    return candidates


def _runtime_socket(node: NodeConfig) -> str:
    return os.path.join(SYSTEM_RUNTIME, f"{node.address.port}.sock")


def _data_socket(data_dir: str) -> str:
    return os.path.join(data_dir, "command.sock")
