"""`start`, `start --local` and the hidden `node`, with a guardian that only notes what it is given."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from types import SimpleNamespace

import pytest

from raftctl.cli import child, local, start
from raftctl.cli.main import main
from raftctl.cli.program import program
from raftctl.config import places
from raftctl.config.own import NoneIsHere

CLUSTER = {
    "nodes": [
        {"address": "tcp://127.0.0.1:8089", "name": "a"},
        {"address": "tcp://127.0.0.1:8090", "name": "b"},
    ]
}


class Guardian:
    def __init__(self, during=lambda loaded, observer: 0):
        self.calls = []
        self.during = during

    def run(self, loaded, nodes, *, program, observer=None):
        self.calls.append(SimpleNamespace(loaded=loaded, nodes=nodes, program=program))
        return self.during(loaded, observer)


@pytest.fixture
def guardian(monkeypatch):
    found = Guardian()
    monkeypatch.setattr(start, "guardian", found)
    monkeypatch.setattr(local, "guardian", found)
    return found


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(CLUSTER))
    return str(path)


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def test_start_runs_all_nodes_of_a_cluster_file_or_the_picked_one(guardian, config):
    assert main(["-c", config, "start"]) == 0
    assert main(["-c", config, "start", "--node", "b"]) == 0
    assert [[node.name for node in call.nodes] for call in guardian.calls] == [["a", "b"], ["b"]]
    assert guardian.calls[0].program == program()


def test_start_returns_the_status_of_the_guardian(guardian, config):
    guardian.during = lambda loaded, observer: 6
    assert main(["-c", config, "start"]) == 6


def test_a_start_that_fails_names_the_logs_that_say_why(guardian, config, tmp_path, capfd):
    guardian.during = lambda loaded, observer: 6
    main(["-c", config, "start"])
    assert capfd.readouterr().err == ""       # it said so here
    path = tmp_path / "logs.json"
    node = dict(CLUSTER["nodes"][0], logFile="a")
    path.write_text(json.dumps({"logFile": "g", "nodes": [node]}))
    assert main(["-c", str(path), "start"]) == 6
    assert capfd.readouterr().err == (
        "raftctl: ended with status 6, another raftctl uses the data directory; "
        f"see {tmp_path}/g {tmp_path}/a\n"
    )
    guardian.during = lambda loaded, observer: 0
    assert main(["-c", str(path), "start"]) == 0
    assert capfd.readouterr().err == ""


def test_start_without_a_configuration_says_how_to_have_a_look(guardian, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(places, "DEFAULT_CONFIG", str(tmp_path / "none.json"))
    assert main(["start"]) == 2
    assert capfd.readouterr().err == (
        f"raftctl: {tmp_path}/none.json: no such file; name one: --config FILE; "
        "a first look without any: raftctl start --local 3\n"
    )


def test_p9_local_says_so_where_it_can_make_no_folder(guardian, monkeypatch, tmp_path, capfd):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    assert main(["start", "--local", "1"]) == 2
    said = capfd.readouterr().err
    assert "can't be made (no such file or directory); name a folder where it can: TMPDIR=DIR" in said
    assert guardian.calls == []


def test_an_own_address_that_comes_late_is_waited_for(guardian, config, monkeypatch, capfd):
    """At boot: status 2 would be for good, units don't restart it."""
    load, notified, tries = start.load, [], []

    def late(*arguments, **options):
        tries.append(arguments)
        if len(tries) < 3:
            raise NoneIsHere("c.json: this host can bind no entry")
        return load(*arguments, **options)

    monkeypatch.setattr(start, "load", late)
    monkeypatch.setattr(start, "notify", notified.append)
    monkeypatch.setattr(start, "_LOOK_AGAIN_S", 0.0)
    assert main(["-c", config, "start"]) == 0
    assert (len(tries), len(guardian.calls)) == (3, 1)
    assert capfd.readouterr().err == "raftctl: c.json: this host can bind no entry; waits for it\n"
    assert notified == ["STATUS=waits: c.json: this host can bind no entry"]


