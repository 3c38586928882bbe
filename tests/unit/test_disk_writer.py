"""The disk thread: one write at a time, its number only when it is durable, a failure told once (P3)."""

from __future__ import annotations

import queue
import threading

import pytest
from fake_disk import FakeDisk, HungDisk

from raftctl.base import clock
from raftctl.base.errors import DiskFault, OurFault
from raftctl.disk import journal as journals
from raftctl.disk import writer as writers
from raftctl.disk.journal import Journal
from raftctl.disk.writer import Writer
from raftctl.raft.messages import COMMAND, Entry, HardState, Write

LIMIT_S = 10


class SlowJournal:
    """Each append waits for its go; `error` is raised instead of writing."""

    def __init__(self):
        self.go, self.begun, self.error, self.closed = threading.Semaphore(0), queue.Queue(), None, False
        self.full, self.room, self.takes_chunk = "", None, True

    def append(self, write):
        self.begun.put(write.number)
        assert self.go.acquire(timeout=LIMIT_S)
        if self.error:
            raise self.error
        return self.takes_chunk

    def tidy(self, *, may_grow):
        pass

    def close(self):
        self.closed = True


@pytest.fixture
def world():
    journal, said = SlowJournal(), queue.Queue()
    writer = Writer(journal, lambda number, taken: said.put(number if taken else (number, "no chunk")),
                    said.put, lambda room, full: said.put((room, full)))
    writer.start()
    yield writer, journal, said
    journal.go.release(3)
    writer.stop(LIMIT_S)


def write(number):
    return Write(number, HardState(number), ())


def test_1_7_a_number_is_not_said_before_its_write_is_durable(world):
    writer, journal, said = world
    writer.submit(write(7))
    assert journal.begun.get(timeout=LIMIT_S) == 7 and said.empty()
    journal.go.release()
    assert said.get(timeout=LIMIT_S) == 7
    writer.submit(write(8))


def test_a_second_write_while_one_is_at_the_disk_is_our_fault(world):
    writer, _, _ = world
    writer.submit(write(1))
    with pytest.raises(OurFault):
        writer.submit(write(2))


@pytest.mark.parametrize("error", [DiskFault("full"), OurFault("bug"), MemoryError()])
def test_p3_a_failed_write_is_told_once_and_nothing_is_written_after_it(world, error):
    writer, journal, said = world
    journal.error = error
    writer.submit(write(1))
    journal.go.release()
    assert said.get(timeout=LIMIT_S) is error
    with pytest.raises(OurFault):
        writer.submit(write(2))
    assert writer.stop(LIMIT_S) and said.empty()


def test_5_5_a_hung_sync_shows_since_when_its_write_is_at_the_disk():
    disk, said = HungDisk(), queue.Queue()
    disk.make_directory("/data")
    writer = Writer(Journal.open("/data/log", "n1", disk)[0], lambda number, _: said.put(number), said.put, None)
    writer.start()
    assert writer.in_flight_since is None
    disk.hang()
    before = clock.now()
    writer.submit(write(1))
    assert disk.hung.wait(LIMIT_S)
    since = writer.in_flight_since
    assert before <= since <= clock.now() and said.empty()
    assert not writer.stop(0) and writer.in_flight_since == since
    disk.heal()
    assert said.get(timeout=LIMIT_S) == 1
    assert writer.in_flight_since is None
    assert writer.stop(LIMIT_S)


def test_5_5_a_failed_write_stays_in_flight(world):
    writer, journal, said = world
    journal.error = DiskFault("full")
    writer.submit(write(1))
    since = writer.in_flight_since
    journal.go.release()
    said.get(timeout=LIMIT_S)
    assert writer.stop(LIMIT_S) and writer.in_flight_since == since is not None


def test_5_5_a_chunk_that_found_no_room_is_told_with_its_write(world):
    writer, journal, said = world
    journal.takes_chunk = False
    writer.submit(write(1))
    journal.go.release()
    assert said.get(timeout=LIMIT_S) == (1, "no chunk")


@pytest.fixture
def full(monkeypatch):
    """A disk thread whose disk is full once the first segment is; (writer, disk, said)."""
    monkeypatch.setattr(journals, "SEGMENT_SIZE", 4096)
    monkeypatch.setattr(writers, "RETRY_NS", 50_000_000)
    monkeypatch.setattr(writers, "RETRY_S", 0.05)
    disk, said = FakeDisk(("/", "/data")), queue.Queue()
    writer = Writer(Journal.open("/data/log", "n1", disk)[0], lambda number, _: said.put(number), said.put,
                    lambda room, full: said.put((room, full)))
    writer.start()
    disk.is_full = True
    yield writer, disk, said
    writer.stop(LIMIT_S)


def until_full(writer, said):
    for number in range(1, 9):
        writer.submit(Write(number, None, (Entry(1, number, COMMAND, b"x" * 1000),)))
        assert said.get(timeout=LIMIT_S) == number
        if number == 4:
            return said.get(timeout=LIMIT_S)
    raise AssertionError("never full")


def test_5_5_a_full_disk_is_told_after_the_write_and_with_each_write_how_much_fits(full):
    writer, _, said = full
    room, why = until_full(writer, said)
    assert 1000 < room < 3000 and "log/0000000003: no space left on device" in why
    writer.submit(write(5))
    assert said.get(timeout=LIMIT_S) == 5
    less, again = said.get(timeout=LIMIT_S)
    assert less < room and again == why


def test_5_5_a_disk_that_has_room_again_is_told_without_a_write(full):
    writer, disk, said = full
    until_full(writer, said)
    disk.is_full = False
    assert said.get(timeout=LIMIT_S) == (None, "")
    writer.submit(write(5))
    assert said.get(timeout=LIMIT_S) == 5


def test_5_5_a_full_disk_is_tried_once_a_second_at_most_however_many_writes_there_are(full, monkeypatch):
    writer, disk, said = full
    monkeypatch.setattr(writers, "RETRY_NS", 3600 * 10**9)
    monkeypatch.setattr(writers, "RETRY_S", 3600)
    until_full(writer, said)
    tries = disk.allocations
    for number in range(5, 10):
        writer.submit(write(number))
        assert said.get(timeout=LIMIT_S) == number
        said.get(timeout=LIMIT_S)
    assert disk.allocations <= tries + 1


def test_5_5_a_start_on_a_full_disk_is_told(full):
    writer, disk, said = full
    until_full(writer, said)
    second = disk.restarted()
    second.is_full = True
    again = Writer(Journal.open("/data/log", "n1", second)[0], lambda number, _: said.put(number), said.put,
                   lambda room, full: said.put((room, full)))
    again.start()
    room, why = said.get(timeout=LIMIT_S)
    assert room and "no space left" in why
    assert again.stop(LIMIT_S)


def test_stop_says_whether_the_disk_let_go(world):
    writer, journal, said = world
    writer.submit(write(1))
    journal.begun.get(timeout=LIMIT_S)
    assert not writer.stop(0)
    journal.go.release()
    assert said.get(timeout=LIMIT_S) == 1
    assert writer.stop(LIMIT_S) and journal.closed
