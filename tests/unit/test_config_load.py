"""What well-formed files mean: the examples of the README, the defaults, and the choice of a node."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from raftctl.base.addresses import Address
from raftctl.base.durations import MILLISECOND, SECOND
from raftctl.config import keys, places
from raftctl.config.load import load, pick
from raftctl.config.model import Hook, NodeConfig
from raftctl.config.own import NoneIsHere, own_address, why_not_here
from raftctl.config.spelling import fold

SINGLE = """\
{ "address": "tcp://localhost:8089", "command_port": 10000, "serviceName": "raft-daemon-1",
  "logFile": "/var/log/raft-daemon-1.log", "election min": "200 millisecond", "election max": "1 second" }
"""
CLUSTER = """\
{ "serviceName": "raft-cluster-local", "description": "My Local 3-Node Raft Cluster",
  "nodes": [
    { "address": "tcp://localhost:8089", "command_port": 10000, "logFile": "/var/log/raft-daemon-1.log",
      "clusterNodes": ["tcp://localhost:8089", "tcp://localhost:8090"] },
    { "address": "tcp://localhost:8090", "command_port": 10001, "logFile": "/var/log/raft-daemon-2.log",
      "clusterNodes": ["tcp://localhost:8089", "tcp://localhost:8090"] } ] }
