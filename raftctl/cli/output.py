"""Data to standard output, everything else to standard error (design §8); UTF-8 whatever the locale says.

A reader that went away (`raftctl status | head -1`) is no fault: `main` ends quietly on `BrokenPipeError`.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from typing import Any

from raftctl.base.errors import RaftctlError


def write(data: bytes) -> None:
    """Write `data` to standard output, flushed; `RaftctlError` where that is not possible (full, closed)."""
    if sys.stdout is None:
        raise RaftctlError("standard output is closed")
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        silence(1)
        reason = os.strerror(error.errno or errno.EIO).lower()
        raise RaftctlError(f"standard output can't be written ({reason})") from None


def line(text: str) -> None:
    write(text.encode("utf-8", "surrogateescape") + b"\n")


def show_json(value: Any) -> None:
    line(json.dumps(value, ensure_ascii=False))


def is_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


def complain(text: str) -> None:
    """Write `raftctl: text` to standard error, one line whatever is in it; never raises."""
    if sys.stderr is None:
        return
    shown = " ".join(text.split("\n"))
    try:
        sys.stderr.buffer.write(f"raftctl: {shown}\n".encode("utf-8", "backslashreplace"))
        sys.stderr.buffer.flush()
    except OSError:
        silence(2)


def silence(descriptor: int) -> None:
    """Let what is written to `descriptor` (1 or 2) go nowhere: else the interpreter complains when it ends
    and flushes the broken stream.
    """
    null = os.open(os.devnull, os.O_WRONLY)
    if null != descriptor:
        os.dup2(null, descriptor)
        os.close(null)
