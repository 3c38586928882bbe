"""The command protocol as raftctl-protocol(7) tells it, on a real node: raw bytes in, raw bytes out."""

from __future__ import annotations

import base64
import json
import socket

import pytest
from cluster import Cluster, free_ports, raftctl, wait_for


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("protocol"), 1) as cluster:
        host = cluster.hosts[0]
        host.settings["command_port"] = free_ports(1)[0]
        host.write_config()
        cluster.start().leader()
        yield host


def talk(host, *chunks, close=True):
    """Send `chunks`, each once the node had time for the one before; return all that came until it closed."""
    with socket.create_connection(("127.0.0.1", host.settings["command_port"]), 30) as sock:
        for chunk in chunks:
            sock.sendall(chunk)
        if close:
            sock.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: sock.recv(65536), b""))


def ask(host, **request):
    return json.loads(talk(host, json.dumps(request).encode() + b"\n"))


def test_state_comes_first_and_says_all_that_state_json_prints(host):
    raw = talk(host, b'{"action":"state","id":7}\n')
    assert raw.startswith(b'{"state":"LEADER",')
    reply = json.loads(raw)
    printed = json.loads(raftctl("-c", host.config, "state", "--json").stdout)
    assert reply["id"] == 7 and set(printed) <= set(reply)


def test_a_lone_object_without_a_newline_is_answered_and_the_connection_closed(host):
    assert json.loads(talk(host, b'{"action":"state"}', close=False))["state"] == "LEADER"


def test_many_requests_in_one_segment_are_answered_in_order_with_their_ids(host):
    lines = b"".join(b'{"id":%d,"action":"put","key":"k","value":"%d"}\n' % (number, number)
                     for number in range(50))
    replies = [json.loads(line) for line in talk(host, lines).splitlines()]
    assert [reply["id"] for reply in replies] == list(range(50))
    assert all(one["revision"] < other["revision"] for one, other in zip(replies, replies[1:]))


def test_a_request_byte_by_byte_is_one_request(host):
    line = b'{"action":"state"}\n'
    assert json.loads(talk(host, *(line[at:at + 1] for at in range(len(line)))))["state"] == "LEADER"


def test_values_are_text_or_base64_in_both_directions(host):
    raw = bytes(range(256))
    put = ask(host, action="put", key="raw", value=base64.b64encode(raw).decode(), encoding="base64")
    got = ask(host, action="get", key="raw")
    assert got["encoding"] == "base64" and base64.b64decode(got["value"]) == raw
    assert got["revision"] == put["revision"]
    ask(host, action="put", key="text", value=base64.b64encode("grün".encode()).decode(), encoding="base64")
    assert ask(host, action="get", key="text")["value"] == "grün"
    assert "encoding" not in ask(host, action="get", key="text", stale=True)


def test_compare_and_set_by_revision(host):
    first = ask(host, action="put", key="cas", value="1", ifAbsent=True)["revision"]
    refused = ask(host, action="put", key="cas", value="2", ifAbsent=True)["error"]
    assert (refused["code"], refused["revision"]) == ("compare_failed", first)
    second = ask(host, action="put", key="cas", value="2", ifRev=first)["revision"]
    assert ask(host, action="del", key="cas", ifRev=first)["error"]["code"] == "compare_failed"
    assert ask(host, action="del", key="cas", ifRev=second)["ok"]
    assert ask(host, action="get", key="cas")["error"]["code"] == "not_found"
    assert ask(host, action="del", key="cas")["error"]["code"] == "not_found"


WRONG = [
    ({"action": "fly"}, "unknown_action", "fly"),
    ({}, "bad_request", "action"),
    ({"action": ["state"]}, "bad_request", "action"),
    ({"action": "put", "key": "k"}, "bad_request", "value"),
    ({"action": "put", "key": 5, "value": "v"}, "bad_request", "key"),
    ({"action": "put", "key": "", "value": "v"}, "bad_request", "empty"),
    ({"action": "put", "key": "k" * 1025, "value": "v"}, "too_large", "1024"),
    ({"action": "put", "key": "k", "value": "v" * 262145}, "too_large", "262144"),
    ({"action": "put", "key": "k", "value": "v", "encoding": "rot13"}, "bad_request", "rot13"),
    ({"action": "put", "key": "k", "value": "%%", "encoding": "base64"}, "bad_request", "base64"),
    ({"action": "put", "key": "k", "value": "v", "ifRev": -1}, "bad_request", "ifRev"),
    ({"action": "put", "key": "k", "value": "v", "ifRev": 1, "ifAbsent": True}, "bad_request", "ifAbsent"),
    ({"action": "put", "key": "k", "value": "\ud800"}, "bad_request", "surrogate"),
    ({"action": "get", "key": "k", "stale": "yes"}, "bad_request", "stale"),
    ({"action": "get", "key": "k", "timeoutMs": 0}, "bad_request", "timeoutMs"),
    ({"action": "get", "key": "k", "timeoutMs": True}, "bad_request", "timeoutMs"),
    ({"action": "join", "address": "h:1"}, "bad_request", "tcp://"),
    ({"action": "bootstrap"}, "refused", "cluster"),
]


@pytest.mark.parametrize("request_object, code, word", WRONG)
def test_p9_a_wrong_request_gets_one_error_and_changes_nothing(host, request_object, code, word):
    before = ask(host, action="state")["commitIndex"]
    error = ask(host, **request_object)["error"]
    assert error["code"] == code and word in error["message"] and "\n" not in error["message"]
    assert ask(host, action="state")["commitIndex"] == before


def test_a_line_that_is_no_object_after_a_good_one_is_an_error_reply(host):
    replies = talk(host, b'{"action":"state"}\n{"action":\n').splitlines()
    assert json.loads(replies[1])["error"]["code"] == "bad_request"


def test_the_limits_are_usable_to_the_byte(host):
    assert ask(host, action="put", key="k" * 1024, value="v" * 262144)["ok"]
    assert len(ask(host, action="get", key="k" * 1024)["value"]) == 262144


def test_without_a_quorum_a_write_says_no_leader_and_a_stale_read_still_answers(tmp_path):
    with Cluster(tmp_path, 3) as cluster:
        leader = cluster.start().leader()
        leader.request("put", key="k", value="v")
        survivor = next(host for host in cluster.hosts if host is not leader)
        wait_for(lambda: survivor.request("get", key="k", stale=True).get("value") == "v",
                 "the follower's copy")
        for host in cluster.hosts:
            if host is not survivor:
                host.kill()
        wait_for(lambda: survivor.request("state")["leader"] is None, "the loss of the leader")
        done = raftctl("-c", survivor.config, "put", "k", "w", "--timeout", "1")
        assert done.returncode == 4 and b"nothing was changed" in done.stderr
        assert raftctl("-c", survivor.config, "get", "k", "--timeout", "1").returncode == 4
        assert raftctl("-c", survivor.config, "get", "k", "--stale").stdout == b"v"
        assert survivor.state() != "LEADER"
        status = raftctl("-c", survivor.config, "status")
        assert b"no leader" in status.stdout + status.stderr and b"1 of 3" in status.stdout + status.stderr


def test_3_is_the_exit_status_where_no_daemon_answers(host, tmp_path):
    nowhere = tmp_path / "c.json"
    nowhere.write_text(json.dumps({"address": "tcp://127.0.0.1:4", "dataDir": str(tmp_path / "data")}))
    done = raftctl("-c", str(nowhere), "state")
    assert (done.returncode, done.stdout) == (3, b"") and done.stderr.count(b"\n") == 1
