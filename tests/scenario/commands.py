"""The commands of a scenario, one function each, and their table (`python3 tests/scenario --help`)."""

from __future__ import annotations

from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from raftctl.base.errors import require
from raftctl.raft import messages
from raftctl.raft.configuration import Configuration, Member, encode
from raftctl.raft.inputs import (
    ChangeAsked,
    Health,
    Proposed,
    ReadAsked,
    Received,
    Resigned,
    Stopping,
    Timing,
    Transfer,
)
from raftctl.raft.messages import COMMAND, HardState, Position, Release
from scenario.clock import PPM
from scenario.invariants import log_of
from scenario.network import Rule, Way
from scenario.node import Node, describe
from scenario.parse import BadScript
from scenario.trace import MS
from scenario.world import Setting, World

MESSAGES = {name: getattr(messages, name) for name in
            ("PreVote", "PreVoteReply", "Vote", "VoteReply", "Append", "AppendReply", "Install",
             "InstallReply", "Release", "TimeoutNow", "Standing", "Removed")}
# Fields of messages that are spans; scripts write them in ms.
SPANS = ("vow_left", "election_min")
Words = Sequence[str]


# --- words of a line

def ns(word: str) -> int:
    """Return the ns in a number of ms, which may have a fraction."""
    return round(float(word) * MS)


def pairs(words: Words, keys: Sequence[str]) -> Dict[str, List[str]]:
    """Return the words behind each of `keys`, up to the next key."""
    found: Dict[str, List[str]] = {}
    behind: List[str] = []
    for word in words:
        if word in keys:
            behind = found.setdefault(word, [])
        elif not found:
            raise BadScript(f"{word} is none of {' '.join(keys)}")
        else:
            behind.append(word)
    return found


def ways(words: Words) -> List[Way]:
    """Return the ways named by `n1 from n2 n3` (both directions) or `n1 to n2 n3` (that direction)."""
    if len(words) < 3 or words[1] not in ("from", "to"):
        raise BadScript("say NODE from NODE… (both ways) or NODE to NODE… (one way)")
    one_way = [(words[0], other) for other in words[2:]]
    return one_way if words[1] == "to" else one_way + [(other, words[0]) for other in words[2:]]


def running(world: World, name: str) -> Node:
    node = world.nodes[name]
    if node.core is None:
        raise BadScript(f"{name} does not run")
    return node


def down(world: World, name: str) -> Node:
    node = world.nodes[name]
    if node.core is not None:
        raise BadScript(f"{name} runs")
    return node


# --- the setting

def cluster(words: Words) -> World:
    """Return the world of a `cluster` line; nodes are the words before the first option."""
    options = ("learners", "election", "heartbeat", "latency", "disk", "leader", "term", "log", "priority",
               "preempt")
    first = next((place for place, word in enumerate(words) if word in options), len(words))
    setting, given = Setting(), pairs(words[first:], options)
    setting.voters, setting.learners = list(words[:first]), given.get("learners", [])
    if "election" in given:
        least, most = given["election"][0].split("-")
        setting.timing = Timing(setting.timing.heartbeat, ns(least), ns(most))
    if "heartbeat" in given:
        setting.timing = setting.timing._replace(heartbeat=ns(given["heartbeat"][0]))
    setting.latency_ns = ns(given.get("latency", ["1"])[0])
    setting.disk_ns = ns(given.get("disk", ["0"])[0])
    setting.leader = given.get("leader", [None])[0]
    priority = given.get("priority", [])
    setting.priorities = dict(zip(priority[::2], map(int, priority[1::2])))
    setting.preempting = given.get("preempt", [])
    setting.term = int(given.get("term", ["2"])[0])
    setting.last_index = int(given.get("log", ["2"])[0])
    return World(setting)


def put_on_disk(world: World, words: Words) -> None:
    node = down(world, words[0])
    given = pairs(words[1:], ("term", "vote", "promise", "log"))
    if "log" in given:
        world.put_log(node, [int(term) for term in given["log"]])
    old = node.disk.hard_state
    node.disk.hard_state = HardState(int(given.get("term", [str(old.term)])[0]),
                                     given["vote"][0] if "vote" in given else old.vote,
                                     ns(given["promise"][0]) if "promise" in given else old.promise)


def set_timeout(world: World, words: Words) -> None:
    _, least, most = world.nodes[words[0]].timing
    # Half a millionth of a span more: a float's rounding must not make it the nanosecond before.
    world.nodes[words[0]].draw = (ns(words[1]) - least + 0.5) / (most - least)


def set_timing(world: World, words: Words) -> None:
    node, (least, most) = down(world, words[0]), words[1].split("-")
    node.timing = node.timing._replace(election_min=ns(least), election_max=ns(most))


