"""From the command line to an exit status (design §8): finds the command, builds its parser, runs it, says what failed.

Only the chosen command's parser is built and only its module imported. No traceback ever reaches the user: errors of
users, files and peers are one line, a fault of ours is one line with the place to report.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import List, NoReturn, Optional, Sequence

from raftctl.base.errors import FAULT, USAGE, RaftctlError, UsageError
from raftctl.cli import output
from raftctl.cli.commands import COMMANDS, CONFIG, NODE, Command

INTERRUPTED = 130
BROKEN_PIPE = 141

# Options in front of the command that take the next word as their value.
_WITH_VALUE = ("-c", "--config", "--node", "--join")


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are `UsageError`s with the command that explains more."""

    hint = "raftctl --help"

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see: {self.hint}")


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line `arguments` (without the program's name) and return the exit status."""
    try:
        return run(list(sys.argv[1:] if arguments is None else arguments))
    except RaftctlError as error:
        output.complain(str(error))
        return error.exit_status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        output.silence()
        return BROKEN_PIPE
    except Exception as fault:
        output.complain(_describe(fault))
        return FAULT


def run(arguments: List[str]) -> int:
    """As `main`, but errors are raised."""
    name = find_command(arguments)
    if name is not None and name not in COMMANDS:
        raise UsageError(_unknown(name))
    options = build_parser(name).parse_args(arguments)
    if options.version:
        name = "version"
    if name is None:
        raise UsageError("no command; see: raftctl --help")
    command = COMMANDS[name]
    module = importlib.import_module(f"raftctl.cli.{command.module}")
    return getattr(module, command.function)(options)


def find_command(arguments: Sequence[str]) -> Optional[str]:
    """Return the first word that is neither an option nor the value of one."""
    words = iter(arguments)
    for word in words:
        if word in _WITH_VALUE:
            next(words, None)
        elif not word.startswith("-"):
            return word
    return None


def build_parser(chosen: Optional[str]) -> Parser:
    """Return the parser of the command `chosen`; None: of the whole program, for its help."""
    parser = Parser(prog="raftctl", allow_abbrev=False, description=_DESCRIPTION, epilog=_EPILOG,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    _add(parser, [CONFIG, NODE])
    parser.add_argument("-v", "--version", action="store_true", help="print the version")
    parser.add_argument("--join", help=argparse.SUPPRESS)
    parser.set_defaults(config=None, node=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", parser_class=Parser)
    for name in COMMANDS if chosen is None else [chosen]:
        add_command(commands, name, COMMANDS[name], whole=chosen is not None)
    if chosen is not None:
        parser.hint = f"raftctl help {chosen}"
    return parser


def add_command(commands: argparse._SubParsersAction, name: str, command: Command, *, whole: bool) -> Parser:
    """Add one command's parser: `whole` with its arguments, else just its line of the help."""
    if not whole and command.summary is None:
        return commands.add_parser(name)
    summary = {"help": command.summary} if command.summary else {}
    description = command.summary[0].upper() + command.summary[1:] + "." if command.summary else None
    parser: Parser = commands.add_parser(name, allow_abbrev=False, description=description,
                                         epilog=command.details or None, **summary)
    parser.hint = f"raftctl help {name}"
    if whole:
        _add(parser, [*command.arguments, CONFIG, NODE])
    return parser


def _add(parser: argparse.ArgumentParser, arguments: Sequence) -> None:
    for flags, settings in arguments:
        parser.add_argument(*flags, **settings)


def _unknown(name: str) -> str:
    from raftctl.config.spelling import nearest

    meant = nearest(name, [known for known, command in COMMANDS.items() if command.summary])
    return f'"{name}" is not a command; ' + (f'did you mean "{meant}"?' if meant else "see: raftctl --help")


def _describe(fault: Exception) -> str:
    trace = fault.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" at {os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else ""
    return f"a fault of raftctl itself{place}: {type(fault).__name__}: {fault}; please report it"


_DESCRIPTION = "Exactly one leader among a few hosts, and scripts that run when that changes."
_EPILOG = """\
exit status: 0 done or yes, 1 no, 2 usage or configuration, 3 no daemon answers, 4 no leader in time and nothing
changed, 5 outcome unknown, 6 not allowed. A first look, without any configuration: raftctl start --local 3"""

__all__ = ["FAULT", "USAGE", "Parser", "build_parser", "find_command", "main", "run"]
