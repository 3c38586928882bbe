"""A data directory as it is shown: what a start would find, nothing written, damage where it is (§4.3)."""

from __future__ import annotations

import os
import re
import tracemalloc

import disk_story
import pytest
from disk_story import DATA, SEGMENT, Story, entries, entry, opened
from fake_disk import FakeDisk

from raftctl.base.errors import DiskFault, NotAllowed, RaftctlError, UsageError
from raftctl.disk import identity as identities
from raftctl.disk import journal as journals
from raftctl.disk import survey as surveys
from raftctl.disk.directory import open_directory
from raftctl.disk.files import Files
from raftctl.disk.holder import Holder, find_holder
from raftctl.disk.identity import Identity
from raftctl.disk.survey import survey, walk
from raftctl.raft.configuration import Member, configuration, encode
from raftctl.raft.messages import Chunk, HardState, Position, SnapshotMark, Write

CHANGING = ("write", "sync", "allocate", "try_lock", "truncate", "make_directory", "rename", "unlink",
            "remove_directory", "sync_directory", "write_atomic")


@pytest.fixture(autouse=True)
def small_segments(monkeypatch):
    monkeypatch.setattr(journals, "SEGMENT_SIZE", SEGMENT)
    monkeypatch.setattr(surveys, "_PAUSE_S", 0)
    monkeypatch.setattr(disk_story, "mark", mark)


def mark(index, term, size):
    """As that of the story, with a configuration that is one."""
    return SnapshotMark(Position(term, index), 1, encode(configuration("c1", [Member("n1", "tcp://h1:1", True)])),
                        size)


def fresh():
    disk = FakeDisk(("/", "/var", DATA))
    disk.write_atomic(DATA + "/instance", identities.encode(Identity("c1", "n1", 3, "boot", 1, 2)))
    return disk


def filled(*writes):
    disk = fresh()
    journal, snapshots, _ = opened(disk)
    for each in writes:
        journal.append(Write(1, None, **each))
        journal.tidy()
    return disk, snapshots


def shown(disk):
    """Return the survey and all entries, having seen to it that nothing was changed."""
    for name in CHANGING:
        setattr(disk, name, lambda *_, name=name: pytest.fail(f"{name} on a disk that is only looked at"))
    try:
        found, held = survey(DATA, disk), []
        walk(found, held.append, disk)
    finally:
        for name in CHANGING:
            delattr(disk, name)
    return found, held


class Checked(Story):
    """Compares what is shown with what a start finds, at each step."""

    looks = 0

    def write(self, *several, **fields):
        taken = super().write(*several, **fields)
        self.look()
        return taken

    def own_snapshot(self, found):
        super().own_snapshot(found)
        self.look()

    def look(self):
        self.looks += 1
        found, held = shown(self.disk)
        assert found.damage == ()
        _, snapshots, recovered = opened(self.disk.power_cut(), must_exist=True)
        assert (held, found.base, found.hard_state, found.log.memory) == (
            list(recovered.entries), recovered.base, recovered.hard_state, recovered.memory)
        assert found.last == (held[-1].position if held else found.base)
        assert [one.mark for one in found.snapshots if one.mark] == list(reversed(snapshots.marks))


def test_p3_what_is_shown_is_what_a_start_finds_at_every_step_of_a_disks_life():
    story = Checked(fresh())
    story.run()
    assert story.is_over and story.looks == 20


# --- damage


def change(disk, name, at, value):
    """Put `value` (bytes, or a mask for one of them) there, in the cache and on the disk."""
    file = disk.names_now[f"{DATA}/{name}"]
    if isinstance(value, int):
        value = bytes([file.cached[at] ^ value])
    file.cached[at:at + len(value)] = value
    file.stored[:] = file.cached


def at_every_byte(disk, name):
    for at in range(len(disk.names_now[f"{DATA}/{name}"].cached)):
        change(disk, name, at, 1)
        yield at
        change(disk, name, at, 1)


def test_of_a_log_with_any_wrong_bit_the_sound_part_is_shown():
    true = entries(1, 6, 1, 100)
    disk, _ = filled({"entries": true[:2]}, {"entries": true[2:5]}, {"entries": true[5:]})
    end = len(disk.names_now[DATA + "/log/0000000001"].cached.rstrip(b"\0"))
    for at in at_every_byte(disk, "log/0000000001"):
        found, held = shown(disk)
        assert held == list(true[:len(held)])
        if at >= end:       # reserved zeros
            assert len(held) == 6
            continue
        assert len(held) < 6
        (fault,) = found.damage
        assert fault.path == DATA + "/log/0000000001" and fault.offset <= at, (at, str(fault))
        assert found.segments[0].state == "damaged" and str(fault).endswith("the node rejoins empty")


