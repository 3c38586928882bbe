"""net/links.py and net/dial.py: a dialling thread a peer, against acceptors that the test drives by hand."""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import threading
import time

import pytest
from net_world import DEADLINE_S, OTHER, SECRET, Acceptor, Incoming, Posts, admit, await_true, hello, read_all

from raftctl.base.addresses import Address, parse
from raftctl.base.errors import PeerFault
from raftctl.cluster.handshake import PING, RAFT, Refusal
from raftctl.net import dial
from raftctl.net.auth import Refused
from raftctl.net.dial import words
from raftctl.net.frames import Frame
from raftctl.net.links import LinkDown, Links, LinkUp

LONG_NS = 600 * 1_000_000_000


@contextlib.contextmanager
def dialling(*addresses, secrets=(), judge=admit, silence_ns=LONG_NS, backoff_s=0.02):
    posts = Posts()

    def own(expected, generation):
        return hello("h1", expected_address=expected, generation=generation)

    links = Links(own, secrets, judge, posts, silence_ns=silence_ns, longest_backoff_s=lambda: backoff_s)
    try:
        links.set_targets(addresses)
        yield links, posts
    finally:
        links.close(DEADLINE_S)
    await_true(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("out-")])


@pytest.mark.parametrize("secrets", [(), (SECRET,)])
def test_a_peer_is_dialled_named_and_heard(secrets):
    with Acceptor(secrets=secrets) as peer, dialling(peer.address, secrets=secrets) as (links, posts):
        sock, established = peer.welcome()
        up = posts.wait_kind(LinkUp)
        assert (up.address, up.hello.address) == (peer.address, "tcp://h2:8089")
        assert established.theirs.expected_address == str(peer.address)
        assert established.theirs.generation == up.generation
        assert f"out-127.0.0.1:{peer.port}" in [thread.name for thread in threading.enumerate()]
        assert links.send(peer.address, RAFT, b"word")
        assert Incoming(sock, established).next() == Frame(RAFT, b"word")
        assert links.status()[peer.address].problem is None
        assert links.status()[peer.address].connected_since_s is not None
        sock.close()


def test_without_a_connection_a_frame_is_not_taken():
    with Acceptor() as peer, dialling(peer.address) as (links, _):
        assert not links.send(peer.address, RAFT, b"word")
        assert not links.send(parse("tcp://h9:8089"), RAFT, b"word")


def test_the_end_of_a_connection_is_noticed_without_traffic_and_dialled_again_with_a_new_generation():
    with Acceptor() as peer, dialling(peer.address) as (links, posts):
        peer.welcome()[0].close()
        first = posts.wait_kind(LinkUp)
        down = posts.wait_kind(LinkDown)
        assert down == LinkDown(peer.address, first.generation, "connection closed")
        sock, established = peer.welcome()
        second = posts.wait_kind(LinkUp, 2)
        assert second.generation > first.generation
        links.send(peer.address, RAFT, b"again")
        assert Incoming(sock, established).next() == Frame(RAFT, b"again")
        sock.close()


def test_a_reset_is_noticed_as_well():
    with Acceptor() as peer, dialling(peer.address) as (_, posts):
        sock = peer.welcome()[0]
        posts.wait_kind(LinkUp)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        assert posts.wait_kind(LinkDown).reason == "connection reset"


def test_an_acceptor_that_talks_is_left():
    with Acceptor() as peer, dialling(peer.address) as (_, posts):
        sock = peer.welcome()[0]
        sock.sendall(b"hello?")
        assert posts.wait_kind(LinkDown).reason == "6 bytes came on a connection that only carries ours"
        sock.close()


def test_a_dial_that_fails_is_told_with_generation_0_and_tried_again():
    with Acceptor() as peer:
        address = peer.address
    with dialling(address) as (links, posts):
        assert posts.wait_kind(LinkDown, 2) == LinkDown(address, 0, "connection refused")
        assert links.status()[address] == (None, "connection refused", 0)
        with Acceptor(port=address.port) as again:
            again.welcome()[0].close()
            posts.wait_kind(LinkUp)


@pytest.mark.parametrize("host", ["a..b", "a\0b", "a" * 64])
def test_an_unknown_name_is_told_as_one(host):
    address = Address(host, 8089)
    with dialling(address) as (_, posts):
        assert posts.wait_kind(LinkDown).reason == "unknown name"


@pytest.mark.parametrize("own, theirs, code", [((SECRET,), (OTHER,), "secret"), ((SECRET,), (), "secret")])
def test_p8_another_secret_is_told_on_both_sides(own, theirs, code):
    with Acceptor(secrets=theirs) as peer, dialling(peer.address, secrets=own) as (_, posts):
        with pytest.raises(Refused) as caught:
            peer.welcome()
        assert caught.value.code == code
        assert posts.wait_kind(LinkDown).reason == "the secret differs, or only one side has one"


