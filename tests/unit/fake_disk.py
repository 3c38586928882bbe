"""A disk in memory that forgets what was not synced, tears writes by sectors, fails or dies on demand.

`FakeDisk` stands in for `disk.files.Files`. `power_cut(keep)` returns the disk as the next boot finds it;
`keep()` is asked for each unsynced sector, size and name whether it got there by itself. A kill of the
process alone is `fail_at`/`die_at`: cache and names stay.
"""

from __future__ import annotations

import errno
import os
import threading

from raftctl.disk.files import Files

SECTOR = 512


class Died(BaseException):
    """The process was killed at this operation."""


class _File:
    def __init__(self):
        self.cached = bytearray()
        self.stored = bytearray()
        self.dirty = set()

    def put(self, data, offset):
        end = offset + len(data)
        self.cached.extend(bytes(max(0, end - len(self.cached))))
        self.cached[offset:end] = data
        self.dirty.update(range(offset // SECTOR, (end + SECTOR - 1) // SECTOR))

    def store(self, sectors, size):
        self.stored.extend(bytes(max(0, size - len(self.stored))))
        for sector in sectors:
            part = self.cached[sector * SECTOR:min((sector + 1) * SECTOR, size)]
            self.stored[sector * SECTOR:sector * SECTOR + len(part)] = part


class FakeDisk(Files):
    """Names map to files or None (a directory). Operations that change something are counted, from 1.

    `is_full`: no room for another file. `full_at`: at just that one, counted from 1 by `allocations`.
    """

    def __init__(self, names=("/",), *, fail_at=0, die_at=0, code=errno.EIO):
        self.is_full, self.full_at, self.allocations = False, 0, 0
        self.names_now = dict.fromkeys(names)
        self.names_stored = dict(self.names_now)
        self.count, self.fail_at, self.die_at, self.code = 0, fail_at, die_at, code
        self._open = {}

    def _step(self):
        self.count += 1
        if self.count == self.die_at:
            raise Died(self.count)
        if self.count == self.fail_at:
            raise OSError(self.code, os.strerror(self.code))

    def restarted(self):
        """Return the same machine for the next process: cache and names as they are."""
        after = FakeDisk()
        after.names_now, after.names_stored = dict(self.names_now), dict(self.names_stored)
        after.is_full = self.is_full
        return after

    def copied(self):
        """Return a disk of its own with what `cp -a` finds here now, all of it durable."""
        copies = {}
        after = FakeDisk()
        for name, file in self.names_now.items():
            if file is not None and id(file) not in copies:
                copies[id(file)] = copy = _File()
                copy.cached, copy.stored = bytearray(file.cached), bytearray(file.cached)
            after.names_now[name] = None if file is None else copies[id(file)]
        after.names_stored = dict(after.names_now)
        return after

    def power_cut(self, keep=lambda: False):
        """Return the disk as the next boot finds it."""
        after = FakeDisk()
        names = dict(self.names_stored)
        for name in sorted(set(self.names_now) | set(names)):
            if self.names_now.get(name, 0) is not names.get(name, 0) and keep():
                if name in self.names_now:
                    names[name] = self.names_now[name]
                else:
                    del names[name]
        reached = {name: file for name, file in names.items() if self._reaches(names, name)}
        for file in {id(file): file for file in reached.values() if file is not None}.values():
            size = len(file.cached) if keep() else len(file.stored)
            file.store([sector for sector in sorted(file.dirty) if sector * SECTOR < size and keep()], size)
            file.cached, file.dirty = bytearray(file.stored), set()
        after.names_now, after.names_stored = dict(reached), dict(reached)
        after.is_full = self.is_full
        return after

    def damage(self, path, place):
        """Flip a bit of the file, counted from its middle."""
        file = self.names_now[path]
        at = (len(file.stored) // 2 + place) % len(file.stored)
        file.stored[at] ^= 1
        file.cached[at] = file.stored[at]

    @staticmethod
    def _reaches(names, name):
        while name != "/":
            name = os.path.dirname(name)
            if name not in names:
                return False
        return True

    def open(self, path, flags, mode=0o600):
        if path not in self.names_now:
            if not flags & os.O_CREAT:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            self._step()
            self.names_now[path] = _File()
        elif flags & os.O_EXCL:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        descriptor = max(self._open, default=2) + 1
        self._open[descriptor] = self.names_now[path]
        return descriptor

    def close(self, descriptor):
        del self._open[descriptor]

    def size(self, descriptor):
        return len(self._open[descriptor].cached)

    def read(self, descriptor, size, offset):
        return bytes(self._open[descriptor].cached[offset:offset + size])

    def write(self, descriptor, buffers, offset):
        data = b"".join(buffers)
        self._step()
        self._open[descriptor].put(data, offset)
        return len(data)

    def sync(self, descriptor):
        file = self._open[descriptor]
        try:
            self._step()
        except OSError:
            file.dirty = set()   # as ext4 and XFS do: the pages count as clean, unwritten (pitfall 5.1)
            raise
        file.store(sorted(file.dirty), len(file.cached))
        file.dirty = set()

    def allocate(self, descriptor, offset, size):
        self._step()
        self.allocations += 1
        if self.is_full or self.allocations == self.full_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        file = self._open[descriptor]
        file.cached.extend(bytes(max(0, offset + size - len(file.cached))))

    def forget_cached(self, descriptor):
        file = self._open[descriptor]
        for sector in range(len(file.cached) // SECTOR + 1):
            if sector not in file.dirty:
                part = bytes(file.stored[sector * SECTOR:(sector + 1) * SECTOR])
                room = len(file.cached[sector * SECTOR:(sector + 1) * SECTOR])
                file.cached[sector * SECTOR:sector * SECTOR + room] = part[:room].ljust(room, b"\x00")

    def try_lock(self, descriptor):
        return True

    def truncate(self, descriptor):
        self._open[descriptor].cached.clear()

    def device_and_inode(self, path_or_descriptor):
        return (1, 1)

    def make_directory(self, path):
        if path in self.names_now:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        self._step()
        self.names_now[path] = None

    def is_directory(self, path):
        return self.names_now.get(path, 0) is None

    def names(self, path):
        if path not in self.names_now:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        inside = [name for name in self.names_now if name != "/" and os.path.dirname(name) == path]
        return sorted(map(os.path.basename, inside))

    def rename(self, path, target):
        self._step()
        self.names_now[target] = self.names_now.pop(path)

    def unlink(self, path):
        if path not in self.names_now:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        self._step()
        del self.names_now[path]          # whoever has it open still reads it

    def remove_directory(self, path):
        self._step()
        del self.names_now[path]

    def sync_directory(self, path):
        self._step()
        for name in set(self.names_now) | set(self.names_stored):
            if name == "/" or os.path.dirname(name) != path:
                continue
            if name in self.names_now:
                self.names_stored[name] = self.names_now[name]
            else:
                del self.names_stored[name]

    def write_atomic(self, path, data):
        temporary = self.open(path + ".new", os.O_CREAT | os.O_RDWR)
        file = self._open[temporary]
        file.cached.clear()
        self.write(temporary, [data], 0)
        self.sync(temporary)
        self.close(temporary)
        self._step()
        self.names_now[path] = self.names_now.pop(path + ".new")
        self.sync_directory(os.path.dirname(path))


class HungDisk(FakeDisk):
    """After `hang`, a sync does not end before `heal`."""

    def __init__(self):
        super().__init__()
        self.hung = threading.Event()      # a sync has begun and waits
        self._sound = threading.Event()
        self._sound.set()

    def hang(self):
        self._sound.clear()

    def heal(self):
        self._sound.set()

    def sync(self, descriptor):
        if not self._sound.is_set():
            self.hung.set()
            self._sound.wait()
        super().sync(descriptor)
