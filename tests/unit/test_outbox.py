"""net/outbox.py: urgent before bulk, whole old bulk frames dropped, never a gap in numbers (pitfall 6.2)."""

from __future__ import annotations

import pytest
from net_world import events_of

from raftctl.base.errors import OurFault, PeerFault
from raftctl.net.auth import Opener, Sealer
from raftctl.net.frames import CLOSED, FRAME_LIMIT, MESSAGE_LIMIT, PART_SIZE, Frame, FrameReader
from raftctl.net.outbox import Outbox

KEY = b"k" * 32
BULK, URGENT = 16, 17


class Wire:
    """A socket that takes `room` bytes then blocks; what it took is read as the peer would, MACs and all."""

    def __init__(self, room=0, limit=1 << 30):
        self.room = room
        self.largest = 0
        self.error = None
        self.wakes = 0
        self._reader = FrameReader(FRAME_LIMIT, Opener(KEY).open)
        self.outbox = Outbox(self._wake, limit)
        self.connect()

    def connect(self):
        self._reader = FrameReader(FRAME_LIMIT, Opener(KEY).open)
        self._taken = b""
        self.outbox.attach(self._write, Sealer(KEY))

    def _wake(self):
        self.wakes += 1

    def _write(self, data):
        if self.error:
            raise self.error
        if not self.room:
            raise BlockingIOError
        self.largest = max(self.largest, len(data))
        taken = bytes(data[: self.room])
        self.room -= len(taken)
        self._taken += taken
        return len(taken)

    def heard(self):
        """Return the frames that arrived since it was last asked."""
        data, self._taken = self._taken, b""
        return events_of(self._reader, data) if data else []

    def drain(self, step):
        """Let the kernel take `step` bytes at a time until nothing waits."""
        found = []
        while self.outbox.is_waiting:
            self.room += step
            self.outbox.flush()
            found += self.heard()
        return found


def test_with_nothing_queued_a_frame_goes_out_at_once():
    wire = Wire(room=1000)
    assert wire.outbox.put(BULK, b"word")
    assert wire.heard() == [Frame(BULK, b"word")]
    assert (wire.wakes, wire.outbox.is_waiting) == (0, False)


def test_without_a_connection_nothing_is_queued():
    wire = Wire()
    wire.outbox.detach()
    assert not wire.outbox.put(BULK, b"word")
    assert not wire.outbox.is_waiting


@pytest.mark.parametrize("room", range(1, 27))
def test_a_frame_cut_by_the_kernel_goes_on_where_it_stopped(room):
    wire = Wire(room)
    wire.outbox.put(BULK, b"first")
    wire.outbox.put(BULK, b"second")
    assert wire.wakes == 1
    assert wire.heard() + wire.drain(1) == [Frame(BULK, b"first"), Frame(BULK, b"second")]


def test_urgent_frames_overtake_all_bulk_that_is_not_under_way():
    wire = Wire(room=3)
    for word in (b"a", b"b", b"c"):
        wire.outbox.put(BULK, word)
    wire.outbox.put(URGENT, b"1", urgent=True)
    wire.outbox.put(URGENT, b"2", urgent=True)
    assert [frame.body for frame in wire.drain(10)] == [b"a", b"1", b"2", b"b", b"c"]


