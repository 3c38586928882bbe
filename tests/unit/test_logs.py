"""The log of a daemon: its lines, its files, and that nobody ever waits for it."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import threading

import pytest

from raftctl.base import logs
from raftctl.base.errors import UsageError

ADDRESS = "tcp://h1:8089"
LINE = re.compile(r"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\] \[tcp://h1:8089\] (.*)\Z")
log = logging.getLogger("raftctl.tests")


@pytest.fixture
def opened(tmp_path):
    path = tmp_path / "n.log"
    made = logs.setup(ADDRESS, str(path), "info")
    yield made, path
    made.close()


def texts(path):
    """The lines of the log without time and address; a continued line as it is."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [found.group(1) if found else line for line in lines for found in [LINE.match(line)]]


@pytest.fixture
def sink_that_hangs(monkeypatch):
    """Lets the writer thread wait in its write until the event is set, as on a full pipe."""
    goes_on = threading.Event()
    waits = threading.Event()
    real = os.write

    def write(descriptor, data):
        waits.set()
        goes_on.wait(10)
        return real(descriptor, data)

    monkeypatch.setattr(logs.os, "write", write)
    goes_on.reached = waits
    yield goes_on
    goes_on.set()


def test_a_line_has_time_address_level_and_text(opened):
    made, path = opened
    log.info("leader -> follower, term %d", 7)
    log.warning("café")
    log.debug("not shown")
    assert made.flush()
    assert texts(path) == ["INFO leader -> follower, term 7", "WARNING café"]


@pytest.mark.parametrize(
    "level, shown", [("debug", "DIWE"), ("info", "IWE"), ("warning", "WE"), ("error", "E")]
)
def test_only_the_level_and_above_are_written(tmp_path, level, shown):
    made = logs.setup(ADDRESS, str(tmp_path / "l"), level)
    for method in (log.debug, log.info, log.warning, log.error):
        method("x")
    made.close()
    assert "".join(text[0] for text in texts(tmp_path / "l")) == shown


def test_a_text_cannot_pass_for_another_line(opened):
    made, path = opened
    log.info("peer said: %s", "a\n[2026-01-01T00:00:00.000Z] [tcp://h1:8089] INFO forged\x1b[2J\r\ud800")
    made.flush()
    assert texts(path) == [
        "INFO peer said: a",
        "    [2026-01-01T00:00:00.000Z] [tcp://h1:8089] INFO forged\\x1b[2J\\r\\ud800",
    ]


def test_a_traceback_is_written_below_its_line(opened):
    made, path = opened
    try:
        raise ValueError("wrong")
    except ValueError:
        log.exception("a fault")
    made.flush()
    written = texts(path)
    assert written[:2] == ["ERROR a fault", "    Traceback (most recent call last):"]
    assert written[-1] == "    ValueError: wrong"


def test_pitfall_10_4_a_hung_sink_costs_lines_and_never_the_callers_time(
    monkeypatch, tmp_path, sink_that_hangs
):
    monkeypatch.setattr(logs, "QUEUE_LIMIT", 10)
    path = tmp_path / "n.log"
    made = logs.setup(ADDRESS, str(path), "info")
    log.info("first")
    assert sink_that_hangs.reached.wait(10)
    for number in range(100):
        log.info("line %d", number)
    assert made.dropped == 90
    sink_that_hangs.set()
    made.close()
    assert texts(path) == [
        "INFO first",
        "WARNING log lines dropped: 90",
        *(f"INFO line {n}" for n in range(10)),
    ]


def test_pitfall_10_4_closing_does_not_wait_for_a_hung_sink_beyond_its_deadline(tmp_path, sink_that_hangs):
    made = logs.setup(ADDRESS, str(tmp_path / "n.log"), "info")
    log.info("stuck")
    assert not made.flush(0.01)
    made.close(0.01)
    assert made._handler not in logging.getLogger().handlers
    sink_that_hangs.set()
    made.close()  # lets the thread end


def test_pitfall_10_4_a_process_ends_although_nobody_reads_its_standard_error():
    program = (
        "import logging, sys; sys.path[:0] = sys.argv[1:]\n"
        "from raftctl.base import logs\n"
        "made = logs.setup('tcp://h1:1', None, 'info')\n"
        "for n in range(20000): logging.info('x' * 100)\n"
        "made.close(0.01)\n"
        "print(made.dropped > 0)\n"
    )
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    reader, writer = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-c", program, root],
            stdout=subprocess.PIPE,
            stderr=writer,
            timeout=30,
            check=True,
        )
    finally:
        os.close(reader)
        os.close(writer)
    assert done.stdout == b"True\n"


