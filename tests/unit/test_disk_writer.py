"""The disk thread: one write at a time, its number only when it is durable, a failure told once (P3)."""

from __future__ import annotations

import queue
import threading

import pytest
from fake_disk import HungDisk

from raftctl.base import clock
from raftctl.base.errors import DiskFault, OurFault
from raftctl.disk.journal import Journal
from raftctl.disk.writer import Writer
from raftctl.raft.messages import HardState, Write

LIMIT_S = 10


class SlowJournal:
    """Each append waits for its go; `error` is raised instead of writing."""

    def __init__(self):
        self.go, self.begun, self.error, self.closed = threading.Semaphore(0), queue.Queue(), None, False

    def append(self, write):
        self.begun.put(write.number)
        assert self.go.acquire(timeout=LIMIT_S)
        if self.error:
            raise self.error

    def tidy(self):
        pass

    def close(self):
        self.closed = True


@pytest.fixture
def world():
    journal, said = SlowJournal(), queue.Queue()
    writer = Writer(journal, lambda number: said.put(number), said.put)
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
    writer = Writer(Journal.open("/data/log", "n1", disk)[0], said.put, said.put)
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


def test_stop_says_whether_the_disk_let_go(world):
    writer, journal, said = world
    writer.submit(write(1))
    journal.begun.get(timeout=LIMIT_S)
    assert not writer.stop(0)
    journal.go.release()
    assert said.get(timeout=LIMIT_S) == 1
    assert writer.stop(LIMIT_S) and journal.closed
