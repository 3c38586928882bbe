"""`svcinstall` and `svcuninstall`: the systemd unit of a configuration, written, enabled, removed. Idempotent."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from typing import List, Tuple

from raftctl.base.errors import DONE, NotAllowed, RaftctlError, UsageError
from raftctl.base.files import sync_directory, write_atomic
from raftctl.cli.program import program
from raftctl.config.load import load, pick
from raftctl.config.model import Loaded
from raftctl.host import systemd

UNIT_FOLDER = "/etc/systemd/system"
# systemctl itself answers in seconds; `enable --now` waits for READY=1, at most TimeoutStartSec.
_SYSTEMCTL_TIMEOUT_S = 120


def install(options: argparse.Namespace) -> int:
    """Write and enable the unit; --now starts it too, --dry-run only prints it."""
    loaded, path, text = _unit(options)
    if options.dry_run:
        sys.stdout.write(text)
        print(f"raftctl: would write {path}", file=sys.stderr)
        return DONE
    _require_root("svcinstall")
    changed = _write(path, text, force=options.force)
    name = os.path.basename(path)
    _systemctl("daemon-reload")
    _systemctl("enable", name)
    print(f"{path}: {'written' if changed else 'unchanged'}, enabled")
    if options.now:
        _systemctl("restart" if changed else "start", name)
        print(f"{loaded.service_name}: started; look at it: systemctl status {loaded.service_name}")
    else:
        print(f"start it: systemctl start {loaded.service_name}")
    return DONE


def uninstall(options: argparse.Namespace) -> int:
    """Stop, disable and remove the unit. Data directories and logs stay."""
    loaded, path, _ = _unit(options)
    if not os.path.lexists(path):
        print(f"{path}: not there, nothing to remove")
        return DONE
    if not _is_ours(path):
        raise NotAllowed(f"{path} was not written by raftctl svcinstall; remove it by hand")
    if options.dry_run:
        print(f"raftctl: would stop {loaded.service_name} and remove {path}", file=sys.stderr)
        return DONE
    _require_root("svcuninstall")
    _systemctl("disable", "--now", os.path.basename(path))
    os.unlink(path)
    sync_directory(UNIT_FOLDER)
    _systemctl("daemon-reload")
    print(f"{path}: removed; data and logs were kept")
    return DONE


def _unit(options: argparse.Namespace) -> Tuple[Loaded, str, str]:
    loaded = load(options.config, environ=os.environ)
    nodes = (pick(loaded, options.node),) if options.node else loaded.nodes
    text = systemd.render(loaded, nodes, program(), options.node or "")
    return loaded, os.path.join(UNIT_FOLDER, f"{loaded.service_name}.service"), text


def _require_root(command: str) -> None:
    if os.geteuid():
        raise NotAllowed(f"{command} needs root, nothing was changed; run it with sudo")


def _is_ours(path: str) -> bool:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(len(systemd.MARK)) == systemd.MARK
    except OSError as error:
        raise UsageError(f"{path} can't be read ({os.strerror(error.errno).lower()})") from None


def _write(path: str, text: str, *, force: bool) -> bool:
    """Make `text` the unit at `path` and return whether it is new."""
    if os.path.lexists(path):
        with open(path, "rb") as file:
            if file.read() == text.encode():
                return False
        if not force and not _is_ours(path):
            raise NotAllowed(f"{path} was not written by raftctl svcinstall; to replace it: svcinstall --force")
    try:
        write_atomic(path, text.encode(), 0o644)
    except OSError as error:
        raise UsageError(f"{path} can't be written ({os.strerror(error.errno).lower()})") from None
    return True


def _systemctl(*words: str) -> None:
    if not shutil.which("systemctl"):
        raise UsageError("there is no systemctl on this host; run raftctl start under your own service manager")
    command: List[str] = ["systemctl", *words]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=_SYSTEMCTL_TIMEOUT_S, check=False)
    if done.returncode:
        reason = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise RaftctlError(f"{' '.join(command)}: {reason}")
