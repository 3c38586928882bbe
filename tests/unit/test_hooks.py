"""One hook process: what it is told, which scripts run and how, its time limit, its output and its end."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from raftctl.cluster.hookplan import Facts
from raftctl.base import groups
from raftctl.host import hooks, launch
from raftctl.host.hooks import HookProcess, Output, document, hook_argv, hook_environment
from raftctl.host.loop import Loop

SECOND = 1_000_000_000
PR_SET_CHILD_SUBREAPER = 36
FACTS = Facts("LEADER", "CANDIDATE", 7, "tcp://h1:8089", "pre-votes 2/3", ("tcp://h1:8089", "tcp://h2:8089"))
TOLD = document("leader", "tcp://h1:8089", "/etc/raftctl/config.json", FACTS)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root refuses scripts")


@pytest.fixture
def loop():
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture
def script(tmp_path):
    """Make a script: `script("x.sh", text, mode)`."""
    def make(name, text, mode=0o755):
        path = tmp_path / name
        path.write_text(text)
        path.chmod(mode)
        return str(path)
    return make


class Hook:
    """Runs a hook on a loop of its own, until it ends or `until` holds."""

    def __init__(self, loop, argv, environ=None, timeout_s=10.0):
        self.loop = loop
        self.lines = []
        self.outcomes = []
        self.process = HookProcess(loop, self.lines.append, self.outcomes.append)
        loop.on_signal = lambda number: self.process.reap()
        loop.catch([signal.SIGCHLD])
        environ = hook_environment(dict(os.environ) if environ is None else environ, TOLD)
        self.process.start(argv, environ, TOLD, int(timeout_s * SECOND))

    def run(self, until=None):
        late = []
        self.loop.after(20 * SECOND, lambda: late.append(True))
        self.loop.run(until=lambda: late or self.outcomes or (until and until()))
        assert not late
        return self

    def until_line(self, text):
        return self.run(until=lambda: text in self.lines)


def sh(text, *arguments):
    return ["/bin/sh", "-c", text, *arguments]


def ends(loop, argv, **options):
    return Hook(loop, argv, **options).run()


# --- what it is told

def test_environment_and_json_say_the_same():
    environ = hook_environment({"PATH": "/bin"}, TOLD)
    assert environ == {
        "PATH": "/bin", "RAFTCTL_EVENT": "leader", "RAFTCTL_STATE": "LEADER",
        "RAFTCTL_PREVIOUS_STATE": "CANDIDATE", "RAFTCTL_TERM": "7", "RAFTCTL_LEADER": "tcp://h1:8089",
        "RAFTCTL_ADDRESS": "tcp://h1:8089", "RAFTCTL_CONFIG": "/etc/raftctl/config.json",
        "RAFTCTL_MEMBERS": "tcp://h1:8089 tcp://h2:8089", "RAFTCTL_REASON": "pre-votes 2/3"}
    assert set(TOLD) == set(hooks._VARIABLES)


def test_what_is_not_known_is_empty_in_the_environment_and_null_in_json():
    told = document("follower", "tcp://h1:8089", None, Facts())
    assert told["leader"] is None and told["config"] is None
    environ = hook_environment({}, told)
    assert environ["RAFTCTL_LEADER"] == environ["RAFTCTL_CONFIG"] == environ["RAFTCTL_MEMBERS"] == ""


def test_the_service_managers_words_are_for_the_guardian_alone():
    theirs = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "1", "LISTEN_FDS": "3"}
    environ = hook_environment(dict(theirs, HOME="/root"), TOLD)
    assert "HOME" in environ and not set(theirs) & set(environ)


def test_a_zero_byte_in_a_reason_does_not_stop_the_guardian(loop):
    told = dict(TOLD, reason="a\0b")
    assert hook_environment({}, told)["RAFTCTL_REASON"] == "ab"


def test_a_hook_reads_its_json_from_standard_input_without_anybody_who_writes(loop):
    hook = ends(loop, sh("cat; test -t 0 || echo no terminal"))
    assert json.loads(hook.lines[0]) == TOLD and hook.lines[1] == "no terminal"


@pytest.mark.parametrize("name, text, mode", [
    ("hook.py", "import os, sys; print(sys.executable, os.environ['RAFTCTL_TERM'], *sys.argv[1:])", 0o644),
    ("hook", "#!/bin/sh\necho $RAFTCTL_TERM \"$@\"", 0o755),
    ("hook.sh", "#!/bin/sh -f\necho $RAFTCTL_TERM \"$@\"", 0o644),
    ("hook.pl", "#! /usr/bin/env sh\necho $RAFTCTL_TERM \"$@\"", 0o600),
])
def test_scripts_run_by_their_ending_as_they_are_or_by_their_first_line(loop, script, name, text, mode):
    hook = ends(loop, hook_argv((script(name, text, mode), "one two", "*")))
    assert hook.lines == [(f"{sys.executable} " if name.endswith(".py") else "") + "7 one two *"]
    assert hook.outcomes == [hooks.Outcome(True, "status 0")]


def test_js_runs_with_node(loop, script, tmp_path):
    node = tmp_path / "bin" / "node"
    node.parent.mkdir()
    node.write_text("#!/bin/sh\necho node runs $(basename $1) $2\n")
    node.chmod(0o755)
    environ = dict(os.environ, PATH=f"{node.parent}:{os.environ['PATH']}")
    ended = ends(loop, hook_argv((script("x.js", "", 0o644), "7")), environ=environ)
    assert ended.lines == ["node runs x.js 7"]


@pytest.mark.parametrize("name, text, status, complaint", [
    ("gone", None, 127, "{path}: it does not exist"),
    ("plain", "echo hello\n", 126, "{path}: it is not executable and has no #! line; chmod +x it"),
    ("lost", "#!/nowhere/sh\n", 127, "{path}: its interpreter does not exist"),
    ("folder", ..., 126, "{path}: {path}: is a directory"),
])
def test_a_script_that_can_not_run_says_why(loop, script, tmp_path, name, text, status, complaint):
    path = str(tmp_path / name)
    if text is ...:
        os.mkdir(path)
    elif text is not None:
        script(name, text, 0o755 if text.startswith("#!") else 0o644)
    hook = ends(loop, hook_argv((path,)))
    assert hook.outcomes == [hooks.Outcome(False, f"status {status}")]
    assert hook.lines == [complaint.format(path=path)]


def test_a_hook_has_default_signals_its_own_session_and_no_descriptor_of_ours(loop, script):
    inherited = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(inherited, True)
    text = ("#!/bin/sh\nps -o sid= -o pgid= -p $$ | tr -s ' ' ; echo $$; grep SigIgn /proc/self/status; "
            "grep SigBlk /proc/self/status; ls /proc/self/fd | wc -l")
    lines = ends(loop, hook_argv((script("hook", text),))).lines
    os.close(inherited)
    if lines[0].split()[0].isdigit() and len(lines) == 5:
        assert lines[0].split() == [lines[1], lines[1]]
    assert [int(line.split()[1], 16) for line in lines[-3:-1]] == [0, 0]
    assert lines[-1].strip() == "4"        # 0, 1, 2 and the listing itself


# --- root and scripts of others (pitfall 11.3)

def test_what_only_root_can_write_is_fine():
    assert launch.refusal("/bin/sh", 0) == ""


@as_root
def test_root_refuses_a_script_that_others_can_write(loop, script):
    path = script("hook", "#!/bin/sh\necho ran\n", 0o777)
    hook = ends(loop, hook_argv((path,)))
    assert hook.lines == [f"{path}: not run as root: {path} can be written by others (mode 0777); "
                          "chown it to root and chmod go-w it"]
    assert hook.outcomes == [hooks.Outcome(False, "status 126")]


@as_root
@pytest.mark.parametrize("spoil, complaint", [
    (lambda top: os.chmod(top / "a", 0o777), "{top}/a can be written by others (mode 0777)"),
    (lambda top: os.chown(top / "a", 1234, 0), "{top}/a belongs to user 1234"),
    (lambda top: os.chown(top / "a" / "hook", 1234, 0), "{top}/a/hook belongs to user 1234"),
    (lambda top: (os.chown(top / "a", 0, 1234), os.chmod(top / "a", 0o775)),
     "{top}/a can be written by others (mode 0775)"),
    (lambda top: os.chmod(top / "a", 0o775), ""),
    (lambda top: os.chmod(top / "a", 0o1777), ""),
    (lambda top: (os.chmod(top / "a", 0o1777), os.chown(top / "a" / "hook", 1234, 0)),
     "{top}/a/hook belongs to user 1234"),
])
def test_root_looks_at_parents_too(script, tmp_path, spoil, complaint):
    (tmp_path / "a").mkdir(mode=0o755)
    path = script("a/hook", "")
    spoil(tmp_path)
    assert launch.refusal(path, 0) == complaint.format(top=tmp_path)


@as_root
def test_root_looks_at_links_and_at_what_they_lead_through(script, tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    target = script("open/hook", "")
    os.symlink("open/hook", tmp_path / "link")
    refused = launch.refusal(str(tmp_path / "link"), 0)
    assert refused == f"{tmp_path}/open can be written by others (mode 0777)"
    os.symlink("open", tmp_path / "folder")
    assert "open can be written" in launch.refusal(str(tmp_path / "folder" / "hook"), 0)
    os.symlink("loop", tmp_path / "loop")
    assert launch.launch("", "", sys.executable, str(tmp_path / "loop"), []) == 126
    assert os.path.exists(target)


def test_a_daemon_of_another_user_trusts_root_and_itself(script, tmp_path):
    path = script("hook", "")
    own = os.stat(path).st_uid
    # Whoever runs the tests owns what pytest made, on the way from a sticky /tmp.
    assert launch.refusal(path, own) == ""


# --- output and end

def test_lines_come_as_they_are_written_and_a_line_without_end_at_the_end(loop):
    assert ends(loop, sh("echo one; echo two >&2; printf 'thr\\377ee\\r\\n'; printf four")).lines == [
        "one", "two", "thr\\xffee", "four"]


def test_a_line_without_end_is_cut_and_a_flood_is_counted(loop):
    hook = ends(loop, sh("head -c 10000 /dev/zero | tr '\\0' x; echo; yes | head -n 30000"))
    assert [len(line) for line in hook.lines[:3]] == [4096, 4096, 1808]
    assert len(hook.lines) < 3 + 30000
    assert any("lines of output were left out" in line for line in hook.lines)


def test_p5_a_hook_ends_when_its_process_ends_not_when_its_pipe_does(loop, tmp_path):
    """Pitfall 9.6: the background process lives on, holds the pipe, and is still heard."""
    # By a FIFO, not by its standard input: a shell gives /dev/null to what it starts with "&".
    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)
    hook = Hook(loop, sh('{ read word < "$0"; echo $word; } &', fifo))
    hook.run()
    assert hook.outcomes == [hooks.Outcome(True, "status 0")] and hook.process.output.is_open
    with open(fifo, "w", encoding="ascii") as word:
        word.write("later\n")
    late = []
    loop.after(20 * SECOND, lambda: late.append(1))
    loop.run(until=lambda: late or not hook.process.output.is_open)
    assert not late and hook.lines == ["later"]


@pytest.mark.parametrize("code, text, succeeded", [
    ("exit 0", "status 0", True), ("exit 3", "status 3", False), ("kill -9 $$", "signal 9 (SIGKILL)", False)])
def test_an_outcome_is_told_in_words(loop, code, text, succeeded):
    assert ends(loop, sh(code)).outcomes == [hooks.Outcome(succeeded, text)]


def test_p5_a_hook_over_its_time_limit_gets_term_as_a_group(loop):
    hook = ends(loop, sh("trap 'echo bye; exit 0' TERM; sleep 600 & wait"), timeout_s=3)
    assert hook.lines == ["bye"]
    assert hook.outcomes == [hooks.Outcome(False, "status 0, time limit of 3 s")]


def test_p5_a_group_that_ignores_term_is_killed_whole_after_the_grace(loop, monkeypatch):
    monkeypatch.setattr(hooks, "GRACE_NS", SECOND // 5)
    hook = Hook(loop, sh("trap '' TERM; sleep 600 & echo $!; while :; do wait; done"))
    hook.run(until=lambda: hook.lines)
    hook.process.end("the lease is over")
    hook.run()
    assert hook.outcomes == [hooks.Outcome(False, "signal 9 (SIGKILL), the lease is over")]
    assert is_gone(int(hook.lines[0]))


def test_p5_what_is_left_of_a_group_after_a_forced_end_has_the_grace_and_is_then_killed(loop, monkeypatch):
    monkeypatch.setattr(hooks, "GRACE_NS", SECOND // 5)
    hook = Hook(loop, sh("(trap '' TERM; echo $$ ready; exec sleep 600) & exec sleep 600"))
    hook.until_line(f"{hook.process.pid} ready")
    hook.process.end("the lease is over")
    hook.run()
    assert hook.outcomes == [hooks.Outcome(False, "signal 15 (SIGTERM), the lease is over")]
    assert not group_lives(hook.process.pid)


@pytest.fixture
def orphans():
    """Orphans become this process's, which reaps them at the end of the test and not before."""
    prctl = ctypes.CDLL(None).prctl
    assert prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    yield
    prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


