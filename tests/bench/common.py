"""What the benchmarks share: options, a table, percentiles, a cluster at the defaults, and an end of it all.

A benchmark is two processes: `main` forks one that measures, and stays its parent and the parent of whatever
outlives it (guardians have sessions of their own), so that all is ended also when the one that measures is
killed. When `main` itself is killed, the one that measures gets SIGTERM and ends its cluster. Standard
library only; Linux.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import math
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from typing import Any, Callable, Dict, List, Optional, Sequence

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
for _folder in (TOP, os.path.join(TOP, "tests", "system")):
    if _folder not in sys.path:
        sys.path.insert(0, _folder)

from cluster import PATIENCE_S, Cluster, Host, free_ports, wait_for

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
END_LIMIT_S = 40

Report = Dict[str, Any]


# --- figures

def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest of `values` that at least `percent` (0 to 100) per cent of them do not exceed."""
    if not values:
        raise ValueError("no values")
    rank = math.ceil(len(values) * percent / 100)
    return sorted(values)[max(rank, 1) - 1]


def median(values: Sequence[float]) -> float:
    """Return the middle value, of an even count the mean of the two in the middle."""
    if not values:
        raise ValueError("no values")
    ordered, middle = sorted(values), len(values) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return lines for people: the first column to the left, the others to the right; None is a dash."""
    cells = [list(heads)] + [[_cell(value) for value in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    lines = ["  ".join(cell.rjust(width) if column else cell.ljust(width)
                       for column, (cell, width) in enumerate(zip(row, widths))).rstrip() for row in cells]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 10 else 2
        return f"{value:.{digits}f}"
    return str(value)


# --- the frame of a benchmark

def main(name: str, description: str, measure: Callable[[argparse.Namespace, str], Report],
         show: Callable[[Report], str], arguments: Optional[List[str]] = None,
         more: Callable[[argparse.ArgumentParser], None] = lambda parser: None) -> int:
    """Run `measure(options, folder)`, print what it found: `show`'s table or JSON. Return the exit status.

    `more(parser)` adds a benchmark's own options.
    """
    parser = argparse.ArgumentParser(prog=f"tests/bench/{name}", description=description, allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--short", action="store_true",
                        help="a try-out of a few seconds; its figures are worth little")
    parser.add_argument("--dir", metavar="DIR",
                        help="where the temporary folder is made (default: $TMPDIR, else /tmp)")
    more(parser)
    options = parser.parse_args(arguments)

    def job(folder: str) -> None:
        began = time.monotonic()
        report = {"benchmark": name, "short": options.short, **machine(folder), **measure(options, folder)}
        report["took_s"] = round(time.monotonic() - began, 1)
        print(json.dumps(report, indent=1) if options.json else f"{heading(report)}\n\n{show(report)}",
              flush=True)

    return supervised(job, options.dir)


def heading(report: Report) -> str:
    short = "  SHORT RUN: figures are worth little" if report["short"] else ""
    return (f"{report['benchmark']}: Python {report['python']}, {report['cpus']} CPUs, "
            f"load {report['load']}, "
            f"{report['filesystem']}, {report['took_s']} s{short}")


def machine(folder: str) -> Report:
    """Return what figures depend on besides the product."""
    return {"python": sys.version.split()[0], "kernel": os.uname().release,
            "cpus": len(os.sched_getaffinity(0)),
            "load": round(os.getloadavg()[0], 2), "filesystem": filesystem(folder)}


def filesystem(folder: str) -> str:
    """Return the file system's type of `folder`: on tmpfs a sync costs nothing, and figures mean nothing."""
    found, real = (0, "unknown"), os.path.realpath(folder)
    with open("/proc/self/mounts", encoding="utf-8", errors="replace") as file:
        for line in file:
            place, kind = line.split()[1:3]
            if os.path.join(real, "").startswith(os.path.join(place, "")):
                found = max(found, (len(place), kind))
    return found[1]


def progress(text: str) -> None:
    """Say on standard error, if that is a terminal, what goes on."""
    if sys.stderr.isatty():
        sys.stderr.write(f"{text}\n")


