"""What goes wrong: a table from kind to act. Each act ends what it began, and draws from its own seed.

A plan is a list of `Fault`; leaving one out changes no draw of another, so a plan can be shrunk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Dict, List, NamedTuple, Optional, Tuple

from raftctl.disk.snapshots import name_of
from raftctl.raft.configuration import decode, is_quorum
from raftctl.raft.inputs import LEADER, ChangeAsked, Timing
from simulation.draws import Draws

if TYPE_CHECKING:
    from simulation.hosts import Host
    from simulation.node import Process
    from simulation.profiles import Profile
    from simulation.world import World

MS = 1_000_000


class Fault(NamedTuple):
    when_ms: int
    kind: str
    seed: str

    def __str__(self) -> str:
        return f"{self.when_ms} {self.kind}"


def plan(profile: Profile, draws: Draws, begin_ms: int) -> Tuple[Fault, ...]:
    """Draw the faults of one run."""
    kinds = [kind for kind, weight in profile.faults.items() for _ in range(weight)]
    found: List[Fault] = []
    when = begin_ms
    while kinds:
        when += draws.between(*profile.every_ms)
        if when >= begin_ms + profile.span_ms:
            break
        found.append(Fault(when, draws.one_of(kinds), f"{draws.seed}/{len(found)}"))
    return tuple(found)


def strike(world: World, fault: Fault) -> None:
    """Do it now."""
    world.trace("fault", fault.kind)
    _ACTS[fault.kind](world, Draws(fault.seed))


def heal(world: World) -> None:
    """End all faults: ways open, hosts up that their disks let start; some checks may go on failing."""
    draws = world.draws.child("checks at the end")
    ways = [(one.address, other.address) for one in world.hosts for other in world.hosts if one is not other]
    while any(world.network.is_cut(*way) for way in ways):
        world.network.heal([way for way in ways if world.network.is_cut(*way)])
    world.network.delays.clear()
    for copy in world.copies:
        _stop_copy(copy)
    for host in world.hosts:
        host.disk_ms = world.profile.disk_ms
        host.resume()
        host.free_space()
        if host.right_list:
            host.listed, host.right_list = host.right_list, None
            host.end_process("is restarted with the right list")
        host.start()
        if host.process:
            host.process.post(("health", not draws.chance(world.profile.failing_checks)))
    if world.bootstrapped:
        _wipe_dead_foundings(world)
    world.trace("fault", "all healed")


def _wipe_dead_foundings(world: World) -> None:
    """`bootstrap` beside a founding under way may leave a second entry 1 without a quorum (`founding.py`).

    The operator, told of two cluster ids, moves those directories away.
    """
    holders: Dict[bytes, List[Host]] = {}
    for host in _up(world):
        entry = host.process.turn.core.founding_entry
        if entry:
            holders.setdefault(entry.body, []).append(host)
    for body, hosts in holders.items():
        instances = [host.process.instance for host in hosts]
        if len(holders) > 1 and not is_quorum(instances, decode(body).voters):
            for host in hosts:
                host.wipe()


# --- whom


def _up(world: World) -> List[Host]:
    return [host for host in world.hosts if host.process]


def _any(world: World, draws: Draws) -> Optional[Host]:
    up = _up(world)
    return draws.one_of(up) if up else None


def _leader(world: World, draws: Draws) -> Optional[Host]:
    """The holder of the lease, else whoever calls itself leader, else any host."""
    holders = [host for host in _up(world) if host.process.leases]
    leading = [host for host in _up(world) if host.process.board.leading]
    return (holders or leading or [_any(world, draws)])[0]


def _on(choose: Callable, act: Callable) -> Callable:
    def strikes(world: World, draws: Draws) -> None:
        host = choose(world, draws)
        if host is not None:
            act(world, draws, host)
    return strikes


# --- processes and power


def _kill(world: World, draws: Draws, host: Host) -> None:
    host.end_process("kill -9")


def _crash(world: World, draws: Draws, host: Host) -> None:
    """Dies at one of the next things it does to the outside."""
    host.process.crash_at_effect = host.process._effects + draws.between(1, 12)


def _power(world: World, draws: Draws, host: Host) -> None:
    host.lose_power()


def _all_lose_power(world: World, draws: Draws) -> None:
    for host in _up(world):
        host.lose_power()


def _kill_all(world: World, draws: Draws) -> None:
    for host in _up(world):
        host.end_process("kill -9")


def _kill_guardian(world: World, draws: Draws, host: Host) -> None:
    host.kill_guardian()


def _stop(world: World, draws: Draws, host: Host) -> None:
    host.stop()


def _stop_all(world: World, draws: Draws) -> None:
    for host in _up(world):
        host.stop()


def _crash_author(world: World, draws: Draws) -> None:
    """Whoever may write entry 1 dies at one of its first acts (pitfall 3.2)."""
    author = world.hosts[0].process
    if author:
        author.crash_at_effect = author._effects + draws.between(1, 40)


def _bootstrap(world: World, draws: Draws) -> None:
    """The operator's word on ONE node, perhaps said again; that nobody founds beyond a cut is part of it."""
    host = world.bootstrapped or draws.one_of(world.hosts)
    if host.process and not world.network.has_cuts:
        world.bootstrapped = host
        host.process.post(("bootstrap",))