def set_clock(world: World, words: Words) -> None:
    node = world.nodes[words[0]]
    given = pairs(words[1:], ("boot", "raw"))
    rates = [round(float(given.get(clock, ["1"])[0]) * PPM) for clock in ("boot", "raw")]
    node.clock.set_rates(world.now_ns, *rates)
    if node.core is not None:
        node.rearm()


def set_disk(world: World, words: Words) -> None:
    disk = world.nodes[words[0]].disk
    disk.delay_ns = None if words[1] == "stuck" else ns(words[1])
    world.nodes[words[0]].sync_later()


def set_latency(world: World, words: Words) -> None:
    for way in ways(words[:-1]):
        world.network.latencies[way] = ns(words[-1])


def set_room(world: World, words: Words) -> None:
    world.nodes[words[0]].disk.has_room = {"yes": True, "no": False}[words[1]]


# --- time

def run(world: World, words: Words) -> int:
    target = {"to": world.trace.origin_ns, "for": world.now_ns}[words[0]] + ns(words[1])
    if target < world.now_ns:
        raise BadScript(f"it is {(world.now_ns - world.trace.origin_ns) / MS:g} ms already")
    return target


# --- requests

def propose(world: World, words: Words) -> None:
    node, text = running(world, words[0]), " ".join(words[1:])
    node.give(Proposed(world.next_request(node, f"propose {text}"), COMMAND, text.encode()))


def read(world: World, words: Words) -> None:
    node = running(world, words[0])
    request = world.next_request(node, "")
    node.requests[request] = f"read {request}"
    node.give(ReadAsked(request))


def transfer(world: World, words: Words) -> None:
    given = pairs(words, ("to", "at"))
    node = running(world, given["at"][0]) if "at" in given else world.leader
    if node is None:
        raise BadScript("nobody leads; name a node: … at NODE")
    to = given.get("to", [None])[0]
    node.give(Transfer(world.next_request(node, f"transfer to {to}" if to else "transfer"), to))


def _change(
    world: World, words: Words, what: str, change: Callable[[Configuration, str], Configuration]
) -> None:
    names = list(words)
    node = world.leader
    if "at" in names:
        node = running(world, names.pop())
        names.remove("at")
    if node is None or node.view is None:
        raise BadScript("nobody leads; name a node: … at NODE")
    wanted = node.view.configuration
    for name in names:
        wanted = change(wanted, world.nodes[name].name)
    node.give(ChangeAsked(world.next_request(node, f"{what} {' '.join(names)}"), wanted))


def _with(voter: bool) -> Callable[[Configuration, str], Configuration]:
    return lambda value, name: value.replaced(with_member=Member(name, name, voter))


def add(world: World, words: Words) -> None:
    if words[0] not in world.nodes:
        world.add_node(words[0]).start()
        world.network.dial_all(words[0])
        world.run_to(world.now_ns)
    _change(world, words, "add", _with(voter=False))


def promote(world: World, words: Words) -> None:
    _change(world, words, "promote", _with(voter=True))


def remove(world: World, words: Words) -> None:
    _change(world, words, "remove", lambda value, name: value.replaced(without=name))


def snapshot(world: World, words: Words) -> None:
    running(world, words[0]).take_snapshot(int(pairs(words[1:], ("size",)).get("size", ["1"])[0]))


# --- processes

def start(world: World, words: Words) -> None:
    for name in words:
        down(world, name).start()
        world.network.dial_all(name, world.network.latency_ns)


def kill(world: World, words: Words) -> None:
    for name in words:
        running(world, name).crash()


def stop(world: World, words: Words) -> None:
    node = running(world, words[0])
    incarnation = node.incarnation
    node.give(Stopping())

    def worked() -> None:
        if node.core is not None and node.incarnation == incarnation:
            node.give(Resigned())
            node.crash()

    world.at(world.now_ns + ns(pairs(words[1:], ("work",)).get("work", ["0"])[0]), worked)


def resign(world: World, words: Words) -> None:
    node = running(world, words[0])
    node.give(Stopping())
    node.give(Resigned())


def health(world: World, words: Words) -> None:
    for name in words[1:]:
        running(world, name).give(Health({"ok": True, "bad": False}[words[0]]))


def pause(world: World, words: Words) -> None:
    for name in words:
        running(world, name).paused = True


def resume(world: World, words: Words) -> None:
    for name in words:
        running(world, name).resume()