def test_of_several_segments_those_behind_the_damage_are_not_read():
    disk, _ = filled(*({"entries": (one,)} for one in entries(1, 14, 1)))
    assert [one.state for one in shown(disk)[0].segments] == ["sound"] * 4 + ["made ahead"]
    change(disk, "log/0000000002", 512 + 500, 1)
    found, held = shown(disk)
    assert [one.state for one in found.segments] == ["sound", "damaged", "not read", "not read", "made ahead"]
    assert held == list(entries(1, len(held), 1)) and found.segments[0].last <= len(held) < 8
    assert [(fault.path[-2:], fault.offset is not None) for fault in found.damage] == [("02", True)]


@pytest.mark.parametrize("gone, left", [(1, 0), (2, 4), (3, 8), (4, 12)])
def test_a_missing_segment_is_named_and_what_is_before_it_shown(gone, left):
    disk, _ = filled(*({"entries": (one,)} for one in entries(1, 14, 1)))
    disk.unlink(f"{DATA}/log/000000000{gone}")
    found, held = shown(disk)
    said = [str(fault) for fault in found.damage]
    if gone == 1:       # the log then begins behind entry 4, which no snapshot covers
        assert held == list(entries(5, 14, 1)) and "no sound snapshot reaches as far" in said[0]
        return
    assert held == list(entries(1, left, 1)) and "missing between segments" in said[0], said


def test_a_torn_tail_is_no_damage():
    disk, _ = filled({"entries": entries(1, 2, 1)}, {"entries": entries(3, 4, 1)})
    file = disk.names_now[DATA + "/log/0000000001"]
    last = (len(file.cached.rstrip(b"\0")) - 1) // 512 * 512
    change(disk, "log/0000000001", last, bytes(512))
    found, held = shown(disk)
    assert held == list(entries(1, 2, 1)) and found.damage == ()
    (segment, _) = found.segments
    assert segment.state == "torn" and 0 < segment.torn <= last - segment.used


def test_a_damaged_snapshot_is_told_and_the_other_one_is_sound():
    disk, snapshots = filled({"entries": entries(1, 9, 1, 20)})
    for one in (mark(4, 1, 600), mark(8, 1, 600)):
        writer = snapshots.begin(one)
        writer.write(b"x" * 600)
        writer.finish()
    for at in at_every_byte(disk, "snapshots/" + shown(disk)[0].snapshots[1].name):
        found, held = shown(disk)
        assert [one.state for one in found.snapshots] == ["sound", "damaged"], at
        assert len(found.damage) == 1 and len(held) == 9
        assert found.damage[0].path.endswith(found.snapshots[1].name)


def test_a_log_that_no_snapshot_covers_any_more_is_damage():
    disk, _ = filled({"entries": entries(1, 2, 1)},
                     {"base": Position(1, 60), "entries": entries(61, 62, 1),
                      "chunk": Chunk(mark(60, 1, 0), 0, b"")})
    found, held = shown(disk)
    assert (held, found.damage, found.base) == (list(entries(61, 62, 1)), (), Position(1, 60))
    disk.unlink(f"{DATA}/snapshots/{found.snapshots[0].name}")
    (fault,) = shown(disk)[0].damage
    assert "the log begins behind entry 60, and no sound snapshot reaches as far" in str(fault)


def test_files_of_others_and_what_was_left_unfinished_are_named():
    disk, _ = filled({"entries": entries(1, 2, 1)})
    for name in ("log/notes", "snapshots/notes", "snapshots/1.own", "snapshots/1.part", "snapshots/1.damaged"):
        disk.write_atomic(f"{DATA}/{name}", b"?")
    found, held = shown(disk)
    assert [fault.path for fault in found.damage] == [DATA + "/snapshots/notes", DATA + "/log/notes"]
    assert [one.state for one in found.snapshots] == ["set aside", "unfinished", "unfinished", "damaged"]
    assert held == list(entries(1, 2, 1))


