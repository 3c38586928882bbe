"""Rules of a log of several segments: rotation, drops, a new base, what is missing or foreign (§4.3)."""

from __future__ import annotations

import errno
import re

import pytest
from disk_story import DATA, SEGMENT, entries, entry, mark, opened
from fake_disk import FakeDisk

from raftctl.base.errors import DiskFault, OurFault
from raftctl.disk import journal as journals
from raftctl.disk.journal import Journal
from raftctl.disk.records import SECTOR
from raftctl.raft.messages import ORIGIN, Chunk, HardState, Position, Write

LOG = DATA + "/log"


@pytest.fixture(autouse=True)
def small_segments(monkeypatch):
    monkeypatch.setattr(journals, "SEGMENT_SIZE", SEGMENT)


def write(*several, hard=None, **fields):
    return Write(1, hard, several, **fields)


def fresh():
    return FakeDisk(("/", "/var", DATA))


def filled(*writes, disk=None):
    disk = disk or fresh()
    journal, snapshots, _ = opened(disk)
    for each in writes:
        journal.append(each)
        journal.tidy()
    return disk, journal, snapshots


def names(disk):
    return [int(name) for name in disk.names(LOG)]


def four_segments():
    """Entries 1 to 4 and a vote in the first, 5 to 8, 9 to 12, 13 and 14 behind; one is made ahead."""
    disk, journal, snapshots = filled(write(entry(1), hard=HardState(1, "n2", 7)),
                                      *map(write, entries(2, 14, 1)))
    assert names(disk) == [1, 2, 3, 4, 5]
    return disk, journal, snapshots


def segment(disk, number):
    return disk.names_now[f"{LOG}/{number:010d}"]


def in_both(file):
    file.stored[:] = file.cached


def test_the_next_segment_is_reserved_before_it_is_needed_and_begun_only_then():
    disk, _, _ = filled()
    assert names(disk) == [1, 2] and len(segment(disk, 2).stored) == SEGMENT
    assert not any(segment(disk, 2).cached)


def test_p3_a_segment_is_durable_by_name_before_the_first_acknowledgement_in_it():
    disk, journal, _ = filled(*map(write, entries(1, 4, 1)))
    journal.append(write(entry(5)))
    assert [one.index for one in opened(disk.power_cut())[2].entries] == [1, 2, 3, 4, 5]


def test_one_batch_is_one_write_and_one_sync_but_where_a_segment_begins():
    disk, journal, _ = filled()
    before = disk.count
    journal.append(write(entry(1), entry(2), hard=HardState(1), memory=b"m"))
    assert disk.count - before == 2
    journal.tidy()
    assert disk.count - before == 2


def test_5_4_the_first_record_of_each_segment_repeats_hard_state_and_memory():
    disk, journal, snapshots = four_segments()
    journal.append(write(hard=None, memory=b"memory", drop_upto=12))
    snapshots_of(snapshots, 12)
    journal.tidy()
    assert names(disk) == [4, 5]
    found = opened(disk.power_cut())[2]
    assert (found.hard_state, found.memory, found.base) == (HardState(1, "n2", 7), b"memory", Position(1, 12))
    assert found.entries == entries(13, 14, 1)


def snapshots_of(snapshots, *indexes):
    for index in indexes:
        writer = snapshots.begin(mark(index, 1, 10))
        writer.write(b"0123456789")
        writer.finish()


def test_only_whole_segments_up_to_the_index_are_dropped_and_never_the_last():
    for upto, left in ((3, 1), (4, 2), (7, 2), (8, 3), (11, 3), (12, 4), (14, 4), (99, 4)):
        disk, journal, _ = four_segments()
        journal.append(write(drop_upto=upto))
        journal.tidy()
        assert names(disk)[0] == left, upto


