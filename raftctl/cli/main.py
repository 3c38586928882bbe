"""From the command line to an exit status (design §8): runs the command and says what failed.

Only the chosen command's module is imported. No traceback ever reaches the user: errors of users, files and
peers are one line, a fault of ours is one line with the place to report.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import List, Optional, Sequence

from raftctl.base.errors import FAULT, RaftctlError, UsageError
from raftctl.cli import output

# As a shell shows a command that SIGINT or SIGPIPE ended.
INTERRUPTED = 130
BROKEN_PIPE = 141
# An option of the hidden command `node` alone.
_OF_A_CHILD = "--tether-fd"


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line `arguments` (without the program's name) and return the exit status."""
    try:
        return run(list(sys.argv[1:] if arguments is None else arguments))
    except RaftctlError as error:
        # What the daemon refused comes with what to do about it (net/error_codes.py).
        hint = getattr(error, "hint", "")
        output.complain(f"{error}; {hint}" if hint else str(error))
        return error.exit_status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        output.silence(1)
        return BROKEN_PIPE
    except Exception as fault:
        output.complain(_describe(fault))
        return FAULT


def run(arguments: List[str]) -> int:
    """As `main`, but errors are raised; `SystemExit` after --help."""
    if _OF_A_CHILD in arguments:
        # A node lives for months: it reads its few words itself, without 0.8 MiB of argparse and tables.
        from raftctl.cli import child

        return child.run(child.read(arguments))
    from raftctl.cli.commands import COMMANDS
    from raftctl.cli.parser import build, find_command

    name = find_command(arguments)
    options = build(name)[0].parse_args(arguments)
    if options.version:
        name = "version"
    if name is None:
        raise UsageError("no command; see: raftctl --help")
    command = COMMANDS[name]
    module = importlib.import_module(f"raftctl.cli.{command.module}")
    return getattr(module, command.function)(options)


def _describe(fault: Exception) -> str:
    trace = fault.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" at {os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else ""
    return f"a fault of raftctl itself{place}: {type(fault).__name__}: {fault}; please report it"