def test_what_does_not_change_is_said_once(caplog):
    with caplog.at_level(logging.INFO), Acceptor() as peer, dialling(peer.address) as (links, posts):
        for _ in range(4):
            with pytest.raises(Refused):
                peer.welcome(lambda own, theirs: Refusal("cluster", "other cluster"))
        posts.wait_kind(LinkDown, 4)
        sock = peer.welcome()[0]
        posts.wait_kind(LinkUp)
        sock.close()
        posts.wait_kind(LinkDown, 5)
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert said == [("WARNING", f"no connection to {peer.address}: other cluster"),
                    ("INFO", f"connected to {peer.address}, instance i-h2 (3 lines were left out before)"),
                    ("INFO", f"no connection to {peer.address}: connection closed")]


def test_a_connection_that_is_let_in_and_thrown_out_does_not_spin():
    # Found by reading: each one that was established began the back-off anew, at 50 ms.
    with Acceptor() as peer, dialling(peer.address, backoff_s=3600) as (links, posts):
        began_s = time.monotonic()
        for _ in range(4):
            peer.welcome()[0].close()
        posts.wait_kind(LinkDown, 4)
        assert time.monotonic() - began_s >= 0.05 + 0.1 + 0.2


def test_a_refusal_by_either_side_is_the_reason_of_the_dial():
    with Acceptor() as peer, dialling(peer.address) as (_, posts):
        with pytest.raises(Refused):
            peer.welcome(lambda own, theirs: Refusal("cluster", "other cluster"))
        assert posts.wait_kind(LinkDown).reason == "other cluster"
    refusal = Refusal("list", "no")
    with Acceptor() as peer, dialling(peer.address, judge=lambda own, theirs: refusal) as (_, posts):
        peer.welcome()
        assert posts.wait_kind(LinkDown).reason == "no"


def test_p7_a_dial_tells_whether_the_peer_calls_our_own_directory_an_old_self():
    went_back = Refusal("instance", "went back")
    with Acceptor() as peer, dialling(peer.address) as (_, posts):
        with pytest.raises(Refused):
            peer.welcome(lambda own, theirs: went_back)
        assert posts.wait_kind(LinkDown).disowns
    with Acceptor() as peer, dialling(peer.address, judge=lambda own, theirs: went_back) as (_, posts):
        peer.welcome()
        assert not posts.wait_kind(LinkDown).disowns


def test_p8_a_stranger_at_the_peers_port_is_left():
    with Acceptor() as peer, dialling(peer.address) as (_, posts):
        sock = peer.accept()
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        assert "frame of" in posts.wait_kind(LinkDown).reason
        sock.close()


def test_an_idle_connection_is_pinged():
    with Acceptor() as peer, dialling(peer.address, silence_ns=90_000_000):
        sock, established = peer.welcome()
        incoming = Incoming(sock, established)
        assert [incoming.next() for _ in range(3)] == [Frame(PING, b"")] * 3
        sock.close()


def test_6_2_a_heartbeat_overtakes_bulk_and_a_slow_reader_blocks_nobody():
    """The reader takes nothing until more is queued than the kernel holds; then all of it arrives."""
    with Acceptor(secrets=(SECRET,)) as peer, dialling(peer.address, secrets=(SECRET,)) as (links, posts):
        sock, established = peer.welcome()
        posts.wait_kind(LinkUp)
        bulk = bytes(1 << 20)
        for _ in range(8):
            assert links.send(peer.address, RAFT, bulk)
        assert links.send(peer.address, RAFT, b"beat", urgent=True)
        incoming = Incoming(sock, established)
        sizes = [len(incoming.next(skip=(PING,)).body) for _ in range(9)]
        assert sizes.count(len(bulk)) == 8 and 4 in sizes
        assert sizes[-1] == len(bulk)
        assert links.send(peer.address, RAFT, b"goes on")
        assert incoming.next().body == b"goes on"
        sock.close()


def test_6_2_a_full_backlog_drops_and_goes_on_with_its_macs_in_order():
    with Acceptor(secrets=(SECRET,)) as peer, dialling(peer.address, secrets=(SECRET,)) as (links, posts):
        sock, established = peer.welcome()
        posts.wait_kind(LinkUp)
        for number in range(40):
            assert links.send(peer.address, RAFT, bytes([number]) * (1 << 20))
        assert links.send(peer.address, RAFT, b"last")
        incoming = Incoming(sock, established)
        seen = []
        while not seen or seen[-1] != b"last":
            seen.append(incoming.next(skip=(PING,)).body[:4])
        dropped = links.status()[peer.address].dropped
        assert dropped > 0 and len(seen) == 41 - dropped
        assert seen[:-1] == sorted(seen[:-1])
        sock.close()


