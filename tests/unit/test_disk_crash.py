"""P3, P7 on a disk that forgets: killed or cut off at any operation, nothing acknowledged is lost or torn."""

from __future__ import annotations

import os
import random

import pytest
from fake_disk import Died, FakeDisk

from raftctl.base.errors import DiskFault
from raftctl.disk import journal as journals
from raftctl.disk.directory import open_directory
from raftctl.disk.journal import Journal
from raftctl.disk.records import SECTOR
from raftctl.disk.recovery import Replay
from raftctl.disk.snapshots import Snapshots
from raftctl.raft.messages import COMMAND, Entry, HardState, Position, SnapshotMark, Write

DATA = "/var/data"


@pytest.fixture(autouse=True)
def small_segments(monkeypatch):
    # So that a run of three writes begins a segment, and thousands of disks in memory stay small.
    monkeypatch.setattr(journals, "SEGMENT_SIZE", 2048)


def entry(index, term=1, size=100):
    return Entry(term, index, COMMAND, bytes([index % 251 + 1]) * size)


def run(disk, numbers, acknowledged):
    """Start a node's disk and write the entries; each goes to `acknowledged` once it is durable."""
    directory = open_directory(DATA, new_instance=lambda: "n1", files=disk)
    journal, found = Journal.open(directory.log_path, directory.identity.instance, disk)
    for number in numbers:
        journal.append(Write(number, HardState(number, f"v{number}", 0), (entry(number, number, 700),)))
        acknowledged.append(number)
        journal.tidy()
    return directory, found


def recovered(disk):
    return run(disk, (), [])[1]


def recover(data):
    replay = Replay("n1")
    replay.take("log", 1, bytes(data), is_last=True)
    return replay


def coins(seed):
    source = random.Random(seed)
    return lambda: source.random() < 0.5


def until_one_gets_through(attempt):
    """Call `attempt(1)`, `attempt(2)` … until it returns True: it ran to its end."""
    for nth in range(1, 200):
        if attempt(nth):
            return nth
    raise AssertionError("no run got through")


@pytest.mark.parametrize("seed", range(6))
def test_p3_power_cut_at_any_operation_loses_no_acknowledged_write(seed):
    def attempt(nth):
        disk, acknowledged = FakeDisk(), []
        disk.die_at = nth
        try:
            run(disk, (1, 2, 3), acknowledged)
            died = False
        except Died:
            died = True
        found = recovered(disk.power_cut(coins(repr((seed, nth)))))
        assert [each.index for each in found.entries][:len(acknowledged)] == acknowledged, nth
        assert found.hard_state.term >= len(acknowledged)
        return not died
    assert until_one_gets_through(attempt) > 12


def test_p3_names_made_by_a_killed_process_are_durable_before_the_next_acknowledges():
    def attempt(nth):
        disk = FakeDisk()
        disk.die_at = nth
        try:
            run(disk, (), [])
            died = False
        except Died:
            died = True
        second, acknowledged = disk.restarted(), []
        run(second, (1, 2), acknowledged)
        assert [each.index for each in recovered(second.power_cut()).entries] == acknowledged, nth
        return not died
    until_one_gets_through(attempt)


def test_5_1_what_a_start_returns_is_on_disk_though_the_last_process_never_synced_it():
    def attempt(nth):
        disk = FakeDisk()
        disk.die_at = nth
        try:
            run(disk, (1, 2), [])
            died = False
        except Died:
            died = True
        second = disk.restarted()
        seen = recovered(second)
        assert recovered(second.power_cut())[:2] == seen[:2], nth
        return not died
    until_one_gets_through(attempt)


def test_5_1_after_a_failed_sync_the_next_start_believes_the_disk_and_not_the_cache():
    def attempt(nth):
        disk, acknowledged = FakeDisk(), []
        disk.fail_at = nth
        try:
            run(disk, (1, 2), acknowledged)
            failed = False
        except DiskFault:
            failed = True
        second = disk.restarted()
        seen = recovered(second)
        assert [each.index for each in seen.entries][:len(acknowledged)] == acknowledged
        assert recovered(second.power_cut())[:2] == seen[:2], nth
        return not failed
    until_one_gets_through(attempt)


