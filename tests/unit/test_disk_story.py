"""P3 through rotation, drops, a new base, installation and own snapshots, ended at every operation."""

from __future__ import annotations

import errno
import random

import pytest
from disk_story import DATA, SEGMENT, Story, entry, opened
from fake_disk import Died, FakeDisk

from raftctl.base.errors import DiskFault
from raftctl.disk import journal as journals
from raftctl.raft.messages import HardState, Write


@pytest.fixture(autouse=True)
def small_segments(monkeypatch):
    monkeypatch.setattr(journals, "SEGMENT_SIZE", SEGMENT)


def coins(seed):
    source = random.Random(seed)
    return lambda: source.random() < 0.5


def ended_at(nth, **how):
    """Run the story on a disk that dies (or fails) at operation `nth`."""
    disk = FakeDisk(("/", "/var", DATA))
    for name, value in how.items():
        setattr(disk, name, nth if value is None else value)
    story = Story(disk)
    try:
        story.run()
    except (Died, DiskFault):
        pass
    return story


def every(**how):
    """Yield (nth, story) with the story ended at its 1st, 2nd, 3rd … operation, until it gets through."""
    for nth in range(1, 1000):
        story = ended_at(nth, **how)
        yield nth, story
        if story.is_over:
            assert nth > 60
            return
    raise AssertionError("never got through")


def goes_on(journal, found, disk):
    """A shorter write behind what a start found is all that the next start finds more (pitfall 5.3)."""
    last = found.entries[-1].index if found.entries else found.base.index
    more = entry(last + 1, 90, size=5)
    journal.append(Write(1, HardState(90), (more,)))
    journal.tidy()
    again = opened(disk)[2]
    assert again.entries[-1] == more and again.hard_state == HardState(90)
    assert again.entries[:-1] == found.entries[len(found.entries) - len(again.entries) + 1:]


def test_the_story_without_a_fault_drops_segments_and_keeps_two_snapshots():
    story = ended_at(0)
    assert story.is_over and not story.refused
    names = story.disk.names(DATA + "/log")
    assert int(names[0]) > 5 and len(names) < 6
    assert [mark.position.index for mark in story.snapshots.marks] == [63, 60]
    assert len(story.disk.names(DATA + "/snapshots")) == 2


@pytest.mark.parametrize("seed", range(4))
def test_p3_power_cut_at_any_operation_loses_nothing_acknowledged(seed):
    for nth, story in every(die_at=None):
        after = story.disk.power_cut(coins(repr((seed, nth))))
        journal, _, found = story.check(after)
        goes_on(journal, found, after)


def test_p3_power_cut_that_keeps_nothing_unsynced_loses_nothing_acknowledged():
    for _, story in every(die_at=None):
        story.check(story.disk.power_cut())


def test_5_1_what_a_start_returns_after_a_kill_is_on_disk():
    for _, story in every(die_at=None):
        second = story.disk.restarted()
        seen = story.check(second)[2]
        assert opened(second.power_cut())[2] == seen


@pytest.mark.parametrize("code", [errno.EIO, errno.EROFS])
def test_p3_each_operation_that_fails_ends_the_disk_and_loses_nothing_acknowledged(code):
    for _, story in every(fail_at=None, code=code):
        second = story.disk.restarted()
        seen = story.check(second)[2]
        assert opened(second.power_cut())[2] == seen


def test_p3_a_second_power_cut_while_the_first_is_recovered_loses_nothing_acknowledged():
    for nth, story in every(die_at=None):
        if nth % 3:
            continue
        for again in range(1, 40):
            second = story.disk.power_cut(coins(nth))
            second.die_at = again
            try:
                story.check(second)
                break
            except Died:
                story.check(second.power_cut(coins(again)))


def test_5_5_a_disk_that_is_full_at_any_allocation_is_survived_or_refused_and_loses_nothing():
    survived = 0
    for nth in range(1, 100):
        disk = FakeDisk(("/", "/var", DATA))
        disk.full_at = nth
        story = Story(disk)
        try:
            story.run()
            survived += 1
            assert story.refused + story.full_seen <= 1
        except DiskFault as fault:
            # The first segment, or one in the midst of a write larger than a segment.
            assert "no space left on device" in str(fault) and "free space in" in str(fault)
        if disk.allocations < nth:
            break
        story.check(disk.restarted())
        story.check(disk.power_cut(coins(nth)))
    assert disk.allocations < nth and survived > 10
