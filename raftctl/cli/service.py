"""`svcinstall` and `svcuninstall`: the systemd service of a configuration.

Owns the files in /etc/systemd/system that raftctl wrote, and no other: each begins with a marker and says
which configuration it is for. Anything that can be refused is refused before the first change.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
from typing import List, NamedTuple, Optional, Tuple

from raftctl.base.errors import DONE, NO, NotAllowed, RaftctlError
from raftctl.base.files import sync_directory, write_atomic
from raftctl.cli import output
from raftctl.cli.program import program
from raftctl.config.load import load, pick
from raftctl.config.places import SYSTEM_UNITS, config_path
from raftctl.host import systemd
from raftctl.host.systemd import Unit

# A unit in SYSTEM_UNITS hides one of the same name here.
OTHER_UNITS = (
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
BOOTED = "/run/systemd/system"
_QUICK_S = 60.0
# `enable --now` waits for READY, `disable --now` for the stop; systemd has time limits of its own for both.
_SLOW_S = 3600.0


class Host(NamedTuple):
    """What of the host is looked at and changed; a test gives its own."""

    is_root: bool
    units: str = SYSTEM_UNITS
    other_units: Tuple[str, ...] = OTHER_UNITS
    booted: str = BOOTED
    systemctl: str = "systemctl"


def install(options: argparse.Namespace, host: Optional[Host] = None) -> int:
    """Write, enable and with --now start the unit; return the exit status. The same again changes nothing."""
    host = host or _this_host()
    if not options.dry_run:
        _require_root(host, options, "svcinstall")
    # Where nothing is changed, a secret that this user may not read is no hindrance.
    unit, status = _unit(options, for_client=options.dry_run)
    path = os.path.join(host.units, unit.file_name)
    before = _read(path)
    if not options.force:
        _refuse_foreign(host, path, before, unit)
    if options.dry_run:
        _show_install(options, unit, path, before)
        return DONE
    _require_systemd(host)
    if before == unit.text:
        output.complain(f"{path}: unchanged")
    else:
        _write(path, unit.text)
        output.complain(f"{path}: {'written' if before is None else 'written anew'}")
    # Also for an unchanged file: a former try may have ended half-way.
    for arguments in _enabling(unit):
        _systemctl(host, arguments, _QUICK_S)
    _sync(host)
    if options.now:
        _systemctl(host, _starting(unit), _SLOW_S)
    changed = before is not None and before != unit.text
    output.complain("enabled and started; next:" if options.now else "enabled; next:")
    for step in [*_next_steps(host, unit, changed), shlex.join(status)]:
        output.complain(f"  {step}")
    return DONE


def uninstall(options: argparse.Namespace, host: Optional[Host] = None) -> int:
    """Stop, disable, remove the unit; return the exit status, 1 for no unit. Data and configuration stay."""
    host = host or _this_host()
    if not options.dry_run:
        _require_root(host, options, "svcuninstall")
    unit, _ = _unit(options, for_client=True)
    path = os.path.join(host.units, unit.file_name)
    before = _read(path)
    if before is None:
        output.complain(f"{path}: no such unit; nothing to remove")
        return NO
    origin = systemd.origin_of(before)
    if origin != unit.origin and not options.force:
        whose = f"is for {origin}, not for {unit.origin}" if origin else "was not written by raftctl"
        raise NotAllowed(f"{path}: {whose}; not removed (--force removes it)")
    if options.dry_run:
        output.line(f"systemctl disable --now {unit.file_name}")
        output.line(f"rm {shlex.quote(path)}")
        output.line("systemctl daemon-reload")
        return DONE
    _require_systemd(host)
    _systemctl(host, ["disable", "--now", "--quiet", unit.file_name], _SLOW_S)
    _remove(path)
    _systemctl(host, ["daemon-reload"], _QUICK_S)
    # Else a failed service stays in `systemctl list-units`; it says no where there is nothing to forget.
    _call(host, ["reset-failed", unit.file_name], _QUICK_S)
    _sync(host)
    output.complain(f"{path}: stopped and removed; data and configuration are untouched")
    return DONE


def _enabling(unit: Unit) -> List[List[str]]:
    return [["daemon-reload"], ["enable", "--quiet", unit.file_name]]


def _starting(unit: Unit) -> List[str]:
    return ["start", unit.file_name]


def _show_install(options: argparse.Namespace, unit: Unit, path: str, before: Optional[str]) -> None:
    """Print the unit, and on standard error where it would be written and what would be run then."""
    output.write(unit.text.encode())
    what = "would be written" if before is None else "would be written anew"
    if before == unit.text:
        what = "is there, unchanged"
    output.complain(f"{path}: {what}; then:")
    for arguments in [*_enabling(unit), *([_starting(unit)] if options.now else [])]:
        shown = [word for word in arguments if word != "--quiet"]
        output.complain(f"  {shlex.join(['systemctl', *shown])}")


def _this_host() -> Host:
    return Host(is_root=os.geteuid() == 0)


def _unit(options: argparse.Namespace, *, for_client: bool) -> Tuple[Unit, List[str]]:
    """Return the unit, and the command line that shows the status of what it starts."""
    loaded = load(options.config, environ=os.environ, as_root=True, for_client=for_client)
    chosen = pick(loaded, options.node) if options.node is not None else None
    unit = systemd.render(loaded, chosen if loaded.is_cluster else None, program())
    node = chosen or loaded.nodes[0]
    selection = ["--node", str(node.address)] if len(loaded.nodes) > 1 else []
    return unit, [*program(), "-c", loaded.path, *selection, "status"]


def _require_root(host: Host, options: argparse.Namespace, command: str) -> None:
    if host.is_root:
        return
    # sudo drops RAFTCTL_CONFIG, so the file is named.
    words = ["sudo", *program(), "-c", os.path.abspath(config_path(options.config, os.environ)), command]
    words += ["--node", options.node] if options.node is not None else []
    words += [f"--{name}" for name in ("now", "force") if getattr(options, name)]
    raise NotAllowed(f"only root may change {host.units}, nothing was changed; run: {shlex.join(words)}")


def _require_systemd(host: Host) -> None:
    if not os.path.isdir(host.booted):
        raise RaftctlError("this host does not run systemd, nothing was changed; "
                           "start the daemon by what it runs: raftctl -c FILE start")
    if shutil.which(host.systemctl) is None:
        raise RaftctlError(f"{host.systemctl} is not on the PATH, nothing was changed")


def _refuse_foreign(host: Host, path: str, before: Optional[str], unit: Unit) -> None:
    if before is not None:
        origin = systemd.origin_of(before)
        if origin is None:
            raise NotAllowed(f'{path}: exists and was not written by raftctl; choose another "serviceName", '
                             "or overwrite it: --force")
        if origin != unit.origin:
            raise NotAllowed(f'{path}: is for {origin}; choose another "serviceName" in {unit.origin}, '
                             "or overwrite it: --force")
        return
    for folder in host.other_units:
        other = os.path.join(folder, unit.file_name)
        if os.path.lexists(other):
            raise NotAllowed(f'{other}: a service of this name is there already; '
                             'choose another "serviceName", or hide it: --force')


def _read(path: str) -> Optional[str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except FileNotFoundError:
        return "" if os.path.islink(path) else None
    except OSError as error:
        raise RaftctlError(f"{path}: not readable ({_reason(error)})") from None


def _write(path: str, text: str) -> None:
    try:
        write_atomic(path, text.encode("utf-8"), 0o644)
    except OSError as error:
        raise RaftctlError(f"{path}: not written ({_reason(error)})") from None


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return  # `systemctl disable` removes a unit that is a symbolic link.
    except OSError as error:
        raise RaftctlError(f"{path}: not removed ({_reason(error)})") from None


def _sync(host: Host) -> None:
    """Make the links of `systemctl enable` durable, which systemctl does not: a power loss would undo it."""
    for folder in (host.units, os.path.join(host.units, "multi-user.target.wants")):
        if os.path.isdir(folder):
            sync_directory(folder)


def _next_steps(host: Host, unit: Unit, changed: bool) -> List[str]:
    runs = _call(host, ["is-active", "--quiet", unit.file_name], _QUICK_S).returncode == 0
    if not runs:
        return [f"systemctl start {unit.file_name}"]
    # Not done here: a restart may move the leadership, so the operator chooses the moment.
    return [f"systemctl restart {unit.file_name}"] if changed else []


def _systemctl(host: Host, arguments: List[str], limit_s: float) -> None:
    done = _call(host, arguments, limit_s)
    if done.returncode != 0:
        said = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise RaftctlError(f"systemctl {' '.join(arguments)}: {said}")


def _call(host: Host, arguments: List[str], limit_s: float) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run([host.systemctl, *arguments], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace",
                              timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        raise RaftctlError(f"systemctl {' '.join(arguments)}: no end within {limit_s:.0f} s") from None


def _reason(error: OSError) -> str:
    return os.strerror(error.errno or 0).lower()
