"""An application as operators have them: one process that takes an exclusive resource, begun and ended by hooks.

It notes each begin and end with CLOCK_MONOTONIC, which all hosts of a test share, and "clash" where another
has the resource. `python3 application.py FOLDER HOST SLOW_S`, with RAFTCTL_EVENT as a hook gets it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time

LOG, RESOURCE = "application.log", "resource"


def note(folder: str, host: str, word: str) -> None:
    """Append one line, whole: time in ns, host, what, term."""
    line = f"{time.monotonic_ns()} {host} {word} {os.environ.get('RAFTCTL_TERM', '?')}\n"
    descriptor = os.open(os.path.join(folder, LOG), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, line.encode())
    os.close(descriptor)


def serve(folder: str, host: str, slow_s: float) -> None:
    """Hold the resource until TERM, and let it go only after `slow_s`."""
    lock = os.open(os.path.join(folder, RESOURCE), os.O_RDWR | os.O_CREAT, 0o644)
    ended = []
    signal.signal(signal.SIGTERM, lambda number, frame: ended.append(number))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        note(folder, host, "clash")
        return
    note(folder, host, "begin")
    with contextlib.suppress(BrokenPipeError):       # the hook was ended meanwhile
        os.write(1, b"begun\n")
    while not ended:
        time.sleep(0.01)
    time.sleep(slow_s)
    note(folder, host, "end")


def start(folder: str, host: str, slow: str) -> int:
    """The `leader` hook: begin it, in a session of its own, and wait until it runs."""
    server = subprocess.Popen([sys.executable, __file__, folder, host, slow, "serve"],
                              stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, start_new_session=True)
    with open(pid_file(folder, host), "w", encoding="ascii") as file:
        file.write(str(server.pid))
    return 0 if server.stdout.readline() == b"begun\n" else 1


def pid_file(folder: str, host: str) -> str:
    return os.path.join(folder, f"{host}.pid")


def refuses_file(folder: str, host: str) -> str:
    """Return the file that makes the `follower` hook of `host` fail, while it is there."""
    return os.path.join(folder, f"{host}.refuses")


def stop(folder: str, host: str) -> int:
    """The `follower` hook: end it, and return when it is gone."""
    if os.path.exists(refuses_file(folder, host)):
        return 1
    try:
        with open(pid_file(folder, host), encoding="ascii") as file:
            pid = int(file.read())
    except FileNotFoundError:
        return 0
    while True:
        try:
            os.kill(pid, signal.SIGTERM)
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    break
        except (ProcessLookupError, FileNotFoundError):
            break
        time.sleep(0.01)
    os.unlink(pid_file(folder, host))
    return 0


if __name__ == "__main__":
    given = sys.argv[1:4]
    if sys.argv[4:] == ["serve"]:
        serve(given[0], given[1], float(given[2]))
    elif os.environ["RAFTCTL_EVENT"] == "leader":
        sys.exit(start(*given))
    else:
        sys.exit(stop(*given[:2]))
