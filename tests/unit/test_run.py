"""`tests/run`: finds or makes its pytest, passes arguments on, and leaves nothing behind."""

import contextlib
import importlib.machinery
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
RUN = TOP / "tests" / "run"


def load():
    loader = importlib.machinery.SourceFileLoader("tests_run", str(RUN))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("tests_run", loader))
    loader.exec_module(module)
    return module


runner = load()


@pytest.fixture
def tree(tmp_path):
    """A checkout with tests of this test's own."""
    top = tmp_path / "checkout"
    (top / "tests" / "unit").mkdir(parents=True)
    shutil.copy(RUN, top / "tests" / "run")
    (top / "pyproject.toml").write_text('[tool.pytest.ini_options]\ntestpaths = ["tests"]\n')
    return top


def write_test(top, body, name="test_it.py"):
    (top / "tests" / "unit" / name).write_text(body)


def command(top, *arguments):
    return [sys.executable, str(top / "tests" / "run"), *map(str, arguments)]


def surroundings(tmp_path, **more):
    """Return an environment whose temporary folder is the test's own, to see what is left in it."""
    place = tmp_path / "temporary"
    place.mkdir(exist_ok=True)
    return {**os.environ, "TMPDIR": str(place), "XDG_CACHE_HOME": str(tmp_path / "cache"), **more}


def run(top, *arguments, cwd=None, **more):
    return subprocess.run(command(top, *arguments), cwd=cwd or top.parent,
                          env=surroundings(top.parent, **more), text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=120, check=False)


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_arguments_are_passed_on_and_nothing_is_left(tree):
    write_test(tree, "def test_one(): pass\ndef test_two(tmp_path): (tmp_path / 'x').write_text('x')\n")
    before = files(tree)
    done = run(tree, "-k", "two", RAFTCTL_CONFIG="/nowhere")
    assert (done.returncode, "1 passed, 1 deselected" in done.stdout) == (0, True), done.stdout
    assert (files(tree), files(tree.parent / "temporary")) == (before, [])


def test_a_failure_is_the_exit_status(tree):
    write_test(tree, "def test_one(): assert 1 == 2\n")
    assert run(tree).returncode == 1
    assert run(tree, "-k", "nothing").returncode == 5


def test_scenarios_is_a_word_of_its_own(tree):
    write_test(tree, "def test_one(): assert 1 == 2\n")
    write_test(tree, "import os\ndef test_first(): assert os.environ['RAFTCTL_REWRITE'] == '1'\n",
               "test_scenarios.py")
    done = run(tree, "scenarios", "-k", "first", "--rewrite")
    assert (done.returncode, "1 passed" in done.stdout) == (0, True), done.stdout


@pytest.mark.parametrize("programme", runner.PROGRAMMES)
def test_the_longer_programmes_get_all_arguments(tree, programme):
    folder = tree / "tests" / programme
    folder.mkdir()
    (folder / "__main__.py").write_text("import sys\nprint(sys.argv[1:])\nsys.exit(7)\n")
    done = run(tree, programme, "--seed", "3")
    assert (done.returncode, done.stdout) == (7, "['--seed', '3']\n")


def test_a_file_is_named_from_where_we_are(tree):
    write_test(tree, "def test_one(): pass\n")
    write_test(tree, "def test_other(): assert 1 == 2\n", "test_other.py")
    done = run(tree, "test_it.py::test_one", cwd=tree / "tests" / "unit")
    assert (done.returncode, "1 passed" in done.stdout) == (0, True), done.stdout


def test_the_value_of_an_option_is_no_file(tmp_path, monkeypatch):
    (tmp_path / "tests").mkdir()
    monkeypatch.chdir(tmp_path)
    assert runner.absolute("tests", "-k") == "tests"
    assert runner.absolute("tests", "-q") == str(tmp_path / "tests")
    assert runner.absolute("tests", "") == str(tmp_path / "tests")
    assert runner.absolute("-k", "") == "-k"


