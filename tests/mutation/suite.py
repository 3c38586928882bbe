"""Applies mutants to a copy of the source and asks whether their killers notice."""

from __future__ import annotations

import argparse
import concurrent.futures
import importlib.machinery
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Optional, Sequence, Tuple

from mutation.mutants import MUTANTS, Mutant

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PARTS = ("raftctl", "tests/simulation", "tests/scenario", "tests/scenarios", "tests/unit")
LIMIT_S = 300
SEEDS = 150
PYTEST_FOUND = 1      # its exit status for tests that failed; all others say that they did not run


class Unusable(Exception):
    """A killer can't say whether the mutant is noticed."""


class Moved(Exception):
    """The anchor of a mutant is not there exactly once."""


class NoVerdict(Exception):
    """A killer neither passed nor failed: it could not run."""


def copy_with(mutant: Mutant, folder: str) -> None:
    """Put a copy of the source with the mutant in it into `folder`."""
    for part in PARTS:
        shutil.copytree(os.path.join(TOP, part), os.path.join(folder, part),
                        ignore=shutil.ignore_patterns("__pycache__"))
    path = os.path.join(folder, "raftctl", mutant.file)
    with open(path, encoding="utf-8") as file:
        text = file.read()
    found = text.count(mutant.before)
    if found != 1:
        raise Moved(f"{mutant.name}: its anchor stands {found} times in raftctl/{mutant.file}")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace(mutant.before, mutant.after))


def is_noticed(killer: str, folder: str) -> bool:
    """Does this scenario, profile or module of unit tests fail in the copy?"""
    kind, _, name = killer.partition(" ")
    if kind == "scenario":
        command = [sys.executable, "tests/scenario", *([name] if name else [])]
    elif kind == "unit":
        command = [_python_with_pytest(), "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider",
                   f"tests/unit/test_{name}.py"]
    else:
        command = [sys.executable, "tests/simulation", "--profile", name, "--runs", str(SEEDS), "--jobs", "1",
                   "--first-broken"]
    try:
        done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=LIMIT_S, check=False,
                              env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1", PYTHONPATH=folder))
    except subprocess.TimeoutExpired:
        return True                 # nobody overlooks tests that do not end
    if done.returncode not in (0, 1):
        raise NoVerdict(f"{killer} ended with status {done.returncode}: {done.stdout[-2000:]}")
    return done.returncode == 1


def _python_with_pytest() -> str:
    """Return this Python, or the one with pytest that `tests/run` keeps for it."""
    runner = importlib.machinery.SourceFileLoader("tests_run", os.path.join(TOP, "tests", "run"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("tests_run", runner))
    runner.exec_module(module)
    return module.with_pytest(sys.executable)


def killer_of(mutant: Mutant) -> Optional[str]:
    """Return which of its killers noticed the mutant, None: it survived."""
    with tempfile.TemporaryDirectory(prefix="raftctl-mutant-") as folder:
        copy_with(mutant, folder)
        return next((killer for killer in mutant.killers if is_noticed(killer, folder)), None)


def _timed(mutant: Mutant) -> Tuple[Optional[str], float]:
    began = time.monotonic()
    return killer_of(mutant), time.monotonic() - began


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests/mutation", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="mutants to try (default: all)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in {mutant.name for mutant in MUTANTS}]
    if unknown:
        parser.error(f"no mutant {' '.join(unknown)}; known: {' '.join(mutant.name for mutant in MUTANTS)}")
    chosen = [mutant for mutant in MUTANTS if mutant.name in (options.names or [mutant.name])]
    alive = 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for mutant, (killer, span) in zip(chosen, pool.map(_timed, chosen)):
            alive += killer is None
            fate = "SURVIVES" if killer is None else "dies    "
            print(f"{fate} {mutant.name}  {killer or ''}  {span:.1f} s", flush=True)
    print(f"{len(chosen)} mutants, {alive} survive")
    return 1 if alive else 0
