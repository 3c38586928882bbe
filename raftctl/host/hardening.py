"""What `--hardened` takes from a service, as far as its paths and scripts can do without (systemd.exec(5)).

Pure: lines of a unit, and what is to be said about them. The scripts of a node run inside of the same limits,
so where there are any, less is taken.
"""

from __future__ import annotations

import os
from typing import List, NamedTuple, Optional, Sequence, Tuple

from raftctl.config.model import NodeConfig

_ALWAYS = (
    "NoNewPrivileges=yes", "PrivateDevices=yes", "ProtectKernelTunables=yes", "ProtectKernelModules=yes",
    "ProtectKernelLogs=yes", "ProtectControlGroups=yes", "ProtectClock=yes", "ProtectHostname=yes",
    "ProtectProc=invisible", "RestrictNamespaces=yes", "RestrictRealtime=yes", "RestrictSUIDSGID=yes",
    "LockPersonality=yes", "RemoveIPC=yes", "KeyringMode=private", "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service", "SystemCallErrorNumber=EPERM", "UMask=0027",
)  # fmt: skip
_HOMES = ("/home", "/root", "/run/user")
_TEMPORARY = ("/tmp", "/var/tmp")
# AF_NETLINK: the resolver asks for the host's addresses.
_FAMILIES = "AF_UNIX AF_INET AF_INET6 AF_NETLINK"
# What scripts that move an address need: `ip addr`, gratuitous ARP.
_OF_SCRIPTS = ("CAP_NET_ADMIN", "CAP_NET_RAW")
_LOW_PORTS = "CAP_NET_BIND_SERVICE"
_LOW_PORT = 1024


class Service(NamedTuple):
    """What a unit starts. `paths`: all that it must see; `state`: directories that systemd makes for it."""

    nodes: Tuple[NodeConfig, ...]
    user: Optional[str]
    paths: Tuple[str, ...]
    log_files: Tuple[str, ...]
    state: Tuple[str, ...]

    @property
    def scripts(self) -> List[str]:
        return [hook.argv[0] for node in self.nodes for _, hook in node.events]

    @property
    def is_root(self) -> bool:
        return self.user in (None, "root")

    @property
    def needs_low_port(self) -> bool:
        ports = [node.address.port for node in self.nodes]
        ports += [node.command_port or _LOW_PORT for node in self.nodes]
        ports += [node.http.port for node in self.nodes if node.http]
        return min(ports) < _LOW_PORT


def lines(service: Service) -> List[str]:
    """Return the lines of [Service]; paths are plain text, to be quoted by the caller: see `writable`."""
    found = list(_ALWAYS)
    # /run is read-only under strict: a script may leave a token there.
    found.append(f"ProtectSystem={'full' if service.scripts else 'strict'}")
    found.append(f"ProtectHome={'read-only' if _below(service, _HOMES) else 'yes'}")
    if not _below(service, _TEMPORARY):
        found.append("PrivateTmp=yes")
    if not any(script.endswith(".js") for script in service.scripts):
        found.append("MemoryDenyWriteExecute=yes")
    raw = " AF_PACKET" if service.scripts and service.is_root else ""
    found.append(f"RestrictAddressFamilies={_FAMILIES}{raw}")
    capabilities = [_LOW_PORTS] if service.needs_low_port else []
    if service.is_root and service.scripts:
        capabilities += _OF_SCRIPTS
    found.append(f"CapabilityBoundingSet={' '.join(capabilities)}")
    if capabilities and not service.is_root:
        found.append(f"AmbientCapabilities={' '.join(capabilities)}")
    return found


def writable(service: Service) -> List[str]:
    """Return the directories that the service must be able to write, beside those that systemd makes."""
    folders = [node.data_dir for node in service.nodes if node.data_dir not in service.state]
    folders += [os.path.dirname(file) for file in service.log_files]
    return list(dict.fromkeys(folders))


def warnings(service: Service) -> List[str]:
    """Return what a script, or the operator, may stumble over; a line each."""
    found = []
    for path in _below(service, _HOMES):
        found.append(f"{path} is in a home directory: those stay readable")
    for path in _below(service, _TEMPORARY):
        found.append(f"{path} is in a directory for temporary files: the service has none of its own")
    if not service.scripts:
        return found
    kept = f"; {' and '.join(_OF_SCRIPTS)} stay" if service.is_root else ""
    found.append("the scripts run inside the same limits: /usr, /boot and /etc are read-only to them, "
                 "there are no devices, no mounts, no sudo, no change of the clock" + kept
                 + "; what they start by systemctl is not limited; try each: raftctl hook test EVENT, "
                 "which is not limited, and systemctl restart")
    if not _below(service, _TEMPORARY):
        found.append("the /tmp of the scripts is their own, and gone with the service")
    if any(script.endswith(".js") for script in service.scripts):
        found.append("MemoryDenyWriteExecute is left out: node makes its machine code as it runs")
    return found


def _below(service: Service, folders: Sequence[str]) -> List[str]:
    paths = [*service.paths, *service.scripts, *service.log_files]
    return [path for path in dict.fromkeys(paths)
            if any(path == folder or path.startswith(folder + "/") for folder in folders)]