def test_a_line_that_cannot_be_formatted_is_counted_and_hurts_nobody(opened, capfd):
    made, path = opened
    # Straight to the handler: pytest's own would raise.
    made._handler.handle(logging.LogRecord("raftctl", logging.INFO, __file__, 1, "%d", ("no number",), None))
    log.info("after")
    made.flush()
    assert (texts(path), made.dropped) == (["WARNING log lines dropped: 1", "INFO after"], 1)
    assert capfd.readouterr().err == ""


def test_a_full_disk_is_counted_and_the_log_goes_on(opened, monkeypatch):
    made, path = opened
    real = os.write
    failing = [OSError(28, "No space left on device")]

    def write(descriptor, data):
        if failing:
            raise failing.pop()
        return real(descriptor, data)

    monkeypatch.setattr(logs.os, "write", write)
    log.info("lost")
    log.info("kept")
    made.flush()
    assert (texts(path), made.dropped) == (["INFO kept"], 1)


def test_a_log_that_was_moved_away_is_opened_anew(opened, tmp_path):
    made, path = opened
    log.info("before")
    made.flush()
    path.rename(tmp_path / "n.log.1")
    log.info("after")
    made.flush()
    assert (texts(tmp_path / "n.log.1"), texts(path)) == (["INFO before"], ["INFO after"])


def test_reopen_goes_on_in_the_same_file_and_leaks_no_descriptor(opened):
    made, path = opened
    before = len(os.listdir("/proc/self/fd"))
    for number in range(3):
        made.reopen()
        log.info("line %d", number)
        made.flush()
    assert texts(path) == ["INFO line 0", "INFO line 1", "INFO line 2"]
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_log_whose_directory_vanished_goes_on_and_comes_back(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    made = logs.setup(ADDRESS, str(folder / "n.log"), "info")
    folder.rename(tmp_path / "moved")
    log.info("still into the old file")
    made.flush()
    folder.mkdir()
    log.info("back")
    made.close()
    assert texts(tmp_path / "moved" / "n.log") == ["INFO still into the old file"]
    assert texts(folder / "n.log") == ["INFO back"]


def test_two_processes_append_to_one_file(tmp_path):
    path = tmp_path / "n.log"
    path.write_text("earlier\n")
    made = logs.setup(ADDRESS, str(path), "info")
    log.info("later")
    made.close()
    assert texts(path) == ["earlier", "INFO later"]


def test_without_a_file_lines_go_to_standard_error(capfd):
    made = logs.setup(ADDRESS, None, "info")
    log.info("hello")
    made.close()
    assert LINE.match(capfd.readouterr().err.rstrip("\n")).group(1) == "INFO hello"


def test_a_named_logger_is_a_target_of_its_own(opened, tmp_path):
    made, path = opened
    other = logs.setup("tcp://h2:8089", str(tmp_path / "other"), "info", logger="raftctl.of.h2")
    logging.getLogger("raftctl.of.h2").info("there")
    log.info("here")
    other.close()
    made.flush()
    assert texts(path) == ["INFO here"]
    assert (tmp_path / "other").read_text().endswith("[tcp://h2:8089] INFO there\n")


def test_closing_gives_the_root_logger_back_and_leaves_no_thread_and_no_descriptor(tmp_path):
    def now():
        root = logging.getLogger()
        return list(root.handlers), root.level, threading.active_count(), len(os.listdir("/proc/self/fd"))

    before = now()
    logs.setup(ADDRESS, str(tmp_path / "l"), "debug").close()
    assert now() == before


MALFORMED = [
    ("none/n.log", 'can\'t be opened (no such file or directory); make its directory, or change "logFile"'),
    (".", 'can\'t be opened (is a directory); change "logFile"'),
    ("fifo", 'can\'t be opened (no such device or address); change "logFile"'),
]


@pytest.mark.parametrize("name, message", MALFORMED)
def test_p9_a_log_file_that_cannot_be_opened_is_named_with_the_mend(tmp_path, name, message):
    os.mkfifo(tmp_path / "fifo")
    path = os.path.join(str(tmp_path), name)
    with pytest.raises(UsageError) as refused:
        logs.setup(ADDRESS, path, "info")
    assert str(refused.value) == f"log file {path} {message}"


def test_p9_a_log_file_that_is_a_terminal_or_device_is_refused():
    with pytest.raises(UsageError) as refused:
        logs.setup(ADDRESS, "/dev/full", "info")
    assert str(refused.value) == (
        'log file /dev/full is no regular file; leave "logFile" out to log to standard error'
    )
