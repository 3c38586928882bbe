"""P3: what was synced is there after any start; a torn tail is cut, other damage refused (design §4.3)."""

from __future__ import annotations

import errno
import os

import pytest

from raftctl.base.errors import DiskFault, OurFault
from raftctl.disk.files import Files
from raftctl.disk.journal import Journal, segment_name
from raftctl.disk.records import SECTOR
from raftctl.disk.recovery import Replay
from raftctl.raft.messages import COMMAND, Entry, HardState, Write


def entry(index, term=1, size=100):
    return Entry(term, index, COMMAND, bytes([index % 251 + 1]) * size)


def write(number, *entries, hard=None):
    return Write(number, hard, entries)


class Failing(Files):
    """The system's files, but operation `nth` fails with `code`; `count` tells how many there were."""

    CHANGING = ("open", "read", "write", "sync", "allocate", "sync_directory", "make_directory",
                "unlink", "rename")

    def __init__(self, nth=0, code=errno.EIO, short=False):
        self.count, self._nth, self._code, self._short = 0, nth, code, short

    def __getattribute__(self, name):
        found = super().__getattribute__(name)
        if name not in Failing.CHANGING:
            return found

        def counted(*arguments):
            self.count += 1
            if self.count == self._nth:
                if self._short and name == "write":
                    descriptor, buffers, offset = arguments
                    return os.pwrite(descriptor, b"".join(buffers)[:7], offset)
                raise OSError(self._code, os.strerror(self._code))
            return found(*arguments)
        return counted


def opened(folder, files=None):
    return Journal.open(os.path.join(str(folder), "log"), "n1", *([files] if files else []))


def recover(data, instance="n1"):
    """Return what a start makes of a log of one segment."""
    replay = Replay(instance)
    replay.take("log", 1, data, is_last=True)
    return replay


def filled(folder, *writes):
    """Write, close, and return the bytes of the segment and where each record ended."""
    journal, _ = opened(folder)
    ends = []
    for each in writes:
        journal.append(each)
        ends.append(journal._end)
    journal.close()
    with open(os.path.join(str(folder), "log", segment_name(1)), "rb") as file:
        # Some of the preallocated zeros are enough: a test reads the bytes thousands of times.
        return file.read(ends[-1] + 2 * SECTOR), ends


def test_p3_a_restart_finds_hard_state_and_entries(tmp_path):
    filled(tmp_path, write(1, entry(1), hard=HardState(3, "n2", 500)), write(2, entry(2, 3), entry(3, 3)))
    journal, found = opened(tmp_path)
    journal.close()
    assert found[:3] == (HardState(3, "n2", 500), (entry(1), entry(2, 3), entry(3, 3)), 0)


def test_2_3_a_conflict_is_overwritten_logically_and_back(tmp_path):
    filled(tmp_path, write(1, entry(1), entry(2), entry(3)), write(2, entry(2, 2)),
           write(3, entry(2, 1), entry(3, 4)))
    journal, found = opened(tmp_path)
    journal.close()
    assert found.entries == (entry(1), entry(2, 1), entry(3, 4))


@pytest.mark.parametrize("size", [10, 100, 3000])
def test_a_tail_cut_at_any_length_loses_only_the_write_that_was_never_synced(tmp_path, size):
    data, ends = filled(tmp_path, write(1, entry(1)), write(2, entry(2, size=size)))
    for length in range(ends[0] + 1, ends[1], 1 if size < 1000 else 13):
        found = recover(data[:length])
        assert (found.entries, found.end) == ([entry(1)], ends[0]), length
        assert found.cut_bytes == len(data[:length].rstrip(b"\x00")) - ends[0]


def test_5_2_every_flipped_bit_of_the_last_synced_batch_is_refused(tmp_path):
    data, ends = filled(tmp_path, write(1, entry(1)),
                        write(2, entry(2, size=600), hard=HardState(2, "n1", 7)))
    for position in range(ends[0], ends[1]):
        for bit in range(8):
            broken = bytearray(data)
            broken[position] ^= 1 << bit
            with pytest.raises(DiskFault, match=r"byte \d+ is damaged.*move the directory away"):
                recover(bytes(broken))