def test_5_4_a_segment_that_holds_no_record_yet_lets_none_before_it_be_dropped(monkeypatch):
    disk, journal, _ = four_segments()
    monkeypatch.setattr(journal, "_put_record", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        journal.append(write(*entries(15, 17, 1), drop_upto=14))
    second = disk.restarted()                     # its segment 5 has a header and no record
    assert any(segment(second, 5).cached[:SECTOR]) and not any(segment(second, 5).cached[SECTOR:])
    journal, _, found = opened(second)
    assert found.entries == entries(1, 14, 1) and found.hard_state == HardState(1, "n2", 7)
    journal._drop_upto = 14
    journal.tidy()
    assert names(second)[0] == 1
    journal.append(write(entry(15)))
    journal.tidy()
    assert names(second)[0] == 5 and names(second)[-1] == 6
    assert found.hard_state == HardState(1, "n2", 7)


def test_2_3_a_conflict_is_overwritten_across_segments_and_back():
    disk, _, _ = filled(*map(write, entries(1, 14, 1)), write(*entries(3, 5, 2)), write(entry(4, 3)))
    assert opened(disk)[2].entries == (entry(1), entry(2), entry(3, 2), entry(4, 3))


def test_a_conflict_that_reaches_into_a_dropped_segment_begins_the_log_where_the_new_entries_do():
    disk, journal, snapshots = filled(*map(write, entries(1, 14, 1)), write(*entries(3, 40, 2, size=20)))
    snapshots_of(snapshots, 14)
    journal.append(write(drop_upto=14))
    journal.tidy()
    assert names(disk)[0] == 5
    found = opened(disk)[2]
    assert found.base == Position(2, 3) and found.entries == entries(4, 40, 2, size=20)


def test_a_base_begins_the_log_anew_and_what_was_before_is_dropped():
    disk, journal, snapshots = four_segments()
    snapshots_of(snapshots, 40)
    journal.append(write(entry(41, 5), base=Position(5, 40)))
    journal.tidy()
    assert names(disk)[0] == 4
    found = opened(disk.power_cut())[2]
    assert (found.base, found.entries) == (Position(5, 40), (entry(41, 5),))


def test_a_log_without_entries_begins_behind_its_base():
    disk, journal, snapshots = four_segments()
    snapshots_of(snapshots, 40)
    journal.append(write(base=Position(5, 40)))
    journal.tidy()
    assert opened(disk.power_cut())[2][1:5] == ((), 0, b"", Position(5, 40))
    for number in range(4):
        journal.append(write(hard=HardState(6 + number, "n" * 64, 1), memory=b"x" * 1100))
        journal.tidy()
    found = opened(disk.power_cut())[2]
    assert (found.base, found.entries, found.hard_state.term) == (Position(5, 40), (), 9)


def test_a_fresh_log_begins_with_index_1():
    assert opened(filled()[0])[2][:5] == (HardState(), (), 0, b"", ORIGIN)


def test_a_batch_larger_than_a_segment_goes_into_several():
    disk, journal, _ = filled()
    journal.append(write(*entries(1, 30, 1), hard=HardState(4), memory=b"m"))
    found = opened(disk.power_cut())[2]
    assert (found.hard_state, found.entries, found.memory) == (HardState(4), entries(1, 30, 1), b"m")
    assert len(names(disk)) > 6


def test_an_entry_that_no_segment_can_hold_is_our_fault():
    journal = filled()[1]
    with pytest.raises(OurFault, match="no segment can hold"):
        journal.append(write(entry(1, size=SEGMENT)))


def test_4_1_a_log_that_begins_behind_an_entry_that_no_snapshot_reaches_is_refused():
    disk, journal, snapshots = four_segments()
    journal.append(write(drop_upto=8))
    snapshots_of(snapshots, 7)
    journal.tidy()
    with pytest.raises(DiskFault, match="begins behind entry 8, and no sound snapshot reaches as far; put "
                                        "the snapshots back, or move the directory away"):
        opened(disk.restarted())
    snapshots_of(snapshots, 8)
    assert opened(disk.restarted())[2].base == Position(1, 8)


# --- damage


@pytest.mark.parametrize("number", [2, 3])
def test_a_missing_segment_in_the_midst_is_refused_by_name(number):
    disk, _, _ = four_segments()
    del disk.names_now[f"{LOG}/{number:010d}"]
    with pytest.raises(DiskFault, match=f"log/{number:010d}: is missing between segments.*put it back, or "
                                        "move the directory away"):
        opened(disk.restarted())


def test_a_missing_first_segment_is_refused_where_no_snapshot_holds_its_entries():
    disk, _, _ = four_segments()
    del disk.names_now[f"{LOG}/{1:010d}"]
    with pytest.raises(DiskFault, match="begins behind entry 4"):
        opened(disk.restarted())


def test_a_segment_under_another_number_is_refused_by_both_names():
    disk, _, _ = four_segments()
    first, third = f"{LOG}/{1:010d}", f"{LOG}/{3:010d}"
    disk.names_now[first], disk.names_now[third] = disk.names_now[third], disk.names_now[first]
    with pytest.raises(DiskFault, match="log/0000000001: is segment 3 by its header; give it that name back"):
        opened(disk.restarted())


def test_5_3_a_segment_of_another_time_does_not_follow():
    disk, _, _ = four_segments()
    other, _, _ = filled(*map(write, entries(1, 14, 2)))
    disk.names_now[f"{LOG}/{2:010d}"] = segment(other, 2)
    with pytest.raises(DiskFault, match="log/0000000002: does not follow the end of the segment before it"):
        opened(disk.restarted())


def test_a_torn_tail_is_cut_in_the_last_segment_alone():
    for number in (1, 2, 3, 4):
        disk, _, _ = filled(*map(write, entries(1, 8, 1, size=600)))
        file = segment(disk, number)
        # All sectors of its last record but the first are missing.
        begin = file.cached.rfind(b"btch")
        begin += SECTOR - begin % SECTOR
        file.cached[begin:] = bytes(len(file.cached) - begin)
        in_both(file)
        if number == 4:
            assert opened(disk)[2].entries == entries(1, 7, 1, size=600)
        else:
            with pytest.raises(DiskFault, match="a later segment follows it, so it is no torn tail"):
                opened(disk)


def test_5_2_every_flipped_bit_of_the_last_batch_and_of_its_segments_header_is_refused():
    disk, journal, _ = filled(*map(write, entries(1, 4, 1)), write(entry(5), hard=HardState(3, "n3", 9)))
    file = segment(disk, 2)
    sound = bytes(file.cached)
    for at in range(journal._end):
        for bit in range(8):
            file.cached[at] ^= 1 << bit
            in_both(file)
            with pytest.raises(DiskFault):
                opened(disk)
            file.cached[:] = sound
    in_both(file)
    assert opened(disk)[2].entries == entries(1, 5, 1)


@pytest.mark.parametrize("at", [0, SECTOR, SEGMENT - 1])
def test_bytes_in_a_segment_without_header_are_damage(at):
    disk, _, _ = four_segments()
    file = segment(disk, 5)
    file.cached[at] = 1
    in_both(file)
    with pytest.raises(DiskFault, match="log/0000000005: the file is no raftctl log, or its header is dam"):
        opened(disk)


@pytest.mark.parametrize("size", [0, 1, SECTOR, SEGMENT + SECTOR])
def test_a_segment_made_ahead_may_have_any_size_and_is_made_whole(size):
    disk, journal, _ = four_segments()
    segment(disk, 5).cached[:] = bytes(size)
    in_both(segment(disk, 5))
    journal, _, _ = opened(disk)
    assert len(segment(disk, 5).cached) == max(size, SEGMENT)
    for one in entries(15, 24, 1):
        journal.append(write(one))
        journal.tidy()
    assert opened(disk)[2].entries == entries(1, 24, 1)


def test_a_log_of_the_format_before_is_refused_by_number_and_kept():
    disk = fresh()
    filled(write(entry(1)), disk=disk)
    file = segment(disk, 1)
    file.cached[16:20] = (1).to_bytes(4, "big")
    in_both(file)
    with pytest.raises(DiskFault, match=r"format 1 is unknown here \(this raftctl reads 2\), or damaged; m"):
        opened(disk)
    assert names(disk) == [1, 2]


def test_a_cluster_without_its_log_is_refused():
    for names_left in ([], [2], [1]):
        disk, _, _ = filled(write(entry(1)))
        for number in (1, 2):
            if number not in names_left:
                del disk.names_now[f"{LOG}/{number:010d}"]
            elif number == 1:
                segment(disk, 1).cached[:] = segment(disk, 1).stored[:] = bytes(SEGMENT)
        with pytest.raises(DiskFault, match="log/0000000001: the log is missing, but the directory bel"):
            opened(disk, must_exist=True)
    disk, _, _ = filled(write(entry(1)))
    del disk.names_now[f"{LOG}/{1:010d}"]
    with pytest.raises(DiskFault, match="the log is missing"):
        opened(disk)


# --- a full disk


def full_disk():
    """The disk is full when segment 3 is to be made; 2 has just begun."""
    disk, journal, snapshots = filled(*map(write, entries(1, 4, 1)))
    assert journal.room is None and not journal.full
    disk.is_full = True
    journal.append(write(entry(5)))
    journal.tidy()
    return disk, journal, snapshots


def test_5_5_a_full_disk_is_met_when_the_next_segment_is_made_and_votes_go_on():
    disk, journal, _ = full_disk()
    assert re.search("log/0000000003: no space left on device while making a file of 2048 bytes; free space "
                     f"in {LOG}", journal.full)
    assert names(disk) == [1, 2]                   # what the attempt took is given back
    votes = 0
    while journal.room:
        votes += 1
        journal.append(write(hard=HardState(votes, "n3", 9)))
        journal.tidy()
    assert votes > 10
    journal.append(write(hard=HardState(votes + 1, "n3", 9)))        # what is left is for votes
    found = opened(disk.power_cut())[2]
    assert found.hard_state == HardState(votes + 1, "n3", 9) and found.entries == entries(1, 5, 1)


def test_5_5_room_is_what_is_left_but_for_the_part_of_votes():
    journal = full_disk()[1]
    assert journal.room == SEGMENT - SEGMENT // 16 - journal._end
    before, end = journal.room, journal._end
    journal.append(write(entry(6)))
    assert before - journal.room == journal._end - end


def test_5_5_space_that_is_freed_heals():
    disk, journal, _ = full_disk()
    disk.is_full = False
    journal.tidy()
    assert journal.room is None and not journal.full and names(disk) == [1, 2, 3]
    for one in entries(6, 12, 1):
        journal.append(write(one))
        journal.tidy()
    assert opened(disk.power_cut())[2].entries == entries(1, 12, 1)


def test_5_5_a_node_that_starts_on_a_full_disk_can_vote():
    disk, journal, _ = full_disk()
    second = disk.restarted()
    second.is_full = True
    journal, _, _ = opened(second)
    assert journal.full and journal.room > 0
    journal.append(write(hard=HardState(9, "n3", 9)))
    assert opened(second.power_cut())[2].hard_state == HardState(9, "n3", 9)


def test_5_5_a_full_disk_without_any_room_left_ends_the_journal_and_says_what_to_do():
    disk, journal, _ = full_disk()
    with pytest.raises(DiskFault, match=f"no space left on device.*free space in {LOG}"):
        for one in entries(6, 12, 1):
            journal.append(write(one))
    with pytest.raises(OurFault):
        journal.append(write(hard=HardState(9)))
    assert opened(disk.restarted())[2].entries[:5] == entries(1, 5, 1)


def test_where_the_file_system_can_not_reserve_zeros_are_written(monkeypatch):
    disk = fresh()

    def refuse(descriptor, offset, size):
        raise OSError(errno.EOPNOTSUPP, "not supported")
    monkeypatch.setattr(disk, "allocate", refuse)
    filled(write(entry(1)), disk=disk)
    assert len(segment(disk, 2).stored) == SEGMENT and not any(segment(disk, 2).stored)


# --- chunks


def test_the_last_chunk_is_durable_by_name_before_the_record_of_the_new_base():
    disk, journal, _ = four_segments()
    found = mark(40, 5, 20)
    journal.append(write(chunk=Chunk(found, 0, b"a" * 15)))
    order = []
    for name in ("rename", "sync_directory", "write"):
        def noted(*arguments, _name=name, _call=getattr(disk, name)):
            order.append(_name)
            return _call(*arguments)
        setattr(disk, name, noted)
    journal.append(write(entry(41, 5), chunk=Chunk(found, 15, b"b" * 5), base=Position(5, 40)))
    assert order == ["write", "write", "rename", "sync_directory", "write"]


def test_p3_without_room_for_a_snapshot_nothing_has_begun_and_the_rest_is_durable():
    disk, journal, snapshots = filled(write(entry(1)))
    disk.is_full = True
    found = mark(40, 5, 20)
    assert journal.append(write(entry(2), chunk=Chunk(found, 0, b""))) is False
    disk.is_full = False
    assert journal.append(write(chunk=Chunk(found, 0, b""))) is True
    journal.append(write(chunk=Chunk(found, 0, b"a" * 20), base=Position(5, 40)))
    assert snapshots.marks == (found,)


def test_a_write_of_a_chunk_alone_adds_no_record():
    journal = filled(write(entry(1)))[1]
    end = journal._end
    journal.append(write(chunk=Chunk(mark(40, 5, 20), 0, b"a")))
    assert journal._end == end


def test_5_5_a_chunk_without_room_for_its_snapshot_is_refused_and_the_rest_of_the_write_is_durable():
    disk, journal, snapshots = four_segments()
    disk.is_full = True
    assert not journal.append(write(hard=HardState(8), chunk=Chunk(mark(40, 5, 20), 0, b"")))
    assert disk.names(DATA + "/snapshots") == []
    disk.is_full = False
    found = mark(40, 5, 20)
    assert journal.append(write(chunk=Chunk(found, 0, b"")))
    disk.is_full = True                               # what it needs is its own already
    assert journal.append(write(chunk=Chunk(found, 0, b"a" * 20), base=found.position))
    assert snapshots.marks == (found,)
    assert opened(disk.power_cut())[2][:2] == (HardState(8), ())


def test_5_1_a_failed_chunk_ends_the_journal():
    disk, journal, _ = filled(write(entry(1)))
    disk.fail_at = disk.count + 1
    with pytest.raises(DiskFault):
        journal.append(write(chunk=Chunk(mark(40, 5, 20), 0, b"a")))
    with pytest.raises(OurFault):
        journal.append(write(entry(2)))


def test_5_1_a_failure_between_writes_ends_the_journal():
    disk, journal, _ = four_segments()
    journal.append(write(drop_upto=4))
    disk.fail_at = disk.count + 1
    with pytest.raises(DiskFault, match="removing"):
        journal.tidy()
    with pytest.raises(OurFault):
        journal.append(write(entry(15)))


def test_an_empty_write_needs_no_disk():
    disk, journal, _ = filled(write(entry(1)))
    before = disk.count
    journal.append(write(drop_upto=0))
    assert disk.count == before


def test_a_journal_may_do_without_snapshots_but_then_takes_no_chunk():
    journal = Journal.open(LOG, "n1", fresh())[0]
    with pytest.raises(OurFault, match="chunk without snapshots"):
        journal.append(write(chunk=Chunk(mark(40, 5, 20), 0, b"a")))