@pytest.mark.parametrize("name, at, value, said", [
    ("instance", 0, identities.encode(Identity("c1", "n1", 3, "boot", 1, 2)).replace(b'"format": 2', b'"format": 1'),
     "instance: format 1 is unknown, this raftctl reads 2; no release wrote it"),
    ("log/0000000001", 16, b"\0\0\0\x01", "format 1 is unknown here (this raftctl reads 2), or damaged"),
    ("snapshots/00000000000000000001-00000000000000000001", 16, b"\0\0\0\x09",
     "format 9 is unknown here (this raftctl reads 1), or damaged; use the raftctl that wrote it"),
])
def test_another_format_is_said_to_be_one(name, at, value, said):
    disk, snapshots = filled({"entries": entries(1, 2, 1)})
    writer = snapshots.begin(mark(1, 1, 5))
    writer.write(b"x" * 5)
    writer.finish()
    change(disk, name, at, value)
    (fault,) = shown(disk)[0].damage
    assert said in str(fault)


@pytest.mark.parametrize("name", ["instance", "log/0000000001"])
def test_a_file_that_cant_be_read_is_damage(name):
    disk, _ = filled({"entries": entries(1, 2, 1)})

    def refuse(path, flags, mode=0o600):
        if path == f"{DATA}/{name}":
            raise OSError(5, "Input/output error")
        return FakeDisk.open(disk, path, flags, mode)
    disk.open = refuse
    found = survey(DATA, disk)
    assert [fault.path for fault in found.damage] == [f"{DATA}/{name}"]
    assert "input/output error while reading" in str(found.damage[0])


@pytest.mark.parametrize("name", ["", "/instance", "/lock", "/log", "/log/0000000001", "/snapshots"])
def test_what_this_user_may_not_read_is_no_damage(name):
    class Refusing(FakeDisk):
        def open(self, path, flags, mode=0o600):
            self.ask(path)
            return super().open(path, flags, mode)

        def names(self, path):
            self.ask(path)
            return super().names(path)

        def ask(self, path):
            if path == self.refused:
                raise PermissionError(13, "Permission denied")
    disk, _ = filled({"entries": entries(1, 2, 1)})
    disk.write_atomic(DATA + "/lock", b"1\n")
    disk.__class__, disk.refused = Refusing, DATA + name
    with pytest.raises(NotAllowed, match=f"^{re.escape(DATA + name)}: permission denied; look as root"):
        survey(DATA, disk)


def test_the_log_is_shown_where_the_directory_has_lost_its_identity():
    disk, _ = filled({"entries": entries(1, 2, 1)})
    disk.unlink(DATA + "/instance")
    found, held = shown(disk)
    assert held == list(entries(1, 2, 1))
    assert [str(fault) for fault in found.damage] == [
        f'{DATA}/instance: is missing, but there is "log" beside it; put it back, or move the directory away '
        "and start: the node rejoins empty"]


def test_a_log_that_must_be_there_and_is_not_is_damage():
    (fault,) = shown(fresh())[0].damage
    assert "the log is missing, but the directory belongs to a cluster" in str(fault)


def test_what_is_being_given_up_is_not_judged():
    disk, _ = filled({"entries": entries(1, 14, 1)})
    disk.write_atomic(DATA + "/instance",
                      identities.encode(Identity("c1", "n1", 3, "boot", 1, 2), removed=True))
    disk.unlink(DATA + "/log/0000000001")
    found, held = shown(disk)
    assert (found.is_given_up, found.damage, held) == (True, (), [])


# --- what is none


def test_what_is_no_data_directory_is_a_mistake_of_the_user(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "log").mkdir()              # as /var has one
    (tmp_path / "log" / "syslog").write_bytes(b"")
    (tmp_path / "lock").mkdir()
    (tmp_path / "empty").mkdir()
    for place, said in (("", "no data directory"), ("empty", "no data directory"), ("file", "no directory"),
                        ("nowhere", "no such directory"), ("file/below", "is no directory")):
        with pytest.raises(UsageError, match=said):
            survey(str(tmp_path / place))


def test_a_directory_that_the_disk_does_not_list_is_damage_and_no_mistake_of_the_user():
    disk = fresh()

    def refuse(path):
        raise OSError(5, "Input/output error")
    disk.names = refuse
    with pytest.raises(RaftctlError, match="^/var/data: input/output error while reading; see the kernel"
                       ) as raised:
        survey(DATA, disk)
    assert raised.value.exit_status == 1


# --- beside a running node


