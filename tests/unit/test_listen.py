"""net/listen.py, serve.py and binding.py: strangers stay out, peers go on, and the end is prompt (P8)."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import struct
import threading

import pytest
from net_world import (
    DEADLINE_S,
    OTHER,
    SECRET,
    Posts,
    admit,
    await_true,
    connect,
    dial,
    guardian,
    hello,
    read_all,
)

from raftctl.base.errors import OurFault, UsageError
from raftctl.cluster import handshake
from raftctl.cluster.handshake import FOUND, HELLO, PING, RAFT, Refusal
from raftctl.net import binding, listen, serve
from raftctl.net.auth import Refused, Witness
from raftctl.net.frames import encode
from raftctl.net.links import FrameIn
from raftctl.net.listen import PeerListener

LONG_NS = 600 * 1_000_000_000


@contextlib.contextmanager
def listening(secrets=(), judge=admit, silence_ns=LONG_NS, cap=256, hosts=("127.0.0.1",), **settings):
    posts = Posts()
    listener = PeerListener(hosts, 0, lambda expected, generation: hello("h2"), secrets, judge, posts,
                            silence_ns=silence_ns, cap=cap, **settings)
    listener.start()
    try:
        yield listener, posts
    finally:
        listener.close(DEADLINE_S)
    with pytest.raises(OSError):
        connect(listener.port)
    await_true(lambda: not [thread for thread in threading.enumerate()
                            if thread.name.startswith(("in-", "accept-"))])


@pytest.mark.parametrize("secrets", [(), (SECRET,)])
def test_the_words_of_a_peer_are_posted_with_its_hello(secrets):
    with listening(secrets) as (listener, posts):
        sock, established = dial(listener.port, hello("h1", generation=7), secrets)
        sock.sendall(established.sealer.seal(RAFT, b"a") + established.sealer.seal(FOUND, b"b" * 60_000))
        second = posts.wait_kind(FrameIn, 2)
        assert (second.kind, second.body) == (FOUND, b"b" * 60_000)
        assert (second.hello.address, second.hello.generation) == ("tcp://h1:8089", 7)
        assert "in-h1:8089" in [thread.name for thread in threading.enumerate()]
        sock.close()


def test_pings_are_not_posted_and_tell_that_the_peer_lives():
    pinged = Posts()
    with listening(pinged=pinged) as (listener, posts):
        sock, established = dial(listener.port, hello("h1"))
        sock.sendall(established.sealer.seal(PING, b"") + established.sealer.seal(RAFT, b"a"))
        posts.wait_kind(FrameIn)
        assert [event.kind for event in posts.events] == [RAFT]
        assert [heard.address for heard in pinged.events] == ["tcp://h1:8089"]
        sock.close()


def test_a_peer_that_was_let_in_is_told_to_the_node_and_a_guardian_is_not():
    heard = Posts()
    with listening(accepted=heard) as (listener, posts):
        first, established = dial(listener.port, guardian("h3"))
        first.sendall(established.sealer.seal(RAFT, b"release"))
        posts.wait_kind(FrameIn)
        second, _ = dial(listener.port, hello("h1"))
        heard.wait(lambda each: each.address == "tcp://h1:8089")
        assert [each.address for each in heard.events] == ["tcp://h1:8089"]
        first.close()
        second.close()


@pytest.mark.parametrize("kind", [FOUND, handshake.JOIN, handshake.FORWARD, HELLO])
def test_p8_a_guardian_delivers_nothing_but_raft(kind):
    with listening() as (listener, posts):
        sock, established = dial(listener.port, guardian("h1"))
        sock.sendall(established.sealer.seal(RAFT, b"release") + established.sealer.seal(kind, b"x"))
        assert read_all(sock) == b""
        assert [(event.hello.role, event.kind) for event in posts.events] == [("guardian", RAFT)]
        sock.close()


GARBAGE = {
    "garbage": b"\x00\x01\x02\x03" * 1000,
    "an HTTP request": b"POST / HTTP/1.1\r\nHost: h\r\n\r\n",
    "a huge frame": b"\xff\xff\xff\xff" + b"x" * 5000,
    "a frame over 4 KiB": encode(HELLO, b"x" * 4097),
    "a frame without a handshake": encode(RAFT, b"vote"),
    "deep JSON": encode(HELLO, b"[" * 4000),
    "an end inside a frame": encode(HELLO, b"x" * 100)[:50],
    "nothing": b"",
}


@pytest.mark.parametrize("what", GARBAGE)
@pytest.mark.parametrize("secrets", [(), (SECRET,)])
def test_p8_a_stranger_is_closed_and_others_go_on(what, secrets):
    with listening(secrets) as (listener, posts):
        peer, established = dial(listener.port, hello("h1"), secrets)
        with connect(listener.port) as stranger:
            with contextlib.suppress(OSError):
                stranger.sendall(GARBAGE[what])
                stranger.shutdown(socket.SHUT_WR)
            read_all(stranger)
        peer.sendall(established.sealer.seal(RAFT, b"still here"))
        assert posts.wait_kind(FrameIn).body == b"still here"
        assert len(posts.events) == 1
        peer.close()


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", encode(RAFT, b"no MAC"), encode(RAFT, b"x" * 40)])
def test_p8_a_frame_that_is_not_authentic_closes_its_connection_and_changes_nothing(data):
    with listening((SECRET,)) as (listener, posts):
        sock, established = dial(listener.port, hello("h1"), (SECRET,))
        sock.sendall(established.sealer.seal(RAFT, b"good") + data)
        assert read_all(sock) == b""
        assert [event.body for event in posts.events] == [b"good"]
        sock.close()


def test_p8_another_secret_is_refused():
    with listening((SECRET,)) as (listener, _), pytest.raises(Refused, match="secret"):
        dial(listener.port, hello("h1"), (OTHER,))


def test_a_refusal_is_told_to_the_dialler():
    refusing = listening((SECRET,), lambda own, theirs: Refusal("cluster", "other cluster"))
    with refusing as (listener, _), pytest.raises(Refused, match="other cluster"):
        dial(listener.port, hello("h1"), (SECRET,))


def test_a_dialler_that_refuses_us_is_logged_with_its_reason(caplog):
    with listening((SECRET,)) as (listener, posts), caplog.at_level(logging.WARNING):
        with pytest.raises(Refused) as caught:
            dial_and_refuse(listener.port)
        assert caught.value.code == "list"
        await_true(lambda: "it refuses this node: lists differ" in caplog.text)
        assert posts.events == []


def dial_and_refuse(port):
    from raftctl.net.auth import Handshake

    side = Handshake(True, hello("h1"), (SECRET,), lambda own, theirs: Refusal("list", "lists differ"))
    with connect(port) as sock:
        try:
            while side.result is None:
                sock.sendall(side.outgoing())
                side.receive(sock.recv(4096))
        finally:
            sock.sendall(side.outgoing())


def test_p7_a_copy_that_comes_with_the_same_incarnation_is_refused():
    with listening(judge=Witness()) as (listener, _):
        first, _ = dial(listener.port, hello("h1", start_id="a"))
        with pytest.raises(Refused, match="went back or is used twice"):
            dial(listener.port, hello("h1", start_id="b"))
        first.close()


def test_a_silent_connection_is_closed():
    with listening(silence_ns=20_000_000) as (listener, _):
        sock, _ = dial(listener.port, hello("h1"))
        assert read_all(sock) == b""
        sock.close()


def test_11_2_a_handshake_has_a_deadline_in_all_not_a_byte(monkeypatch):
    monkeypatch.setattr(listen, "HANDSHAKE_S", 0.1)
    with listening() as (listener, _), connect(listener.port) as sock:
        data = encode(HELLO, handshake.encode_hello(hello("h1")))
        with contextlib.suppress(ConnectionError):
            for byte in data:
                sock.sendall(bytes([byte]))
                sock.settimeout(0.005)
                with contextlib.suppress(socket.timeout):
                    if sock.recv(1) == b"":
                        break
            else:
                pytest.fail("it waited for all of a hello sent byte by byte")


def test_11_2_a_slow_stranger_delays_nobody():
    with listening() as (listener, posts), connect(listener.port) as slow:
        slow.sendall(b"\0")
        peer, established = dial(listener.port, hello("h1"))
        peer.sendall(established.sealer.seal(RAFT, b"now"))
        assert posts.wait_kind(FrameIn).body == b"now"
        peer.close()


def test_11_2_hundreds_of_strangers_neither_end_old_connections_nor_keep_out_new_ones():
    with listening() as (listener, posts), contextlib.ExitStack() as stack:
        peer, established = dial(listener.port, hello("h1"))
        stack.callback(peer.close)
        for count in range(520):
            stack.enter_context(connect(listener.port))
            if count % 40 == 39:
                dial(listener.port, hello("h4"))[0].close()
        peer.sendall(established.sealer.seal(RAFT, b"old"))
        posts.wait(lambda event: event.body == b"old")
        late, established = dial(listener.port, hello("h3"))
        stack.callback(late.close)
        late.sendall(established.sealer.seal(RAFT, b"new"))
        posts.wait(lambda event: event.body == b"new")
        assert len(listener._servers.room) <= 256 + 32


def test_11_2_at_the_cap_of_proven_connections_a_newcomer_is_closed_and_the_others_stay():
    with listening(cap=2) as (listener, posts):
        pairs = [dial(listener.port, hello(name)) for name in ("h1", "h3")]
        with connect(listener.port) as late:
            assert read_all(late) == b""
        for sock, established in pairs:
            sock.sendall(established.sealer.seal(RAFT, b"x"))
        posts.wait_kind(FrameIn, 2)
        pairs[0][0].close()
        await_true(lambda: len(listener._servers.room) == 1)
        again, _ = dial(listener.port, hello("h4"))
        for sock in (pairs[1][0], again):
            sock.close()


class Listening:
    """A server's listening socket, of which a test replaces `accept`."""

    def __init__(self, server):
        self._server, self._sock = server, server.socket

    def __getattr__(self, name):
        return getattr(self._sock, name)


