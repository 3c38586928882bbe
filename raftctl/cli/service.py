"""`svcinstall` and `svcuninstall`: the systemd service of a configuration.

Owns the files in /etc/systemd/system that raftctl wrote, and no other: each begins with a marker and says
which configuration it is for. Anything that can be refused is refused before the first change.
"""

from __future__ import annotations

import argparse
import os
import pwd
import shlex
import shutil
import subprocess
from typing import List, NamedTuple, Optional, Tuple

from raftctl.base.errors import DONE, NO, NotAllowed, RaftctlError, UsageError
from raftctl.base.files import sync_directory, write_atomic
from raftctl.cli import output
from raftctl.cli.program import program
from raftctl.config.load import load, pick
from raftctl.config.model import Loaded
from raftctl.config.places import SYSTEM_UNITS, config_path
from raftctl.host import systemd
from raftctl.host.systemd import Manner, Unit

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
    # The user's own service manager, not the system's.
    for_user: bool = False


def install(options: argparse.Namespace, host: Optional[Host] = None) -> int:
    """Write, enable and with --now start the unit; return the exit status. The same again changes nothing."""
    host = host or _this_host(options.user)
    changes_nothing = options.dry_run or options.diff
    if not changes_nothing:
        _require_root(host, options, "svcinstall")
    # Where nothing is changed, a secret that this user may not read is no hindrance.
    unit, status = _unit(options, host, for_client=changes_nothing)
    path = os.path.join(host.units, unit.file_name)
    before = _read(path)
    if not options.force:
        _refuse_foreign(host, path, before, unit)
    if options.diff:
        return _show_difference(unit, path, before)
    for warning in unit.warnings:
        output.complain(f"warning: {warning}")
    if options.dry_run:
        _show_install(options, host, unit, path, before)
        return DONE
    _require_systemd(host)
    _make_folders(unit, options.run_as or _configured_user(options))
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
    host = host or _this_host(options.user)
    if not options.dry_run:
        _require_root(host, options, "svcuninstall")
    unit, _ = _unit(options, host, for_client=True)
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
        output.line(f"{_command(host)} disable --now {unit.file_name}")
        output.line(f"rm {shlex.quote(path)}")
        output.line(f"{_command(host)} daemon-reload")
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


def _command(host: Host) -> str:
    return "systemctl --user" if host.for_user else "systemctl"


def _show_difference(unit: Unit, path: str, before: Optional[str]) -> int:
    """Print how the unit that is there would change; return 0 where it would not, else 1."""
    import difflib

    found = difflib.unified_diff((before or "").splitlines(True), unit.text.splitlines(True),
                                 path if before is not None else os.devnull, f"{path} (would be written)")
    text = "".join(found)
    output.write(text.encode("utf-8", "surrogateescape"))
    return NO if text else DONE


def _show_install(options: argparse.Namespace, host: Host, unit: Unit, path: str,
                  before: Optional[str]) -> None:
    """Print the unit, and on standard error where it would be written and what would be run then."""
    output.write(unit.text.encode())
    what = "would be written" if before is None else "would be written anew"
    if before == unit.text:
        what = "is there, unchanged"
    output.complain(f"{path}: {what}; then:")
    for arguments in [*_enabling(unit), *([_starting(unit)] if options.now else [])]:
        shown = [word for word in arguments if word != "--quiet"]
        output.complain(f"  {_command(host)} {shlex.join(shown)}")


def _this_host(for_user: bool) -> Host:
    is_root = os.geteuid() == 0
    if not for_user:
        return Host(is_root)
    if is_root:
        raise UsageError("root's services are the system's; leave --user out")
    base = os.environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(base):
        base = os.path.join(os.path.expanduser("~"), ".config")
    # A unit of that name in these is an administrator's, for all users.
    others = ("/etc/systemd/user", "/usr/local/lib/systemd/user", "/usr/lib/systemd/user")
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    return Host(is_root, os.path.join(base, "systemd", "user"), others, os.path.join(runtime, "systemd"),
                for_user=True)


def _configured_user(options: argparse.Namespace) -> Optional[str]:
    return load(options.config, environ=os.environ, as_root=True, for_client=True).user


def _unit(options: argparse.Namespace, host: Host, *, for_client: bool) -> Tuple[Unit, List[str]]:
    """Return the unit, and the command line that shows the status of what it starts."""
    loaded = load(options.config, environ=os.environ, as_root=not host.for_user, for_client=for_client)
    manner = Manner(loaded.hardened or getattr(options, "hardened", False), host.for_user)
    run_as = getattr(options, "run_as", None)
    if host.for_user:
        _refuse_for_user(loaded, manner, run_as)
    elif run_as is not None:
        loaded = loaded._replace(user=run_as)
    chosen = pick(loaded, options.node) if options.node is not None else None
    unit = systemd.render(loaded, chosen if loaded.is_cluster else None, program(), manner)
    if not (host.for_user or for_client):
        unit = unit._replace(warnings=unit.warnings + tuple(_user_warnings(loaded)))
    node = chosen or loaded.nodes[0]
    selection = ["--node", str(node.address)] if len(loaded.nodes) > 1 else []
    return unit, [*program(), "-c", loaded.path, *selection, "status"]


