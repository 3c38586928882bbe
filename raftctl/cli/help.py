"""`help [COMMAND]` and `version`."""

from __future__ import annotations

import argparse

from raftctl.base.errors import DONE
from raftctl.cli import output
from raftctl.cli.parser import build, require_command
from raftctl.version import __version__


def run(options: argparse.Namespace) -> int:
    """Print the help of one command, or of the program."""
    if options.topic is not None:
        require_command(options.topic)
    output.write(build(options.topic)[1].format_help().encode())
    return DONE


def version(options: argparse.Namespace) -> int:
    """Print the bare number."""
    output.line(__version__)
    return DONE
