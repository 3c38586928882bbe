"""Guardian and node notice that the other is silent; the service manager hears that all is well only then."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest

from raftctl import tether
from raftctl.host import pulse as pulses
from raftctl.host import watchdog
from raftctl.host.loop import Loop
from raftctl.host.pulse import Pulse
from raftctl.host.watchdog import Watchdog
from raftctl.node import leash as leashes
from raftctl.node.leash import Leash

MS = 1_000_000


@pytest.fixture
def loop(monkeypatch):
    monkeypatch.setattr(tether, "PULSE_NS", 5 * MS)
    made = Loop()
    yield made
    made.close()


# --- the guardian's side

def test_a_node_that_does_not_answer_is_unwell_then_hung_once(loop):
    asked, hung = [], []
    pulse = Pulse(loop, lambda: hung.append(len(asked)))
    assert pulse.is_well
    pulse.begin(lambda message: asked.append(message) or True)
    assert asked == [{"kind": tether.PING, "pid": os.getpid()}] and pulse.is_well
    loop.run(lambda: len(asked) == pulses.UNWELL)
    assert not pulse.is_well and not hung
    loop.run(lambda: len(asked) == pulses.HUNG + 3)
    assert hung == [pulses.HUNG]


def test_one_answer_is_enough_and_a_node_that_has_ended_is_asked_no_more(loop):
    asked = []
    pulse = Pulse(loop, lambda: pytest.fail("hung"))
    pulse.begin(lambda message: asked.append(message) or pulse.answered() or True)
    loop.run(lambda: len(asked) == 2 * pulses.HUNG)
    assert pulse.is_well
    pulse.end()
    ended = []
    loop.after(30 * MS, lambda: ended.append(1))
    loop.run(lambda: bool(ended))
    assert len(asked) == 2 * pulses.HUNG


# --- the watchdog

@pytest.fixture
def told(monkeypatch):
    told = []
    monkeypatch.setattr(watchdog, "notify", told.append)
    return told


def turns(loop, span_ms):
    ended = []
    loop.after(span_ms * MS, lambda: ended.append(1))
    loop.run(lambda: bool(ended))


def test_the_service_manager_hears_that_all_is_well_only_while_it_is(loop, told):
    """Pitfall 9.4: fed by both."""
    well = [True]
    Watchdog(loop, {"WATCHDOG_USEC": "20000"}, lambda: well[0])
    turns(loop, 30)
    assert len(told) >= 3 and set(told) == {"WATCHDOG=1"}
    well[0], count = False, len(told)
    turns(loop, 30)
    assert len(told) == count


@pytest.mark.parametrize("environ", [
    {}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"}])
def test_without_a_watchdog_of_ours_nothing_is_said(loop, told, environ):
    Watchdog(loop, environ, lambda: True)
    turns(loop, 20)
    assert told == []


# --- the node's side

@pytest.fixture
def ends(monkeypatch):
    monkeypatch.setattr(tether, "PULSE_NS", 5 * MS)
    ours, theirs = socket.socketpair()
    yield ours, Leash(theirs.detach(), lambda message: None, lambda: None)
    ours.close()


def test_a_silent_guardian_is_gone(ends):
    ours, leash = ends
    ours.sendall(tether.encode({"kind": tether.PING, "pid": 2 ** 22 + 1}))
    assert leash.wait_for(tether.STOP) == ""


def test_one_that_never_asked_is_an_older_one_and_not_silent(ends, monkeypatch):
    ours, leash = ends
    looks = []
    select = leashes.select.select
    monkeypatch.setattr(leashes.select, "select", lambda *given: (
        looks.append(1), len(looks) == 4 * leashes.SILENCES and ours.close(), select(*given))[-1])
    assert leash.wait_for(tether.STOP) == "" and len(looks) == 4 * leashes.SILENCES


def test_only_our_own_parent_is_killed_for_its_silence(ends):
    """The number in PING may be another process by now."""
    ours, leash = ends
    other = subprocess.Popen(["sleep", "60"])
    ours.sendall(tether.encode({"kind": tether.PING, "pid": other.pid}))
    assert leash.wait_for(tether.STOP) == ""
    assert other.poll() is None
    other.kill()
    other.wait(20)


NODE = r"""
import socket, sys
from raftctl import tether
from raftctl.node.leash import Leash
tether.PULSE_NS = 5_000_000
leash = Leash(int(sys.argv[1]), lambda message: None, lambda: None)
print(repr(leash.wait_for(tether.STOP)), flush=True)
"""
GUARDIAN = r"""
import os, socket, subprocess, sys, time
from raftctl import tether
ours, theirs = socket.socketpair()
subprocess.Popen([sys.executable, "-c", sys.argv[1], str(theirs.fileno())], pass_fds=(theirs.fileno(),))
ours.sendall(tether.encode({"kind": tether.PING, "pid": os.getpid()}))
time.sleep(60)
"""


def test_p6_a_guardian_that_hangs_is_killed_by_its_node():
    """It may wake up and run hooks beside others."""
    top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    guardian = subprocess.Popen([sys.executable, "-c", GUARDIAN, NODE], stdout=subprocess.PIPE,
                                env={**os.environ, "PYTHONPATH": top})
    with guardian.stdout:
        assert guardian.stdout.readline() == b"''\n"
    assert guardian.wait(20) == -signal.SIGKILL
