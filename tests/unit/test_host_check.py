"""The health check: fall and rise, time limit, no overlap, reload; with a clock and processes of the test."""

from __future__ import annotations

import logging
import os
import time

import pytest

from raftctl.base.addresses import Address
from raftctl.cluster.checking import FAILING, NONE, PASSING, UNKNOWN, Checked
from raftctl.cluster.hookplan import Facts
from raftctl.config.model import Check as CheckKey
from raftctl.config.model import NodeConfig
from raftctl.host.check import LINE_LIMIT, Check
from raftctl.host.hooks import Outcome
from raftctl.host.loop import Loop, Timer

MS = 1_000_000
KEY = CheckKey(("/etc/web.sh",), 2000 * MS, 1000 * MS, 3, 2)
NODE = NodeConfig(None, Address("h1", 1), "h1", "h1", None, "h1", (), 1, 2, 3, None, "/d", False, None,
                  "info", (), None, (), True, "x", "", None, check=KEY)
LOG = logging.getLogger("test check")


class Clock:
    """In place of the loop: time goes on as the test says."""

    def __init__(self):
        self.now_ns, self.timers = 0, []

    def now(self):
        return self.now_ns

    def at(self, when_ns, callback):
        timer = Timer(callback)
        self.timers.append((when_ns, len(self.timers), timer))
        return timer

    def after(self, span_ns, callback):
        return self.at(self.now_ns + span_ns, callback)

    def run(self, span_ms):
        end_ns = self.now_ns + span_ms * MS
        while True:
            due = min((entry for entry in self.timers if entry[0] <= end_ns), default=None)
            if due is None:
                break
            self.timers.remove(due)
            self.now_ns = max(self.now_ns, due[0])
            due[2].fire()
        self.now_ns = end_ns


class FakeOutput:
    def drain(self):
        pass

    def close(self):
        pass


class FakeProcess:
    """A run of the check, which ends as the test says."""

    runs: list = []

    def __init__(self, loop, on_line, on_end):
        self.output, self.hear, self._on_end = FakeOutput(), on_line, on_end
        self.killed = ""
        self.alive = True

    def start(self, argv, environment, told, timeout_ns):
        assert timeout_ns is None and not any(run.alive for run in FakeProcess.runs)
        self.argv, self.told = argv, told
        FakeProcess.runs.append(self)

    def end(self, status, *lines):
        for line in lines:
            self.hear(line)
        self.alive = False
        self._on_end(Outcome(status == 0, f"status {status}"))

    def reap(self):
        pass

    def kill(self, why):
        self.killed = why

    def dies(self):
        self.alive = False
        self._on_end(Outcome(False, "signal 9 (SIGKILL), time limit"))

    abandon = reap


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def check(clock, monkeypatch):
    monkeypatch.setattr(FakeProcess, "runs", [])
    monkeypatch.setattr(Check, "process_type", FakeProcess)
    told = []
    made = Check(clock, NODE, LOG, lambda: told.append(made.checked), lambda: Facts("LEADER", "CANDIDATE", 7))
    made.told = told
    return made


def runs(clock, *results):
    """Let one run a status end, an interval each."""
    for status in results:
        FakeProcess.runs[-1].end(status)
        clock.run(2000)


def test_until_its_first_run_has_ended_the_node_is_not_fit_and_that_run_decides(check, clock):
    """As keepalived: one pass is enough then, whatever `rise` says; and so is one failure."""
    assert (check.checked.state, check.checked.is_fit) == (UNKNOWN, False)
    check.start()
    assert len(FakeProcess.runs) == 1 and FakeProcess.runs[0].argv[-1] == "/etc/web.sh"
    assert FakeProcess.runs[0].told["event"] == "check" and FakeProcess.runs[0].told["term"] == 7
    runs(clock, 0)
    assert check.checked.state == PASSING and check.told[-1] == check.checked


def test_a_first_run_that_fails_is_enough(check, clock):
    check.start()
    runs(clock, 7)
    assert check.checked.state == FAILING
    assert check.checked.cause == "check failed 1 time: web.sh status 7"