@pytest.mark.parametrize("step", [1000, PART_SIZE, 1 << 20])
def test_6_2_an_urgent_frame_overtakes_inside_a_large_message(step):
    wire = Wire(room=1)
    large = bytes(range(256)) * (5 * PART_SIZE // 256) + b"end"
    wire.outbox.put(BULK, large)
    wire.outbox.put(URGENT, b"beat", urgent=True)
    assert wire.drain(step) == [Frame(URGENT, b"beat"), Frame(BULK, large)]
    assert wire.largest <= PART_SIZE + 21


def test_a_large_message_with_room_goes_out_without_the_out_thread_for_its_first_parts():
    wire = Wire(room=1 << 30)
    wire.outbox.put(BULK, b"x" * (3 * PART_SIZE))
    assert not wire.outbox.is_waiting
    wire.outbox.put(BULK, b"y" * (6 * PART_SIZE))
    assert wire.outbox.is_waiting and wire.wakes == 1
    assert [len(frame.body) for frame in wire.heard() + wire.drain(1)] == [3 * PART_SIZE, 6 * PART_SIZE]


@pytest.mark.parametrize("size", [
    PART_SIZE - 1, PART_SIZE, PART_SIZE + 1, 2 * PART_SIZE, 2 * PART_SIZE + 1, MESSAGE_LIMIT,
])
def test_messages_of_all_sizes_arrive_whole(size):
    wire = Wire(room=10)
    body = bytes(size)
    wire.outbox.put(BULK, body)
    assert wire.drain(300_000) == [Frame(BULK, body)]


def test_an_urgent_message_too_large_to_overtake_waits_its_turn():
    wire = Wire(room=1)
    first, second = b"a" * (2 * PART_SIZE), b"b" * (2 * PART_SIZE)
    wire.outbox.put(BULK, first)
    wire.outbox.put(URGENT, second, urgent=True)
    assert wire.drain(50_000) == [Frame(BULK, first), Frame(URGENT, second)]


@pytest.mark.parametrize("room", [1, 30, 100])
def test_6_2_a_full_backlog_drops_whole_old_bulk_frames_and_the_stream_stays_authentic(room):
    wire = Wire(room, limit=10 * 1100)
    wire.outbox.put(BULK, b"under way" * 10)
    for number in range(50):
        wire.outbox.put(BULK, b"%04d" % number * 250)
    wire.outbox.put(URGENT, b"beat", urgent=True)
    heard = wire.heard() + wire.drain(777)
    bulk = [b"%04d" % number for number in range(41, 50)]
    assert [frame.body[:4] for frame in heard] == [b"unde", b"beat", *bulk]
    assert wire.outbox.dropped == 41
    wire.room = 1 << 20
    wire.outbox.put(BULK, b"and goes on")
    assert wire.heard() == [Frame(BULK, b"and goes on")]


def test_a_message_of_which_a_part_was_sent_is_not_dropped():
    wire = Wire(room=10, limit=200_000)
    started = b"s" * (2 * PART_SIZE)
    wire.outbox.put(BULK, started)
    for _ in range(5):
        wire.outbox.put(BULK, b"x" * 100_000)
    assert [frame.body[:1] for frame in wire.drain(5000)] == [b"s", b"x"]


def test_the_backlog_is_bounded_even_for_urgent_and_for_empty_frames():
    wire = Wire(room=1, limit=1000)
    for _ in range(1000):
        wire.outbox.put(URGENT, b"", urgent=True)
    assert wire.outbox.dropped == 989
    assert len(wire.drain(100)) == 11


def test_a_new_connection_begins_empty_and_with_number_0():
    wire = Wire(room=5)
    for word in (b"a", b"b"):
        wire.outbox.put(BULK, word)
    wire.outbox.detach()
    wire.room = 1000
    wire.connect()
    assert not wire.outbox.is_waiting
    wire.outbox.put(BULK, b"c")
    assert wire.heard() == [Frame(BULK, b"c")]


def test_a_broken_connection_takes_no_more_and_wakes_its_thread():
    wire = Wire(room=1000)
    wire.error = BrokenPipeError()
    assert not wire.outbox.put(BULK, b"a")
    assert wire.wakes == 1
    assert wire.outbox.broken is wire.error
    assert not wire.outbox.put(BULK, b"b")
    wire.error = None
    wire.connect()
    assert wire.outbox.put(BULK, b"c")


def test_a_break_while_flushing_ends_the_flush():
    wire = Wire()
    wire.outbox.put(BULK, b"a")
    wire.error = ConnectionResetError()
    wire.outbox.flush()
    assert wire.outbox.broken is wire.error


def test_a_message_over_the_limit_is_a_fault_of_ours():
    with pytest.raises(OurFault):
        Wire(room=1).outbox.put(BULK, bytes(MESSAGE_LIMIT + 1))


def test_small_frames_are_written_together():
    wire = Wire()
    for number in range(100):
        wire.outbox.put(BULK, b"%d" % number)
    writes = []
    write = wire._write
    wire.outbox._write = lambda data: writes.append(len(data)) or write(data)
    wire.room = 1 << 20
    assert wire.outbox.flush()
    # The frame that met the full socket first, and all others.
    assert len(writes) == 2
    assert len(wire.heard()) == 100


def test_what_the_wire_reads_is_checked():
    """The other tests rest on this: a gap in the numbers would be noticed."""
    sealer = Sealer(KEY)
    sealer.seal(BULK, b"lost")
    with pytest.raises(PeerFault):
        events_of(FrameReader(FRAME_LIMIT, Opener(KEY).open), sealer.seal(BULK, b"kept"))
    assert repr(CLOSED) == "CLOSED"
