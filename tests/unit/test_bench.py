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
COMMANDS = ("coldstart", "failover", "growth", "idle", "peers", "startup", "write")
MODULES = ("bare.py", "common.py", "grpc_talk.py", "load.py", "peers_found.py", "pysyncobj_node.py",
           "systems.py")


@pytest.fixture(scope="module", autouse=True)
def _bench_on_path():
    sys.path.insert(0, str(BENCH))
    try:
        yield
    finally:
        sys.path.remove(str(BENCH))


@pytest.fixture(scope="module")
def common():
    return importlib.import_module("common")


@pytest.fixture(scope="module")
def load():
    return importlib.import_module("load")


@pytest.fixture(scope="module")
def grpc_talk():
    return importlib.import_module("grpc_talk")


def test_each_file_of_the_folder_is_a_command_or_a_module():
    found = sorted(path.name for path in BENCH.iterdir() if path.is_file())
    assert found == sorted([*COMMANDS, *MODULES])


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


# --- the clients

def _server_bytes(grpc_talk, stream, message=bytes(35)):
    """A whole answer as etcd sends it, with all that may stand between."""
    return b"".join((
        grpc_talk.frame(grpc_talk.SETTINGS, 0, 0, b"\0\5\0\0\x40\0"),
        grpc_talk.frame(grpc_talk.SETTINGS, grpc_talk.ACK, 0, b""),
        grpc_talk.frame(grpc_talk.WINDOW_UPDATE, 0, 0, b"\0\0\0\x77"),
        grpc_talk.frame(grpc_talk.PING, 0, 0, b"12345678"),
        grpc_talk.frame(grpc_talk.HEADERS, grpc_talk.END_HEADERS, stream, b"\x88"),
        grpc_talk.frame(grpc_talk.DATA, 0, stream, message),
        grpc_talk.frame(grpc_talk.HEADERS, grpc_talk.END_HEADERS | grpc_talk.END_STREAM, stream, b"\xbf")))


def test_an_answer_of_etcd_is_whole_with_its_trailers_however_it_is_cut(grpc_talk):
    talk = grpc_talk.puts(0, 0)
    for stream, cut in ((1, 1), (3, 7), (5, 1000)):
        talk.request()
        data = _server_bytes(grpc_talk, stream)
        pieces = [data[at:at + cut] for at in range(0, len(data), cut)]
        assert [talk.receive(piece) for piece in pieces] == [None] * (len(pieces) - 1) + [True]
        # What was asked for on the way: its settings and its ping are acknowledged.
        assert talk.owed == (grpc_talk.frame(grpc_talk.SETTINGS, grpc_talk.ACK, 0, b"")
                             + grpc_talk.frame(grpc_talk.PING, grpc_talk.ACK, 0, b"12345678"))
        talk.owed = b""


def test_an_answer_of_etcd_without_the_value_is_refused(grpc_talk):
    talk = grpc_talk.gets(0, 0)
    talk.request()
    assert talk.receive(_server_bytes(grpc_talk, 1)) is False
    talk.request()
    assert talk.receive(grpc_talk.frame(grpc_talk.HEADERS, 5, 3, b"\x88")) is False
    talk.request()
    assert talk.receive(_server_bytes(grpc_talk, 5, bytes(5 + 100))) is True
    with pytest.raises(ConnectionError, match="ended a call"):
        talk.receive(grpc_talk.frame(grpc_talk.GOAWAY, 0, 0, bytes(8)))


def test_later_calls_name_the_headers_of_the_first_by_their_place_in_the_table(grpc_talk):
    talk = grpc_talk.puts(0, 0)
    first, second = talk.request(), talk.request()
    assert b"/etcdserverpb.KV/Put" in first and b"/etcdserverpb.KV/Put" not in second
    assert second[9:15] == bytes((0x83, 0x86, 0xc1, 0xc0, 0xbf, 0xbe))
    assert (first[5:9], second[5:9]) == (b"\0\0\0\1", b"\0\0\0\3")


@pytest.mark.parametrize("size", [0, 127, 128, 16383])
def test_the_length_of_a_field_is_a_varint(grpc_talk, size):
    head = bytes((0x12, size)) if size < 128 else bytes((0x12, size & 127 | 128, size >> 7))
    assert grpc_talk.field(2, bytes(size)) == head + bytes(size)


