"""host/reload.py: a reading beside the loop, all or nothing, with a deadline; logs that go on elsewhere."""

from __future__ import annotations

import json
import logging
import os
import threading

import pytest

from raftctl.base.logs import open_target, setup
from raftctl.config.load import load
from raftctl.host import reload
from raftctl.host.loop import Loop
from raftctl.host.reload import Reader

PATIENCE_S = 20
ADDRESS = "tcp://127.0.0.1:8089"


class World:
    def __init__(self, folder):
        self.path = folder / "config.json"
        self.folder = folder
        self.write(logFile="a.log")
        self.loop = Loop()
        self.came = []
        loaded = load(str(self.path), environ={})
        self.reader = Reader(self.loop, loaded, loaded.nodes, lambda *what: self.came.append(what))

    def write(self, **keys):
        self.path.write_text(json.dumps({"address": ADDRESS, "dataDir": "d", **keys}))

    def read(self, count=1):
        self.reader.begin()
        return self.wait(count)

    def wait(self, count=1):
        deadline = self.loop.after(PATIENCE_S * 1_000_000_000, lambda: self.came.append("too late"))
        self.loop.run(lambda: len(self.came) >= count)
        deadline.cancel()
        came, self.came = self.came, []
        return came[-1]

    def close(self):
        self.reader.close()
        self.loop.close()


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.close()


def open_files():
    return len(os.listdir("/proc/self/fd"))


def test_a_file_that_is_fine_comes_with_its_new_log_files_open(world):
    world.write(logFile="b.log", logLevel="debug")
    fresh, problem = world.read()
    assert problem == "" and fresh.nodes[0].log_level == "debug"
    # In a single-node file the guardian's log is the node's.
    assert len(fresh.opened) == 2 and None not in fresh.opened
    for descriptor in fresh.opened:
        os.close(descriptor)
    assert (world.folder / "b.log").exists()
    again, _ = world.read()
    assert again.opened == (None, None)


@pytest.mark.parametrize("keys, said", [
    ({"logLevel": "loud"}, '"logLevel": "loud" is no level'),
    ({"logFile": "no/b.log"}, "can't be opened (no such file or directory)"),
    ({"address": "tcp://127.0.0.1:9"}, f"no node has the address {ADDRESS} any more"),
])
def test_p9_a_bad_file_is_one_line_and_leaves_nothing_open(world, keys, said):
    before = open_files()
    world.write(**keys)
    fresh, problem = world.read()
    assert fresh is None and said in problem and "\n" not in problem
    assert str(world.folder) in problem
    assert open_files() == before


def test_of_several_log_files_none_stays_open_when_one_fails(world, monkeypatch):
    before = open_files()
    world.write(logFile="b.log")
    opened = []

    def fail_second(path):
        if opened:
            from raftctl.base.errors import UsageError

            raise UsageError("log file can't be opened")
        opened.append(path)
        return open_target(path)

    monkeypatch.setattr(reload.logs, "open_target", fail_second)
    assert world.read()[0] is None
    assert open_files() == before


def test_a_reading_that_hangs_is_given_up_and_its_late_result_thrown_away(world, monkeypatch):
    """The guardian is one thread (pitfall 9.4): a file on a dead mount must not stop it."""
    goes_on, begun = threading.Event(), threading.Event()
    real = reload.read

    def hang(*arguments):
        begun.set()
        assert goes_on.wait(PATIENCE_S)
        return real(*arguments)

    monkeypatch.setattr(reload, "DEADLINE_NS", 50_000_000)
    monkeypatch.setattr(reload, "read", hang)
    world.write(logFile="b.log")
    before = open_files()
    fresh, problem = world.read()
    assert fresh is None and "can't be read within" in problem and begun.is_set()
    goes_on.set()
    world.loop.turn()
    assert world.came == [] and open_files() == before


def test_a_request_that_comes_meanwhile_is_one_more_reading(world):
    world.reader.begin()
    world.write(logLevel="debug", logFile="a.log")
    world.reader.begin()
    world.reader.begin()
    fresh, _ = world.wait(2)
    assert fresh.nodes[0].log_level == "debug"


def test_a_log_goes_on_in_another_file_at_another_level(tmp_path):
    logger = logging.getLogger("test-switch")
    logs = setup("n1", str(tmp_path / "a"), "info", "test-switch")
    logger.debug("one")
    logger.info("two")
    assert logs.flush()
    logs.switch(str(tmp_path / "b"), open_target(str(tmp_path / "b")), "debug")
    logger.debug("three")
    assert logs.flush()
    logs.switch(str(tmp_path / "b"), None, "error")
    logger.info("four")
    os.rename(tmp_path / "b", tmp_path / "rotated")
    logger.error("five")
    logs.close()
    lines = {name: [line.split()[-1] for line in (tmp_path / name).read_text().splitlines()]
             for name in ("a", "rotated", "b")}
    assert lines == {"a": ["two"], "rotated": ["three"], "b": ["five"]}
