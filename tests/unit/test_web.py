"""net/web.py: one request a connection, its limits before anything of it is understood, no word to a scan."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time

import pytest

from raftctl.base.errors import PeerFault, UsageError
from raftctl.net import web
from raftctl.net.web import HEAD_LIMIT, Page, WebListener, read_head, reply_to, text_page

PATIENCE_S = 20
PAGES = {"/leader": text_page(503, "FOLLOWER"), "/status": Page(200, "application/json", b"{}\n")}


@contextlib.contextmanager
def listening(answer=PAGES.get, **options):
    listener = WebListener("127.0.0.1", 0, answer, **options)
    listener.start()
    try:
        yield listener
    finally:
        listener.close(2.0)


def ask(listener, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", listener.port, timeout=PATIENCE_S)
    with contextlib.closing(connection):
        connection.request(method, path, body)
        reply = connection.getresponse()
        return reply.status, reply.read(), reply


def dial(listener):
    return socket.create_connection(("127.0.0.1", listener.port), timeout=PATIENCE_S)


def test_a_get_gets_its_page_and_a_head_the_same_without_the_body():
    with listening() as listener:
        for method, body in (("GET", b"FOLLOWER\n"), ("HEAD", b"")):
            status, got, reply = ask(listener, method, "/leader?x=1")
            assert (status, got) == (503, body)
            assert reply.getheader("Content-Length") == "9"
            assert reply.getheader("Cache-Control") == "no-store"
            assert reply.getheader("Connection") == "close"
        assert ask(listener, "GET", "/status")[2].getheader("Content-Type") == "application/json"


def test_the_reply_names_no_version_of_python():
    with listening() as listener:
        assert "Python" not in str(ask(listener, "GET", "/leader")[2].headers)


@pytest.mark.parametrize("path", ["/", "/leader/", "/../etc/passwd", "/%6ceader"])
def test_any_other_path_is_not_found(path):
    with listening() as listener:
        assert ask(listener, "GET", path)[:2] == (404, b"404 Not Found\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_but_get_and_head_is_taken(method):
    with listening() as listener:
        assert ask(listener, method, "/leader", b"x" * 20_000)[:2] == (405, b"405 Method Not Allowed\n")


@pytest.mark.parametrize("head, status", [
    (b"GET /leader HTTP/1.0\n\n", b"503"), (b"GET /leader HTTP/9.9\r\n\r\n", b"505"),
    (b"GET\r\n\r\n", b"400"), (b"GET /leader HTTP/x\r\n\r\n", b"400"), (b"A B C D\r\n\r\n", b"400"),
    (b"GET /leader HTTP/1.1\r\n" + b"a: b\r\n" * 150 + b"\r\n", b"431"),
    (b"GET /leader HTTP/1.1\r\nExpect: 100-continue\r\n\r\n", b"503"),
    (b"GET /leader HTTP/1.1\r\n\xff\x00: \xc3\r\n :\r\n\r\n", b"503"),
])
def test_a_request_of_any_form_gets_one_reply(head, status):
    reply = reply_to(head, PAGES.get)
    assert reply.startswith(b"HTTP/1.1 " + status)
    assert reply.count(b"HTTP/1.1 ") == 1


def test_p8_no_bytes_whatever_are_a_fault_of_ours():
    for length in range(0, 40):
        whole = b"GET /leader HTTP/1.1\r\nHost: h\r\n\r\n"
        reply_to(whole[:length] + b"\r\n\r\n", PAGES.get)
        reply_to(b"G" + bytes((length * 7 + i * 31) % 256 for i in range(200)) + b"\r\n\r\n", PAGES.get)


def test_a_head_may_come_byte_by_byte():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        head = b"GET / HTTP/1.1\r\n\r\n"

        def trickle():
            for at in range(len(head)):
                theirs.send(head[at:at + 1])

        writer = threading.Thread(target=trickle)
        writer.start()
        assert read_head(ours, time.monotonic() + PATIENCE_S) == head
        writer.join()


def test_p8_a_head_that_trickles_has_one_deadline_in_all():
    """Pitfall 11.2: a limit on each read alone would let a byte a second hold a thread for hours."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        over = threading.Event()

        def trickle():
            while not over.wait(0.01):
                theirs.send(b"G")

        writer = threading.Thread(target=trickle)
        writer.start()
        try:
            with pytest.raises(PeerFault, match="no whole request"):
                read_head(ours, time.monotonic() + 0.2)
        finally:
            over.set()
            writer.join()


@pytest.mark.parametrize("words, complaint", [
    (b"\x16\x03\x01\x02\x00", "no HTTP"), (b'{"action": "state"}\n', "no HTTP"),
    (b"G" * (HEAD_LIMIT + 1), f"more than {HEAD_LIMIT} bytes"),
])
def test_p8_what_is_no_request_is_closed_without_a_word(words, complaint):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(words)
        with pytest.raises(PeerFault, match=complaint):
            read_head(ours, time.monotonic() + PATIENCE_S)


def test_a_client_that_ends_before_its_request_gets_nothing():
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            theirs.send(b"GET / HT")
        assert read_head(ours, time.monotonic() + PATIENCE_S) == b""


def test_p8_silent_strangers_make_room_for_a_newcomer():
    with listening(cap=4) as listener:
        silent = [dial(listener) for _ in range(20)]
        try:
            assert ask(listener, "GET", "/status")[0] == 200
        finally:
            for sock in silent:
                sock.close()


def test_at_its_end_nobody_listens_and_the_silent_are_cut():
    with listening() as listener:
        with dial(listener) as silent:
            ask(listener, "GET", "/leader")
            began = time.monotonic()
            listener.close(0.5)
            assert time.monotonic() - began < PATIENCE_S
            assert silent.recv(1) == b""
        with pytest.raises(OSError):
            dial(listener)


def test_a_port_that_is_taken_is_one_line_about_the_key():
    with listening() as listener:
        with pytest.raises(UsageError, match=f'"http": cannot listen at 127.0.0.1 port {listener.port}: '
                                             "address in use"):
            WebListener("127.0.0.1", listener.port, PAGES.get)


def test_p8_an_address_for_other_hosts_needs_no_secret():
    listener = WebListener("0.0.0.0", 0, PAGES.get)
    listener.start()
    listener.close(1.0)


def test_limits_are_those_of_the_page():
    assert (web.CAP, web.HEAD_S) == (64, 5.0)
