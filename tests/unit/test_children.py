"""The life of a node process as its guardian sees it: phases, verdicts, back-off, what a process inherits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from raftctl import tether
from raftctl.host import children
from raftctl.host.children import TRANSITIONS, Backoff, Child, verdict

PHASES = ("down", "starting", "up", "stopping", "outgoing", "ending", "leaving", "gone")
EVENTS = ("spawned", "ready", "stop", "said stopping", "hooks done", "died", "left")
SECOND = 1_000_000_000


def test_the_table_knows_only_phases_and_events():
    assert {phase for phase, _ in TRANSITIONS} | set(TRANSITIONS.values()) <= set(PHASES)
    assert {event for _, event in TRANSITIONS} == set(EVENTS)


def test_each_phase_but_the_last_can_be_stopped_and_leads_to_the_end():
    for phase in PHASES[:-1]:
        if phase != "stopping":
            assert (phase, "stop") in TRANSITIONS
        reached, waiting = set(), [phase]
        while waiting:
            now = waiting.pop()
            reached.add(now)
            waiting += [after for (before, _), after in TRANSITIONS.items()
                        if before == now and after not in reached]
        assert "gone" in reached


def test_a_phase_with_a_process_can_always_lose_it():
    for phase in ("starting", "up", "stopping", "outgoing", "ending"):
        assert TRANSITIONS[phase, "left"] == "leaving"


@pytest.mark.parametrize("status, was_ready, ever_ready, expected", [
    (2, True, True, "give up"),
    (2, False, False, "give up"),
    (74, True, True, "give up"),
    (6, False, False, "give up"),
    (6, False, True, "back off"),
    (75, True, True, "at once"),
    (75, False, True, "back off"),
    (0, True, True, "back off"),
    (1, False, False, "back off"),
    (70, True, True, "back off"),
    (-9, True, True, "back off"),
])
def test_what_follows_an_end_that_nobody_asked_for(status, was_ready, ever_ready, expected):
    assert verdict(status, was_ready, ever_ready) == expected


def test_the_first_restart_is_at_once_then_the_wait_doubles_to_5_s_and_10_s_up_forget_it():
    backoff = Backoff()
    waits = [backoff.next_ns(0) / SECOND for _ in range(9)]
    assert waits == [0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5]
    assert backoff.next_ns(10 * SECOND) == 0
    assert backoff.next_ns(10 * SECOND - 1) == SECOND // 10
    assert all(backoff.next_ns(0) <= 5 * SECOND for _ in range(10000))


REPORT = r"""
import json, os, signal, socket, sys
from raftctl.tether import Board, BoardState
from raftctl.base.instants import Instant
board = Board.attach(int(sys.argv[sys.argv.index("--board-fd") + 1]))
line = socket.socket(fileno=int(sys.argv[sys.argv.index("--tether-fd") + 1]))
board.publish(BoardState(1, 2, True, Instant(3, 4)))
mask = int(next(l.split()[1] for l in open("/proc/self/status") if l.startswith("SigIgn")), 16)
blocked = int(next(l.split()[1] for l in open("/proc/self/status") if l.startswith("SigBlk")), 16)
print("stray")
line.sendall(json.dumps({"kind": "status", "text": json.dumps({
    "argv": sys.argv[1:], "sid": os.getsid(0) == os.getpid(),
    "fds": sorted(map(int, os.listdir("/proc/self/fd"))),
    "mine": sorted([line.fileno(), board.fd]), "ignored": mask, "blocked": blocked,
    "stdin": os.readlink("/proc/self/fd/0")})}).encode() + b"\n")
line.recv(1)
"""


def spawn(code=REPORT):
    environ = dict(os.environ, PYTHONPATH=str(Path(__file__).parents[2]))
    return Child([sys.executable, "-c", code], "/etc/x.json", "tcp://h1:8089", environ)


def told(child):
    child.tether.settimeout(10)
    message, = child.line.receive(child.tether.recv(65536))
    return json.loads(message["text"])


def finish(child):
    child.tether.close()
    child._process.wait(10)
    child.board.close()


def test_p6_a_node_inherits_its_own_tether_and_board_and_nothing_else(capfd):
    """Pitfall 11.3: a lock or listener in a child outlives its owner; another's tether hides our death."""
    stray = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(stray, True)
    other = spawn()
    told(other)
    child = spawn()
    found = told(child)
    # The listing itself is one more descriptor, and so is the map of the board.
    extra = set(found["fds"]) - {0, 1, 2} - set(found["mine"])
    assert len(extra) <= 2 and stray not in found["fds"]
    assert found["sid"] and found["stdin"] == "/dev/null" and found["blocked"] == 0
    # Python itself ignores SIGPIPE and SIGXFSZ.
    assert found["ignored"] & ~(1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1)) == 0
    assert found["argv"][:5] == ["-c", "/etc/x.json", "node", "--node", "tcp://h1:8089"]
    assert child.board.read().term == 2
    finish(child)
    # The other child does not hold the tether of the first one open, and neither does the guardian.
    finish(other)
    assert child.reap() == 0 and other.reap() == 0
    os.close(stray)
    assert capfd.readouterr().out == ""


def test_a_child_that_cannot_be_started_leaves_no_descriptor_behind(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(OSError):
        spawn()
    assert os.listdir("/proc/self/fd") == before


def test_words_to_a_node_never_wait():
    child = spawn("import sys, signal; signal.pause()")
    while child.send({"kind": tether.STOP}):
        pass
    child.signal(signal.SIGKILL)
    assert child._process.wait(10) == child.reap() == -signal.SIGKILL
    assert not child.send({"kind": tether.STOP})
    finish(child)


def test_the_hidden_command_has_the_form_that_the_parser_knows():
    assert children.node_argv(["python", "raftctl.py"], "c.json", "tcp://h:1", 5, 6)[3:] == [
        "python", "raftctl.py", "-c", "c.json", "node", "--node", "tcp://h:1", "--tether-fd", "5",
        "--board-fd", "6"]