@pytest.mark.usefixtures("orphans")
def test_p5_zombies_that_nobody_reaps_are_no_group(loop):
    """Found in a container whose process 1 reaps late: each end lasted to the end of the grace."""
    hook = Hook(loop, sh("sleep 600 & echo $!; exec sleep 600"))
    hook.run(until=lambda: hook.lines)
    begun = loop.now()
    hook.process.end("the lease is over")
    hook.run()
    assert loop.now() - begun < hooks.GRACE_NS
    assert is_gone(int(hook.lines[0])) and len(hook.lines) == 1
    os.killpg(hook.process.pid, 0)


def test_p5_a_process_whose_first_thread_has_ended_is_alive():
    threads = subprocess.Popen(
        [sys.executable, "-c", "import ctypes, threading, time\n"
         "threading.Thread(target=time.sleep, args=(600,)).start()\n"
         "ctypes.CDLL(None).pthread_exit(None)"], start_new_session=True)
    deadline = time.monotonic() + 20
    while not is_gone(threads.pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert groups.is_alive(threads.pid)
    threads.kill()
    os.waitid(os.P_PID, threads.pid, os.WEXITED | os.WNOWAIT)
    assert not groups.is_alive(threads.pid)
    threads.wait()
    assert not groups.is_alive(threads.pid)


def test_p5_a_stopped_hook_is_ended_too(loop):
    hook = Hook(loop, sh("echo here; exec sleep 600"))
    hook.until_line("here")
    os.killpg(hook.process.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, hook.process.pid, os.WSTOPPED | os.WNOWAIT)
    hook.process.end("the lease is over")
    hook.run()
    assert hook.outcomes == [hooks.Outcome(False, "signal 15 (SIGTERM), the lease is over")]


def test_a_hook_can_be_killed_at_once_and_ending_it_again_changes_nothing(loop):
    hook = Hook(loop, sh("trap '' TERM; echo here; while :; do sleep 600; done"))
    hook.until_line("here")
    hook.process.end("the lease is over")
    hook.process.end("another reason")
    hook.process.kill("killed in a hurry")
    hook.run()
    hook.process.kill("after its end")
    assert hook.outcomes == [hooks.Outcome(False, "signal 9 (SIGKILL), the lease is over")]


def test_a_hook_that_cannot_be_started_leaves_no_descriptor_behind(loop, monkeypatch):
    process = HookProcess(loop, print, print)
    before = os.listdir("/proc/self/fd")

    def refuse(*_args, **_kwargs):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(OSError):
        process.start(["/bin/true"], {}, TOLD, SECOND)
    assert os.listdir("/proc/self/fd") == before


def test_a_pipe_that_is_closed_is_read_to_its_end(loop):
    reader, writer = os.pipe()
    lines = []
    output = Output(loop, reader, lines.append)
    os.write(writer, b"a\nb")
    os.close(writer)
    output.drain()
    assert lines == ["a", "b"] and not output.is_open


def group_lives(pgid):
    try:
        os.killpg(pgid, 0)
    except ProcessLookupError:
        return False
    # Killed processes that nobody reaped yet still count.
    states = [line.split(") ")[1][0] for line in stats() if f" {pgid} " in line.split(") ")[1][:30]]
    return any(state != "Z" for state in states)


def stats():
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as file:
                    yield file.read()
            except OSError:
                continue


def is_gone(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().split(") ")[1][0] in "ZX"
    except OSError:
        return True
