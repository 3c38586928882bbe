"""Bytes of messages: what is written is read, and nothing else is."""

from __future__ import annotations

import pytest

from raftctl.base.errors import OurFault
from raftctl.raft.configuration import Malformed, Member, configuration, encode
from raftctl.raft.encoding import decode_mark, decode_message, encode_mark, encode_message
from raftctl.raft.messages import (
    COMMAND,
    NOOP,
    ORIGIN,
    Append,
    AppendReply,
    Entry,
    Install,
    InstallReply,
    Position,
    PreVote,
    PreVoteReply,
    Release,
    Removed,
    SnapshotMark,
    Standing,
    TimeoutNow,
    Vote,
    VoteReply,
)

BODY = encode(configuration("c", [Member("n1", "tcp://h1:1", True)]))
MARK = SnapshotMark(Position(3, 9), 4, BODY, 100)
INSTALL = Install(5, 2, 500, 7, MARK, 60, b"x" * 40)
TOKEN = Release("i" * 32, 3, 7, "j" * 32)
MESSAGES = [
    PreVote(8, Position(7, 12)), PreVoteReply(8, True, 0), PreVoteReply(7, False, 400_000_000),
    Vote(8, Position(7, 12)), Vote(8, ORIGIN, TOKEN), VoteReply(8, True), VoteReply(9, False),
    Append(7, 3, 500_000_000, 4, Position(7, 11), 10, (Entry(7, 12, NOOP, b""), Entry(7, 13, COMMAND, b"x"))),
    Append(7, 3, 500_000_000, 4, ORIGIN, 0, ()), AppendReply(7, 2, 4, True, 13, ORIGIN),
    AppendReply(7, 2, 4, False, 0, Position(6, 9)), Release("i1", 3, 7), TOKEN,
    TimeoutNow(TOKEN, Position(7, 13)), Standing(), Standing(0, False, True, True, 7), Standing(255),
    INSTALL, INSTALL._replace(offset=0, data=b"y"), InstallReply(5, 8, 7, Position(3, 9), 60),
    Removed(Position(3, 9), BODY),
]
NAMES = [f"{type(message).__name__}-{number}" for number, message in enumerate(MESSAGES)]


@pytest.mark.parametrize("message", MESSAGES, ids=NAMES)
def test_what_is_written_is_read(message):
    assert decode_message(encode_message(message)) == message


@pytest.mark.parametrize("message", MESSAGES, ids=NAMES)
def test_p8_a_message_cut_at_any_length_is_refused(message):
    data = encode_message(message)
    least = len(data) - (len(message.data) - 1 if isinstance(message, Install) else 0)
    for size in range(least):
        if isinstance(message, Vote) and message.token and data[:size] == encode_message(
                message._replace(token=None)):
            continue                      # a vote request without a token is one, too
        with pytest.raises(Malformed):
            decode_message(data[:size])


@pytest.mark.parametrize("message", MESSAGES, ids=NAMES)
def test_p8_bytes_behind_a_message_are_refused(message):
    if isinstance(message, Install):
        message = message._replace(offset=60, data=b"x" * 40)      # up to the end of its snapshot
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


@pytest.mark.parametrize("changes", [
    {"offset": 61}, {"offset": 1 << 63}, {"data": b"x" * 41},
    {"mark": MARK._replace(size=99)}, {"mark": MARK._replace(size=0)},
    {"mark": MARK._replace(position=Position(0, 9))}, {"mark": MARK._replace(configuration=b"")},
    {"mark": MARK._replace(configuration=BODY[:-1])}, {"mark": MARK._replace(configuration=BODY + b"\0")},
])
def test_an_install_that_no_leader_sends_is_malformed(changes):
    with pytest.raises(Malformed):
        decode_message(encode_message(INSTALL._replace(**changes)))


@pytest.mark.parametrize("index", [0, 10])
def test_both_sides_check_where_the_configuration_stands(index):
    mark = MARK._replace(configuration_index=index)
    with pytest.raises(OurFault):
        encode_mark(mark)
    good = encode_mark(MARK)
    with pytest.raises(Malformed):
        decode_mark(good[:16] + mark.configuration_index.to_bytes(8, "big") + good[24:])
    with pytest.raises(OurFault):
        encode_message(INSTALL._replace(data=b""))


def test_a_mark_is_read_in_the_midst_of_more():
    assert decode_mark(b"ab" + encode_mark(MARK) + b"cd", 2) == (MARK, 2 + len(encode_mark(MARK)))
