"""P3 for snapshots: a name means that all of it is durable; two are kept; damage is seen and told (§4.3)."""

from __future__ import annotations

import random

import pytest
from disk_story import body, mark
from fake_disk import Died, FakeDisk

from raftctl.base.errors import DiskFault, OurFault
from raftctl.disk import snapshot_file
from raftctl.disk.files import DiskFull
from raftctl.disk.snapshots import Snapshots, name_of
from raftctl.raft.messages import Chunk, Position, SnapshotMark

PATH = "/data/snapshots"


def fresh():
    return FakeDisk(("/", "/data"))


def opened(disk):
    return Snapshots.open(PATH, disk)


def own(snapshots, *marks):
    for found in marks:
        writer = snapshots.begin(found)
        writer.write(body(found))
        writer.finish()


def holding(*marks):
    disk = fresh()
    snapshots = opened(disk)
    own(snapshots, *marks)
    return disk, snapshots


def chunks(found, size):
    return [Chunk(found, offset, body(found)[offset:offset + size]) for offset in range(0, found.size, size)]


def damage(disk, found, at, value=None):
    file = disk.names_now[f"{PATH}/{name_of(found)}"]
    file.cached[at] = file.cached[at] ^ 1 if value is None else value
    file.stored[:] = file.cached


FIRST, SECOND, THIRD = mark(4, 1, 100), mark(9, 2, 700), mark(20, 2, 0)


def test_a_start_finds_marks_newest_first_and_reads_what_was_written():
    disk, _ = holding(FIRST, SECOND)
    snapshots = opened(disk.power_cut())
    assert snapshots.marks == (SECOND, FIRST) and not snapshots.warnings
    assert snapshots.read(SECOND, 0, 1000) == body(SECOND)
    assert snapshots.read(SECOND, 690, 1000) == body(SECOND)[690:]
    assert snapshots.read(SECOND, 100, 7) == body(SECOND)[100:107]
    assert snapshots.read(SECOND, 700, 7) == b""


def test_an_empty_store_has_a_snapshot_too():
    disk, _ = holding(THIRD)
    assert opened(disk.power_cut()).read(THIRD, 0, 10) == b""
    snapshots = opened(fresh())
    snapshots.write_chunk(Chunk(THIRD, 0, b""))
    assert snapshots.marks == (THIRD,)


def test_two_are_kept_and_the_oldest_goes_when_a_third_is_there():
    disk, snapshots = holding(FIRST, SECOND)
    writer = snapshots.begin(THIRD)
    assert snapshots.marks == (SECOND, FIRST)
    writer.finish()
    assert snapshots.marks == (THIRD, SECOND)
    assert disk.names(PATH) == [name_of(SECOND), name_of(THIRD)]
    assert opened(disk.power_cut()).marks == (THIRD, SECOND)


def test_one_that_ends_late_displaces_no_newer_one():
    disk, snapshots = holding(SECOND)
    late = snapshots.begin(FIRST)
    late.write(body(FIRST))
    own(snapshots, THIRD)
    late.finish()
    assert snapshots.marks == (THIRD, SECOND) and disk.names(PATH) == [name_of(SECOND), name_of(THIRD)]


def test_of_two_makers_of_the_same_one_stays():
    disk, snapshots = holding(FIRST)
    writer = snapshots.begin(SECOND)
    for chunk in chunks(SECOND, 300):
        snapshots.write_chunk(chunk)
    writer.write(body(SECOND))
    writer.finish()
    assert snapshots.marks == (SECOND, FIRST) and len(disk.names(PATH)) == 2


def test_4_1_the_oldest_is_removed_only_once_the_third_is_durable():
    for nth in range(1, 30):
        disk, snapshots = holding(FIRST, SECOND)
        disk.die_at = disk.count + nth
        try:
            own(snapshots, mark(20, 2, 10))
            died = False
        except Died:
            died = True
        for seed in range(8):
            coin = random.Random(repr((nth, seed)))
            kept = opened(disk.power_cut(lambda coin=coin: coin.random() < 0.5)).marks
            assert kept in ((SECOND, FIRST), (mark(20, 2, 10), SECOND)), (nth, kept)
        if not died:
            return
    raise AssertionError("never got through")