def release(world: World, words: Words) -> None:
    dead = down(world, words[0])
    given = pairs(words[1:], ("term", "incarnation"))
    proof = dead.proof_of_death()
    proof = Release(dead.name, int(given.get("incarnation", [str(proof.incarnation)])[0]),
                    int(given.get("term", [str(proof.term)])[0]))

    def arrive(node: Node) -> None:
        if node.core is not None:
            node.give(Received(dead.name, 0, proof))

    for node in world.nodes.values():
        way = (dead.name, node.name)
        if node is not dead and way not in world.network.cuts:
            # The guardian speaks over a connection of its own: it may overtake what the dead one said.
            world.at(world.now_ns + world.network.latency_ns, lambda node=node: arrive(node))


# --- the network

def cut(world: World, words: Words) -> None:
    for way in ways(words):
        world.network.cut(way)


def heal(world: World, words: Words) -> None:
    for way in ways(words) if words else list(world.network.cuts):
        world.network.heal(way)


def redial(world: World, words: Words) -> None:
    for way in ways(words):
        world.network.redial(way)


def _rule(copies: int) -> Callable[[World, Words], None]:
    def rule(world: World, words: Words) -> None:
        kind: Optional[str] = words[0] if words[0] in MESSAGES else None
        rest = list(words[1:] if kind or words[0] == "any" else words)
        times = 1
        if "times" in rest:
            times = int(rest.pop())
            rest.remove("times")
        for way in ways(rest):
            world.network.rules.append(Rule(way, kind, times, copies))
    return rule


def _field(key: str, word: str) -> object:
    if word in ("yes", "no"):
        return word == "yes"
    if key in ("instance", "successor"):
        return word
    if key == "token":
        return _token(word)
    if ":" in word:
        return Position(*map(int, word.split(":")))
    return ns(word) if key in SPANS else int(word)


def _token(word: str) -> Release:
    """Return the RELEASE in `NODE/INCARNATION/TERM/SUCCESSOR`."""
    instance, incarnation, term, successor = word.split("/")
    return Release(instance, int(incarnation), int(term), successor)


def say(world: World, words: Words) -> None:
    """`say n2 to n1 VoteReply term=5 granted=yes`: that message, forged, arrives at once."""
    (source, target), = ways(words[:3])
    fields = dict(word.split("=", 1) for word in words[4:])
    generation = int(fields.pop("connection", "1"))
    values = {key: _field(key, word) for key, word in fields.items() if key != "without"}
    if "without" in fields:
        view = running(world, target).view
        require(view is not None, "a node without a view", target)
        values["configuration"] = encode(view.configuration.replaced(without=fields["without"]))
    message = MESSAGES[words[3]](**({"entries": ()} if words[3] == "Append" else {}), **values)
    running(world, target).give(Received(source, generation, message))


# --- looking

def show(world: World, words: Words) -> None:
    what = words[0] if words and words[0] in SHOWS else "state"
    names = list(words[1:] if words and words[0] in SHOWS else words) or list(world.nodes)
    for name in names:
        world.trace.say(f"{name} {SHOWS[what](world.nodes[name])}")


def _state(node: Node) -> str:
    if node.core is None or node.view is None:
        return "down"
    view, entries = node.view, log_of(node)
    last = entries[-1].position if entries else Position(0, 0)
    text = f"{'paused ' if node.paused else ''}{view.role} term {view.term}"
    if view.role != "leader":
        text += f" of {view.leader or 'nobody'}"
    text += f", log {last}, committed {view.commit_index}"
    return text + (f", lease {node.now.left_within(view.lease_end) // MS} ms" if node.is_leased else "")


def _log(node: Node) -> str:
    entries = log_of(node) if node.core is not None else node.disk.entries
    return "log " + " ".join(str(entry.term) for entry in entries)


def _disk(node: Node) -> str:
    hard = node.disk.hard_state
    last = node.disk.entries[-1].position if node.disk.entries else Position(0, 0)
    removed = f", removed at {hard.removed}" if hard.removed != Position(0, 0) else ""
    return (f"disk term {hard.term}, vote {hard.vote or 'none'}, promise {hard.promise // MS} ms, log {last}"
            + removed)


def _members(node: Node) -> str:
    return describe(node.view.configuration) if node.view else "down"


def _peers(node: Node) -> str:
    progress = node.core.progress if node.core is not None else {}
    return "knows " + (", ".join(f"{peer} has {found.match_index}" for peer, found in progress.items())
                       or "nothing")


def _snapshots(node: Node) -> str:
    marks = " ".join(str(mark.position) for mark in node.disk.marks)
    text = f"snapshots {marks or 'none'}, log on disk behind {node.disk.base}"
    return text + (f", in memory behind {node.core._state.log.base}" if node.core is not None else "")


SHOWS = {"state": _state, "log": _log, "disk": _disk, "members": _members, "peers": _peers,
         "snapshots": _snapshots}


