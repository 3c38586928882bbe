"""The command line of the simulator."""

from __future__ import annotations

import argparse
import logging
import os
from typing import Sequence

from simulation.many import many
from simulation.profiles import PROFILES
from simulation.run import Result, run
from simulation.shrink import shrink

SHORT_RUNS = 150


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="tests/simulation", description="Simulates whole clusters; each run comes from one seed.")
    parser.add_argument("--profile", action="append", choices=sorted(PROFILES), help="default: all")
    parser.add_argument("--seed", type=int, help="run just this one (default: seeds 1 to --runs)")
    parser.add_argument("--first", type=int, default=1, help="first seed of many (default 1)")
    parser.add_argument("--runs", type=int, default=SHORT_RUNS,
                        help=f"seeds a profile (default {SHORT_RUNS})")
    parser.add_argument("--trace", action="store_true", help="print what happens")
    parser.add_argument("--shrink", action="store_true",
                        help="find the fewest faults that break the same rule")
    parser.add_argument("--first-broken", action="store_true", help="stop at the first broken run")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)      # the trace tells what happens; the product warns of damage as well
    names = options.profile or list(PROFILES)
    if options.seed is not None:
        return max(_one(name, options) for name in names)
    if options.first_broken:
        seeds = range(options.first, options.first + options.runs)
        return int(any(run(name, seed).violation for seed in seeds for name in names))
    return many(names, range(options.first, options.first + options.runs), options.jobs)


def _one(name: str, options: argparse.Namespace) -> int:
    result = run(name, options.seed, print if options.trace else None)
    if result.violation and options.shrink:
        plan = shrink(result)
        result = run(name, options.seed, plan=plan)
        print("faults that are enough:", ", ".join(map(str, plan)) or "none")
    _report(result, with_trace=not options.trace)
    return 1 if result.violation else 0


def _report(result: Result, *, with_trace: bool) -> None:
    if result.violation and with_trace:
        print("\n".join(result.lines))
    print(f"{result.profile} seed {result.seed}  faults {len(result.plan)}  {result.events} events  "
          f"{result.committed} entries  {result.operations} answers  digest {result.digest}  "
          f"{result.violation or (result.excuse and 'excused: ' + result.excuse) or 'ok'}")
    if result.violation:
        print(f"repeat: python3 tests/run simulation --profile {result.profile} --seed {result.seed} --trace")
