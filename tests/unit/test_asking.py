"""The words of asker and leader: malformed ones are the sender's fault (P8), the others come out whole."""

from __future__ import annotations

import pytest

from raftctl.base.errors import PeerFault
from raftctl.cluster.asking import Asked, Reply, encode_reply, join_body, read_join, read_reply

S = 1_000_000_000
REPLY = Reply("i7", "the cluster is full", True)


def test_what_is_written_is_read():
    assert read_join(join_body("tcp://h4:8089", "i4")) == ("tcp://h4:8089", "i4")
    assert read_reply(encode_reply(REPLY)) == REPLY


@pytest.mark.parametrize("body", [
    b"", b"[]", b"[" * 100_000, b"\xff", b'{"instance": "i"}', b'{"address": "h4", "instance": "i"}',
    b'{"address": 7, "instance": "i"}', b'{"address": ["tcp://h4:1"], "instance": "i"}',
    b'{"address": "tcp://H4:8089", "instance": "i"}', b'{"address": "tcp://h4:8089", "instance": ""}',
    b'{"address": "tcp://h4:8089", "instance": "%s"}' % (b"i" * 65),
    b'{"address": "tcp://h4:8089", "instance": "a", "instance": "b"}',
    b'{"address": "tcp://h\\u00004:8089", "instance": "a"}',
    b'{"address": "tcp://%s:8089", "instance": "a"}' % (b"h" * 300),
])
def test_p8_a_malformed_join_is_refused(body):
    with pytest.raises(PeerFault, match="^JOIN: "):
        read_join(body)


@pytest.mark.parametrize("body", [
    b"", b"{}", b"[" * 100_000, b'{"instance": "i", "problem": "no"}',
    b'{"instance": "i", "problem": "no", "final": 1}', b'{"instance": "i", "problem": "", "final": true}',
    b'{"instance": "i", "problem": "two\\nlines", "final": true}',
    b'{"instance": "i", "problem": "%s", "final": true}' % (b"x" * 501),
    b'{"instance": 1, "problem": "no", "final": true}',
])
def test_p8_a_malformed_answer_is_refused(body):
    with pytest.raises(PeerFault, match="^JOIN_REPLY: "):
        read_reply(body)


def test_what_stands_in_the_way():
    asked = Asked("tcp://h4:8089")
    assert (asked.problem(), asked.refusal) == ("", "")
    asked.asks(1 * S)
    assert asked.problem() == ""
    asked.asks(4 * S)
    assert asked.problem() == ("no member has connected to tcp://h4:8089 yet; is there a leader, "
                               "and can it reach that?")
    asked.heard()
    assert asked.problem() == ""
    asked.replied(5 * S, "tcp://h1:8089", REPLY._replace(is_final=False))
    assert asked.problem() == "tcp://h1:8089 does not admit it yet: the cluster is full"
    assert asked.refusal == ""
    asked.replied(6 * S, "tcp://h1:8089", REPLY)
    assert asked.problem() == "tcp://h1:8089 does not admit it: the cluster is full"
    assert asked.refusal == "the cluster is full"
    asked.asks(9 * S)
    assert (asked.problem(), asked.refusal) == ("", "")
