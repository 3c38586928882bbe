"""One hook process: what it is told (design §7), its time limit, its output line by line, its end.

Owns the process, its group and its pipe. Leaves the order of hooks to cluster/hookplan.py, the look at the
script to host/launch.py (in the hook's own process), and what the end means to host/lane.py. A hook ends when
its process ends, not when its pipe does (pitfall 9.6).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from raftctl.base import groups
from raftctl.base.errors import require
from raftctl.cluster.hookplan import Facts
from raftctl.host import launch
from raftctl.host.loop import READ, Loop

GRACE_NS = 2_000_000_000
_FIRST_LOOK_NS = 5_000_000
_LONGEST_LOOK_NS = 160_000_000
_KILL_LASTS_NS = 500_000_000
_UNKILLABLE_NS = 5_000_000_000
_CHUNK = 4096
_LINE_LIMIT = 4096
_LINES_A_SECOND = 1000
_SECOND_NS = 1_000_000_000

# A shell that becomes the program: exec of a program on a hung mount then hangs in the child, not in Popen,
# which waits until its own exec (of the local /bin/sh) succeeded.
BY_SHELL = ("/bin/sh", "-c", 'exec "$0" "$@"')
# For the service manager's word with the guardian alone.
_NOT_PASSED_ON = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID",
                  "LISTEN_FDNAMES")


def _launch_source() -> str:
    source = launch.__spec__.loader.get_source(launch.__name__)
    require(source, "no source of the hook launcher")
    return source


# Read at import: the zipapp under a running daemon may be replaced (pitfall 10.1).
_LAUNCH_SOURCE = _launch_source()


def hook_argv(script: Sequence[str], note: Tuple[str, str] = ("", "")) -> List[str]:
    """Return what to execute for the configured `script` (absolute path, then arguments).

    `note`: a file and what must stand in it, synced, before the script runs.
    """
    python = sys.executable
    return [*BY_SHELL, python, "-I", "-S", "-c", _LAUNCH_SOURCE, *note, python, *script]


def passed_environment(environ: Mapping[str, str]) -> Dict[str, str]:
    """Return the environment that hooks and nodes inherit."""
    return {name: value for name, value in environ.items() if name not in _NOT_PASSED_ON}


def document(event: str, address: str, config: Optional[str], facts: Facts) -> Dict[str, Any]:
    """Return what a hook reads from standard input, as JSON; its environment says the same (design §7)."""
    return {
        "event": event, "state": facts.state, "previousState": facts.previous, "term": facts.term,
        "leader": facts.leader, "address": address, "config": config, "members": list(facts.members),
        "reason": facts.reason,
    }  # fmt: skip


_VARIABLES = {
    "event": "RAFTCTL_EVENT", "state": "RAFTCTL_STATE", "previousState": "RAFTCTL_PREVIOUS_STATE",
    "term": "RAFTCTL_TERM", "leader": "RAFTCTL_LEADER", "address": "RAFTCTL_ADDRESS",
    "config": "RAFTCTL_CONFIG", "members": "RAFTCTL_MEMBERS", "reason": "RAFTCTL_REASON",
}  # fmt: skip


def hook_environment(environ: Mapping[str, str], told: Mapping[str, Any]) -> Dict[str, str]:
    """Return the environment of a hook; members are separated by spaces, and what is not known is empty."""
    found = passed_environment(environ)
    for key, variable in _VARIABLES.items():
        value = told[key]
        text = " ".join(value) if isinstance(value, list) else "" if value is None else str(value)
        found[variable] = text.replace("\0", "")
    return found


class Output:
    """Hands on the lines of a pipe until its end, cut at 4 KiB, at most 1000 a second (then counts them)."""

    def __init__(self, loop: Loop, fd: int, on_line: Callable[[str], None]) -> None:
        self._loop = loop
        self._fd = fd
        self._on_line = on_line
        self._rest = b""
        self._second = 0
        self._in_second = 0
        self.is_open = True
        os.set_blocking(fd, False)
        loop.watch(fd, READ, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, _CHUNK)
        except BlockingIOError:
            return
        if not data:
            self.close()
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._hand_on(line)
        if len(self._rest) >= _LINE_LIMIT:
            line, self._rest = self._rest, b""
            self._hand_on(line)

    def _hand_on(self, line: bytes) -> None:
        second = self._loop.now() // _SECOND_NS
        if second != self._second:
            self._report_left_out()
            self._second, self._in_second = second, 0
        self._in_second += 1
        if self._in_second <= _LINES_A_SECOND:
            self._on_line(line.decode("utf-8", "backslashreplace").rstrip("\r"))

    def _report_left_out(self) -> None:
        if self._in_second > _LINES_A_SECOND:
            self._on_line(f"({self._in_second - _LINES_A_SECOND} lines of output were left out)")

    def drain(self) -> None:
        """Read what a process wrote before it ended, as far as a pipe can hold it."""
        for _ in range(64 * 1024 // _CHUNK):
            if not self.is_open:
                return
            self._read()

    def close(self) -> None:
        if not self.is_open:
            return
        self.is_open = False
        if self._rest:
            self._hand_on(self._rest)
        self._report_left_out()
        self._loop.forget(self._fd)
        os.close(self._fd)


class Outcome(NamedTuple):
    """How a hook ended. `text` is for people: `status 1`, `signal 9 (SIGKILL), time limit of 30 s`."""

    succeeded: bool
    text: str


def exit_text(returncode: int) -> str:
    """Return a `Popen.returncode` in words."""
    if returncode >= 0:
        return f"status {returncode}"
    names = {number.value: number.name for number in signal.Signals}
    return f"signal {-returncode} ({names.get(-returncode, '?')})"


class HookProcess:
    """A hook from its start to its end; `on_end` is called once, from `reap` or a timer."""

    def __init__(self, loop: Loop, on_line: Callable[[str], None], on_end: Callable[[Outcome], None]) -> None:
        self._loop = loop
        self._on_line = on_line
        self._on_end = on_end
        self._process: Optional[subprocess.Popen] = None
        self._timers: List[Any] = []
        self._why = ""
        self._kill_at = 0
        self._look_ns = _FIRST_LOOK_NS
        self._exited = False
        self._over = False
        self.output: Optional[Output] = None

    def start(
        self, argv: Sequence[str], environment: Mapping[str, str], told: Mapping[str, Any],
        timeout_ns: Optional[int]
    ) -> None:
        """Start the process in a session of its own; raise `OSError` where that fails.

        `timeout_ns` None: its caller sees to the time limit.

        Standard input is a file in memory, not a pipe: it needs nobody who writes it.
        """
        stdin = os.memfd_create("raftctl-hook", os.MFD_CLOEXEC)
        reader, writer = os.pipe()
        try:
            os.write(stdin, json.dumps(told).encode("ascii") + b"\n")
            os.lseek(stdin, 0, os.SEEK_SET)
            self._process = subprocess.Popen(argv, stdin=stdin, stdout=writer, stderr=writer,
                                             env=dict(environment), start_new_session=True)
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.close(stdin)
            os.close(writer)
        self.output = Output(self._loop, reader, self._on_line)
        if timeout_ns is not None:
            self._after(timeout_ns, lambda: self.end(f"time limit of {timeout_ns / _SECOND_NS:g} s"))

    @property
    def pid(self) -> int:
        """The id of the process and of its group."""
        return self._process.pid

    def end(self, why: str) -> None:
        """TERM to the group, KILL after the grace of 2 s; `why` is in the outcome. Harmless when repeated."""
        if self._why or self._over:
            return
        self._why = why
        self._kill_at = self._loop.now() + GRACE_NS
        self._signal(signal.SIGTERM)
        # A stopped process takes its TERM only once it goes on.
        self._signal(signal.SIGCONT)
        self._after(GRACE_NS, lambda: self.kill(why))

    def kill(self, why: str) -> None:
        """KILL the group at once."""
        if self._over:
            return
        self._why = self._why or why
        self._kill_at = self._loop.now()
        self._signal(signal.SIGKILL)
        self._after(_UNKILLABLE_NS, self._complain)

    def reap(self) -> None:
        """Look whether the process has ended (SIGCHLD); asks for no other process."""
        if self._exited or self._process.poll() is None:
            return
        self._exited = True
        self.output.drain()
        if self._why:
            self._wait_for_group()
        else:
            self._finish()

    def _wait_for_group(self) -> None:
        """After a forced end the rest of the group has the same grace; no event tells when it is empty."""
        if self._over:
            return
        # The number stays taken while the group has a member, and is looked at again soon.
        if not groups.is_alive(self.pid):
            self._finish()
        elif self._loop.now() >= self._kill_at + _KILL_LASTS_NS:
            self._on_line(f"process group {self.pid} has members left after KILL "
                          "(they wait for a disk or a network file system?)")
            self._finish()
        else:
            self._after(self._look_ns, self._wait_for_group)
            # A look reads all of /proc: not fifty times a second for the whole grace.
            self._look_ns = min(2 * self._look_ns, _LONGEST_LOOK_NS)

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            pass
        except PermissionError:
            self._on_line(f"may not send signal {number} to process group {self.pid}")

    def _complain(self) -> None:
        self._on_line(f"process {self.pid} does not end after KILL "
                      "(waits for a disk or a network file system?)")

    def _after(self, span_ns: int, callback: Callable[[], None]) -> None:
        self._timers.append(self._loop.after(span_ns, callback))

    def _finish(self) -> None:
        self._over = True
        for timer in self._timers:
            timer.cancel()
        text = exit_text(self._process.returncode) + (f", {self._why}" if self._why else "")
        self._on_end(Outcome(self._process.returncode == 0 and not self._why, text))

    def abandon(self) -> None:
        """The guardian ends: KILL the group if it lives and say nothing more."""
        if not self._over and self._process:
            self._over = True
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