def test_the_tests_do_not_see_the_users_own_raftctl():
    found = runner.surroundings({"RAFTCTL_CONFIG": "x", "NOTIFY_SOCKET": "x", "PYTEST_ADDOPTS": "x",
                                 "HOME": "/root"})
    assert found == {"HOME": "/root", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(TOP),
                     "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


ORPHAN = """
import subprocess, sys
def test_one():
    # Its parent ends at once, and it has a session of its own, as a guardian's children have.
    keep = "import subprocess; subprocess.Popen(['sleep', '600.MARK'], start_new_session=True)"
    subprocess.run([sys.executable, "-c", keep], check=True)
    subprocess.Popen(["sleep", "600.MARK"], start_new_session=True)
"""


def test_what_the_tests_left_running_is_ended(tree):
    mark = str(os.getpid())
    write_test(tree, ORPHAN.replace("MARK", mark))
    assert "1 passed" in run(tree).stdout
    assert [words for words in processes() if words == f"sleep 600.{mark}"] == []


def processes():
    """Return the command lines of all processes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes().strip(b"\0").replace(b"\0", b" ").decode("utf-8", "replace"))
    return found


INTERRUPTED = """
import time
def test_one():
    print("RUNNING", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_tests_and_leaves_nothing(tree, number):
    write_test(tree, INTERRUPTED)
    with subprocess.Popen(command(tree, "-s"), cwd=tree.parent, env=surroundings(tree.parent), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as running:
        watchdog = threading.Timer(60, running.kill)
        watchdog.start()
        for line in running.stdout:
            if "RUNNING" in line:
                break
        running.send_signal(number)
        said = running.stdout.read()
        watchdog.cancel()
    assert running.returncode == 128 + number
    assert "KeyboardInterrupt" in said
    assert files(tree.parent / "temporary") == []


# The virtual environment


FAKE = """#!/bin/sh
# Stands for a Python {version}: knows the probe, `-m venv DIR` and `-m pip`.
echo "$*" | head -n 1 >> {log}
case "$1 $2" in
  "-c "*) echo "{version} {pytest}" ;;
  "-m venv") {venv}; mkdir -p "$3/bin"
    sed 's/{version} 0/{version} 8/' "$0" > "$3/bin/python3"; chmod +x "$3/bin/python3" ;;
  "-m pip") {pip} ;;
esac
"""


@pytest.fixture
def fake(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def make(version="3.99.0", pytest=0, venv=":", pip=":"):
        path = tmp_path / "python3"
        path.write_text(FAKE.format(version=version, pytest=pytest, venv=venv, pip=pip, log=tmp_path / "log"))
        path.chmod(0o755)
        return str(path)

    return make


def asked(tmp_path, what):
    return [line for line in (tmp_path / "log").read_text().splitlines() if line.startswith(what)]


def test_a_python_with_pytest_is_used_as_it_is(fake, tmp_path):
    python = fake(pytest=8)
    assert runner.with_pytest(python) == python
    assert not (tmp_path / "cache").exists()


def test_an_environment_is_made_once(fake, tmp_path):
    python = fake()
    inside = str(tmp_path / "cache/raftctl-tests/3.99.0/bin/python3")
    assert [runner.with_pytest(python), runner.with_pytest(python)] == [inside, inside]
    assert len(asked(tmp_path, "-m venv")) == 1
    assert sorted(os.listdir(tmp_path / "cache/raftctl-tests")) == ["3.99.0", "3.99.0.lock"]


def test_one_whose_python_was_removed_is_made_anew(fake, tmp_path):
    python = fake()
    inside = runner.with_pytest(python)
    os.unlink(inside)
    os.symlink("/nowhere/python3", inside)
    assert runner.with_pytest(python) == inside
    assert len(asked(tmp_path, "-m venv")) == 2


def test_two_runs_at_once_make_one_environment(fake, tmp_path):
    # The first waits inside pip for the second to be there, on a named pipe: no time is involved.
    os.mkfifo(tmp_path / "gate")
    python = fake(pip=f"cat {tmp_path}/gate > {tmp_path}/passed")
    code = f"import runpy; print(runpy.run_path({str(RUN)!r})['with_pytest']({python!r}))"
    runs = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True)
            for _ in range(2)]
    with open(tmp_path / "gate", "w") as gate:
        gate.write("go\n")
    said = {process.communicate(timeout=60)[0] for process in runs}
    assert said == {f"{tmp_path}/cache/raftctl-tests/3.99.0/bin/python3\n"}
    assert len(asked(tmp_path, "-m pip")) == 1


@pytest.mark.parametrize("broken, why", [
    ({"venv": "echo No module named venv; exit 1"},
     r"can't make a virtual environment; on Debian: .*\(No module named venv\)"),
    ({"pip": "echo Retrying; echo no route to host; exit 1"},
     r"can't be fetched from the package index; .*\(no route to host\)"),
])
def test_p9_an_environment_that_cannot_be_made_is_one_clear_line_and_leaves_no_half(
    broken, why, fake, tmp_path
):
    with pytest.raises(runner.CannotRun, match=why) as failed:
        runner.with_pytest(fake(**broken))
    assert "\n" not in str(failed.value)
    assert os.listdir(tmp_path / "cache/raftctl-tests") == ["3.99.0.lock"]


def test_p9_a_python_that_is_too_old_or_none_is_named(fake):
    with pytest.raises(runner.CannotRun, match=r"is Python 3\.8\.1; use 3\.9 or newer"):
        runner.with_pytest(fake(version="3.8.1"))
    with pytest.raises(runner.CannotRun, match="/nowhere/python3 does not run"):
        runner.with_pytest("/nowhere/python3")