def test_start_join_tells_the_node_and_its_child(guardian, config):
    assert main(["-c", config, "start", "--node", "b", "--join", "tcp://LOCALHOST:1"]) == 0
    (call,) = guardian.calls
    assert str(call.nodes[0].join) == "tcp://localhost:1"
    assert call.program[-2:] == ["--join", "tcp://localhost:1"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    (
        (["start", "--join", "tcp://h9:1"], ""),
        (
            ["start", "--node", "a", "--join", "tcp://127.0.0.1:8089"],
            "{config}: --join: tcp://127.0.0.1:8089 is this node itself; write the address of a member",
        ),
        (
            ["start", "--node", "a", "--join", "tcp://h9:1"],
            '{config}: --join with "address" names tcp://127.0.0.1:8089 beside tcp://h9:1, whose host can\'t',
        ),
        (["start", "--join", "h9"], '"h9" is no address'),
        (["start", "--event", "leader=x"], "--event goes with --local"),
        (["start", "--local", "3"], "--config and --local exclude each other"),
    ),
)
def test_p9_start_refuses_what_does_not_go_together(guardian, config, capfd, arguments, line):
    assert main(["-c", config, *arguments]) == 2
    assert capfd.readouterr().err.startswith(f"raftctl: {line.format(config=config)}")
    assert guardian.calls == []


def test_p9_join_and_a_list_exclude_each_other_on_the_command_line_as_in_the_file(guardian, tmp_path, capfd):
    path = tmp_path / "listed.json"
    path.write_text(json.dumps({"address": "tcp://127.0.0.1:8089", "clusterNodes": ["tcp://127.0.0.1:8090"]}))
    assert main(["-c", str(path), "start", "--join", "tcp://127.0.0.1:8090"]) == 2
    assert capfd.readouterr().err == (
        f'raftctl: {path}: --join and "clusterNodes" exclude each other; keep --join to enter a running '
        'cluster, "clusterNodes" to found one\n'
    )
    assert guardian.calls == []


@pytest.mark.parametrize(
    ("arguments", "line"),
    (
        (["0"], "--local 0 is out of range; 1 to 7 nodes"),
        (["8"], "--local 8 is out of range; 1 to 7 nodes"),
        (["x"], 'argument --local: "x" is no whole number from 0'),
        (["3", "--event", "leader"], '--event "leader": write NAME=SCRIPT'),
        (["3", "--event", "laeder=x"], '--event: "laeder" is no event; did you mean "leader"?'),
        (["3", "--node", "n1"], "--node and --local exclude each other"),
    ),
)
def test_p9_local_refuses_bad_options_before_it_makes_anything(guardian, temporary, capfd, arguments, line):
    assert main(["start", "--local", *arguments]) == 2
    assert capfd.readouterr().err.startswith(f"raftctl: {line}")
    assert list(temporary.iterdir()) == []


def test_the_hidden_command_hands_its_descriptors_to_the_daemon(config, monkeypatch):
    calls = []
    monkeypatch.setattr(
        child, "daemon", SimpleNamespace(run=lambda *arguments: calls.append(arguments) or 74)
    )
    words = f"--join tcp://h9:1 -c {config} node --node tcp://127.0.0.1:8090 --tether-fd 5 --board-fd 6"
    assert main(words.split()) == 74
    ((node, tether_fd, board_fd, after_stop),) = calls
    assert after_stop[-5:] == ["-c", str(config), "--node", "tcp://127.0.0.1:8090", "after-stop"]
    assert (node.name, str(node.join), tether_fd, board_fd) == ("b", "tcp://h9:1", 5, 6)


def test_the_child_goes_by_its_guardians_word_which_entry_of_the_list_it_is(tmp_path, monkeypatch):
    """Not by what can be bound: a node that starts again while its address is gone must not end with 2."""
    nodes = []
    monkeypatch.setattr(child, "daemon", SimpleNamespace(run=lambda node, *_: nodes.append(node) or 0))
    path = tmp_path / "list.json"
    path.write_text(json.dumps({"clusterNodes": ["tcp://192.0.2.1:8089", "tcp://192.0.2.2:8089"],
                                "insecure": True}))
    assert main(f"-c {path} node --node tcp://192.0.2.2:8089 --tether-fd 5 --board-fd 6".split()) == 0
    assert str(nodes[0].address) == "tcp://192.0.2.2:8089"