def test_a_nudge_ends_the_back_off():
    with Acceptor() as peer:
        address = peer.address
    with dialling(address, backoff_s=3600) as (links, posts):
        # 50 ms, 100 ms, … a nudge must bring each next one at once.
        for count in range(1, 12):
            posts.wait_kind(LinkDown, count)
            links.nudge(address)
        with Acceptor(port=address.port) as again:
            links.nudge(address)
            again.welcome()[0].close()
            posts.wait_kind(LinkUp)


def test_targets_that_are_named_no_more_are_left_and_others_stay():
    with Acceptor() as one, Acceptor() as two, dialling(one.address, two.address) as (links, posts):
        sock_one, sock_two = one.welcome()[0], two.welcome()[0]
        posts.wait_kind(LinkUp, 2)
        links.set_targets([two.address])
        assert read_all(sock_one) == b""
        assert list(links.status()) == [two.address]
        assert not links.send(one.address, RAFT, b"x")
        assert links.send(two.address, RAFT, b"x")
        assert [event for event in posts.events if isinstance(event, LinkDown)] == []
        links.set_targets([one.address, two.address])
        one.welcome()[0].close()
        generations = [event.generation for event in posts.events if isinstance(event, LinkUp)]
        assert len(set(generations)) == len(generations)
        sock_two.close()


def test_closing_sends_what_waits_first():
    with Acceptor() as peer, dialling(peer.address) as (links, posts):
        sock, established = peer.welcome()
        posts.wait_kind(LinkUp)
        large = bytes(4 << 20)
        links.send(peer.address, RAFT, large)
        links.send(peer.address, RAFT, b"released", urgent=True)
        closer = threading.Thread(target=links.close, args=(DEADLINE_S,))
        closer.start()
        incoming = Incoming(sock, established)
        bodies = sorted((incoming.next() for _ in range(2)), key=lambda frame: len(frame.body))
        assert bodies == [Frame(RAFT, b"released"), Frame(RAFT, large)]
        assert sock.recv(1) == b""
        closer.join()
        sock.close()
        assert not links.send(peer.address, RAFT, b"late")


def test_closing_does_not_wait_for_a_peer_that_reads_nothing():
    with Acceptor() as peer, dialling(peer.address) as (links, posts):
        sock = peer.welcome()[0]
        posts.wait_kind(LinkUp)
        for _ in range(12):
            links.send(peer.address, RAFT, bytes(1 << 20))
        links.close(0.05)
        links.set_targets([peer.address])
        assert links.status() == {}
        sock.close()


def test_closing_ends_a_handshake_that_hangs():
    with Acceptor() as peer, dialling(peer.address) as (links, _):
        sock = peer.accept()
        links.close(DEADLINE_S)
        read_all(sock)
        sock.close()


def test_the_sockets_have_the_options_that_bound_silence_and_buffers(monkeypatch):
    seen = []
    monkeypatch.setattr(dial, "_prepare",
                        lambda sock, silence: (PREPARE(sock, silence), seen.append(sock))[0])
    with Acceptor() as peer, dialling(peer.address, silence_ns=2_000_000_000) as (_, posts):
        peer_sock = peer.welcome()[0]
        posts.wait_kind(LinkUp)
        options = [seen[0].getsockopt(socket.IPPROTO_TCP, option) for option in (
            socket.TCP_NODELAY, socket.TCP_USER_TIMEOUT, socket.TCP_NOTSENT_LOWAT)]
        assert options == [1, 2000, 16384]
        assert seen[0].getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert not seen[0].get_inheritable()
        peer_sock.close()


PREPARE = dial._prepare


def test_a_dial_that_meets_itself_lets_go_of_the_port():
    """TCP connects a port of the ephemeral range to itself when nobody listens there."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        place = sock.getsockname()
        waker = dial.Waker()
        with pytest.raises(ConnectionRefusedError, match="itself"):
            dial._connect_one(sock, place, waker, lambda: False)
        waker.close()
    with socket.socket() as peer:
        peer.bind(place)


@pytest.mark.parametrize("error, text", [
    (ConnectionRefusedError(111, "Connection refused"), "connection refused"),
    (socket.timeout("timed out"), "timed out"),
    (TimeoutError(110, "Connection timed out"), "timed out"),
    (OSError(113, "No route to host"), "no route to host"),
    (OSError(101, "Network is unreachable"), "no route to host"),
    (socket.gaierror(socket.EAI_NONAME, "x"), "unknown name"),
    (socket.gaierror(socket.EAI_AGAIN, "x"), "name look-up failed"),
    (OSError(24, "Too many open files"), "too many open files"),
    (PeerFault("its own words"), "its own words"),
])
def test_reasons_are_words(error, text):
    assert words(error) == text


def test_a_waker_can_be_woken_more_often_than_it_holds_and_after_its_end():
    waker = dial.Waker()
    for _ in range(100_000):
        waker.wake()
    waker.close()
    waker.wake()
    await_true(lambda: waker.fileno() == -1)