def _refuse_for_user(loaded: Loaded, manner: Manner, run_as: Optional[str]) -> None:
    own = pwd.getpwuid(os.geteuid()).pw_name
    named = run_as or loaded.user
    if named not in (None, own):
        raise UsageError(f"a service of {own} can't run as {named}; leave "
                         + ("--run-as" if run_as else f'"user" in {loaded.path}') + " or --user out")
    if manner.hardened:
        raise UsageError("a user's service manager can't take anything from a service; leave --user out, "
                         "or --hardened")


def _user_warnings(loaded: Loaded) -> List[str]:
    """Return what a user other than root could not read; raise `UsageError` where there is no such user."""
    if loaded.user in (None, "root"):
        return []
    try:
        user = pwd.getpwnam(loaded.user)  # type: ignore[arg-type]
    except KeyError:
        raise UsageError(f"there is no user {loaded.user} on this host; make it: useradd --system "
                         f"{loaded.user}") from None
    found = []
    for file in dict.fromkeys(node.secret_file for node in loaded.nodes if node.secret_file is not None):
        owner = os.stat(file).st_uid
        if owner != user.pw_uid:
            found.append(f"{file} belongs to {_owner_name(owner)}, and {loaded.user} must be able to read "
                         f"it: chown {loaded.user} {shlex.quote(file)}")
    return found


def _owner_name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _make_folders(unit: Unit, user: Optional[str]) -> None:
    """Make the data directories that a hardened service could not make, with its user as their owner."""
    for folder in unit.folders:
        if os.path.isdir(folder):
            continue
        try:
            os.makedirs(folder, mode=0o700)
            if user is not None:
                shutil.chown(folder, user)
        except OSError as error:
            raise RaftctlError(f"{folder}: not made ({_reason(error)})") from None
        output.complain(f"{folder}: made")


def _require_root(host: Host, options: argparse.Namespace, command: str) -> None:
    if host.is_root or host.for_user:
        return
    # sudo drops RAFTCTL_CONFIG, so the file is named.
    words = ["sudo", *program(), "-c", os.path.abspath(config_path(options.config, os.environ)), command]
    words += ["--node", options.node] if options.node is not None else []
    words += [f"--{name}" for name in ("now", "force", "hardened") if getattr(options, name, False)]
    words += ["--run-as", options.run_as] if getattr(options, "run_as", None) is not None else []
    raise NotAllowed(f"only root may change {host.units}, nothing was changed; run: {shlex.join(words)}")


def _require_systemd(host: Host) -> None:
    if host.for_user and not os.path.isdir(host.booted):
        raise RaftctlError(f"no service manager of this user runs ({host.booted} is not there), nothing was "
                           "changed; log in as this user, or run loginctl enable-linger before")
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
        os.makedirs(os.path.dirname(path), exist_ok=True)
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
    for folder in (host.units, os.path.join(host.units, "multi-user.target.wants"),
                   os.path.join(host.units, "default.target.wants")):
        if os.path.isdir(folder):
            sync_directory(folder)


def _next_steps(host: Host, unit: Unit, changed: bool) -> List[str]:
    runs = _call(host, ["is-active", "--quiet", unit.file_name], _QUICK_S).returncode == 0
    # Else a user's services end when he logs out.
    lingering = ["loginctl enable-linger"] if host.for_user else []
    if not runs:
        return [f"{_command(host)} start {unit.file_name}", *lingering]
    # Not done here: a restart may move the leadership, so the operator chooses the moment.
    return [f"{_command(host)} restart {unit.file_name}"] if changed else lingering


def _systemctl(host: Host, arguments: List[str], limit_s: float) -> None:
    done = _call(host, arguments, limit_s)
    if done.returncode != 0:
        said = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise RaftctlError(f"{_command(host)} {' '.join(arguments)}: {said}")


def _call(host: Host, arguments: List[str], limit_s: float) -> subprocess.CompletedProcess[str]:
    try:
        words = [host.systemctl, *(["--user"] if host.for_user else []), *arguments]
        return subprocess.run(words, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace",
                              timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        said = f"{_command(host)} {' '.join(arguments)}: no end within {limit_s:.0f} s"
        raise RaftctlError(said) from None


def _reason(error: OSError) -> str:
    return os.strerror(error.errno or 0).lower()
