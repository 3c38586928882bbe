"""`get`, `put` and `del`: bytes in, bytes out, whatever they are."""

from __future__ import annotations

import base64
import functools
import io
import json
import os
from types import SimpleNamespace

import pytest
from fake_daemon import FakeDaemon, ask_daemon

from raftctl.cli import output

BINARY = b"\x00\xff\n"


@pytest.fixture
def ask(tmp_path, capfdbinary):
    return functools.partial(ask_daemon, tmp_path, capfdbinary)


def value_of(raw):
    try:
        return {"key": "k", "value": raw.decode(), "revision": 7}
    except UnicodeDecodeError:
        return {"key": "k", "value": base64.b64encode(raw).decode(), "encoding": "base64", "revision": 7}


@pytest.mark.parametrize("raw", (b"hello", b"", "größe".encode(), BINARY))
def test_get_prints_just_the_bytes(ask, raw):
    assert ask(FakeDaemon(get=value_of(raw)), "get", "k") == (0, raw, b"")


def test_get_adds_a_newline_on_a_terminal_only(ask, monkeypatch):
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    assert ask(FakeDaemon(get=value_of(b"hello")), "get", "k") == (0, b"hello\n", b"")


@pytest.mark.parametrize("raw", (b"hello", BINARY))
def test_get_json_is_key_value_and_revision(ask, raw):
    status, shown, _ = ask(FakeDaemon(get=value_of(raw)), "get", "k", "--json")
    assert (status, json.loads(shown)) == (0, value_of(raw))


@pytest.mark.parametrize(("flags", "stale"), (((), False), (("--stale",), True)))
def test_get_reads_the_local_copy_only_when_told(ask, flags, stale):
    daemon = FakeDaemon(get=value_of(b""))
    ask(daemon, "get", "k", *flags)
    assert daemon.requests[0]["stale"] is stale


def test_get_refuses_an_encoding_that_it_does_not_know(ask):
    status, shown, complaint = ask(
        FakeDaemon(get={"key": "k", "value": "x", "encoding": "zip", "revision": 1}), "get", "k"
    )
    assert (status, shown) == (1, b"") and b'unknown encoding "zip"' in complaint


@pytest.mark.parametrize("raw", (b"hello", b"", "größe".encode(), b"\xff", b"-5"))
def test_put_sends_the_bytes_of_the_argument(ask, raw):
    daemon = FakeDaemon(put={"revision": 12})
    assert ask(daemon, "put", "k", os.fsdecode(raw)) == (0, b"revision 12\n", b"")
    sent = daemon.requests[0]
    assert {name: sent[name] for name in ("value", "encoding") if name in sent} == {
        name: value_of(raw)[name] for name in ("value", "encoding") if name in value_of(raw)
    }
    assert "ifRev" not in sent and "ifAbsent" not in sent


@pytest.mark.parametrize("raw", (b"a\nb", BINARY, b"v" * 262144))
def test_put_dash_sends_standard_input(ask, monkeypatch, raw):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(raw)))
    daemon = FakeDaemon(put={"revision": 12})
    assert ask(daemon, "put", "k", "-")[0] == 0
    sent = daemon.requests[0]
    assert (base64.b64decode(sent["value"]) if "encoding" in sent else sent["value"].encode()) == raw


def test_p9_put_dash_refuses_too_much_before_it_asks(ask, monkeypatch):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"v" * 300000)))
    daemon = FakeDaemon()
    status, _, complaint = ask(daemon, "put", "k", "-")
    assert (status, daemon.requests) == (2, [])
    assert (
        complaint == b"raftctl: standard input holds more than 262144 bytes, the most that a value may have\n"
    )


@pytest.mark.parametrize(
    ("flags", "fields"),
    (
        (["--if-rev", "3"], {"ifRev": 3}),
        (["--if-rev", "0"], {"ifRev": 0}),
        (["--if-absent"], {"ifAbsent": True}),
    ),
)
def test_put_compares_when_told(ask, flags, fields):
    daemon = FakeDaemon(put={"revision": 12})
    ask(daemon, "put", "k", "v", *flags)
    assert {name: daemon.requests[0].get(name) for name in fields} == fields


def test_put_json_has_the_revision(ask):
    status, shown, _ = ask(FakeDaemon(put={"revision": 12}), "put", "k", "v", "--json")
    assert (status, json.loads(shown)) == (0, {"revision": 12})


def test_a_failed_comparison_is_status_1(ask):
    status, shown, complaint = ask(
        FakeDaemon(put={"code": "compare_failed", "revision": 9}), "put", "k", "v", "--if-absent"
    )
    assert (status, shown) == (1, b"") and complaint.startswith(b"raftctl: compare_failed!")


def test_del_prints_the_revision_of_the_change(ask):
    daemon = FakeDaemon(**{"del": {"revision": 13}})
    assert ask(daemon, "del", "k", "--if-rev", "4") == (0, b"revision 13\n", b"")
    assert (daemon.requests[0]["key"], daemon.requests[0]["ifRev"]) == ("k", 4)


def test_no_answer_to_a_put_is_an_unknown_outcome(ask):
    status, shown, complaint = ask(FakeDaemon(put=None), "put", "k", "v")
    assert (status, shown) == (5, b"") and complaint.startswith(b"raftctl: ") and complaint.count(b"\n") == 1
