"""The command line of the simulator."""

from __future__ import annotations

import argparse
import concurrent.futures
import logging
import os
import sys
import time
from typing import List, Sequence, Tuple

from simulation.profiles import PROFILES
from simulation.run import Result, run
from simulation.shrink import shrink

SHORT_RUNS = 150
BATCH = 25


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
    return _many(names, range(options.first, options.first + options.runs), options.jobs)


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


def _batch(name: str, seeds: List[int]) -> List[Tuple[int, int, int, str, bool]]:
    found = []
    for seed in seeds:
        result = run(name, seed)
        found.append((seed, result.events, result.operations, result.violation or "",
                      bool(result.excuse)))
    return found


def _many(names: Sequence[str], seeds: range, jobs: int) -> int:
    began = time.monotonic()
    broken: List[Tuple[str, int, str]] = []
    batches = [(name, list(seeds)[start:start + BATCH]) for start in range(0, len(seeds), BATCH)
               for name in names]
    events = operations = done = excused = 0
    with concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        futures = {pool.submit(_batch, *batch): batch[0] for batch in batches}
        for future in concurrent.futures.as_completed(futures):
            for seed, some_events, answers, violation, excuse in future.result():
                events, operations, done = events + some_events, operations + answers, done + 1
                excused += excuse
                if violation:
                    broken.append((futures[future], seed, violation))
                    print(f"{futures[future]} seed {seed}: {violation}", flush=True)
            if sys.stderr.isatty():
                print(f"\r{done} runs, {len(broken)} broken", end="", file=sys.stderr, flush=True)
    span = time.monotonic() - began
    print(f"{done} runs of {len(names)} profiles, {events} events, {operations} answers, "
          f"{len(broken)} broken, {excused} excused, "
          f"{span:.1f} s, {events / span:.0f} events a second")
    for name in sorted({name for name, _, _ in broken}):
        print(f"  {name}: seeds {' '.join(str(seed) for other, seed, _ in sorted(broken) if other == name)}")
    return 1 if broken else 0