"""
SHORTEST = '{"clusterNodes": ["tcp://h1:8089", "tcp://h2:8089", "tcp://h3:8089"]}'
HOSTS = tuple(Address(f"h{number}", 8089) for number in (1, 2, 3))
BOTH = (Address("localhost", 8089), Address("localhost", 8090))


def write(tmp_path, content, name="n1.json"):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def read(tmp_path, content, **options):
    return load(write(tmp_path, content), **{"environ": {"HOME": "/home/me"}, "as_root": True, **options})


def node_of(tmp_path, **fields):
    fields = {name.replace("__", " "): value for name, value in fields.items()}
    return read(tmp_path, {"address": "tcp://localhost:8089", **fields}).nodes[0]


def add_secret(tmp_path, data=b"0123456789abcdef\n"):
    path = tmp_path / "secret"
    path.write_bytes(data)
    path.chmod(0o600)
    return str(path)


# -- the examples of the README -----------------------------------------------------------------------------


def test_the_single_node_example_loads_unchanged(tmp_path):
    loaded = read(tmp_path, SINGLE)
    path = str(tmp_path / "n1.json")
    node = NodeConfig(
        path=path, address=BOTH[0], listen_host="localhost", command_host="127.0.0.1", command_port=10000,
        name="localhost", cluster_nodes=(), heartbeat_ns=50 * MILLISECOND, election_min_ns=200 * MILLISECOND,
        election_max_ns=SECOND, join=None, data_dir="/var/lib/raftctl/8089", data_dir_is_default=True,
        log_file="/var/log/raft-daemon-1.log", log_level="info", events=(), secret_file=None, secrets=(),
        insecure=False, service_name="raft-daemon-1", description="raftctl node tcp://localhost:8089",
        user=None,
    )  # fmt: skip
    assert loaded.nodes == (node,)
    assert loaded[:2] == (path, False)
    assert loaded[3:] == ("/var/log/raft-daemon-1.log", "info", "raft-daemon-1", node.description, None,
                           False)


def test_the_cluster_example_loads_unchanged(tmp_path):
    loaded = read(tmp_path, CLUSTER)
    assert (loaded.is_cluster, loaded.log_file, loaded.service_name) == (True, None, "raft-cluster-local")
    assert loaded.description == "My Local 3-Node Raft Cluster"
    shown = [
        (n.name, n.address, n.command_port, n.cluster_nodes, n.data_dir, n.log_file) for n in loaded.nodes
    ]
    assert shown == [
        ("localhost:8089", BOTH[0], 10000, BOTH, "/var/lib/raftctl/8089", "/var/log/raft-daemon-1.log"),
        ("localhost:8090", BOTH[1], 10001, BOTH, "/var/lib/raftctl/8090", "/var/log/raft-daemon-2.log"),
    ]
    assert {node.service_name for node in loaded.nodes} == {"raft-cluster-local"}


def test_a_pointer_file_means_the_same_node_as_the_cluster_file(tmp_path):
    whole = read(tmp_path, CLUSTER).nodes
    for position, written in enumerate(json.loads(CLUSTER)["nodes"]):
        node = read(tmp_path, written).nodes[0]
        unlike = {"description", "service_name"}
        ours, theirs = (
            {k: v for k, v in n._asdict().items() if k not in unlike} for n in (node, whole[position])
        )
        assert ours == theirs


@pytest.mark.parametrize("own", HOSTS)
def test_the_shortest_file_is_the_same_on_each_host(tmp_path, own):
    secret = add_secret(tmp_path)
    loaded = read(tmp_path, SHORTEST, can_bind=lambda host: None if host == own.host else "not here")
    node = loaded.nodes[0]
    assert (node.address, node.listen_host, node.name, node.cluster_nodes) == (own, own.host, own.host, HOSTS)
    assert (node.command_port, node.secret_file, node.secrets) == (None, secret, (b"0123456789abcdef",))
    assert (node.heartbeat_ns, node.election_min_ns, node.election_max_ns) == (10**8, 5 * 10**8, 10**9)


# -- keys and values ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key", ["election min", "electionMin", "election_min", "ELECTION-MIN", "ElectionMin"]
)
def test_keys_are_compared_without_case_spaces_and_lines(tmp_path, key):
    content = {"address": "tcp://localhost:1", key: "300 ms"}
    assert read(tmp_path, content).nodes[0].election_min_ns == 300 * MILLISECOND


def test_no_two_keys_of_the_table_are_spelt_alike_and_all_are_explained():
    assert len({fold(key.name) for key in keys.KEYS}) == len(keys.KEYS)
    assert all(
        key.help and key.default and key.place in (keys.NODE, keys.DEFAULT, keys.FILE) for key in keys.KEYS
    )


@pytest.mark.parametrize("fields, expected", [
    ({}, (100, 500, 1000)),
    ({"election__min": 300}, (75, 300, 1000)),
    ({"election__min": "2 s"}, (100, 2000, 4000)),
    ({"election__max": "5 s"}, (100, 500, 5000)),
    ({"election__min": 100, "election__max": 100}, (25, 100, 100)),
    ({"heartbeat": 249}, (249, 500, 1000)),
])  # fmt: skip
def test_times_that_are_not_set_fit_those_that_are(tmp_path, fields, expected):
    node = node_of(tmp_path, **fields)
    found = (node.heartbeat_ns, node.election_min_ns, node.election_max_ns)
    assert found == tuple(ms * MILLISECOND for ms in expected)


def test_relative_paths_begin_at_the_file_and_nothing_is_substituted(tmp_path, monkeypatch):
    add_secret(tmp_path)
    monkeypatch.chdir("/")
    node = node_of(
        tmp_path, dataDir="data", logFile="../x.log", secretFile="./secret", events={"leader": "$HOME/a.sh"}
    )
    assert node.data_dir == str(tmp_path / "data")
    assert node.log_file == str(tmp_path.parent / "x.log")
    assert node.secret_file == str(tmp_path / "secret")
    assert node.events[0][1].argv == (str(tmp_path / "$HOME/a.sh"),)


def test_a_relative_name_of_the_file_gives_absolute_paths(tmp_path, monkeypatch):
    write(tmp_path, {"address": "tcp://localhost:8089", "dataDir": "data"})
    monkeypatch.chdir(tmp_path)
    loaded = load("n1.json", environ={})
    assert (loaded.path, loaded.nodes[0].data_dir) == (str(tmp_path / "n1.json"), str(tmp_path / "data"))


def test_events_come_under_their_names_and_in_order(tmp_path):
    node = node_of(tmp_path, events={
        "end": ["/d.sh", "--now", ""],
        "Follower": {"run": ["/b.py", "x"], "timeout": "5 s", "RETRY": 2},
        "initialize": {"run": "/c.sh"},
        "leader": "/a.sh",
    })  # fmt: skip
    assert node.events == (
        ("leader", Hook(("/a.sh",), 30 * SECOND, 0)),
        ("follower", Hook(("/b.py", "x"), 5 * SECOND, 2)),
        ("start", Hook(("/c.sh",), 30 * SECOND, 0)),
        ("stop", Hook(("/d.sh", "--now", ""), 30 * SECOND, 0)),
    )


@pytest.mark.parametrize(
    "written, host", [("[::]", "::"), ("::", "::"), ("0.0.0.0", "0.0.0.0"), ("H1.example", "h1.example")]
)
def test_listen_takes_a_host_alone(tmp_path, written, host):
    assert node_of(tmp_path, listen=written, insecure=True).listen_host == host


@pytest.mark.parametrize(
    "address", ["tcp://[fe80::1%25eth0]:1", "tcp://[2001:db8::1]:1", "tcp://node_1.lan.:1", "tcp://köln:1"]
)
def test_addresses_of_all_kinds_are_taken(tmp_path, address):
    if "%" in address:
        address = address.replace("25eth0", "1")
    assert str(read(tmp_path, {"address": address, "insecure": True}).nodes[0].address) == address


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "[::1]"])
def test_p8_loopback_needs_no_secret(tmp_path, host):
    assert read(tmp_path, {"address": f"tcp://{host}:1", "command_port": 2}).nodes[0].secrets == ()


def test_p8_insecure_is_said_in_the_file(tmp_path):
    assert read(tmp_path, {"address": "tcp://h1:1", "insecure": True}).nodes[0].insecure is True


def test_p8_a_listener_on_loopback_behind_another_address_needs_no_secret(tmp_path):
    assert (
        read(tmp_path, {"address": "tcp://h1:1", "listen": "127.0.0.1"}).nodes[0].listen_host == "127.0.0.1"
    )


def test_p8_the_first_secret_of_several_comes_first(tmp_path):
    add_secret(tmp_path, b"0123456789abcdef\n\n  fedcba9876543210 \r\n")
    assert node_of(tmp_path).secrets == (b"0123456789abcdef", b"fedcba9876543210")


def test_p8_a_client_goes_on_without_a_secret_that_it_may_not_read(tmp_path, monkeypatch):
    add_secret(tmp_path)
    path = write(tmp_path, {"address": "tcp://h1:8089"})
    real = os.open

    def refuse_secret(name, *args, **options):
        if str(name).endswith("secret"):
            raise PermissionError(13, "Permission denied")
        return real(name, *args, **options)

    monkeypatch.setattr("raftctl.config.read.os.open", refuse_secret)
    node = load(path, environ={}, for_client=True).nodes[0]
    assert (node.secrets, node.secret_file) == ((), str(tmp_path / "secret"))
    with pytest.raises(Exception, match='"secretFile": .*/secret: permission denied; let this user read it'):
        load(path, environ={})


def test_the_list_is_sorted_and_holds_the_node_itself(tmp_path):
    content = {
        "address": "tcp://h2:8089",
        "clusterNodes": ["tcp://h3:8089", "tcp://h1:8089"],
        "insecure": True,
    }
    assert read(tmp_path, content).nodes[0].cluster_nodes == HOSTS


def test_priority_and_preempt_are_a_nodes_own_or_the_files(tmp_path):
    assert node_of(tmp_path, address="tcp://localhost:1").priority == 100
    loaded = read(tmp_path, {
        "priority": 50, "preempt": True, "clusterNodes": ["tcp://localhost:8089"],
        "nodes": [{"address": "tcp://localhost:8089", "priority": 0, "preempt": False},
                  {"address": "tcp://localhost:8090"}],
    })  # fmt: skip
    assert [(node.priority, node.preempt) for node in loaded.nodes] == [(0, False), (50, True)]


# -- cluster files ------------------------------------------------------------------------------------------


def test_top_level_keys_are_defaults_for_the_nodes(tmp_path):
    loaded = read(tmp_path, {
        "heartbeat": 50, "dataDir": "data", "logFile": "guardian.log", "logLevel": "debug", "user": "raft",
        "events": {"leader": "/a.sh"}, "clusterNodes": ["tcp://localhost:8089"], "serviceName": "s",
        "nodes": [{"address": "tcp://localhost:8089"},
                  {"address": "tcp://localhost:8090", "heartbeat": 60, "dataDir": "own", "logLevel": "error",
                   "logFile": "own.log", "events": {}, "name": "b"}],
    })  # fmt: skip
    shown = [
        (
            n.heartbeat_ns // MILLISECOND,
            n.data_dir,
            n.log_file,
            n.log_level,
            len(n.events),
            n.cluster_nodes,
            n.user,
            n.name,
        )
        for n in loaded.nodes
    ]
    assert shown == [
        (50, str(tmp_path / "data" / "8089"), None, "debug", 1, BOTH[:1], "raft", "localhost:8089"),
        (60, str(tmp_path / "own"), str(tmp_path / "own.log"), "error", 0, BOTH, "raft", "b"),
    ]
    assert (loaded.log_file, loaded.log_level) == (str(tmp_path / "guardian.log"), "debug")


def test_nodes_without_anything_shared_are_fine(tmp_path):
    loaded = read(
        tmp_path, {"nodes": [{"address": "tcp://localhost:8089"}, {"address": "tcp://127.0.0.1:8090"}]}
    )
    assert [node.name for node in loaded.nodes] == ["localhost", "127.0.0.1"]
    assert loaded.description == "raftctl cluster of 2 nodes"


@pytest.mark.parametrize(
    "choice", ["8090", "tcp://localhost:8090", "tcp://LOCALHOST:8090/", "localhost:8090"]
)
def test_a_node_is_picked_by_name_address_or_port(tmp_path, choice):
    assert pick(read(tmp_path, CLUSTER), choice).address == BOTH[1]


def test_a_given_name_is_picked_and_the_only_node_needs_no_choice(tmp_path):
    loaded = read(tmp_path, {"address": "tcp://localhost:1", "name": "db"})
    assert pick(loaded, None) == pick(loaded, "db") == loaded.nodes[0]


def test_a_choice_that_fits_two_nodes_is_refused(tmp_path):
    loaded = read(
        tmp_path,
        {
            "dataDir": "d",
            "nodes": [
                {"address": "tcp://127.0.0.2:8089", "dataDir": "a"},
                {"address": "tcp://127.0.0.3:8089", "dataDir": "b"},
            ],
        },
    )
    with pytest.raises(Exception, match='--node "8089" fits several nodes'):
        pick(loaded, "8089")


# -- places -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("environ, as_root, expected", [
    ({"XDG_STATE_HOME": "/s", "HOME": "/h"}, True, "/var/lib/raftctl/8089"),
    ({"XDG_STATE_HOME": "/s", "HOME": "/h"}, False, "/s/raftctl/8089"),
    ({"XDG_STATE_HOME": "relative", "HOME": "/h"}, False, "/h/.local/state/raftctl/8089"),
    ({"HOME": "/h"}, False, "/h/.local/state/raftctl/8089"),
])  # fmt: skip
def test_the_default_data_directory_depends_on_the_user(tmp_path, environ, as_root, expected):
    node = read(tmp_path, {"address": "tcp://localhost:8089"}, environ=environ, as_root=as_root).nodes[0]
    assert (node.data_dir, node.data_dir_is_default) == (expected, True)


def test_the_file_of_the_environment_is_used(tmp_path):
    path = write(tmp_path, {"address": "tcp://localhost:8089"})
    assert load(None, environ={"RAFTCTL_CONFIG": path}).path == path


def test_the_system_file_is_the_last_resort():
    with pytest.raises(Exception, match="^/etc/raftctl/config.json: no such file; name one: --config FILE$"):
        if os.path.lexists(places.DEFAULT_CONFIG):
            pytest.skip(f"{places.DEFAULT_CONFIG} exists on this machine")
        load(None, environ={"RAFTCTL_CONFIG": ""})


def test_a_client_looks_wherever_the_daemon_may_have_put_its_socket(tmp_path):
    content = {"address": "tcp://localhost:8089"}
    root = read(tmp_path, content).nodes[0]
    other = read(tmp_path, content, as_root=False, environ={"XDG_STATE_HOME": "/s"}).nodes[0]
    told = node_of(tmp_path, dataDir="/d")
    assert places.command_sockets(root) == ("/run/raftctl/8089.sock", "/var/lib/raftctl/8089/command.sock")
    assert places.command_sockets(other) == (
        "/s/raftctl/8089/command.sock",
        "/run/raftctl/8089.sock",
        "/var/lib/raftctl/8089/command.sock",
    )
    assert places.command_sockets(told) == ("/d/command.sock",)
    for node, as_root in ((root, True), (other, False), (told, True), (told, False)):
        assert places.command_socket(node, as_root=as_root) in places.command_sockets(node)


# -- which entry is this host -------------------------------------------------------------------------------


def test_this_host_can_bind_its_loopback_and_not_a_documentation_address():
    assert why_not_here("127.0.0.1") is None
    assert why_not_here("192.0.2.1") == "not on this host"
    assert why_not_here("a" * 64) == "unknown name"


def test_a_setting_that_lets_bind_any_address_does_not_make_all_entries_ours(monkeypatch):
    # keepalived hosts set ip_nonlocal_bind: then each bind succeeds, and the route decides.
    monkeypatch.setattr("raftctl.config.own.socket.socket.bind", lambda self, place: None)
    monkeypatch.setattr("raftctl.config.own._binds_anything", lambda: True)
    assert why_not_here("127.0.0.1") is None
    assert why_not_here("192.0.2.1") == "not on this host"


def test_no_entry_here_is_a_fault_of_its_own_because_a_network_may_come_up():
    with pytest.raises(NoneIsHere):
        own_address(HOSTS, lambda host: "not here")


# -- weight -------------------------------------------------------------------------------------------------


def test_state_pays_for_no_heavy_module_by_reading_the_configuration():
    heavy = ("logging", "dataclasses", "subprocess", "difflib", "asyncio", "argparse")
    program = "import sys; sys.path.insert(0, sys.argv[1]); import raftctl.config.load; print(*sys.modules)"
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, root], capture_output=True, text=True, check=True
    )
    assert [name for name in heavy if name in done.stdout.split()] == []