@pytest.mark.parametrize("results, states", [
    ((0, 1, 1, 1), (PASSING, PASSING, PASSING, FAILING)),
    ((0, 1, 1, 0, 1, 1), (PASSING,) * 6),
    ((0, 1, 1, 1, 0, 0), (PASSING, PASSING, PASSING, FAILING, FAILING, PASSING)),
    ((1, 0, 1, 0, 0), (FAILING, FAILING, FAILING, FAILING, PASSING)),
], ids=["fall", "not in a row", "rise", "rise begins anew"])
def test_it_takes_fall_failures_and_rise_passes_in_a_row(check, clock, results, states):
    check.start()
    found = []
    for status in results:
        runs(clock, status)
        found.append(check.checked.state)
    assert tuple(found) == states


def test_the_cause_names_how_often_what_and_the_last_line(check, clock):
    check.start()
    runs(clock, 0, 7, 7)
    FakeProcess.runs[-1].end(7, "curl: (7) refused\x1b[2J", "  ", "")
    assert check.checked.cause == "check failed 3 times: web.sh status 7: curl: (7) refused [2J"
    assert (check.checked.count, check.checked.status) == (3, "status 7")
    clock.run(2000)
    FakeProcess.runs[-1].end(7, "x" * 9999)
    assert check.checked.line == "x" * LINE_LIMIT and check.checked.count == 4
    clock.run(2000)
    FakeProcess.runs[-1].end(7)
    assert check.checked.line == ""       # of the last run, which said nothing
    assert check.checked.cause.endswith("(7) refused [2J")       # why it is failing has not changed


def test_a_time_out_is_a_failure_and_kills(check, clock):
    """Pitfall 9.3: what hangs is ended with its group, and has not passed."""
    check.start()
    runs(clock, 0)
    for count in (1, 2, 3):
        clock.run(999)
        assert FakeProcess.runs[-1].killed == "" and check.checked.count != count or count == 1
        clock.run(1)
        assert FakeProcess.runs[-1].killed and (check.checked.passed, check.checked.count) == (False, count)
        FakeProcess.runs[-1].dies()
        clock.run(1000)
    assert check.checked.state == FAILING
    assert check.checked.cause == "check failed 3 times: web.sh time limit of 1 s"


def test_runs_begin_an_interval_apart_and_never_overlap(check, clock):
    slow = KEY._replace(interval_ns=500 * MS, timeout_ns=3000 * MS)
    check.reload(NODE._replace(check=slow))
    check.start()
    clock.run(200)
    FakeProcess.runs[-1].end(0)
    clock.run(299)
    assert len(FakeProcess.runs) == 1
    clock.run(1)
    assert len(FakeProcess.runs) == 2
    clock.run(2000)
    assert len(FakeProcess.runs) == 2       # four intervals long it goes on
    FakeProcess.runs[-1].end(0)
    clock.run(0)
    assert len(FakeProcess.runs) == 3


def test_one_that_kill_does_not_end_fails_on_and_nothing_is_begun_beside_it(check, clock):
    """A dead network file system (pitfall 9.4)."""
    check.start()
    runs(clock, 0)
    clock.run(1000)
    clock.run(4000)
    assert (check.checked.state, check.checked.count, len(FakeProcess.runs)) == (FAILING, 3, 2)
    assert "does not end after KILL" in check.checked.cause
    FakeProcess.runs[-1].dies()
    clock.run(0)
    assert len(FakeProcess.runs) == 3
    runs(clock, 0, 0)
    assert check.checked.state == PASSING


def test_one_that_cannot_be_started_has_failed(check, clock, monkeypatch):
    def start(self, *arguments):
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(FakeProcess, "start", start)
    check.start()
    assert check.checked.state == FAILING and "can't be started" in check.checked.status
    clock.run(4000)
    assert check.checked.count == 3


def test_a_check_that_is_taken_out_of_the_file_says_nothing_any_more(check, clock):
    check.start()
    runs(clock, 1)
    run = FakeProcess.runs[-1]
    check.reload(NODE._replace(check=None))
    assert run.killed and check.checked == Checked() and check.told[-1].state == NONE
    run.dies()
    clock.run(10_000)
    assert check.checked == Checked() and len(FakeProcess.runs) == 2