@pytest.mark.parametrize("count", range(1, 8))
def test_local_cluster_has_distinct_free_ports_and_its_own_folder(guardian, temporary, count):
    def look(loaded, observer):
        ports = [port for node in loaded.nodes for port in (node.address.port, node.command_port)]
        assert len(loaded.nodes) == count and len(set(ports)) == 2 * count
        assert all(node.data_dir.startswith(str(temporary)) for node in loaded.nodes)
        assert len(loaded.nodes[0].cluster_nodes) == count
        return 0

    guardian.during = look
    assert main(["start", "--local", str(count)]) == 0
    assert len(guardian.calls) == 1 and list(temporary.iterdir()) == []


def test_local_ports_are_held_for_the_nodes_and_for_nobody_else(guardian, temporary):
    def bind(loaded, observer):
        where = ("127.0.0.1", loaded.nodes[0].address.port)
        with socket.socket() as stranger, pytest.raises(OSError):
            stranger.bind(where)
        with socket.socket() as node:
            node.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            node.bind(where)
            node.listen()
        return 0

    guardian.during = bind
    assert main(["start", "--local", "1"]) == 0


def test_local_prints_the_nodes_three_commands_and_each_change_of_leader(guardian, temporary, capfd):
    def lead(loaded, observer):
        first, second = loaded.nodes[:2]
        for node, state, term in (
            (first, "LEADER", 1),
            (second, "FOLLOWER", 1),
            (first, "LEADER", 1),
            (second, "LEADER", 2),
            (second, "LEADER", 3),
        ):
            observer(node, {"kind": "state", "state": state, "term": term})
        observer(first, {"kind": "ready"})
        return 0

    guardian.during = lead
    assert main(["start", "--local", "3", "--event", "leader=./x.sh"]) == 0
    lines = capfd.readouterr().out.splitlines()
    loaded = guardian.calls[0].loaded
    prefix = f"  {' '.join(program())} -c {loaded.path} --node "
    assert lines[2].split() == ["NAME", "ADDRESS", "COMMAND", "PORT", "LOG"]
    assert [line.split()[0] for line in lines[3:6]] == ["n1", "n2", "n3"]
    assert lines[8:11] == [f"{prefix}n1 state", f"{prefix}n1 put greeting hello", f"{prefix}n3 get greeting"]
    first, second = (str(node.address) for node in loaded.nodes[:2])
    assert lines[12:] == [
        f"n1 ({first}) is LEADER, term 1",
        f"n2 ({second}) is LEADER, term 2",
        f"n2 ({second}) is LEADER, term 3",
    ]
    assert loaded.nodes[0].events[0][1].argv == (os.path.abspath("x.sh"),)


def test_local_removes_its_folder_when_the_guardian_fails(guardian, temporary):
    def fail(loaded, observer):
        raise RuntimeError("no fork")

    guardian.during = fail
    assert main(["start", "--local", "2"]) == 70
    assert list(temporary.iterdir()) == []


class At:
    """Sends this process a signal when the line `count` of local.py is about to run."""

    def __init__(self, count, number):
        self.left, self.number = count, number

    def __call__(self, frame, event, argument):
        if frame.f_code.co_filename != local.__file__:
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), self.number)
        return self


@pytest.mark.parametrize("number", (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
def test_a_signal_at_any_moment_leaves_nothing_behind(guardian, temporary, number):
    outside = []
    former = signal.signal(number, lambda *_: outside.append(1))
    try:
        count = 0
        while True:
            count += 1
            tracer = At(count, number)
            sys.settrace(tracer)
            try:
                assert main(["start", "--local", "1"]) == 0, count
            finally:
                sys.settrace(None)
            assert list(temporary.iterdir()) == [], count
            if tracer.left > 0:
                break
    finally:
        signal.signal(number, former)
    # Most moments were inside: only a few lines run before the handlers are there and after they are gone.
    assert count > 100 and len(outside) < count / 2


def test_program_is_the_launcher_of_the_checkout():
    argv = program()
    assert argv[0] == sys.executable and os.path.isabs(argv[1])
    assert os.path.basename(argv[1]) == "raftctl.py" and os.path.isfile(argv[1])
