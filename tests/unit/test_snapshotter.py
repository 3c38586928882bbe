"""The thread of snapshots: written in slices, chunks read between them, a failed disk told once (P3)."""

from __future__ import annotations

import queue

import pytest
from fake_disk import FakeDisk, HungDisk

from raftctl.base.errors import DiskFault
from raftctl.disk.snapshots import Snapshots
from raftctl.node.data import load_store
from raftctl.node.snapshotter import ChunkRead, Snapshotter, Taken
from raftctl.raft.messages import Install, Position, SnapshotMark
from raftctl.raft.snapshots import CHUNK_BYTES
from raftctl.store.commands import encode_put
from raftctl.store.machine import Store

LIMIT_S = 10


def store_of(count, size=20_000):
    store = Store()
    for index in range(1, count + 1):
        store.apply(index, encode_put(b"k%d" % index, b"x" * size))
    return store


def mark_of(image, index=40):
    return SnapshotMark(Position(3, index), 1, b"configuration", image.size)


class World:
    def __init__(self, disk):
        self.disk, self.said = disk, queue.Queue()
        self.snapshots = Snapshots.open("/snapshots", disk)
        self.snapshotter = Snapshotter(self.snapshots, self.said.put, self.said.put)
        self.snapshotter.start()

    def hear(self):
        return self.said.get(timeout=LIMIT_S)

    def take(self, store, index=40):
        mark = mark_of(store.image(), index)
        self.snapshotter.take(mark, store.image())
        assert self.hear() == Taken(mark)
        return mark


@pytest.fixture
def world():
    world = World(FakeDisk())
    yield world
    assert world.snapshotter.stop(LIMIT_S)


def wanted(mark, offset):
    return Install(4, 1, 500, 1, mark, offset, b"")


def test_what_was_taken_is_read_back_in_chunks_and_loaded_at_the_next_start(world):
    store = store_of(20)
    mark = world.take(store)
    for offset in range(0, mark.size, CHUNK_BYTES):
        world.snapshotter.read("n2", wanted(mark, offset))
    parts = [world.hear().data for _ in range(0, mark.size, CHUNK_BYTES)]
    assert b"".join(parts) == b"".join(store.image().slices()) and len(parts[0]) == CHUNK_BYTES
    again = Snapshots.open("/snapshots", world.disk.restarted())
    assert load_store(again).digest() == store.digest()


def test_pitfall_4_4_a_chunk_is_read_while_a_snapshot_is_being_written():
    disk = HungDisk()
    world = World(disk)
    small, large = store_of(1), store_of(600)        # 12 MB, with syncs in between
    mark = world.take(small)
    disk.hang()
    world.snapshotter.take(mark_of(large.image(), 41), large.image())
    assert disk.hung.wait(LIMIT_S)
    world.snapshotter.read("n2", wanted(mark, 0))
    disk.heal()
    assert [type(world.hear()) for _ in range(2)] == [ChunkRead, Taken]
    assert world.snapshotter.stop(LIMIT_S)


def test_a_snapshot_that_is_kept_no_more_is_read_as_nothing(world):
    mark = mark_of(store_of(1).image())
    world.snapshotter.read("n2", wanted(mark, 0))
    assert world.hear() == ChunkRead("n2", wanted(mark, 0), None)


def test_without_room_nothing_has_changed_and_it_is_told(world, caplog):
    world.disk.is_full = True
    image = store_of(3).image()
    world.snapshotter.take(mark_of(image), image)
    assert world.hear() == Taken(None)
    assert world.snapshots.marks == () and "the log grows on" in caplog.text
    world.disk.is_full = False
    world.take(store_of(3))


def test_p3_a_failed_disk_is_told_and_nothing_more_is_done():
    world = World(FakeDisk())
    world.disk.fail_at = world.disk.count + 3
    image = store_of(3).image()
    world.snapshotter.take(mark_of(image), image)
    assert isinstance(world.hear(), DiskFault)
    assert world.snapshotter.stop(LIMIT_S) and world.said.empty()


def test_an_end_in_the_midst_leaves_no_snapshot():
    disk = HungDisk()
    world = World(disk)
    disk.hang()
    large = store_of(600)
    world.snapshotter.take(mark_of(large.image()), large.image())
    assert disk.hung.wait(LIMIT_S)
    assert not world.snapshotter.stop(0.05)
    disk.heal()
    assert world.snapshotter.stop(LIMIT_S)
    assert Snapshots.open("/snapshots", disk.restarted()).marks == ()


def test_a_snapshot_that_no_store_can_be_made_of_is_refused_with_its_name(world):
    mark = SnapshotMark(Position(3, 40), 1, b"configuration", 4)
    draft = world.snapshots.begin(mark)
    draft.write(b"\0\0\0\x01")
    draft.finish()
    with pytest.raises(DiskFault, match=r"the snapshot 3:40: store image ends .* move the directory away"):
        load_store(world.snapshots)