def test_out_of_descriptors_a_connection_is_shed_and_the_loop_does_not_spin():
    """accept fails with EMFILE while the connection goes on waiting: without the spare one it would spin."""
    calls = []

    class Full(Listening):
        """Of a process that has no descriptor left, but for the spare one."""

        def accept(self):
            calls.append(self._server._spare)
            if self._server._spare is not None:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return self._sock.accept()

    with listening() as (listener, posts):
        server = listener._servers._servers[0]
        whole = server.socket
        server.socket = Full(server)
        with connect(listener.port) as shed:
            assert read_all(shed) == b""
        assert len(calls) == 2
        await_true(lambda: server._spare is not None)
        server.socket = whole
        sock, established = dial(listener.port, hello("h1"))
        sock.sendall(established.sealer.seal(RAFT, b"x"))
        posts.wait_kind(FrameIn)
        sock.close()


def test_a_host_without_descriptors_is_not_asked_without_a_pause(monkeypatch):
    """The connection that waits would wake the loop at once, again and again."""
    pauses = Posts()
    monkeypatch.setattr(serve.time, "sleep", pauses)

    class Exhausted(Listening):
        def accept(self):
            raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))

    with listening() as (listener, posts):
        server = listener._servers._servers[0]
        whole, server.socket = server.socket, Exhausted(server)
        with connect(listener.port):
            pauses.wait(lambda pause: pause == serve._EXHAUSTED_S, 3)
            server.socket = whole
        sock, established = dial(listener.port, hello("h1"))
        sock.sendall(established.sealer.seal(RAFT, b"x"))
        posts.wait_kind(FrameIn)
        sock.close()


