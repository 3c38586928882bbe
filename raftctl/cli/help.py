"""`help [COMMAND]` and `version`."""

from __future__ import annotations

import argparse

from raftctl.base.errors import DONE, UsageError
from raftctl.cli import output
from raftctl.cli.commands import COMMANDS
from raftctl.version import __version__


def run(options: argparse.Namespace) -> int:
    """Print the help of one command, or of the program."""
    # Not at the top: main imports the module of a command only when it is chosen.
    from raftctl.cli import main

    topic = options.topic
    if topic is None:
        output.write(main.build_parser(None).format_help().encode())
        return DONE
    if topic not in COMMANDS:
        raise UsageError(main.describe_unknown(topic))
    output.write(main.build_parser(topic).parsers[topic].format_help().encode())
    return DONE


def version(options: argparse.Namespace) -> int:
    output.line(__version__)
    return DONE