def test_a_record_that_lacks_a_sector_is_cut_only_where_nothing_follows(tmp_path):
    data, ends = filled(tmp_path, write(1, entry(1)), write(2, entry(2, size=3000)), write(3, entry(3)))
    first = ends[0] - ends[0] % SECTOR + SECTOR
    for sector in range(first, ends[1] - SECTOR, SECTOR):
        torn = bytearray(data)
        torn[sector:sector + SECTOR] = bytes(SECTOR)
        with pytest.raises(DiskFault):
            recover(bytes(torn))
        torn[ends[1]:] = bytes(len(torn) - ends[1])
        found = recover(bytes(torn))
        # What is preallocated behind it was never written, so it is not cut.
        assert (found.entries, found.cut_bytes) == ([entry(1)], ends[1] - ends[0])


def test_5_3_old_bytes_never_revive_behind_a_cut_and_a_shorter_write(tmp_path):
    data, ends = filled(tmp_path, write(1, entry(1)), write(2, entry(2, size=2000)), write(3, entry(3)))
    path = os.path.join(str(tmp_path), "log", segment_name(1))
    with open(path, "r+b") as file:
        file.truncate(ends[1] - 8)
    journal, found = opened(tmp_path)
    assert found.cut_bytes == len(data[:ends[1] - 8].rstrip(b"\x00")) - ends[0]
    journal.append(write(1, entry(2, 5, size=10)))
    journal.close()
    journal, found = opened(tmp_path)
    journal.close()
    assert found.entries == (entry(1), entry(2, 5, size=10))


def test_an_unknown_format_and_another_instance_are_refused_by_name(tmp_path):
    data, _ = filled(tmp_path, write(1, entry(1)))
    with pytest.raises(DiskFault, match="format 9 is unknown"):
        recover(data[:16] + (9).to_bytes(4, "big") + data[20:])
    with pytest.raises(DiskFault, match="belongs to instance n1"):
        recover(data, "n2")


@pytest.mark.parametrize("name", ["0000000000", "00000000002", "1", "0000000001.new", ".hidden", "notes"])
def test_a_file_that_this_release_does_not_know_is_refused_by_name_and_kept(tmp_path, name):
    filled(tmp_path, write(1, entry(1)))
    (tmp_path / "log" / name).write_bytes(b"of another release")
    with pytest.raises(DiskFault, match=f"log/{name}: this raftctl knows no such file.*use the raftctl that"):
        opened(tmp_path)
    assert (tmp_path / "log" / name).read_bytes() == b"of another release"
    (tmp_path / "log" / name).unlink()
    assert opened(tmp_path)[1].entries == (entry(1),)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_p3_each_operation_that_fails_is_a_disk_fault_and_loses_nothing_that_was_acknowledged(tmp_path, code):
    nth = 0
    while True:
        nth += 1
        folder = tmp_path / str(nth)
        folder.mkdir()
        files = Failing(nth, code)
        acknowledged = []
        failed = False
        try:
            journal, _ = opened(folder, files)
            for number in range(1, 4):
                journal.append(write(number, entry(number)))
                acknowledged.append(entry(number))
        except DiskFault as fault:
            failed = True
            assert os.strerror(code).lower() in str(fault) and "log" in str(fault)
        journal, found = opened(folder)
        journal.close()
        assert found.entries[:len(acknowledged)] == tuple(acknowledged)
        if not failed:
            break
    assert nth > 8


def test_a_short_write_is_continued(tmp_path):
    count = Failing()
    (tmp_path / "a").mkdir()
    opened(tmp_path / "a", count)[0].append(write(1, entry(1)))
    for nth in range(1, count.count + 1):
        folder = tmp_path / f"b{nth}"
        folder.mkdir()
        try:
            journal, _ = opened(folder, Failing(nth, short=True))
            journal.append(write(1, entry(1)))
        except DiskFault:
            continue
        journal.close()
        assert opened(folder)[1].entries == (entry(1),)


def test_5_1_after_a_failed_sync_every_further_append_is_refused(tmp_path):
    journal, _ = opened(tmp_path)
    journal._files = Failing(2)
    with pytest.raises(DiskFault):
        journal.append(write(1, entry(1)))
    with pytest.raises(OurFault):
        journal.append(write(2, entry(1)))