def test_a_listener_that_is_full_says_so_once(caplog):
    with caplog.at_level(logging.WARNING), listening(cap=1) as (listener, _):
        peer, _ = dial(listener.port, hello("h1"))
        for _ in range(3):
            with connect(listener.port) as one_more:
                assert read_all(one_more) == b""
        peer.close()
    said = [record.getMessage() for record in caplog.records if "a connection is closed" in record.getMessage()]
    assert said == ["a connection is closed, 1 are open already"]


def test_without_threads_a_connection_is_closed_and_the_listener_lives(monkeypatch):
    start = threading.Thread.start
    refused = []

    def no_thread(self):
        if self._target.__name__ == "process_request_thread" and not refused:
            refused.append(1)
            raise RuntimeError("can't start new thread")
        start(self)

    with listening() as (listener, _):
        monkeypatch.setattr(threading.Thread, "start", no_thread)
        with connect(listener.port) as unlucky:
            assert read_all(unlucky) == b""
        dial(listener.port, hello("h1"))[0].close()


def test_a_fault_of_ours_in_a_handler_reaches_the_excepthook(monkeypatch):
    """socketserver prints it and goes on (design §4.1): the daemon's hook ends the process with 70."""
    faults = Posts()
    monkeypatch.setattr(threading, "excepthook", lambda args: faults(args.exc_value))

    def broken(own, theirs):
        raise OurFault("broken invariant")

    with listening(judge=broken) as (listener, _), pytest.raises(Exception, match=r"closed|reset"):
        dial(listener.port, hello("h1"))
    assert isinstance(faults.wait(lambda fault: True), OurFault)


def test_complaints_about_strangers_do_not_fill_the_log(caplog):
    with caplog.at_level(logging.WARNING), listening() as (listener, _):
        for _ in range(20):
            with connect(listener.port) as stranger:
                stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
                read_all(stranger)
        await_true(lambda: listener._complaints.held_back == 19)
    assert len([record for record in caplog.records if "frame of" in record.getMessage()]) == 1