# --- all that was started is ended

def supervised(job: Callable[[str], None], place: Optional[str] = None) -> int:
    """Run `job(folder)` in a child; afterwards no process or file of it is left. Return the exit status."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    stopped_by: List[int] = []
    child = 0

    def stop(number: int, frame: Any) -> None:
        stopped_by.append(number)
        if child:
            # The first one lets it end its cluster in order; the second one means it.
            send(child, signal.SIGTERM if len(stopped_by) == 1 else signal.SIGKILL)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    folder = tempfile.mkdtemp(prefix="raftctl-bench-", dir=place)
    try:
        sys.stdout.flush()
        own = os.getpid()
        child = os.fork()
        if not child:
            _work(job, folder, own)
        if stopped_by:
            send(child, signal.SIGTERM)      # it came before `child` was known
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        end_children()
        shutil.rmtree(folder, ignore_errors=True)
    if stopped_by:
        return 128 + stopped_by[0]
    return status if status >= 0 else 128 - status


def _work(job: Callable[[str], None], folder: str, parent: int) -> None:
    """The child: never returns."""
    status = 70
    try:
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)     # the parent passes a terminal's Ctrl-C on
        signal.signal(signal.SIGTERM, _leave)
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            raise SystemExit(128 + signal.SIGTERM)
        # Byte code goes aside, and stays warm over restarts, as it does in an installation.
        os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix = os.path.join(folder, "bytecode")
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        for name in ("RAFTCTL_CONFIG", "NOTIFY_SOCKET"):
            os.environ.pop(name, None)
        job(folder)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        if os.getppid() != parent:
            end_children()
            shutil.rmtree(folder, ignore_errors=True)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _leave(number: int, frame: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)     # once: the way out must not be cut short
    raise SystemExit(128 + number)


def prctl(what: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(what, value, 0, 0, 0)


def send(process: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)


def end_children() -> None:
    """Kill and reap until this process has no child; the children of a killed one become ours."""
    while True:
        for process in children(os.getpid()):
            send(process, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def children(parent: int) -> List[int]:
    """Return the ids of the children of `parent`, in no order."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
            # pid (name) state ppid: the name may hold anything, also a parenthesis.
            if int(file.read().rpartition(b")")[2].split()[1]) == parent:
                found.append(int(name))
    return found


# --- the cluster

class DefaultCluster(Cluster):
    """Three nodes on loopback, a guardian each, with a command port and otherwise the product's defaults."""

    SETTINGS: Dict[str, Any] = {}

    def __init__(self, folder: str, count: int = 3, **settings: Any) -> None:
        super().__init__(folder, count, **settings)
        self.command_ports: Dict[Host, int] = {}
        taken = {host.port for host in self.hosts}
        for host in self.hosts:
            port = next(port for port in free_ports(count + len(taken) + 1) if port not in taken)
            taken.add(port)
            self.command_ports[host] = host.settings["command_port"] = port
            host.write_config()

    def settle(self) -> Host:
        """Wait until all hosts run and agree on one leader that answers so; return it."""
        def agreed() -> Optional[Host]:
            states = {host: host.request("state") for host in self.hosts}
            leaders = [host for host, state in states.items() if state.get("state") == "LEADER"]
            same = len(leaders) == 1 and all(state.get("leader") == leaders[0].address
                                             for state in states.values())
            return leaders[0] if same else None
        return wait_for(agreed, "one leader that all three know\n" + self.last_words())

    def last_words(self) -> str:
        """Return the end of each log, for a failure's message."""
        parts = []
        for host in self.hosts:
            if os.path.exists(host.log):
                parts.append("\n".join(host.log_text().splitlines()[-8:]))
        return "\n".join(parts)

    def terms(self) -> List[int]:
        return [host.request("state").get("term", 0) for host in self.hosts]


__all__ = ["PATIENCE_S", "TOP", "Cluster", "DefaultCluster", "Host", "Report", "children", "end_children",
           "filesystem", "free_ports", "main", "median", "percentile", "prctl", "progress", "send",
           "supervised", "table", "wait_for"]
