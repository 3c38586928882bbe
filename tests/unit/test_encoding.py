"""Bytes of messages: what is written is read, and nothing else is."""

from __future__ import annotations

import pytest

from raftctl.raft.configuration import Malformed
from raftctl.raft.encoding import decode_message, encode_message
from raftctl.raft.messages import (
    COMMAND,
    NOOP,
    ORIGIN,
    Append,
    AppendReply,
    Entry,
    Position,
    PreVote,
    PreVoteReply,
    Release,
    TimeoutNow,
    Vote,
    VoteReply,
)

TOKEN = Release("i" * 32, 3, 7, "j" * 32)
MESSAGES = [
    PreVote(8, Position(7, 12)), PreVoteReply(8, True, 0), PreVoteReply(7, False, 400_000_000),
    Vote(8, Position(7, 12)), Vote(8, ORIGIN, TOKEN), VoteReply(8, True), VoteReply(9, False),
    Append(7, 3, 500_000_000, 4, Position(7, 11), 10, (Entry(7, 12, NOOP, b""), Entry(7, 13, COMMAND, b"x"))),
    Append(7, 3, 500_000_000, 4, ORIGIN, 0, ()), AppendReply(7, 2, 4, True, 13, ORIGIN),
    AppendReply(7, 2, 4, False, 0, Position(6, 9)), Release("i1", 3, 7), TOKEN,
    TimeoutNow(TOKEN, Position(7, 13)),
]
NAMES = [f"{type(message).__name__}-{number}" for number, message in enumerate(MESSAGES)]


@pytest.mark.parametrize("message", MESSAGES, ids=NAMES)
def test_what_is_written_is_read(message):
    assert decode_message(encode_message(message)) == message


@pytest.mark.parametrize("message", MESSAGES, ids=NAMES)
def test_p8_a_message_cut_at_any_length_is_refused(message):
    data = encode_message(message)
    for size in range(len(data)):
        if isinstance(message, Vote) and message.token and data[:size] == encode_message(
                message._replace(token=None)):
            continue                      # a vote request without a token is one, too
        with pytest.raises(Malformed):
            decode_message(data[:size])


@pytest.mark.parametrize("message", MESSAGES, ids=NAMES)
def test_p8_bytes_behind_a_message_are_refused(message):
    with pytest.raises(Malformed):
        decode_message(encode_message(message) + b"\0")


def test_p8_unknown_kinds_are_refused():
    for kind in (0, 200, 255):
        with pytest.raises(Malformed, match=f"unknown kind {kind}"):
            decode_message(bytes([kind]) + b"\0" * 40)


@pytest.mark.parametrize("message", [Release("", 3, 7), TimeoutNow(Release("", 3, 7), ORIGIN),
                                     Vote(8, ORIGIN, Release("", 3, 7))])
def test_p8_a_release_of_nobody_is_refused(message):
    with pytest.raises(Malformed, match="nobody"):
        decode_message(encode_message(message))
