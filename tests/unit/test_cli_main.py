"""The frame of the command line: finding the command, one line for each error, exit statuses, cheap start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from raftctl.cli import main as program
from raftctl.cli.commands import COMMANDS, timeout
from raftctl.cli.main import main
from raftctl.cli.parser import build, find_command
from raftctl.version import __version__

ROOT = Path(__file__).resolve().parents[2]


def run(capfd, *arguments):
    status = main(arguments)
    return (status, *capfd.readouterr())


def python(*arguments):
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, timeout=30, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "name"),
    (
        (["state"], "state"),
        (["-c", "state", "status"], "status"),
        (["--config=x", "get", "state"], "get"),
        (["--node", "n1", "-v", "put"], "put"),
        (["-cx"], None),
        ([], None),
        (["-c"], None),
    ),
)
def test_the_command_is_the_first_word_that_is_no_option(arguments, name):
    assert find_command(arguments) == name


@pytest.mark.parametrize(
    "arguments",
    (
        ["-c", "f", "--node", "n", "state"],
        ["state", "--config", "f", "--node", "n"],
        ["-c", "other", "--node", "m", "state", "-c", "f", "--node=n"],
    ),
)
def test_config_and_node_stand_before_or_after_the_command_and_the_later_one_holds(arguments):
    options = build("state")[0].parse_args(arguments)
    assert (options.config, options.node) == ("f", "n")


@pytest.mark.parametrize("arguments", (["version"], ["-v"], ["--version"], ["--version", "state"]))
def test_version_is_the_bare_number(capfd, arguments):
    assert run(capfd, *arguments) == (0, f"{__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "line"),
    (
        ([], "no command; see: raftctl --help"),
        (["sttae"], '"sttae" is not a command; did you mean "state"?'),
        (["nodee"], '"nodee" is not a command; see: raftctl --help'),
        (["xyzzy"], '"xyzzy" is not a command; see: raftctl --help'),
        (["help", "sttae"], '"sttae" is not a command; did you mean "state"?'),
        (["get"], "the following arguments are required: KEY; see: raftctl help get"),
        (["get", "k", "--jsn"], "unrecognized arguments: --jsn; see: raftctl help get"),
        (["get", "k", "--js"], "unrecognized arguments: --js; see: raftctl help get"),
        (
            ["state", "--is", "leader,boss"],
            '--is: "boss" is no state; states are leader, follower, candidate, learner, uninitialized',
        ),
        (
            ["state", "h1", "99999"],
            "argument PORT: port 99999 is out of range; use 1 to 65535; see: raftctl help state",
        ),
        (["state", "h1", "x"], 'argument PORT: "x" is no whole number from 0; see: raftctl help state'),
        (["state", "h1"], "give HOST and PORT, or neither; for a node of a cluster file: --node"),
        (
            ["put", "k", "v", "--if-rev", "-1"],
            'argument --if-rev: "-1" is no whole number from 0; see: raftctl help put',
        ),
        (
            ["put", "k", "v", "--if-rev", "9223372036854775808"],
            "argument --if-rev: 9223372036854775808 is out of range; it is less than 2^63; see: raftctl help "
            "put",
        ),
        (
            ["put", "k", "v", "--if-rev", "1", "--if-absent"],
            "--if-absent and --if-rev exclude each other; --if-absent is --if-rev 0",
        ),
        (
            ["get", "k", "--timeout", "0"],
            '--timeout "0" is out of range; give seconds, more than 0, at most 86400',
        ),
        (
            ["get", "k", "--timeout", "nan"],
            '--timeout "nan" is out of range; give seconds, more than 0, at most 86400',
        ),
        (["get", ""], "the key is empty"),
        (["get", "k" * 1025], "the key has 1025 bytes, at most 1024 are allowed"),
        (["get", os.fsdecode(b"a\xff")], "the key b'a\\xff' is no UTF-8 text"),
        (["put", "k", "v" * 262145], "the value has 262145 bytes, at most 262144 are allowed"),
        (["join", "h1:8089"], '"h1:8089" is no address; write it as tcp://host:port'),
        (["-c", "/nowhere/c.json", "state"], "/nowhere/c.json: no such file; check the name"),
    ),
)
def test_p9_bad_input_is_one_line_and_status_2(capfd, arguments, line):
    status, shown, complaint = run(capfd, *arguments)
    assert (status, shown) == (2, "")
    assert complaint.startswith(f"raftctl: {line}") and complaint.count("\n") == 1


@pytest.mark.parametrize(("text", "seconds"), (("5", 5.0), ("0.25", 0.25), ("200 ms", 0.2), ("1 min", 60.0)))
def test_timeout_is_a_number_of_seconds_or_a_duration(text, seconds):
    assert timeout(text) == seconds


def test_help_names_every_command_but_the_hidden_one(capfd):
    status, shown, complaint = run(capfd, "help")
    assert (status, complaint) == (0, "")
    listed = {line.split()[0] for line in shown.splitlines() if line.startswith("    ") and line.split()}
    visible = {name for name, command in COMMANDS.items() if command.summary}
    assert visible <= listed and "node" not in listed


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_of_each_command_is_the_same_either_way(capfd, name):
    status, shown, complaint = run(capfd, "help", name)
    assert (status, complaint) == (0, "") and shown.startswith(f"usage: raftctl {name} ")
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert capfd.readouterr().out == shown


@pytest.mark.parametrize(
    ("raised", "status", "complaint"),
    (
        (KeyboardInterrupt(), 130, ""),
        (ValueError("two\nlines"), 70, "raftctl: a fault of raftctl itself at "),
    ),
)
def test_no_traceback_reaches_the_user(capfd, monkeypatch, raised, status, complaint):
    def fail(arguments):
        raise raised

    monkeypatch.setattr(program, "run", fail)
    found, shown, said = run(capfd, "state")
    assert (found, shown) == (status, "") and said.startswith(complaint) and said.count("\n") <= 1


def test_a_reader_that_went_away_is_no_fault():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "raftctl", "help"],
        cwd=ROOT,
        stdout=write,
        stderr=subprocess.PIPE,
        timeout=30,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_full_disk_is_said():
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "raftctl", "version"],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=30,
            check=False,
        )
    assert (done.returncode, done.stderr) == (
        1,
        b"raftctl: standard output can't be written (no space left on device)\n",
    )


def test_closed_streams_are_no_fault():
    done = python(
        "-c",
        "import os, sys; os.close(1); os.close(2); os.execv(sys.executable, "
        "[sys.executable, '-m', 'raftctl', 'version'])",
    )
    assert done.returncode == 1


def test_commands_of_cron_jobs_import_nothing_slow():
    """design §8 and the start-up benchmark: `state` is run every few seconds on many hosts."""
    slow = {
        "logging",
        "threading",
        "subprocess",
        "dataclasses",
        "ssl",
        "asyncio",
        "inspect",
        "tempfile",
        "raftctl.node",
        "raftctl.host",
        "raftctl.disk",
        "raftctl.raft",
    }
    done = python(
        "-I",
        "-S",
        "-c",
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import raftctl.cli.main, "
        "raftctl.cli.state, raftctl.cli.kv; print(*sys.modules)",
    )
    assert done.returncode == 0, done.stderr
    assert slow & set(done.stdout.decode().split()) == set()