def test_4_2_one_that_was_just_displaced_stays_readable_for_a_transfer():
    _, snapshots = holding(FIRST, SECOND)
    own(snapshots, THIRD)
    assert snapshots.read(FIRST, 0, 1000) == body(FIRST)
    own(snapshots, mark(30, 2, 10))
    assert snapshots.read(FIRST, 0, 1000) is None and snapshots.read(SECOND, 0, 1000) == body(SECOND)


# --- installing


@pytest.mark.parametrize("size", [1, 99, 350, 700, 1000])
def test_4_3_chunks_make_a_snapshot_with_the_last_one(size):
    disk = fresh()
    snapshots = opened(disk)
    for chunk in chunks(SECOND, size):
        assert snapshots.marks == ()
        snapshots.write_chunk(chunk)
    assert snapshots.marks == (SECOND,) and disk.names(PATH) == [name_of(SECOND)]
    assert opened(disk.power_cut()).read(SECOND, 0, 1000) == body(SECOND)


def test_4_3_offset_0_begins_anew_whatever_was_there():
    disk = fresh()
    snapshots = opened(disk)
    for chunk in (*chunks(SECOND, 300)[:2], *chunks(SECOND, 200)[:2], *chunks(FIRST, 30)):
        snapshots.write_chunk(chunk)
    assert snapshots.marks == (FIRST,) and disk.names(PATH) == [name_of(FIRST)]


def test_4_3_a_chunk_out_of_order_is_our_fault():
    snapshots = opened(fresh())
    first, second, third = chunks(SECOND, 300)
    for wrong in (second, third):
        with pytest.raises(OurFault, match="out of order"):
            snapshots.write_chunk(wrong)
    snapshots.write_chunk(first)
    for wrong in (third, second._replace(mark=SECOND._replace(size=701))):
        with pytest.raises(OurFault, match="out of order"):
            snapshots.write_chunk(wrong)


def test_4_3_leftovers_of_an_earlier_process_are_removed():
    disk, snapshots = holding(FIRST)
    snapshots.write_chunk(chunks(SECOND, 300)[0])
    snapshots.begin(SECOND).write(b"x")
    assert len(disk.names(PATH)) == 3
    second = disk.restarted()
    assert opened(second).marks == (FIRST,) and second.names(PATH) == [name_of(FIRST)]


def test_a_snapshot_that_is_given_up_leaves_nothing():
    disk, snapshots = holding(FIRST)
    snapshots.begin(SECOND).abandon()
    assert disk.names(PATH) == [name_of(FIRST)] and snapshots.marks == (FIRST,)


def test_a_body_of_another_size_than_the_mark_says_is_our_fault():
    writer = opened(fresh()).begin(FIRST)
    with pytest.raises(OurFault, match="longer"):
        writer.write(b"x" * 101)
    writer.write(b"x" * 99)
    with pytest.raises(OurFault, match="shorter"):
        writer.finish()


def test_a_long_body_is_synced_in_between(monkeypatch):
    monkeypatch.setattr(snapshot_file, "SYNC_BYTES", 100)
    disk = fresh()
    snapshots = opened(disk)
    sizes = []
    sync = disk.sync
    disk.sync = lambda descriptor: (sizes.append(1), sync(descriptor))
    writer = snapshots.begin(SECOND)
    for _ in range(14):
        writer.write(b"x" * 50)
    writer.finish()
    assert len(sizes) >= 7


# --- damage


