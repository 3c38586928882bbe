"""Bytes of the messages about snapshots: back to the same, and strict."""

from __future__ import annotations

import pytest

from raftctl.base.errors import OurFault
from raftctl.raft.configuration import Malformed, Member, configuration, encode
from raftctl.raft.encoding import decode_mark, decode_message, encode_mark, encode_message
from raftctl.raft.messages import Install, InstallReply, Position, SnapshotMark

BODY = encode(configuration("c", [Member("n1", "tcp://h1:1", True)]))
MARK = SnapshotMark(Position(3, 9), 4, BODY, 100)
INSTALL = Install(5, 2, 500, 7, MARK, 60, b"x" * 40)
MESSAGES = [INSTALL, INSTALL._replace(offset=0, data=b"y"), InstallReply(5, 8, 7, Position(3, 9), 60)]


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_comes_back_as_it_was(message):
    assert decode_message(encode_message(message)) == message


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_cut_at_any_length_is_malformed(message):
    data = encode_message(message)
    least = len(data) - (len(message.data) - 1 if isinstance(message, Install) else 0)
    for length in range(1, least):
        with pytest.raises(Malformed):
            decode_message(data[:length])


@pytest.mark.parametrize("changes", [
    {"offset": 61}, {"offset": 1 << 63}, {"data": b"x" * 41},
    {"mark": MARK._replace(size=99)}, {"mark": MARK._replace(size=0)},
    {"mark": MARK._replace(position=Position(0, 9))}, {"mark": MARK._replace(configuration=b"")},
    {"mark": MARK._replace(configuration=BODY[:-1])}, {"mark": MARK._replace(configuration=BODY + b"\0")},
])
def test_an_install_that_no_leader_sends_is_malformed(changes):
    with pytest.raises(Malformed):
        decode_message(encode_message(INSTALL._replace(**changes)))


@pytest.mark.parametrize("mark", [MARK._replace(configuration_index=0), MARK._replace(configuration_index=10)])
def test_both_sides_check_where_the_configuration_stands(mark):
    with pytest.raises(OurFault):
        encode_mark(mark)
    good = encode_mark(MARK)
    with pytest.raises(Malformed):
        decode_mark(good[:16] + mark.configuration_index.to_bytes(8, "big") + good[24:])
    with pytest.raises(OurFault):
        encode_message(INSTALL._replace(data=b""))


def test_a_mark_is_read_in_the_midst_of_more():
    assert decode_mark(b"ab" + encode_mark(MARK) + b"cd", 2) == (MARK, 2 + len(encode_mark(MARK)))
