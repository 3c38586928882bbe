"""The text of a scenario: commands with the trace that stands under each. Knows no command."""

from __future__ import annotations

from typing import List, NamedTuple, Sequence, Union


class BadScript(Exception):
    """A scenario that can't be read or run; the text names file and line."""


class Command(NamedTuple):
    """One command, its line number from 1, and the trace that stands under it (without indentation)."""

    line: int
    words: Sequence[str]
    text: str
    expected: List[str]


# Comments and blank lines stay where they are when a script is rewritten.
Piece = Union[str, Command]


def parse(text: str, name: str = "script") -> List[Piece]:
    """Return the pieces of a scenario in order; raise `BadScript` on a trace without a command."""
    pieces: List[Piece] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.rstrip()
        if not line or line.startswith("#"):
            pieces.append(line)
        elif not line[0].isspace():
            pieces.append(Command(number, line.split(), line, []))
        elif pieces and isinstance(pieces[-1], Command):
            pieces[-1].expected.append(line.strip())
        else:
            raise BadScript(f"{name}:{number}: a trace that stands under no command: {line.strip()}")
    return pieces


def compose(pieces: Sequence[Piece], traces: Sequence[Sequence[str]]) -> str:
    """Return the text of `pieces` with `traces`, one a command, in place of what stood under them."""
    lines: List[str] = []
    remaining = iter(traces)
    for piece in pieces:
        if isinstance(piece, Command):
            lines.append(piece.text)
            lines += ["  " + line for line in next(remaining)]
        else:
            lines.append(piece)
    return "\n".join(lines) + "\n"
