"""The benchmarks' helpers are right and their commands start; what they measure is nobody's assertion."""

import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[1] / "bench"
COMMANDS = ("coldstart", "failover", "idle", "startup", "write")


@pytest.fixture(scope="module")
def common():
    sys.path.insert(0, str(BENCH))
    try:
        yield importlib.import_module("common")
    finally:
        sys.path.remove(str(BENCH))


def test_each_file_of_the_folder_is_a_command_or_a_module():
    found = sorted(path.name for path in BENCH.iterdir() if path.is_file())
    assert found == sorted([*COMMANDS, "common.py", "load.py"])


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself_and_refuses_what_it_does_not_know(name):
    command = [sys.executable, str(BENCH / name)]
    said = subprocess.run([*command, "--help"], capture_output=True, text=True, timeout=60, check=True).stdout
    assert f"tests/bench/{name}" in said
    for option in ("--json", "--short", "--dir"):
        assert option in said
    assert subprocess.run([*command, "--shrt"], capture_output=True, timeout=60, check=False).returncode == 2


@pytest.mark.parametrize("percent, expected", [
    (0, 1), (1, 1), (50, 50), (50.1, 51), (99, 99), (99.1, 100), (100, 100)])
def test_percentile_is_the_nearest_rank(common, percent, expected):
    assert common.percentile(list(range(100, 0, -1)), percent) == expected


def test_percentile_of_one_value_is_that_value(common):
    assert [common.percentile([7], percent) for percent in (0, 50, 99, 100)] == [7, 7, 7, 7]


def test_median_of_an_even_count_lies_between_the_middle_two(common):
    assert common.median([9, 1, 5]) == 5
    assert common.median([4, 1, 3, 2]) == 2.5


@pytest.mark.parametrize("figure", ["percentile", "median"])
def test_no_values_have_no_figure(common, figure):
    with pytest.raises(ValueError, match="no values"):
        getattr(common, figure)([], *([50] if figure == "percentile" else []))


def test_table_aligns_names_left_and_figures_right(common):
    rows = [["a", 1, 0.126], ["long name", 64, 12.34], ["none", 1234.5, None]]
    assert common.table(("what", "n", "ms"), rows) == (
        "what          n    ms\n"
        "---------------------\n"
        "a             1  0.13\n"
        "long name    64  12.3\n"
        "none       1234     -")


def test_the_file_system_is_that_of_the_longest_mount(common):
    assert common.filesystem("/proc/self") == "proc"


RUN = """
import json, os, subprocess, sys, time
sys.path.insert(0, sys.argv[1])
import common

def measure(options, folder):
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    print(json.dumps([folder, child.pid, os.getpid()]), flush=True)
    if sys.argv[2] == "wait":
        time.sleep(600)
    return {"figure": 1}

sys.exit(common.main("try", "a try", measure, str, ["--json"]))
"""


def _gone(pid):
    """Has the process ended? What nobody adopts is a zombie until init looks."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z"
    except FileNotFoundError:
        return True


def _start(how):
    return subprocess.Popen([sys.executable, "-c", RUN, str(BENCH), how], stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, text=True)


def test_a_run_prints_json_and_leaves_neither_process_nor_file():
    with _start("end") as run:
        folder, sleeper, _ = json.loads(run.stdout.readline())
        report = json.loads(run.stdout.read())
        assert run.wait(60) == 0
    assert (report["benchmark"], report["figure"]) == ("try", 1)
    assert not os.path.exists(folder)
    assert _gone(sleeper)


@pytest.mark.parametrize("number, whom, status", [(signal.SIGTERM, "run", 143), (signal.SIGINT, "run", 130),
                                                  (signal.SIGKILL, "worker", 137),
                                                  (signal.SIGKILL, "run", -9)])
def test_a_run_that_is_cut_short_leaves_neither_process_nor_file(number, whom, status):
    with _start("wait") as run:
        folder, sleeper, worker = json.loads(run.stdout.readline())
        os.kill(run.pid if whom == "run" else worker, number)
        assert run.stdout.read() == ""      # until the last process that may write has ended
        assert run.wait(60) == status
    assert not os.path.exists(folder)
    assert _gone(sleeper)
