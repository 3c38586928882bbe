"""net/frames.py: a byte stream becomes messages, whatever its cuts; a stranger's bytes become a PeerFault."""

from __future__ import annotations

import struct

import pytest
from net_world import events_of

from raftctl.base.errors import PeerFault
from raftctl.net import frames
from raftctl.net.frames import (
    CLOSED,
    FRAME_LIMIT,
    MESSAGE_LIMIT,
    MORE,
    NEED_DATA,
    PART,
    Frame,
    FrameReader,
    encode,
)

STREAM = encode(16, b"first") + encode(4, b"") + encode(17, b"x" * 300)
MESSAGES = [Frame(16, b"first"), Frame(4, b""), Frame(17, b"x" * 300)]


def test_many_frames_come_out_of_one_read():
    assert events_of(FrameReader(FRAME_LIMIT), STREAM) == MESSAGES


def test_frames_come_out_of_single_bytes():
    reader = FrameReader(FRAME_LIMIT)
    found = []
    for number in range(len(STREAM)):
        found += events_of(reader, STREAM[number : number + 1])
    assert found == MESSAGES


@pytest.mark.parametrize("cut", range(1, len(STREAM)))
def test_frames_come_out_of_any_two_reads_and_an_end_inside_one_is_a_fault(cut):
    whole = FrameReader(FRAME_LIMIT)
    assert events_of(whole, STREAM[:cut]) + events_of(whole, STREAM[cut:]) == MESSAGES
    ended = FrameReader(FRAME_LIMIT)
    held = events_of(ended, STREAM[:cut])
    ended.receive(b"")
    if cut == sum(len(frame.body) + 5 for frame in held):
        assert ended.next_event() is CLOSED
        return
    with pytest.raises(PeerFault, match="ended inside a frame"):
        ended.next_event()


def test_a_memoryview_is_read_as_well_as_bytes():
    assert events_of(FrameReader(FRAME_LIMIT), memoryview(bytearray(STREAM))) == MESSAGES


def test_p8_a_huge_length_is_a_fault_before_anything_of_it_is_read():
    reader = FrameReader(FRAME_LIMIT)
    reader.receive(b"\xff\xff\xff\xff")
    with pytest.raises(PeerFault, match="frame of 4294967295 bytes; at most"):
        reader.next_event()


def test_p8_a_length_of_zero_is_a_fault():
    reader = FrameReader(FRAME_LIMIT)
    reader.receive(b"\0\0\0\0")
    with pytest.raises(PeerFault, match="frame of 0 bytes"):
        reader.next_event()


def test_p8_an_http_request_is_a_fault_with_its_first_four_bytes():
    reader = FrameReader(4096)
    reader.receive(b"GET ")
    with pytest.raises(PeerFault):
        reader.next_event()


def test_the_limit_is_the_bodys():
    assert events_of(FrameReader(10), encode(1, b"x" * 10)) == [Frame(1, b"x" * 10)]
    with pytest.raises(PeerFault):
        events_of(FrameReader(10), encode(1, b"x" * 11))


def test_parts_are_joined_and_whole_frames_pass_between_them():
    stream = b"".join((encode(16 | PART | MORE, b"ab"), encode(4, b"!"), encode(16 | PART | MORE, b"cd"),
                       encode(16 | PART, b"e")))
    assert events_of(FrameReader(FRAME_LIMIT), stream) == [Frame(4, b"!"), Frame(16, b"abcde")]


def test_p8_parts_of_two_messages_do_not_mix():
    with pytest.raises(PeerFault, match="are mixed"):
        events_of(FrameReader(FRAME_LIMIT), encode(16 | PART | MORE, b"a") + encode(17 | PART, b"b"))


def test_p8_more_without_part_is_no_kind():
    with pytest.raises(PeerFault, match="kind 144"):
        events_of(FrameReader(FRAME_LIMIT), encode(16 | MORE, b"a"))


def test_p8_parts_over_the_message_limit_are_a_fault():
    reader = FrameReader(FRAME_LIMIT)
    part = encode(16 | PART | MORE, b"x" * frames.PART_SIZE)
    for _ in range(MESSAGE_LIMIT // frames.PART_SIZE):
        assert events_of(reader, part) == []
    with pytest.raises(PeerFault, match="message of more than"):
        events_of(reader, part)


def test_an_end_between_two_parts_is_a_fault():
    reader = FrameReader(FRAME_LIMIT)
    assert events_of(reader, encode(16 | PART | MORE, b"a")) == []
    reader.receive(b"")
    with pytest.raises(PeerFault, match="ended inside a message"):
        reader.next_event()


def test_each_frame_is_unsealed_once_and_in_order():
    seen = []

    def unseal(kind, body):
        seen.append((kind, body))
        return body[:-1]

    stream = encode(16, b"a#") + encode(17 | PART | MORE, b"b#") + encode(17 | PART, b"c#")
    assert events_of(FrameReader(FRAME_LIMIT, unseal), stream) == [Frame(16, b"a"), Frame(17, b"bc")]
    assert seen == [(16, b"a#"), (17 | PART | MORE, b"b#"), (17 | PART, b"c#")]


def test_the_wire_form_is_length_kind_body():
    assert encode(16, b"ab") == struct.pack(">IB", 3, 16) + b"ab"


def test_nothing_at_all_needs_data():
    assert FrameReader(10).next_event() is NEED_DATA
    assert repr(NEED_DATA) == "NEED_DATA"
