"""net/commands.py, lines.py and access.py: the conversation of the command protocol, and who may say what."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading

import pytest
from net_world import DEADLINE_S, OTHER, SECRET, Posts, connect, read_all, read_line

from raftctl.base.errors import NoLeader, OurFault, PeerFault, UsageError
from raftctl.net import access, commands
from raftctl.net.commands import CommandListener
from raftctl.net.error_codes import CODES, CommandError, from_error, from_reply
from raftctl.net.frames import CLOSED
from raftctl.net.lines import LineReader
from raftctl.net.protocol import LINE_LIMIT, STRANGER_LIMIT, command_proof, connect_unix


class Node:
    """What stands behind the listener: remembers what it was asked, and answers a few actions."""

    def __init__(self):
        self.asked = []
        self.may_go = threading.Event()
        self.waiting = threading.Event()

    def __call__(self, request, caller):
        self.asked.append((request["action"], caller))
        return getattr(self, f"do_{request['action']}", self.unknown)(request)

    def unknown(self, request):
        raise CommandError("unknown_action", f'"{request["action"]}" is no action')

    def do_state(self, request):
        return {"state": "LEADER", "term": 7}

    def do_status(self, request):
        return {"state": {"state": "LEADER"}, "members": []}

    def do_put(self, request):
        return {"revision": len(request["value"])}

    def do_del(self, request):
        raise CommandError("compare_failed", "revision is 9", revision=9)

    def do_get(self, request):
        raise NoLeader("no leader within 5 s")

    def do_wait(self, request):
        self.waiting.set()
        assert self.may_go.wait(DEADLINE_S)
        return {"waited": True}


@contextlib.contextmanager
def serving(secrets=(), tcp=("127.0.0.1", 0), unix=None, node=None, **settings):
    node = node or Node()
    listener = CommandListener(tcp, unix, node, secrets, **settings)
    listener.start()
    listener.node = node
    try:
        yield listener
    finally:
        node.may_go.set()
        listener.close(DEADLINE_S)


@pytest.fixture
def port():
    with serving() as listener:
        yield listener.port


def ask(sock, *requests):
    """Send each as a line and return the replies."""
    replies = []
    for request in requests:
        sock.sendall(json.dumps(request).encode() + b"\n")
        replies.append(json.loads(read_line(sock)))
    return replies


def test_many_requests_a_connection_each_with_its_id(port):
    with connect(port) as sock:
        assert ask(sock, {"id": 1, "action": "put", "key": "k", "value": "abc"},
                   {"action": "put", "value": ""}, {"id": "x", "action": "put", "value": "a"}) == [
            {"id": 1, "ok": True, "revision": 3}, {"ok": True, "revision": 0},
            {"id": "x", "ok": True, "revision": 1}]


def test_requests_sent_together_are_answered_in_order(port):
    with connect(port) as sock:
        sock.sendall(b"".join(b'{"id":%d,"action":"put","value":"%s"}\r\n' % (n, b"x" * n)
                              for n in range(20)))
        sock.shutdown(socket.SHUT_WR)
        replies = [json.loads(line) for line in read_all(sock).splitlines()]
        assert [(reply["id"], reply["revision"]) for reply in replies] == [(n, n) for n in range(20)]


def test_state_begins_with_the_state(port):
    with connect(port) as sock:
        sock.sendall(b'{"id": 5, "action": "state"}\n')
        assert read_line(sock) == b'{"state":"LEADER","term":7,"id":5,"ok":true}\n'


@pytest.mark.parametrize("request_, code", [
    ({"action": "del"}, "compare_failed"),
    ({"action": "get"}, "no_leader"),
    ({"action": "fly"}, "unknown_action"),
    ({}, "bad_request"),
    ({"action": 7}, "bad_request"),
    ({"action": ["state"]}, "bad_request"),
    ({"action": "state", "id": {}}, "bad_request"),
    ({"action": "state", "id": None}, "bad_request"),
    ({"action": "challenge"}, "bad_request"),
    ({"action": "authenticate"}, "bad_request"),
])
def test_an_error_is_a_reply_and_the_connection_goes_on(port, request_, code):
    with connect(port) as sock:
        error, after = ask(sock, {"id": 3, **request_}, {"action": "state"})
        assert (error["ok"], error["error"]["code"]) == (False, code)
        assert set(error["error"]) >= {"code", "message", "hint"}
        assert after["state"] == "LEADER"


def test_fields_of_an_error_join_it(port):
    with connect(port) as sock:
        assert ask(sock, {"action": "del"})[0] == {"ok": False, "error": {
            "code": "compare_failed", "message": "revision is 9", "hint": CODES["compare_failed"].hint,
            "revision": 9}}


# --- 8.5: a lone object, and the end of a connection

def test_8_5_a_lone_object_without_a_newline_is_answered_and_closed(port):
    with connect(port) as sock:
        sock.sendall(b'{"action":"state"}')
        assert json.loads(read_all(sock))["state"] == "LEADER"


def test_8_5_a_newline_that_comes_behind_the_answer_makes_no_reset(port):
    with connect(port) as sock:
        sock.sendall(b'{"action":"state"}')
        first = read_line(sock)
        sock.sendall(b"\n")
        assert first.startswith(b'{"state"') and sock.recv(100) == b""
        # Closed without draining, the node would have answered the newline with a reset by now.
        sock.sendall(b"\n")
        sock.sendall(b"\n")


def test_8_5_object_and_newline_in_two_segments_are_one_request(port):
    with connect(port) as sock:
        sock.sendall(b'{"action":"state"}')
        sock.sendall(b"\n")
        assert json.loads(read_line(sock))["state"] == "LEADER"
        assert len(ask(sock, {"action": "state"})) == 1


def test_a_lone_object_before_the_end_of_the_stream_is_answered_at_once(port, monkeypatch):
    monkeypatch.setattr(commands, "LONE_S", 3600)
    with connect(port) as sock:
        sock.sendall(b'{"action":"state"}')
        sock.shutdown(socket.SHUT_WR)
        assert json.loads(read_all(sock))["state"] == "LEADER"


def test_an_object_that_is_not_whole_yet_is_waited_for(port):
    with connect(port) as sock:
        for byte in b'{"action":"put","value":"}"}':
            sock.sendall(bytes([byte]))
        sock.sendall(b"\n")
        assert json.loads(read_line(sock)) == {"ok": True, "revision": 1}


def test_half_an_object_at_the_end_of_the_stream_changes_nothing():
    with serving() as listener, connect(listener.port) as sock:
        sock.sendall(b'{"action":"put","value":"x"')
        sock.shutdown(socket.SHUT_WR)
        assert json.loads(read_all(sock))["error"]["code"] == "bad_request"
        assert listener.node.asked == []


# --- P8, 11.1: strangers

@pytest.mark.parametrize("data", [
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40\r\n\r\n"
    + b'{"action":"put","value":"x"}\n' * 3,
    b"GET /state HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n",
    b"[]\n", b'"state"\n', b"\n", b"null\n", b"[" * 100_000 + b"\n",
])
def test_11_1_a_first_line_that_is_no_object_closes_without_a_word(data):
    with serving() as listener, connect(listener.port) as sock:
        sock.sendall(data)
        assert read_all(sock) == b""
        assert listener.node.asked == []


@pytest.mark.parametrize("data, why", [
    (b'{"action":"put","value":"a","value":"b"}\n', "stands there twice"),
    (b'{"action":"put","value":NaN}\n', "NaN"),
    (b'{"action":"put"\n', "no JSON object"),
    (b'{"a":' + b"[" * 100_000 + b"\n", "nested too deeply"),
    (b'{"action":"put","value":"\xff"}\n', "UTF-8"),
])
def test_p8_a_malformed_object_is_answered_once_and_closed(data, why):
    with serving() as listener, connect(listener.port) as sock:
        sock.sendall(data + b'{"action":"put","value":"x"}\n')
        replies = read_all(sock).splitlines()
        assert len(replies) == 1 and why in json.loads(replies[0])["error"]["message"]
        assert listener.node.asked == []


def test_a_value_of_the_largest_size_fits_into_a_line(port):
    with connect(port) as sock:
        assert ask(sock, {"action": "put", "value": "x" * 400_000}) == [{"ok": True, "revision": 400_000}]


def test_p8_a_line_over_the_limit_is_refused():
    with serving() as listener, connect(listener.port) as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(b'{"action":"put","value":"' + b"x" * LINE_LIMIT)
        assert json.loads(read_line(sock))["error"]["code"] == "too_large"
        assert listener.node.asked == []


def test_p8_who_may_change_nothing_has_4_kib_a_line():
    with serving((SECRET,)) as listener, connect(listener.port) as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(b"{" + b" " * STRANGER_LIMIT)
        assert json.loads(read_line(sock))["error"]["code"] == "too_large"


@pytest.mark.parametrize("secrets", [(), (SECRET,)])
def test_p8_a_first_line_must_come_in_time_however_slowly_it_drips(secrets, monkeypatch):
    monkeypatch.setattr(commands, "LINE_S", 0.1)
    with serving(secrets) as listener, connect(listener.port) as sock:
        if secrets:
            with contextlib.suppress(ConnectionError):
                while True:
                    sock.sendall(b" ")
                    sock.settimeout(0.005)
                    with contextlib.suppress(socket.timeout):
                        if sock.recv(1) == b"":
                            break
        sock.settimeout(DEADLINE_S)
        assert read_all(sock) == b""


def test_between_two_requests_there_is_no_deadline_but_within_one(monkeypatch):
    monkeypatch.setattr(commands, "LINE_S", 0.05)
    with serving() as listener, connect(listener.port) as sock:
        ask(sock, {"action": "state"})
        threading.Event().wait(0.15)
        ask(sock, {"action": "state"})
        sock.sendall(b'{"action"')
        assert read_all(sock) == b""


@pytest.mark.parametrize("action", ["put", "get", "del", "join", "bootstrap", "fly"])
def test_11_1_without_credentials_there_is_state_and_status_only(action):
    with serving((SECRET,)) as listener, connect(listener.port) as sock:
        refused, state, status = ask(sock, {"action": action}, {"action": "state"}, {"action": "status"})
        assert refused["error"]["code"] == "not_allowed"
        assert (state["ok"], status["ok"]) == (True, True)
        assert [(asked, caller.may_change) for asked, caller in listener.node.asked] == [
            ("state", False), ("status", False)]


@pytest.mark.parametrize("secret", [SECRET, OTHER])
def test_either_secret_opens_a_tcp_connection(secret):
    with serving((SECRET, OTHER)) as listener, connect(listener.port) as sock:
        nonce = ask(sock, {"action": "challenge"})[0]["nonce"]
        done, put = ask(sock, {"action": "authenticate", "proof": command_proof(secret, nonce)},
                        {"action": "put", "value": "x" * 5000})
        assert (done, put["revision"]) == ({"ok": True}, 5000)
    with serving((SECRET,)) as listener, connect(listener.port) as sock:
        assert ask(sock, {"action": "put", "value": ""})[0]["error"]["code"] == "not_allowed"


def test_11_2_a_wrong_mac_ends_the_connection_and_a_challenge_is_good_once():
    with serving((SECRET,)) as listener:
        with connect(listener.port) as sock:
            ask(sock, {"action": "challenge"})
            assert ask(sock, {"action": "authenticate", "proof": "00"})[0]["error"]["code"] == "not_allowed"
            assert sock.recv(1) == b""
        with connect(listener.port) as sock:
            nonce = ask(sock, {"action": "challenge"})[0]["nonce"]
            proof = command_proof(SECRET, nonce)
            first, again = ask(sock, *[{"action": "authenticate", "proof": proof}] * 2)
            assert first["ok"] and again["error"]["code"] == "bad_request"
        with connect(listener.port) as sock:
            assert ask(sock, {"action": "challenge"})[0]["nonce"] != nonce
            assert ask(sock, {"action": "authenticate", "proof": proof})[0]["error"]["code"] == "not_allowed"


def test_11_2_hundreds_of_strangers_neither_end_old_connections_nor_keep_out_new_ones():
    with serving() as listener, contextlib.ExitStack() as stack:
        old = stack.enter_context(connect(listener.port))
        ask(old, {"action": "put", "value": ""})
        for count in range(520):
            stack.enter_context(connect(listener.port))
            if count % 40 == 39:
                with connect(listener.port) as other:
                    ask(other, {"action": "state"})
        assert ask(old, {"action": "put", "value": ""})[0]["ok"]
        new = stack.enter_context(connect(listener.port))
        assert ask(new, {"action": "put", "value": ""})[0]["ok"]


def test_11_2_strangers_over_tcp_do_not_take_the_unix_sockets_room(tmp_path):
    path = str(tmp_path / "s")
    with serving((SECRET,), unix=path, cap=1) as listener, contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(connect(listener.port))
        with unix(path) as sock:
            assert ask(sock, {"action": "put", "value": ""})[0]["ok"]


def test_at_the_cap_a_newcomer_is_told_that_the_node_is_busy():
    with serving(cap=1) as listener, connect(listener.port) as old:
        ask(old, {"action": "put", "value": ""})
        with connect(listener.port) as new:
            assert json.loads(read_all(new))["error"]["code"] == "busy"
        assert ask(old, {"action": "state"})[0]["ok"]


def test_a_client_that_reads_nothing_holds_its_own_thread_only(monkeypatch):
    monkeypatch.setattr(commands, "_SEND_S", 0)
    node = Node()
    node.do_state = lambda request: {"state": "x" * 1_000_000}
    with serving(node=node) as listener, connect(listener.port) as greedy, connect(listener.port) as other:
        with contextlib.suppress(OSError):
            greedy.settimeout(0.2)
            greedy.sendall(b'{"action":"state"}\n' * 100_000)
        assert ask(other, {"action": "put", "value": ""})[0]["ok"]


def test_a_request_that_waits_holds_up_nobody_else():
    with serving() as listener, connect(listener.port) as slow, connect(listener.port) as quick:
        slow.sendall(b'{"action":"wait"}\n')
        assert listener.node.waiting.wait(DEADLINE_S)
        assert ask(quick, {"action": "state"})[0]["ok"]
        listener.node.may_go.set()
        assert json.loads(read_line(slow))["waited"]


def test_a_request_under_way_is_answered_when_the_listener_closes():
    with serving() as listener, connect(listener.port) as sock, connect(listener.port) as idle:
        ask(idle, {"action": "state"})
        sock.sendall(b'{"action":"wait"}\n')
        assert listener.node.waiting.wait(DEADLINE_S)
        closer = threading.Thread(target=listener.close, args=(DEADLINE_S,))
        closer.start()
        assert read_all(idle) == b""
        listener.node.may_go.set()
        assert json.loads(read_all(sock))["waited"]
        closer.join()


def test_closing_does_not_wait_longer_than_it_may():
    with serving() as listener, connect(listener.port) as sock:
        sock.sendall(b'{"action":"wait"}\n')
        assert listener.node.waiting.wait(DEADLINE_S)
        listener.close(0.05)
        assert read_all(sock) == b""


def test_a_fault_of_ours_reaches_the_excepthook(monkeypatch):
    faults = []
    seen = threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda args: (faults.append(args.exc_type), seen.set()))
    node = Node()
    node.do_state = lambda request: 1 // 0
    with serving(node=node) as listener, connect(listener.port) as sock:
        sock.sendall(b'{"action":"state"}\n')
        assert read_all(sock) == b""
        assert seen.wait(DEADLINE_S) and faults == [ZeroDivisionError]


def test_an_open_command_port_is_warned_of_at_start(caplog):
    with caplog.at_level(logging.WARNING), serving() as listener:
        assert f"every user of this host may change the store over port {listener.port}" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING), serving((SECRET,)):
        assert caplog.text == ""


def test_p8_an_insecure_port_that_other_hosts_reach_is_open_for_questions_only():
    with serving(tcp=("0.0.0.0", 0), insecure=True) as listener, connect(listener.port) as sock:
        put, state = ask(sock, {"action": "put", "value": ""}, {"action": "state"})
        assert (put["error"]["code"], state["ok"]) == ("not_allowed", True)


def test_p8_no_command_port_on_other_hosts_without_a_secret():
    with pytest.raises(UsageError, match='"command_port".*there is no secret'):
        CommandListener(("0.0.0.0", 0), None, Node())


# --- the unix socket

def unix(path):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(DEADLINE_S)
    connect_unix(sock, path)
    return sock


def test_the_daemons_own_user_may_change_over_the_unix_socket(tmp_path):
    path = str(tmp_path / "run" / "command.sock")
    with serving((SECRET,), tcp=None, unix=path) as listener:
        assert listener.port is None
        with unix(path) as sock:
            assert ask(sock, {"action": "put", "value": "x"})[0]["ok"]
            caller = listener.node.asked[0][1]
            assert (caller.may_change, caller.transport) == (True, "unix")
            assert caller.who.endswith(f"@{socket.gethostname()}")
        assert os.stat(path).st_mode & 0o777 == 0o666
    assert not os.path.exists(path)


def test_4_5_a_path_longer_than_107_bytes_works(tmp_path):
    path = str(tmp_path / ("d" * 100) / ("e" * 60) / "command.sock")
    os.makedirs(os.path.dirname(path))
    with serving(tcp=None, unix=path), unix(path) as sock:
        assert ask(sock, {"action": "state"})[0]["ok"]


def test_a_stale_socket_is_replaced_and_anything_else_is_not(tmp_path):
    path = tmp_path / "command.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    with serving(tcp=None, unix=str(path)), unix(str(path)) as sock:
        assert ask(sock, {"action": "state"})[0]["ok"]
    path.write_text("precious")
    with pytest.raises(UsageError, match="something that is no socket stands there"):
        CommandListener(("127.0.0.1", 0), str(path), Node())
    assert path.read_text() == "precious"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("identity, may_change", [
    ((65534, 65534, []), False),
    ((65534, 4242, []), True),
    ((65534, 65534, [7, 4242]), True),
])
def test_11_1_other_users_may_change_only_in_the_group(monkeypatch, identity, may_change):
    """Credentials are taken at connect: a child that gave up root is what `nobody` is."""
    monkeypatch.setattr(access, "_group_number", lambda name: 4242)
    name = f"\0raftctl-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        listener.listen()
        child = os.fork()
        if child == 0:
            try:
                os.setgroups(identity[2])
                os.setresgid(identity[1], identity[1], identity[1])
                os.setresuid(identity[0], identity[0], identity[0])
                with socket.socket(socket.AF_UNIX) as sock:
                    sock.connect(name)
                    sock.recv(1)
            finally:
                os._exit(0)
        accepted, _ = listener.accept()
        with accepted:
            caller = access.unix_caller(accepted)
        os.waitpid(child, 0)
    assert (caller.may_change, caller.transport) == (may_change, "unix")


def test_without_the_group_on_this_host_nobody_is_in_it():
    with socket.socket() as unused:
        assert access.is_of_group(unused, 0, None) is False
    assert access._group_number("no-such-group-anywhere") is None


# --- parts without a socket

@pytest.mark.parametrize("cut", range(1, 12))
def test_lines_come_out_of_any_two_reads(cut):
    data = b"first\r\nsecond\n"
    reader = LineReader(100)

    def lines(part):
        reader.receive(part)
        found = []
        while isinstance(line := reader.next_line(), bytes):
            found.append(line)
        return found

    assert lines(data[:cut]) + lines(data[cut:]) == [b"first\r", b"second"]
    reader.receive(b"rest")
    reader.receive(b"")
    assert reader.next_line() == b"rest"
    assert reader.next_line() is CLOSED


@pytest.mark.parametrize("data", [b"x" * 11, b"x" * 11 + b"\n"])
def test_a_line_over_the_limit_is_a_fault_with_and_without_its_end(data):
    reader = LineReader(10)
    reader.receive(data)
    with pytest.raises(PeerFault):
        reader.next_line()


def test_a_limit_can_be_raised():
    reader = LineReader(1)
    reader.limit = 10
    reader.receive(b"x" * 10 + b"\n")
    assert reader.next_line() == b"x" * 10


def test_each_code_has_an_exit_status_of_the_manual():
    assert {code: row.exit_status for code, row in CODES.items()} == {
        "not_found": 1, "compare_failed": 1, "refused": 1, "bad_request": 2, "unknown_action": 2,
        "too_large": 2, "no_leader": 4, "not_initialized": 4, "timeout": 4, "busy": 4, "stopping": 4,
        "store_full": 4, "unknown_outcome": 5, "not_allowed": 6, "internal": 70}


def test_an_error_survives_the_way_to_the_client():
    error = CommandError("compare_failed", "no", "look again", revision=4)
    back = from_reply({"ok": False, "error": error.as_object()})
    assert (back.code, back.message, back.hint) == ("compare_failed", "no", "look again")
    assert back.fields == {"revision": 4}
    assert back.exit_status == 1


@pytest.mark.parametrize("reply", [
    {}, {"error": None}, {"error": {"code": "of_tomorrow"}}, {"error": {"code": ["x"]}},
])
def test_an_error_of_a_later_release_is_a_refusal(reply):
    assert from_reply(reply).code == "refused"


def test_a_code_without_a_row_is_a_fault_of_ours():
    with pytest.raises(OurFault):
        CommandError("invented", "x")


def test_errors_of_other_layers_become_codes_by_their_exit_status():
    assert from_error(NoLeader("none")).code == "no_leader"
    assert from_error(UsageError("bad")).code == "bad_request"
    assert from_error(PeerFault("x")).code == "refused"



def test_a_client_whose_host_vanished_is_noticed_within_minutes(monkeypatch):
    seen = Posts()
    prepare = commands._prepare_tcp
    monkeypatch.setattr(commands, "_prepare_tcp", lambda sock: (prepare(sock), seen(sock))[0])
    with serving() as listener, connect(listener.port) as client:
        ask(client, {"action": "state"})
        sock = seen.wait(lambda sock: True)
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        idle, interval, count = [sock.getsockopt(socket.IPPROTO_TCP, option) for option in options]
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert idle + interval * count <= 180


def test_a_long_line_is_not_copied_again_for_each_piece_of_it(monkeypatch):
    rest, copied = LineReader.rest.fget, []
    monkeypatch.setattr(LineReader, "rest", property(lambda self: (copied.append(self.held), rest(self))[1]))
    with serving() as listener, connect(listener.port) as client:
        line = json.dumps({"action": "put", "key": "k", "value": "x" * 300_000}).encode() + b"\n"
        for start in range(0, len(line), 10_000):
            client.sendall(line[start:start + 10_000])
        assert json.loads(read_line(client))["ok"] is True
    assert max(copied, default=0) <= STRANGER_LIMIT