class Entry(NamedTuple):
    """One command: what it does, whether it only makes the setting, how it is written, what it means.

    `act` returns the time (ns) up to which things then happen; None: now.
    """

    act: Callable[[World, Words], Optional[int]]
    is_setting: bool
    usage: str
    meaning: str


COMMANDS: Dict[str, Entry] = {
    "given": Entry(put_on_disk, True, "given NODE [term T] [vote NODE] [promise MS] [log TERM…]",
                   "what is on the disk of a node that does not run; "
                   "the log as terms of its entries from index 1"),
    "timeout": Entry(set_timeout, True, "timeout NODE MS", "the election timeout it draws from now on"),
    "timing": Entry(set_timing, True, "timing NODE MIN-MAX", "its own election times, while it does not run"),
    "clock": Entry(set_clock, True, "clock NODE [boot RATE] [raw RATE]", "how fast its clocks run (1: true)"),
    "disk": Entry(set_disk, True, "disk NODE MS|stuck",
                  "how long a sync takes; stuck: until a later disk command"),
    "room": Entry(set_room, True, "room NODE yes|no", "has its disk room for a snapshot that is sent to it?"),
    "latency": Entry(set_latency, True, "latency NODE from|to NODE… MS",
                     "how long messages are on their way"),
    "run": Entry(run, False, "run to MS | run for MS", "let time pass, that moment included"),
    "propose": Entry(propose, False, "propose NODE TEXT", "ask it to append a command"),
    "read": Entry(read, False, "read NODE", "ask it for a linearizable read"),
    "transfer": Entry(transfer, False, "transfer [to NODE] [at NODE]",
                      "ask the leader (or that node) to hand over to that voter (none named: the best)"),
    "add": Entry(add, False, "add NODE [at NODE]",
                 "ask the leader (or that node) to add a learner, started if new"),
    "promote": Entry(promote, False, "promote NODE… [at NODE]", "ask to make them voters, in one change"),
    "remove": Entry(remove, False, "remove NODE… [at NODE]", "ask to remove them, in one change"),
    "snapshot": Entry(snapshot, False, "snapshot NODE [size BYTES]",
                      "a snapshot of what it applied is durable; the log begins behind the older of two"),
    "start": Entry(start, False, "start NODE…", "start it again on its disk: next incarnation"),
    "kill": Entry(kill, False, "kill NODE…", "it is gone at once; what was not synced is lost"),
    "stop": Entry(stop, False, "stop NODE [work MS]", "orderly: outgoing work of that length, RELEASE, gone"),
    "resign": Entry(resign, False, "resign NODE", "orderly as well, but the process lives on for now"),
    "health": Entry(health, False, "health ok|bad NODE…", "what the check of its host says from now on"),
    "pause": Entry(pause, False, "pause NODE…", "time goes on, it does nothing, what comes waits"),
    "resume": Entry(resume, False, "resume NODE…", "it wakes: its late alarm first, then what waited"),
    "release": Entry(release, False, "release NODE [term T] [incarnation N]",
                     "the guardian of a dead node proves its death to all (P4)"),
    "cut": Entry(cut, False, "cut NODE from|to NODE…",
                 "connections end, both ways or one, and carry nothing"),
    "heal": Entry(heal, False, "heal [NODE from|to NODE…]", "they are dialled again (none named: all)"),
    "redial": Entry(redial, False, "redial NODE to NODE…",
                    "a new connection; words of the old one still arrive"),
    "drop": Entry(_rule(0), False, "drop KIND|any NODE from|to NODE… [times N]",
                  "the next such messages are lost"),
    "twice": Entry(_rule(2), False, "twice KIND|any NODE from|to NODE… [times N]", "they arrive twice"),
    "say": Entry(say, False, "say NODE to NODE KIND FIELD=VALUE…",
                 "a forged or late message arrives at once"),
    "show": Entry(show, False, "show [log|disk|members|peers|snapshots] [NODE…]",
                  "what the nodes (all) hold now"),
}


def execute(world: Optional[World], words: Words) -> Tuple[World, List[str]]:
    """Do one command; return the world and the trace of it. Only the first one makes a world."""
    if world is None:
        if words[0] != "cluster":
            raise BadScript("the first command must be: cluster NODE…")
        return cluster(words[1:]), []
    command = COMMANDS.get(words[0])
    if command is None:
        raise BadScript(f'"{words[0]}" is none of: cluster {" ".join(COMMANDS)}')
    if not command.is_setting and not world.begun:
        world.begin()
    try:
        target = command.act(world, words[1:])
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise BadScript(f"{type(error).__name__}: {error}; write it as: {command.usage}") from error
    world.run_to(world.now_ns if target is None else target)
    return world, world.trace.take()