def test_a_line_of_raftctl_is_whole_with_its_newline(load):
    talk = load.Lines(lambda: b"{}\n")
    assert talk.request() == b"{}\n"
    assert [talk.receive(piece) for piece in (b'{"ok":', b"true", b"}\n")] == [None, None, True]
    assert talk.receive(b'{"ok":false,"error":{"code":"busy"}}\n') is False


@pytest.mark.parametrize("answer, talks", [("answer_line", "load"), ("answer_call", "grpc_talk")])
def test_clients_are_in_a_closed_loop_with_a_bare_server(load, answer, talks):
    bare = importlib.import_module("bare")
    with bare.server(getattr(bare, answer)) as port:
        found = load.drive(port, 3, 0.05, 0.1, importlib.import_module(talks).puts)
    assert found.refused == 0
    assert 0 < len(found.latencies_ns) <= found.answers
    assert found.ms(0) <= found.ms(50) <= found.ms(100)
    assert found.client_us > 0


def test_clients_that_have_done_theirs_end_before_the_time_is_over(load):
    bare = importlib.import_module("bare")
    with bare.server(bare.answer_line) as port:
        requests = [iter([b"{}\n"] * 5), iter([b"{}\n"] * 7)]

        def talk(generator, client):
            return load.Lines(lambda: next(requests[generator], b""))

        # Far longer than any test may take.
        assert load.drive(port, 2, 0, 3600, talk).answers == 12


def test_what_nothing_was_answered_to_has_no_latency(load):
    assert load.Load(0.0, [], 0, 0).ms(50) is None


# --- the benchmarks themselves, short

def _report(name, **environment):
    done = subprocess.run([sys.executable, str(BENCH / name), "--short", "--json"], capture_output=True,
                          text=True, timeout=300, check=False, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_peers_says_who_is_missing_and_goes_on_without(tmp_path):
    # Neither in the path nor in the cache; a short run fetches nothing.
    report = _report("peers", PATH=str(tmp_path), XDG_CACHE_HOME=str(tmp_path))
    assert report["missing"] == {"etcd": "etcd is not installed", "pysyncobj": "PySyncObj is not installed"}
    rows = [(row["load"], row["clients"], row["system"]) for row in report["rows"]]
    kinds = ("write", "read", "stale read")
    assert rows == [(kind, clients, "raftctl") for clients in (1, 8, 64) for kind in kinds]
    assert all(row["refused"] == 0 and row["per_s"] > 0 for row in report["rows"])
    assert os.listdir(tmp_path) == []


def test_peers_that_are_installed_have_their_ratios():
    peers_found = importlib.import_module("peers_found")
    try:
        peers_found.debian("etcd", fetch=False)
    except peers_found.Missing as missing:
        pytest.skip(str(missing))
    report = _report("peers")
    for row in report["rows"]:
        assert row["refused"] == 0
        others = {other["system"] for other in report["rows"] if other is not row and other["per_s"]
                  and (other["load"], other["clients"]) == (row["load"], row["clients"])}
        assert set(row["ratios"]) == others


def test_growth_has_a_row_for_each_size():
    rows = _report("growth")["rows"]
    grown = [(row["nodes"], row["value_bytes"], row["keys"]) for row in rows]
    assert grown == [(3, 100, 10), (5, 20_000, 50)]
    for row in rows:
        for kind in ("write", "read"):
            assert row[kind]["refused"] == 0
            assert 0 < row[kind]["p50_ms"] <= row[kind]["p99_ms"] <= row[kind]["longest_ms"]


@pytest.mark.parametrize("fetched, why", [
    (False, "etcd is not installed"), (True, "there is no apt-get to fetch it")])
def test_a_peer_that_can_not_be_had_is_missing(monkeypatch, tmp_path, fetched, why):
    peers_found = importlib.import_module("peers_found")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(peers_found.Missing, match=why):
        peers_found.debian("etcd", fetch=fetched)


def test_startup_has_etcdctl_beside_it_or_says_why_not(tmp_path):
    report = _report("startup", PATH=str(tmp_path), XDG_CACHE_HOME=str(tmp_path))
    assert report["missing"] == "etcd is not installed"
    assert {row["to_etcdctl"] for row in report["rows"]} == {None}
    report = _report("startup")
    names = [row["command"] for row in report["rows"]]
    assert ("etcdctl endpoint status" in names) == (report["missing"] is None)
    assert all((row["to_etcdctl"] is None) == (report["missing"] is not None) for row in report["rows"])
