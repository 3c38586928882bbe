"""One run: a cluster is founded, faults strike while clients work, all heals, then it must progress."""

from __future__ import annotations

from typing import Callable, NamedTuple, Optional, Tuple

from raftctl.base.errors import OurFault
from simulation import faults, history
from simulation.draws import Draws
from simulation.faults import Fault
from simulation.profiles import MS, PROFILES, Profile
from simulation.world import Violation, World

BEGIN_MS = 600
FOUNDED_MS = 20_000


class Result(NamedTuple):
    """`violation` None: all held. `lines`: the end of the trace."""

    profile: str
    seed: int
    violation: Optional[str]
    events: int
    committed: int
    operations: int
    digest: str
    plan: Tuple[Fault, ...]
    lines: Tuple[str, ...]

    @property
    def rule(self) -> str:
        """The rule that was broken, without the particulars."""
        return (self.violation or "").partition(": at ")[0]


def run(name: str, seed: int, tell: Optional[Callable[[str], None]] = None,
        plan: Optional[Tuple[Fault, ...]] = None) -> Result:
    """Carry out one run. `plan` replaces the faults that the seed would draw."""
    profile = PROFILES[name]
    world = World(profile, seed, tell)
    drawn = faults.plan(profile, world.draws.child("plan"), _begin_ms(profile)) if plan is None else plan
    violation = None
    try:
        _carry_out(world, drawn)
    except Violation as found:
        violation = str(found)
    except OurFault as fault:
        violation = f"an invariant of the product failed: at {world.now / MS:.3f} ms: {fault}"
    except Exception as error:
        violation = f"{type(error).__name__} out of the product: at {world.now / MS:.3f} ms: {error}"
        world.trace("traceback", _where(error))
    return Result(name, seed, violation, world.events, world.checkers.committed, world.clients.done,
                  world.digest, drawn, tuple(world.lines[-60:]))


def _where(error: BaseException) -> str:
    step = error.__traceback__
    places = []
    while step is not None:
        places.append(f"{step.tb_frame.f_code.co_filename.rpartition('/')[2]}:{step.tb_lineno}")
        step = step.tb_next
    return " ".join(places)


def _begin_ms(profile: Profile) -> int:
    return 0 if profile.name == "founding" else BEGIN_MS


def _carry_out(world: World, plan: Tuple[Fault, ...]) -> None:
    profile = world.profile
    _found(world, world.draws.child("founding"))
    world.clients.start()
    for fault in plan:
        world.at(fault.when_ms * MS, faults.strike, world, fault)
    world.run_until((_begin_ms(profile) + profile.span_ms) * MS)
    faults.heal(world)
    _must_progress(world)
    found = history.flaw(world.clients.history)
    if found:
        world.fail("the history is not linearizable", found)


def _found(world: World, draws: Draws) -> None:
    size = draws.one_of(world.profile.sizes)
    how = draws.one_of(world.profile.founding)
    addresses = tuple(f"tcp://h{number}:8089" for number in range(1, size + 1))
    for number in range(size):
        join = addresses[0] if how == "join" and number else None
        host = world.add_host(() if how == "join" else addresses, join)
        latest = 2500 if how == "some" else 200
        world.after(draws.between(0, latest) * MS, host.start)


def _must_progress(world: World) -> None:
    """After all has healed: one leader within 10 × election max, and a write of its term is committed."""
    patience = 10 * max(host.timing.election_max for host in world.hosts)
    # A cluster that is being founded waits for whoever starts last, and for a fresh cluster of one.
    patience += 3000 * MS if world.profile.name in ("founding", "members", "mix") else 0
    before = world.checkers.committed
    begin = world.clients.done

    def has_progressed() -> bool:
        return (world.clients.done > begin + 3 and world.checkers.committed > before
                and sum(1 for host in world.hosts if host.process and host.process.shows_leader) == 1)

    if not world.run_until(world.now + patience, has_progressed):
        states = [f"{host.name} " + (host.process.shown.state(host.process.now, host.process.instance)
                                     if host.process and host.process.shown else "down")
                  for host in world.hosts]
        world.fail("no progress after all has healed", ", ".join(states))
    world.clients.stop()
