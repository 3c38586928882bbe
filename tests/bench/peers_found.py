"""Where the peers' programs are: installed here already, else fetched into the cache, without root.

etcd: `etcd` and `etcdctl` of the path, else the Debian packages, unpacked and not installed (an installed
`etcd-server` would start a service). PySyncObj: from PyPI into a virtual environment of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from typing import List

FETCH_LIMIT_S = 300
PACKAGES = {"etcd": "etcd-server", "etcdctl": "etcd-client"}


class Missing(Exception):
    """A peer is not there; the text says why, for people."""


def cache() -> str:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(home, "raftctl-bench")


def debian(program: str, *, fetch: bool) -> str:
    """Return the path of `etcd` or `etcdctl`; raise `Missing`. `fetch`: from Debian, if it is nowhere."""
    kept = os.path.join(cache(), "debian", "usr", "bin", program)
    found = shutil.which(program) or shutil.which(kept)
    if found or not fetch:
        return found or _missing(f"{program} is not installed")
    tool = shutil.which("apt-get") and shutil.which("dpkg-deb")
    if not tool:
        return _missing(f"{program} is not installed, and there is no apt-get to fetch it")
    with tempfile.TemporaryDirectory(prefix="raftctl-bench-") as folder:
        # Root's apt would become a user who may not write here.
        as_root = ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []
        _run(["apt-get", *as_root, "download", PACKAGES[program]], folder)
        package, = (name for name in os.listdir(folder) if name.endswith(".deb"))
        _run(["dpkg-deb", "-x", package, os.path.join(cache(), "debian")], folder)
    return kept


def pysyncobj(*, fetch: bool) -> str:
    """Return a Python that has PySyncObj; raise `Missing`. `fetch`: make one from PyPI, if there is none."""
    home = os.path.join(cache(), "pysyncobj-{}.{}.{}".format(*sys.version_info))
    python = os.path.join(home, "bin", "python3")
    if os.path.exists(python):
        return python
    if not fetch:
        return _missing("PySyncObj is not installed")
    os.makedirs(cache(), exist_ok=True)
    # Whole or not at all: a name that does not end in the version is never taken for one.
    shutil.rmtree(home + ".new", ignore_errors=True)
    try:
        _run([sys.executable, "-m", "venv", home + ".new"], cache())
        inside = os.path.join(home + ".new", "bin", "python3")
        _run([inside, "-m", "pip", "install", "-q", "pysyncobj"], cache())
        os.rename(home + ".new", home)
    finally:
        shutil.rmtree(home + ".new", ignore_errors=True)
    return python


def _run(command: List[str], folder: str) -> None:
    try:
        subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.PIPE, text=True, timeout=FETCH_LIMIT_S, check=True)
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no word"])[-1]
        _missing(f"{' '.join(command)}: {last}")
    except (OSError, subprocess.TimeoutExpired) as error:
        _missing(f"{' '.join(command)}: {error}")


def _missing(why: str) -> str:
    raise Missing(why)