def _transfer(world: World, draws: Draws, host: Host) -> None:
    """An operator moves leadership; now and then the successor falls asleep over it (pitfall 1.1)."""
    others = [other for other in _up(world) if other is not host]
    to = draws.one_of(others) if others and draws.chance(0.7) else None
    world.trace(host.name, f"is asked to hand over to {to.name if to else 'anybody'}")
    world.transfers.ask(host.process, to.process.instance if to else "")
    if to is not None and draws.chance(0.4):
        world.after(draws.between(0, 4 * MS), _pause, world, draws, to)


def _flap(world: World, draws: Draws, host: Host) -> None:
    """The check of a host fails for a while, often that of the leader."""
    world.trace(host.name, "check fails")
    host.process.post(("health", False))
    world.after(draws.between(20, 2000) * MS, _recover, world, host, host.process)


def _all_unhealthy(world: World, draws: Draws) -> None:
    for host in draws.ordered(_up(world)):
        _flap(world, draws, host)


def _recover(world: World, host: Host, process: Process) -> None:
    world.trace(host.name, "check passes")
    process.post(("health", True))


def _leader_or_any(world: World, draws: Draws) -> Optional[Host]:
    return (_leader if draws.chance(0.5) else _any)(world, draws)


def _retime(world: World, draws: Draws, host: Host) -> None:
    """Another election min from its next start on, which is soon."""
    least = draws.one_of([100, 250, 600]) * MS
    host.timing = Timing(min(50 * MS, least // 4), least, 2 * least)
    host.end_process("is restarted with another election min")


# --- standing still


def _pause(world: World, draws: Draws, host: Host) -> None:
    world.trace(host.name, "SIGSTOP")
    host.pause()
    world.after(draws.between(20, 1500) * MS, _resume, world, host)


def _suspend(world: World, draws: Draws, host: Host) -> None:
    world.trace(host.name, "suspended")
    host.suspend()
    world.after(draws.between(20, 1500) * MS, _resume, world, host)


def _freeze(world: World, draws: Draws, host: Host) -> None:
    """A hypervisor pause: the guest's clocks stand still as well (pitfall 7.1)."""
    world.trace(host.name, "stands still, and its clocks")
    host.stop_clocks()
    world.after(draws.between(20, 1500) * MS, _resume, world, host)


def _resume(world: World, host: Host) -> None:
    if host.is_frozen:
        world.trace(host.name, "goes on")
        host.resume()


# --- the network


def _cut(world: World, draws: Draws, ways: List[Tuple[str, str]], longest_ms: int = 1500) -> None:
    world.trace("network", "cut " + " ".join(f"{one[6:8]}>{other[6:8]}" for one, other in ways))
    world.network.cut(ways)
    world.after(draws.between(20, longest_ms) * MS, _heal, world, ways)


def _heal(world: World, ways: List[Tuple[str, str]]) -> None:
    still = [way for way in ways if world.network.is_cut(*way)]
    if still:
        world.trace("network", "heals")
        world.network.heal(still)


def _both(one: List[str], other: List[str]) -> List[Tuple[str, str]]:
    return [way for a in one for b in other for way in ((a, b), (b, a))]


def _partition(world: World, draws: Draws) -> None:
    mixed = draws.ordered([host.address for host in world.hosts])
    if len(mixed) > 1:
        at = draws.between(1, len(mixed))
        _cut(world, draws, _both(mixed[:at], mixed[at:]))


def _isolate(world: World, draws: Draws, host: Host) -> None:
    others = [other.address for other in world.hosts if other is not host]
    _cut(world, draws, _both([host.address], others))


def _one_way(world: World, draws: Draws, host: Host) -> None:
    """Only out, or only in, to one peer or to all."""
    others = [other.address for other in world.hosts if other is not host]
    some = draws.some_of(others, draws.between(1, len(others) + 1)) if others else []
    outwards = draws.chance(0.5)
    _cut(world, draws, [(host.address, other) if outwards else (other, host.address) for other in some])


def _bridge(world: World, draws: Draws) -> None:
    """Two sides that only one host between them sees both of."""
    mixed = draws.ordered([host.address for host in world.hosts])
    if len(mixed) > 2:
        at = draws.between(1, len(mixed) - 1)
        _cut(world, draws, _both(mixed[:at], mixed[at + 1:]))


def _reset(world: World, draws: Draws, host: Host) -> None:
    for other in world.hosts:
        if other is not host and draws.chance(0.5):
            world.network.reset(host.address, other.address)
            world.network.reset(other.address, host.address)


def _slow_way(world: World, draws: Draws, host: Host) -> None:
    others = [other.address for other in world.hosts if other is not host]
    for other in draws.some_of(others, 2):
        way = (host.address, other)
        world.network.delays[way] = float(draws.one_of([5, 30, 200]))
        world.after(draws.between(50, 1000) * MS, world.network.delays.pop, way, None)


# --- snapshots


def _away(world: World, draws: Draws) -> None:
    """A follower is cut off until the leader's log begins behind its own, at the longest for two seconds."""
    leader = _leader(world, draws)
    others = [host for host in world.hosts if host is not leader]
    if others:
        host = draws.one_of(others)
        ways = _both([host.address], [other.address for other in world.hosts if other is not host])
        world.trace("network", f"cut {host.name} off")
        world.network.cut(ways)
        _come_back(world, host, ways, world.now + 2000 * MS)


def _come_back(world: World, host: Host, ways: List[Tuple[str, str]], latest: int) -> None:
    states = [other.process.turn.core._state for other in _up(world) if other is not host]
    own = host.process.turn.core.view().last_index if host.process else 0
    is_behind = any(state.role == LEADER and state.log.base.index > own for state in states)
    if is_behind or world.now > latest or not any(world.network.is_cut(*way) for way in ways):
        _heal(world, ways)
    else:
        world.after(50 * MS, _come_back, world, host, ways, latest)


def _at_chunk(world: World, draws: Draws) -> None:
    """Something strikes when a chunk of an install is written."""
    act = draws.one_of(("kill", "power", "kill_leader", "isolate_leader", "reset"))
    seed = Draws(f"{draws.seed}/act")

    def strikes(host: Host) -> None:
        world.trace("fault", f"{act} at a chunk for {host.name}")
        if act == "kill":
            host.end_process("kill -9")
        elif act == "power":
            host.lose_power()
        elif act == "reset":
            _reset(world, seed, host)
        else:
            _ACTS[act](world, seed)

    world.traps.set(draws.between(1, 8), strikes)


def _rot(world: World, draws: Draws, host: Host) -> None:
    """A host's newest snapshot is damaged while its power is off: the older and the log must do (4.1)."""
    state = host.process.turn.core._state
    if len(state.snapshots) < 2 or state.log.base.index > state.snapshots[0].position.index:
        return       # the log was replaced by the newest: nothing else holds what is in it
    mark, snapshots = state.snapshots[-1], host.process.snapshots
    host.lose_power()
    host.disk.damage(f"{snapshots.path}/{name_of(mark)}", draws.between(0, 60))


# --- disks and members


def _slow_disk(world: World, draws: Draws, host: Host) -> None:
    host.disk_ms = draws.one_of([(5.0, 50.0), (50.0, 400.0)])
    world.after(draws.between(100, 1500) * MS, setattr, host, "disk_ms", world.profile.disk_ms)


def _full_disk(world: World, draws: Draws, host: Host) -> None:
    """No room for another file, for a while."""
    world.trace("fault", f"the disk of {host.name} is full")
    host.disk.is_full = True
    world.after(draws.between(300, 2500) * MS, host.free_space)


def _full_disks(world: World, draws: Draws) -> None:
    for host in _up(world):
        _full_disk(world, draws, host)


def _failed_disk(world: World, draws: Draws, host: Host) -> None:
    """EIO at one of the next operations: the node must end and stay down (P3), unless a majority needs it."""
    if _spare(world):
        host.disk.fail_at = host.disk.count + draws.between(1, 4)


def _wipe(world: World, draws: Draws, host: Host) -> None:
    """A host comes back empty while a quorum of the other voters is up (§6, pitfall 3.1)."""
    if _spare(world):
        host.wipe()


def _spare(world: World) -> bool:
    """Is there a majority of sound, known voters without one more host?"""
    lost = {copy.number for copy in world.copies}       # its peers may take the copy for the later one
    sound = [host for host in world.hosts if host.process and not host.is_frozen
             and not host.has_gone_back and host.number not in lost
             and host.process.turn.cluster_id
             and host.process.turn.core.configuration.is_voter(host.process.instance)]
    if not sound:
        return False
    newest = max(sound, key=lambda host: host.process.turn.core.durable[1])
    voters = newest.process.turn.core.configuration.voters
    return sum(1 for host in sound if host.process.instance in voters) - 1 > len(voters) // 2


def _back_up(world: World, draws: Draws) -> None:
    """Copies of all directories, as an operator's job takes them while all runs."""
    for host in world.hosts:
        if host.process and not host.has_gone_back:
            host.back_up()


def _go_back(world: World, draws: Draws, host: Host) -> None:
    """One member's directory is copied back (pitfall 3.5)."""
    if host.backup and _spare(world) and not _is_p7_struck(world):
        host.go_back()


def _copy(world: World, draws: Draws, host: Host) -> None:
    """A second host starts on a copy of the directory of a living one, with its file (pitfalls 1.3, 3.6)."""
    if _spare(world) and not _is_p7_struck(world):
        copy = world.add_copy(host)
        copy.start()
        world.after(draws.between(100, 1500) * MS, _stop_copy, copy)


def _is_p7_struck(world: World) -> bool:
    """One member a run: refused by the others it is lost, as the original of a copy may be."""
    return bool(world.copies) or any(host.has_gone_back for host in world.hosts)


def _stop_copy(copy: Host) -> None:
    copy.is_down = True
    copy.end_process("is stopped")


def _remove(world: World, draws: Draws, host: Host) -> None:
    """An operator removes a voter, ends it, and has the empty host join again."""
    process = host.process
    members = process.turn.core.configuration.members
    voters = [member for member in members if member.voter and member.instance != process.instance]
    if len(voters) < 2 or not _spare(world):
        return
    gone = draws.one_of(voters)
    wanted = process.turn.core.configuration.replaced(without=gone.instance)
    process.post(("change", ChangeAsked(0, wanted)))
    removed = world.host_at(gone.address)
    world.after(draws.between(50, 800) * MS, _rejoin, world, removed, gone.instance)


def _rejoin(world: World, host: Host, instance: str) -> None:
    if host.process and host.process.instance == instance and _is_removed(world, instance):
        host.listed, host.join = (), next(other.address for other in world.hosts if other is not host)
        host.wipe()


def _is_removed(world: World, instance: str) -> bool:
    """Is its removal committed?"""
    return any(host.process.turn.core.is_settled and host.process.leases
               and not host.process.turn.core.configuration.find(instance) for host in _up(world))


def _add(world: World, draws: Draws) -> None:
    """A new host is told to join."""
    members = [host for host in _up(world) if host.process.turn.core.configuration.members]
    if members and len(world.hosts) < 6:
        world.add_host((), draws.one_of(members).address).start()


_ACTS: Dict[str, Callable[[World, Draws], None]] = {
    "kill": _on(_any, _kill), "kill_leader": _on(_leader, _kill), "kill_all": _kill_all,
    "crash": _on(_any, _crash), "power": _on(_any, _power), "power_all": _all_lose_power,
    "kill_guardian": _on(_leader, _kill_guardian), "restart": _on(_any, _stop),
    "stop_leader": _on(_leader, _stop),
    "retime": _on(_any, _retime), "transfer": _on(_leader, _transfer),
    "transfer_anywhere": _on(_any, _transfer),
    "health_flap": _on(_leader_or_any, _flap), "all_unhealthy": _all_unhealthy,
    "pause": _on(_any, _pause), "pause_leader": _on(_leader, _pause), "suspend": _on(_any, _suspend),
    "partition": _partition, "isolate_leader": _on(_leader, _isolate), "one_way": _on(_leader, _one_way),
    "bridge": _bridge, "reset": _on(_any, _reset), "slow_way": _on(_any, _slow_way),
    "full_disk": _on(_any, _full_disk), "full_disks": _full_disks, "slow_disk": _on(_any, _slow_disk),
    "failed_disk": _on(_any, _failed_disk),
    "wipe": _on(_any, _wipe), "add": _add, "away": _away, "at_chunk": _at_chunk, "rot": _on(_any, _rot),
    "remove": _on(_leader, _remove), "stop_all": _stop_all, "freeze": _on(_any, _freeze),
    "freeze_leader": _on(_leader, _freeze), "back_up": _back_up, "go_back": _on(_any, _go_back),
    "copy": _on(_any, _copy), "crash_author": _crash_author, "bootstrap": _bootstrap,
}
KINDS = tuple(_ACTS)
