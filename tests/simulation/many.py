"""Many runs in several processes: a line of progress, a summary, and how far it came where it is stopped."""

from __future__ import annotations

import concurrent.futures
import logging
import signal
import sys
import time
from typing import Any, Dict, List, NamedTuple, Sequence

from simulation.run import run

BATCH = 10
PROGRESS_EVERY_S = 20.0
STOPPED = 2


class _Run(NamedTuple):
    seed: int
    events: int
    answers: int
    violation: str
    excused: bool


class _Tally:
    """What the runs so far have shown."""

    def __init__(self, names: Sequence[str]) -> None:
        self.began = time.monotonic()
        self.done: Dict[str, int] = dict.fromkeys(names, 0)
        self.broken: Dict[str, List[int]] = {name: [] for name in names}
        self.events = self.answers = self.excused = 0

    def add(self, name: str, runs: Sequence[_Run]) -> None:
        for one in runs:
            self.done[name] += 1
            self.events, self.answers = self.events + one.events, self.answers + one.answers
            self.excused += one.excused
            if one.violation:
                self.broken[name].append(one.seed)
                print(f"{name} seed {one.seed}: {one.violation}", flush=True)

    @property
    def runs(self) -> int:
        return sum(self.done.values())

    @property
    def is_broken(self) -> bool:
        return any(self.broken.values())

    def progress(self, total: int) -> str:
        span = time.monotonic() - self.began
        left = span / self.runs * (total - self.runs) if self.runs else 0
        return (f"{self.runs} of {total} runs, {sum(map(len, self.broken.values()))} broken, "
                f"{span:.0f} s, about {left:.0f} s to go")

    def summary(self) -> List[str]:
        span = time.monotonic() - self.began
        lines = [f"{self.runs} runs of {len(self.done)} profiles, {self.events} events, {self.answers} answers, "
                 f"{sum(map(len, self.broken.values()))} broken, {self.excused} excused, {span:.1f} s, "
                 f"{self.events / span:.0f} events a second"]
        return lines + [f"  {name}: seeds {' '.join(map(str, sorted(seeds)))}"
                        for name, seeds in self.broken.items() if seeds]


def many(names: Sequence[str], seeds: range, jobs: int) -> int:
    """Run all `seeds` of all profiles; return 1 where one is broken, 2 where it was stopped before the end.

    Profiles take turns, so that all have come about equally far when SIGINT or SIGTERM ends it.
    """
    tally, total, stopped = _Tally(names), len(names) * len(seeds), False
    futures: Dict[Any, str] = {}
    pool = concurrent.futures.ProcessPoolExecutor(jobs, initializer=_leave_signals_to_the_parent)
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        futures.update((pool.submit(_batch, name, list(seeds[start:start + BATCH])), name)
                       for start in range(0, len(seeds), BATCH) for name in names)
        _collect(futures, tally, total)
    except KeyboardInterrupt:
        stopped = True
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        pool.shutdown(wait=True, cancel_futures=True)
        for future in [future for future in futures if not future.cancelled()]:
            tally.add(futures.pop(future), future.result())      # those that were under way
        signal.signal(signal.SIGTERM, before)
    print("\n".join(tally.summary()))
    if stopped:
        came = ", ".join(f"{name} {count}" for name, count in tally.done.items())
        print(f"stopped: {tally.runs} of {total} runs were done ({came})")
    return 1 if tally.is_broken else STOPPED if stopped else 0


def _collect(futures: Dict[Any, str], tally: _Tally, total: int) -> None:
    told = time.monotonic()
    for future in concurrent.futures.as_completed(futures):
        tally.add(futures.pop(future), future.result())
        if sys.stderr.isatty():
            print(f"\r{tally.progress(total)} ", end="\n" if tally.runs == total else "", file=sys.stderr,
                  flush=True)
        elif time.monotonic() - told > PROGRESS_EVERY_S:
            told = time.monotonic()
            print(tally.progress(total), file=sys.stderr, flush=True)


def _batch(name: str, seeds: List[int]) -> List[_Run]:
    found = []
    for seed in seeds:
        result = run(name, seed)
        found.append(_Run(seed, result.events, result.operations, result.violation or "", bool(result.excuse)))
    return found


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _leave_signals_to_the_parent() -> None:
    logging.disable(logging.CRITICAL)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
