"""argparse from the table of commands; only the chosen command's arguments are built, a parser costs time.

Owns the form of usage errors: one line with the command that explains more. Runs nothing.
"""

from __future__ import annotations

import argparse
import os
from typing import Any, NoReturn, Optional, Sequence, Tuple

from raftctl.base.errors import UsageError
from raftctl.cli.commands import COMMANDS, CONFIG, NODE, Argument

# Options in front of the command that take the next word as their value.
_WITH_VALUE = ("-c", "--config", "--node", "--join")

_DESCRIPTION = "Exactly one leader among a few hosts, and scripts that run when that changes."
_EPILOG = """\
exit status: 0 done or yes, 1 no, 2 usage or configuration, 3 no daemon answers,
4 no leader in time and nothing changed, 5 outcome unknown, 6 not allowed

a first look, without any configuration: raftctl start --local 3"""


class _Formatter(argparse.HelpFormatter):
    """Knows the width of the terminal itself: argparse would import shutil for it, at each `add_argument`."""

    def __init__(self, prog: str, **settings: Any) -> None:
        super().__init__(prog, **{"width": _terminal_width() - 2, **settings})


class _AsWritten(_Formatter, argparse.RawDescriptionHelpFormatter):
    """Leaves the lines of description and epilog as they are."""


def _terminal_width() -> int:
    columns = os.environ.get("COLUMNS", "")
    if columns.isdigit() and int(columns) > 0:
        return int(columns)
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 80


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are `UsageError`s; `hint` is the command that explains more."""

    hint = "raftctl --help"

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see: {self.hint}")


def find_command(arguments: Sequence[str]) -> Optional[str]:
    """Return the first word that is neither an option nor the value of one; None where there is none.

    Raises `UsageError` when it is no command.
    """
    words = iter(arguments)
    for word in words:
        if word in _WITH_VALUE:
            next(words, None)
        elif not word.startswith("-"):
            require_command(word)
            return word
    return None


def require_command(name: str) -> None:
    """Raise `UsageError`, with the nearest command, unless `name` is one."""
    if name in COMMANDS:
        return
    from raftctl.config.spelling import nearest

    meant = nearest(name, [known for known, command in COMMANDS.items() if command.summary])
    hint = f'did you mean "{meant}"?' if meant else "see: raftctl --help"
    raise UsageError(f'"{name}" is not a command; {hint}')


def build(chosen: Optional[str]) -> Tuple[Parser, Parser]:
    """Return the whole parser and that of the command `chosen`; None: all commands, for the help only."""
    parser = Parser(
        prog="raftctl",
        allow_abbrev=False,
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=_AsWritten,
    )
    _add(parser, (CONFIG, NODE))
    parser.add_argument("-v", "--version", action="store_true", help="print the version")
    parser.add_argument("--join", help=argparse.SUPPRESS)
    parser.set_defaults(config=None, node=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", parser_class=Parser)
    if chosen is None:
        for name, command in COMMANDS.items():
            if command.summary:
                commands.add_parser(name, help=command.summary)
        return parser, parser
    parser.hint = f"raftctl help {chosen}"
    return parser, _add_command(commands, chosen)


def _add_command(commands: Any, name: str) -> Parser:
    command = COMMANDS[name]
    parser: Parser = commands.add_parser(
        name, allow_abbrev=False, formatter_class=_Formatter, description=command.summary,
        epilog=command.details
    )
    parser.hint = f"raftctl help {name}"
    _add(parser, (*command.arguments, CONFIG, NODE))
    return parser


def _add(parser: Parser, arguments: Tuple[Argument, ...]) -> None:
    for flags, settings in arguments:
        parser.add_argument(*flags, **settings)