def test_5_3_crash_cut_shorter_write_crash_revives_nothing():
    for seed in range(40):
        disk = FakeDisk()
        run(disk, (1,), [])
        disk.die_at = disk.count + 8
        try:
            run(disk, (2, 3), [])
        except Died:
            pass
        second = disk.power_cut(coins(seed))
        kept = recovered(second)
        journal, _ = Journal.open(DATA + "/log", "n1", second)
        shorter = entry(len(kept.entries) + 1, 9, size=5)
        journal.append(Write(1, None, (shorter,)))
        assert recovered(second.power_cut(coins(seed + 1000))).entries == (*kept.entries, shorter)


def test_a_synced_record_whose_first_sector_reads_as_zeros_is_damage_where_records_follow(monkeypatch):
    monkeypatch.setattr(journals, "SEGMENT_SIZE", 8192)
    disk = FakeDisk()
    run(disk, (1, 2, 3, 4), [])
    file = disk.names_now[DATA + "/log/0000000001"]
    starts = [at for at in range(SECTOR, len(file.cached), 16) if file.cached[at:at + 4] == b"btch"]
    for number, at in enumerate(starts, 1):
        data = bytearray(file.cached)
        end = at - at % SECTOR + SECTOR
        data[at:end] = bytes(end - at)
        if number < 4:
            with pytest.raises(DiskFault, match="no torn tail"):
                recover(data)
        else:
            assert len(recover(data).entries) == 3


def test_a_missing_log_of_a_cluster_and_a_log_without_its_instance_are_refused_and_kept():
    disk = FakeDisk()
    run(disk, (1,), [])
    segment = disk.names_now.pop(DATA + "/log/0000000001")
    with pytest.raises(DiskFault, match="log is missing"):
        Journal.open(DATA + "/log", "n1", disk, must_exist=True)
    assert disk.names(DATA + "/log") == ["0000000002"]      # made ahead, nothing in it
    disk.names_now[DATA + "/log/0000000001"] = segment
    del disk.names_now[DATA + "/instance"]
    with pytest.raises(DiskFault, match='instance: is missing, but there is "log" beside it'):
        recovered(disk)
    assert disk.names_now[DATA + "/log/0000000001"] is segment


def test_snapshots_without_their_instance_are_refused_and_kept():
    disk = FakeDisk(("/", "/var", DATA, DATA + "/snapshots"))
    disk.close(disk.open(DATA + "/snapshots/x", os.O_CREAT))
    with pytest.raises(DiskFault, match='instance: is missing, but there is "snapshots" beside it; put it back'):
        recovered(disk)
    assert disk.names(DATA + "/snapshots") == ["x"]


@pytest.mark.parametrize("seed", range(6))
def test_p7_a_removal_cut_off_anywhere_leaves_the_old_node_whole_or_a_fresh_one(seed):
    def attempt(nth):
        disk = FakeDisk()
        directory, _ = run(disk, (1, 2), [])
        writer = Snapshots.open(directory.snapshots_path, disk).begin(SnapshotMark(Position(1, 1), 1, b"", 0))
        writer.finish()
        disk.die_at = disk.count + nth
        try:
            directory.remove_data()
            died = False
        except Died:
            died = True
        after = disk.power_cut(coins(repr((seed, nth))))
        again = open_directory(DATA, new_instance=lambda: "n2", files=after)
        marks = Snapshots.open(again.snapshots_path, after).marks
        _, found = Journal.open(again.log_path, again.identity.instance, after)
        held = (again.identity.instance, again.identity.incarnation, len(found.entries), len(marks))
        assert held in (("n1", 2, 2, 1), ("n2", 1, 0, 0)), (nth, held)
        return not died
    until_one_gets_through(attempt)


def test_a_relative_path_that_does_not_exist_yet_is_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    directory = open_directory("new/data", new_instance=lambda: "n1")
    directory.close()
    assert directory.path == os.path.join(os.path.realpath(tmp_path), "new", "data")