def test_a_peer_with_another_secret_is_said_once_and_said_again_when_it_ends(caplog):
    with caplog.at_level(logging.INFO), listening((SECRET,)) as (listener, posts):
        for _ in range(5):
            with pytest.raises(Refused):
                dial(listener.port, hello("h1"), (OTHER,))
        await_true(lambda: listener._complaints.held_back == 4)
        sock, established = dial(listener.port, hello("h1"), (SECRET,))
        sock.sendall(established.sealer.seal(RAFT, b"a"))
        posts.wait_kind(FrameIn)
        await_true(lambda: "is let in again" in caplog.text)
        sock.close()
    said = [record.getMessage() for record in caplog.records if record.name == "raftctl.net.listen"]
    assert said[1:] == ["tcp://h1:8089 is let in again (4 lines were left out before)"]
    assert said[0].startswith("refused 127.0.0.1:")
    assert said[0].endswith(": the secret of tcp://h1:8089 differs from this node's")


def test_closing_is_prompt_with_connections_open_and_with_none(monkeypatch):
    with listening() as (listener, _):
        silent = connect(listener.port)
        peer, _ = dial(listener.port, hello("h1"))
    for sock in (silent, peer):
        assert read_all(sock) == b""
        sock.close()
    unstarted = PeerListener(("127.0.0.1",), 0, lambda *_: hello(), (), admit, print, silence_ns=1)
    unstarted.close(DEADLINE_S)


def test_nothing_of_the_listener_is_inheritable():
    with listening() as (listener, _):
        server = listener._servers._servers[0]
        assert not server.socket.get_inheritable()
        assert not os.get_inheritable(server._spare)


def test_localhost_is_both_loopbacks_on_one_port():
    with listening(hosts=("localhost",)) as (listener, _):
        hosts = [host for host, _ in listener.addresses]
        assert hosts[0] == "127.0.0.1" and set(hosts) <= {"127.0.0.1", "::1"}
        assert {port for _, port in listener.addresses} == {listener.port}
        for host, port in listener.addresses:
            connect(port, host).close()


def test_localhost_without_ipv6_is_127_0_0_1(monkeypatch):
    bind_one = binding._bind_one

    def no_ipv6(place, port):
        if place.family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "no such family")
        return bind_one(place, port)

    monkeypatch.setattr(binding, "_bind_one", no_ipv6)
    with listening(hosts=("localhost",)) as (listener, _):
        assert [host for host, _ in listener.addresses] == ["127.0.0.1"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "*"])
def test_p8_no_open_port_without_a_secret_unless_the_file_says_insecure(host):
    with pytest.raises(UsageError, match='there is no secret; set "secretFile", or "insecure": true'):
        binding.bind_tcp([host], 0, key="address", is_guarded=False)
    for sock in binding.bind_tcp([host], 0, key="address", is_guarded=True):
        sock.close()


@pytest.mark.parametrize("host, port, why", [
    ("127.0.0.1", None, "address in use; stop what uses it, or take another port"),
    ("192.0.2.1", 0, 'this host has no such address; set "listen" to one that it has'),
    ("a..b", 0, "the name a..b is unknown here"),
])
def test_p9_a_port_that_can_not_be_had_is_one_clear_line(host, port, why):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UsageError, match=why) as caught:
            binding.bind_tcp([host], taken.getsockname()[1] if port is None else port, key="address",
                             is_guarded=True)
    assert '"address"' in str(caught.value) and "\n" not in str(caught.value)


def test_a_failed_bind_leaves_no_socket_behind():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError):
            binding.bind_tcp(["127.0.0.2", "127.0.0.1"], port, key="address", is_guarded=True)
        with socket.socket() as free:
            free.bind(("127.0.0.2", port))


def test_the_room_evicts_the_oldest_stranger_only():
    pairs = [socket.socketpair() for _ in range(4)]
    room = serve.Room(cap=2)
    first, second, third, fourth = (pair[0] for pair in pairs)
    assert room.enter(first) and room.enter(second)
    room.trust(first)
    assert room.enter(third)
    assert pairs[1][1].recv(1) == b""
    room.trust(third)
    room.leave(second)
    assert not room.enter(fourth)
    for pair in pairs:
        for sock in pair:
            sock.close()


def test_silence_is_given_to_the_kernel_in_seconds_and_microseconds():
    listener = PeerListener(("127.0.0.1",), 0, lambda *_: hello(), (), admit, print, silence_ns=2_500_000_000)
    assert struct.unpack("ll", listener._silence) == (2, 500_000)
    listener.close(DEADLINE_S)
