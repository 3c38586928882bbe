"""Run scenario files: compare the whole trace, or write it anew. Also `python3 tests/scenario`."""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path
from typing import List, Optional, Sequence

from scenario.commands import COMMANDS, execute
from scenario.invariants import Broken
from scenario.parse import BadScript, Command, compose, parse
from scenario.world import Stuck, World

FOLDER = Path(__file__).resolve().parent.parent / "scenarios"


def run_text(text: str, name: str = "script") -> str:
    """Return the scenario `text` with the traces that its commands cause now.

    Raises `BadScript` with file and line for a script that can't be run, `Broken` for an invariant that fails
    and where the core ends with an exception, `Stuck` where time does not go on.
    """
    pieces = parse(text, name)
    traces: List[List[str]] = []
    world: Optional[World] = None
    for piece in pieces:
        if not isinstance(piece, Command):
            continue
        try:
            world, trace = execute(world, piece.words)
        except (BadScript, Broken, Stuck) as error:
            raise type(error)(f"{name}:{piece.line}: {piece.text}: {error}") from error
        traces.append(trace)
    return compose(pieces, traces)


def difference(path: Path) -> str:
    """Return the unified diff from the file to what happens now; empty when they are equal."""
    text = path.read_text(encoding="utf-8")
    actual = run_text(text, path.name)
    lines = difflib.unified_diff(text.splitlines(), actual.splitlines(), f"{path.name}, as written",
                                 f"{path.name}, as it is now", lineterm="", n=6)
    return "\n".join(lines)


def rewrite(path: Path) -> bool:
    """Write the present traces into the file; return whether that changed it."""
    text = path.read_text(encoding="utf-8")
    actual = run_text(text, path.name)
    if actual != text:
        path.write_text(actual, encoding="utf-8")
    return actual != text


def scenario_files(names: Sequence[str] = ()) -> List[Path]:
    """Return the scenario files whose names contain one of `names` (none given: all), sorted."""
    files = sorted(FOLDER.glob("*.txt"))
    return [path for path in files if not names or any(name in path.stem for name in names)]


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run, or rewrite, the named scenarios; return 0 when all are as written."""
    commands = "\n".join(f"  {entry.usage}\n      {entry.meaning}" for entry in COMMANDS.values())
    parser = argparse.ArgumentParser(prog="tests/scenario", description=__doc__,
                                     epilog=f"commands:\n{commands}",
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="parts of scenario names (none: all)")
    parser.add_argument("--rewrite", action="store_true",
                        help="write the traces anew; review the diff like code")
    options = parser.parse_args(arguments)
    wrong = 0
    for path in scenario_files(options.names):
        try:
            changed = rewrite(path) if options.rewrite else difference(path)
        except (BadScript, Broken, Stuck) as error:
            print(f"{path.stem}: {error}", file=sys.stderr)
            wrong += 1
            continue
        if options.rewrite:
            print(f"{path.stem}: {'rewritten' if changed else 'unchanged'}")
        elif changed:
            print(changed)
            wrong += 1
    return 1 if wrong else 0