def test_5_2_every_flipped_bit_of_the_newest_leads_to_the_older_with_a_warning():
    for at in range(snapshot_file.file_size(SECOND)):
        disk, _ = holding(FIRST, SECOND)
        damage(disk, SECOND, at)
        after = disk.power_cut()
        if 16 <= at < 20:
            with pytest.raises(DiskFault, match="format .* is unknown here.*or damaged; use the raftctl"):
                opened(after)
            continue
        snapshots = opened(after)
        assert snapshots.marks == (FIRST,)
        (warning,) = snapshots.warnings
        assert f"{PATH}/{name_of(SECOND)} is damaged" in warning and "check the disk" in warning
        assert after.names(PATH) == [name_of(FIRST), name_of(SECOND) + ".damaged"]


def test_a_truncated_or_lengthened_file_is_damaged():
    size = snapshot_file.file_size(SECOND)
    for length in (*range(0, size, 7), size - 1, size + 1):
        disk, _ = holding(FIRST, SECOND)
        file = disk.names_now[f"{PATH}/{name_of(SECOND)}"]
        file.cached[:] = bytes(file.cached[:length].ljust(length, b"x"))
        file.stored[:] = file.cached
        assert opened(disk.power_cut()).marks == (FIRST,)


def test_a_damaged_one_stays_aside_until_the_next_is_durable():
    disk, _ = holding(FIRST, SECOND)
    damage(disk, SECOND, 60)
    snapshots = opened(disk.power_cut())
    disk = snapshots._files
    assert not Snapshots.open(PATH, disk.restarted()).warnings       # told once
    own(snapshots, THIRD)
    assert disk.names(PATH) == [name_of(FIRST), name_of(THIRD)]


def test_a_name_that_its_header_does_not_confirm_is_damage():
    disk, _ = holding(FIRST)
    disk.names_now[f"{PATH}/{name_of(SECOND)}"] = disk.names_now.pop(f"{PATH}/{name_of(FIRST)}")
    snapshots = opened(disk.restarted())
    assert snapshots.marks == () and "is of 1:4 by its header" in snapshots.warnings[0]


@pytest.mark.parametrize("name", ["notes", ".hidden", "1-1", name_of(FIRST) + ".new",
                                  name_of(FIRST)[:-1] + "x"])
def test_a_file_that_this_release_does_not_know_is_refused_by_name_and_kept(name):
    disk, _ = holding(FIRST)
    disk.close(disk.open(f"{PATH}/{name}", 0o100))
    with pytest.raises(DiskFault, match=f"snapshots/{name}: this raftctl knows no such file among snapshots"):
        opened(disk.restarted())
    assert name in disk.names(PATH)


def test_a_damaged_length_is_not_believed():
    mark_of_much = SnapshotMark(Position(1, 1), 1, b"c", 5)
    disk, _ = holding(mark_of_much)
    for at in range(44, 56):
        damage(disk, mark_of_much, at, 0xFF)
    assert opened(disk.power_cut()).marks == ()


# --- a full disk, a failing one


def test_5_5_without_room_nothing_is_begun_and_nothing_is_left():
    disk, snapshots = holding(FIRST)
    disk.is_full = True
    with pytest.raises(DiskFull, match=f"no space left on device.*free space in {PATH}"):
        snapshots.begin(SECOND)
    with pytest.raises(DiskFull):
        snapshots.write_chunk(chunks(SECOND, 300)[0])
    assert disk.names(PATH) == [name_of(FIRST)]
    disk.is_full = False
    own(snapshots, SECOND)
    assert snapshots.marks == (SECOND, FIRST)


def test_p3_each_operation_that_fails_is_a_disk_fault_and_loses_no_durable_snapshot():
    for nth in range(1, 40):
        disk, snapshots = holding(FIRST)
        disk.fail_at = disk.count + nth
        failed = False
        try:
            for chunk in chunks(SECOND, 350):
                snapshots.write_chunk(chunk)
        except DiskFault as fault:
            failed = "input/output error" in str(fault) and PATH in str(fault)
            assert failed
        assert opened(disk.restarted()).marks in ((FIRST,), (SECOND, FIRST))
        if not failed:
            return
    raise AssertionError("never got through")