def test_the_holder_of_the_lock_is_read_off_the_kernels_table(tmp_path):
    path = str(tmp_path / "lock")
    assert find_holder(Files(), path) == Holder(False, None)
    directory = open_directory(str(tmp_path), new_instance=lambda: "n1")
    assert find_holder(Files(), path) == Holder(True, os.getpid())
    assert survey(str(tmp_path)).holder == Holder(True, os.getpid())
    directory.close()
    assert find_holder(Files(), path) == Holder(False, None)


@pytest.mark.parametrize("table, expected", [
    ("1: FLOCK  ADVISORY  WRITE 77 {place} 0 EOF\n", Holder(True, 77)),
    ("1: FLOCK  ADVISORY  WRITE 0 {place} 0 EOF\n", Holder(True, None)),
    ("1: FLOCK  ADVISORY  WRITE 77 ff:ff:{inode} 0 EOF\n", Holder(True, 77)),     # btrfs
    ("1: FLOCK  ADVISORY  WRITE 78 ff:ff:{inode} 0 EOF\n", Holder(False, None)),
    ("1: POSIX  ADVISORY  WRITE 77 {place} 0 EOF\n", Holder(False, None)),
    ("1: -> FLOCK  ADVISORY  WRITE 77 {place} 0 EOF\n", Holder(False, None)),
    ("1: FLOCK\n", Holder(False, None)),
    ("", Holder(False, None)),
    (None, Holder(None, None)),
])
def test_the_kernels_table_is_read_with_care(tmp_path, table, expected):
    lock = tmp_path / "lock"
    lock.write_text("77\n")
    place = os.stat(lock)
    if table is not None:
        name = f"{os.major(place.st_dev):02x}:{os.minor(place.st_dev):02x}:{place.st_ino}"
        (tmp_path / "locks").write_text(table.format(place=name, inode=place.st_ino))
    assert find_holder(Files(), str(lock), str(tmp_path / "locks")) == expected


@pytest.mark.parametrize("held, looks, is_damaged", [(True, 2, False), (None, 2, False), (False, 1, True)])
def test_what_a_running_node_is_writing_is_no_damage(monkeypatch, held, looks, is_damaged):
    disk, _ = filled({"entries": entries(1, 2, 1)}, {"entries": entries(3, 3, 1)})
    asked = []

    def holder(*_):
        asked.append(1)
        change(disk, "log/0000000001", 600, int(len(asked) < 3))      # wrong at the first look alone
        return Holder(held, None)
    monkeypatch.setattr(surveys, "find_holder", holder)
    assert (bool(survey(DATA, disk).damage), len(asked)) == (is_damaged, looks)


def test_damage_beside_a_running_node_is_damage_once_it_stays(monkeypatch):
    disk, _ = filled({"entries": entries(1, 2, 1)})
    change(disk, "log/0000000001", 600, 1)
    asked = []
    monkeypatch.setattr(surveys, "find_holder", lambda *_: asked.append(1) or Holder(True, 1))
    assert len(survey(DATA, disk).damage) == 1 and len(asked) == 2


def test_what_a_running_node_removed_between_two_readings_is_left_out():
    disk, _ = filled(*({"entries": (one,)} for one in entries(1, 14, 1)))
    found, held = survey(DATA, disk), []
    disk.unlink(DATA + "/log/0000000001")
    walk(found, held.append, disk)
    assert held == list(entries(5, 14, 1))


def test_what_a_running_node_wrote_between_two_readings_is_left_out():
    disk = fresh()
    journal, _, _ = opened(disk)
    journal.append(Write(1, HardState(1), entries(1, 3, 1)))
    found, held = survey(DATA, disk), []
    journal.append(Write(1, HardState(2), (entry(2, 2),)))
    walk(found, held.append, disk)
    assert held == list(entries(1, 3, 1))


def test_a_log_that_was_changed_between_two_readings_is_said_to_be():
    disk, _ = filled({"entries": entries(1, 2, 1)})
    found = survey(DATA, disk)
    change(disk, "log/0000000001", 600, 1)
    with pytest.raises(DiskFault):
        walk(found, [].append, disk)


def test_a_long_log_is_not_held_in_memory(monkeypatch):
    monkeypatch.setattr(journals, "SEGMENT_SIZE", 64 * 1024)
    disk, _ = filled(*({"entries": entries(at, at + 9, 1, 500)} for at in range(1, 10_000, 10)))
    count = 0

    def see(_):
        nonlocal count
        count += 1
    tracemalloc.start()
    try:
        walk(survey(DATA, disk), see, disk)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # 80 segments, 5 MiB of bodies.
    assert count == 10_000 and peak < 12 * 64 * 1024, peak
