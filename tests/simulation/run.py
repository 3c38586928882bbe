"""One run: a cluster is founded, faults strike while clients work, all heals, then it must progress."""

from __future__ import annotations

from typing import Callable, NamedTuple, Optional, Tuple

from raftctl.base.errors import OurFault
from raftctl.raft.inputs import LEADER
from simulation import faults, history
from simulation.draws import Draws
from simulation.faults import Fault
from simulation.profiles import MS, PROFILES, Profile
from simulation.scale import scaled
from simulation.world import Violation, World

BEGIN_MS = 600
# Faults of a run as short as this strike while it is founded, not after.
FOUNDING_SPAN_MS = 1500


class Result(NamedTuple):
    """`violation` None: all held. `excuse`: what broke, and why nobody could know (P7). `lines`: the end of
    the trace."""

    profile: str
    seed: int
    violation: Optional[str]
    excuse: Optional[str]
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
    with scaled():
        return _run(name, seed, tell, plan)


def _run(name: str, seed: int, tell: Optional[Callable[[str], None]],
         plan: Optional[Tuple[Fault, ...]]) -> Result:
    profile = PROFILES[name]
    world = World(profile, seed, tell)
    drawn = faults.plan(profile, world.draws.child("plan"), _begin_ms(profile)) if plan is None else plan
    violation = excuse = None
    try:
        _carry_out(world, drawn)
    except Violation as found:
        violation = str(found)
        if found.excuse:
            violation, excuse = None, f"{found}: {found.excuse}"
    except OurFault as fault:
        violation = f"an invariant of the product failed: at {world.now / MS:.3f} ms: {fault}"
    except Exception as error:
        violation = f"{type(error).__name__} out of the product: at {world.now / MS:.3f} ms: {error}"
        world.trace("traceback", _where(error))
    return Result(name, seed, violation, excuse, world.events, world.checkers.committed, world.clients.done,
                  world.digest, drawn, tuple(world.lines[-60:]))


def _where(error: BaseException) -> str:
    step = error.__traceback__
    places = []
    while step is not None:
        places.append(f"{step.tb_frame.f_code.co_filename.rpartition('/')[2]}:{step.tb_lineno}")
        step = step.tb_next
    return " ".join(places)


def _begin_ms(profile: Profile) -> int:
    return 0 if profile.span_ms <= FOUNDING_SPAN_MS else BEGIN_MS


def _carry_out(world: World, plan: Tuple[Fault, ...]) -> None:
    profile = world.profile
    _found(world, world.draws.child("founding"))
    world.clients.start()
    for fault in plan:
        world.at(fault.when_ms * MS, faults.strike, world, fault)
    world.run_until((_begin_ms(profile) + profile.span_ms) * MS)
    faults.heal(world)
    _must_progress(world)
    _must_catch_up(world)
    world.clients.stop()
    found = history.flaw(world.clients.history)
    if found:
        world.fail("the history is not linearizable", found)


def _found(world: World, draws: Draws) -> None:
    size = draws.one_of(world.profile.sizes)
    how = draws.one_of(world.profile.founding)
    addresses = tuple(f"tcp://h{number}:8089" for number in range(1, size + 1))
    for number in range(size):
        joins = how in ("join", "late")
        host = world.add_host(() if joins else addresses, addresses[0] if joins and number else None)
        latest = 2500 if how == "some" else 200
        if how == "subset" and draws.chance(0.4):
            continue                                        # it comes when all is healed
        world.after(draws.between(0, latest) * MS, host.start)
    if how == "late":
        # Whom all are told to join is not there for longer than a node without `join` waits for others.
        world.hosts[0].is_down = True
        world.after(draws.between(2200, 3500) * MS, world.hosts[0].comes_back)
    if how == "lists" and size > 1:
        # One file differs: it lacks a host, or names one that is not there.
        odd = draws.one_of(world.hosts)
        odd.right_list = addresses
        others = [address for address in addresses if address != odd.address]
        odd.listed = tuple(address for address in addresses if address != draws.one_of(others))
        if draws.chance(0.3):
            odd.listed = (*addresses, "tcp://h9:8089")


def _must_progress(world: World) -> None:
    """After all has healed: a leader within 10 × election max, and a write of its term is committed.

    It is LEADER where anybody is fit to be, else a caretaker.
    """
    patience = 10 * max(host.timing.election_max for host in world.hosts)
    # A cluster that is being founded waits for whoever starts last, and for a fresh cluster of one.
    patience += 3000 * MS if set(world.profile.founding) != {"list"} or world.profile.span_ms == 1500 else 0
    world.clients.ask_members_alone()
    profile = world.profile
    patience += (max(profile.delays_ms) + 2 * max(profile.ending_ms)) * MS if profile.hooks else 0
    before = world.checkers.committed
    begin = world.clients.done

    def has_progressed() -> bool:
        up = [host for host in world.hosts if host.process]
        if profile.hooks and not world.applications.at_leader:
            return False
        fit = any(host.standing.priority and host.process.is_healthy for host in up)
        return (world.clients.done > begin + 3 and world.checkers.committed > before
                and sum(1 for host in up if host.process.shows_leader) == fit)

    if not world.run_until(world.now + patience, has_progressed):
        states = [f"{host.name} " + (host.process.shown.state(host.process.now, host.process.instance)
                                     if host.process and host.process.shown else "down")
                  for host in world.hosts]
        world.fail("no progress after all has healed", ", ".join(states))


def _must_catch_up(world: World) -> None:
    """While writes go on, every member that runs gets what was committed by now (pitfall 4.2).

    Not one whose directory went back or was copied: its peers may refuse it (P7).
    """
    target = world.checkers.committed
    copied = [copy.number for copy in world.copies]

    def behind() -> str:
        up = [host for host in world.hosts if host.process]
        leaders = [host.process.turn.core for host in up if host.process.turn.core.role == LEADER]
        if not leaders:
            return "no leader"
        members = max(leaders, key=lambda core: core.view().term).configuration
        return ", ".join(f"{host.name} at {host.process.turn._applying.applied}" for host in up
                         if members.find(host.process.instance)
                         and not host.has_gone_back and host.number not in copied
                         and host.process.turn._applying.applied < target)

    patience = 10 * max(host.timing.election_max for host in world.hosts)
    if not world.run_until(world.now + patience, lambda: not behind()):
        world.fail("a member does not catch up", f"{behind()} of {target}")