@pytest.mark.parametrize("first, kept", [(0, PASSING), (1, FAILING)])
def test_a_check_that_is_changed_keeps_what_held_and_counts_anew(check, clock, first, kept):
    check.start()
    runs(clock, first, 1 - first)
    old = FakeProcess.runs[-1]
    check.reload(NODE._replace(check=KEY._replace(argv=("/etc/other.sh",))))
    assert (check.checked.state, check.checked.count) == (kept, 0) and old.killed
    assert len(FakeProcess.runs) == 3
    old.dies()                       # its result is no result
    clock.run(0)
    assert FakeProcess.runs[-1].argv[-1] == "/etc/other.sh" and check.checked.count == 0
    runs(clock, 1 - first)
    assert (check.checked.state, check.checked.count) == (kept, 1)


def test_a_check_that_is_new_in_the_file_does_not_make_a_leader_give_way(check, clock):
    check.start()
    check.reload(NODE._replace(check=None))
    FakeProcess.runs[-1].dies()
    check.reload(NODE)
    assert check.checked.state == PASSING and len(FakeProcess.runs) == 2
    runs(clock, 1, 1)
    assert check.checked.state == PASSING
    runs(clock, 1)
    assert check.checked.state == FAILING


def test_the_same_check_in_another_file_goes_on(check, clock):
    check.start()
    runs(clock, 0)
    check.reload(NODE._replace(log_level="debug"))
    assert not FakeProcess.runs[-1].killed and check.checked.state == PASSING


def test_a_node_that_stops_is_checked_no_more(check, clock):
    check.start()
    check.stop()
    FakeProcess.runs[-1].dies()
    clock.run(10_000)
    assert len(FakeProcess.runs) == 1 and check.checked.state == UNKNOWN


# --- with real processes


def real(tmp_path, source, timeout_ms=300):
    """Return a loop and a check that runs `source`, as Python, and is looked at as by SIGCHLD."""
    script = tmp_path / "check.py"
    script.write_text(source)
    key = KEY._replace(argv=(str(script),), timeout_ns=timeout_ms * MS)
    loop = Loop()
    return loop, Check(loop, NODE._replace(check=key), LOG, lambda: None, Facts)


def turn_until(loop, check, done, limit_s=20.0):
    end_s = time.monotonic() + limit_s

    def look():
        check.reap()
        loop.after(5 * MS, look)

    look()
    loop.run(lambda: done() or time.monotonic() > end_s)
    assert done()


def test_the_group_of_a_run_that_hangs_is_killed_and_what_it_said_is_kept(tmp_path):
    """Pitfall 9.3: its children too, also where they ignore TERM."""
    pids = tmp_path / "pids"
    loop, check = real(tmp_path, f"""
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if child:
    open({str(pids)!r}, "w").write(f"{{os.getpid()}} {{child}}")
    print("connects", flush=True)
time.sleep(600)
""", timeout_ms=3000)
    try:
        check.start()
        turn_until(loop, check, lambda: check.checked.count == 1 and check._process is None)
        assert check.checked.status == "time limit of 3 s" and check.checked.line == "connects"
        for pid in map(int, pids.read_text().split()):
            assert not os.path.exists(f"/proc/{pid}") or " Z " in open(f"/proc/{pid}/stat").read()
    finally:
        check.close()
        loop.close()


def test_a_run_is_told_what_the_node_is_and_may_leave_a_child_with_its_pipe(tmp_path):
    """Pitfall 9.6: it ends when its process ends."""
    loop, check = real(tmp_path, """
import os, json, sys, time
told = json.load(sys.stdin)
if os.fork():
    print(told["event"], os.environ["RAFTCTL_EVENT"], os.getpid() == os.getpgid(0))
else:
    time.sleep(3)
""", timeout_ms=20_000)
    try:
        check.start()
        turn_until(loop, check, lambda: check.checked.count == 1)
        assert (check.checked.state, check.checked.line) == (PASSING, "check check True")
    finally:
        check.close()
        loop.close()
