"""Files of the simulated host: a disk with a cache that power takes away, and file systems in memory.

What is written to the disk lasts once it was synced: the bytes of a file by fsync of the file, its name by fsync of the
directory, and all of it some time later.  Of the rest a power loss leaves what the seed says: of names a part of the
changes (those of a journal in their order, or any), of bytes the old ones, the new ones, or some sectors of the new.
"""

from __future__ import annotations

import errno
import os
import stat
from random import Random

from tests.simulation.kernel import SECOND

SECTOR = 512
_JOURNAL_EVERY, _WRITTEN_AFTER = 5 * SECOND, 35 * SECOND
_MANY = 4000
_KINDS = {"f": stat.S_IFREG, "d": stat.S_IFDIR, "l": stat.S_IFLNK, "s": stat.S_IFSOCK}


class Inode:
    """A file, directory, link or socket.  `kept` is what of a directory's entries would survive a power loss."""

    __slots__ = ("data", "disk", "entries", "kept", "kind", "listener", "mode", "mtime", "nlink", "number", "synced")

    def __init__(self, kind: str, disk: Disk, number: int, mode: int, mtime: int) -> None:
        self.kind, self.disk, self.number, self.mode, self.mtime = kind, disk, number, mode, mtime
        self.data: bytes = b""
        self.entries: dict[str, Inode] = {}
        self.kept: dict[str, Inode] = {}
        self.synced: bytes = b""
        self.nlink = 1
        self.listener: object = None

    def status(self) -> os.stat_result:
        """The same as stat(2) tells it."""
        seconds = self.mtime // SECOND
        return os.stat_result(
            (
                _KINDS[self.kind] | self.mode, self.number, 1, self.nlink, 0, 0, len(self.data),
                seconds, seconds, seconds, float(seconds), self.mtime / SECOND, self.mtime / SECOND,
                self.mtime, self.mtime, self.mtime, 4096, -(-len(self.data) // 512),
            )
        )  # fmt: skip


class Disk:
    """A file system.  `lasts` False: it is in memory.  `full`, `broken`, `read_only` are its troubles now."""

    def __init__(self, *, lasts: bool, journals: bool = True) -> None:
        self.lasts, self.journals = lasts, journals
        self.trouble = 0
        """The errno of each write now; 0: none."""
        self.changes: list[tuple[int, tuple[tuple[Inode, str, Inode | None], ...]]] = []
        self.dirty: dict[Inode, int] = {}

    def changed(self, now: int, *places: tuple[Inode, str, Inode | None]) -> None:
        """Note a change of names that is one: all of it lasts, or none."""
        if self.lasts:
            self.changes.append((now, places))
            if len(self.changes) > _MANY:
                self._write_back(now)

    def wrote(self, now: int, it: Inode) -> None:
        """Note that a file has bytes that are not on the disk."""
        if self.lasts:
            self.dirty.setdefault(it, now)

    def _write_back(self, now: int) -> None:
        """Do what the kernel does after a while."""
        young = [change for change in self.changes if change[0] > now - _JOURNAL_EVERY]
        for _at, places in self.changes[: len(self.changes) - len(young)]:
            _apply(places)
        self.changes = young
        for it, since in list(self.dirty.items()):
            if since <= now - _WRITTEN_AFTER:
                it.synced = it.data
                del self.dirty[it]

    def sync(self, it: Inode) -> None:
        """Make a file's bytes last, or a directory's names; where there is a journal, all names."""
        if it.kind == "f":
            it.synced = it.data
            self.dirty.pop(it, None)
        if self.journals:
            for _at, places in self.changes:
                _apply(places)
            self.changes.clear()
        elif it.kind == "d":
            it.kept = dict(it.entries)
            self.changes = [
                (at, left) for at, places in self.changes if (left := tuple(p for p in places if p[0] is not it))
            ]

    def lose_power(self, now: int, random: Random, root: Inode) -> None:
        """Leave what a power loss leaves."""
        self._write_back(now)
        some = random.randint(0, len(self.changes)) if self.journals else None
        for number, (_at, places) in enumerate(self.changes):
            if number < some if some is not None else random.random() < 0.5:
                _apply(places)
        self.changes.clear()
        for it in self.dirty:
            it.data = _torn(it, random)
            it.synced = it.data
        self.dirty.clear()
        _settle(root)


def _apply(places: tuple[tuple[Inode, str, Inode | None], ...]) -> None:
    for directory, name, it in places:
        if it is None:
            directory.kept.pop(name, None)
        else:
            directory.kept[name] = it


def _torn(it: Inode, random: Random) -> bytes:
    """The bytes of a file after a power loss."""
    case = random.randrange(4)
    if case == 0:
        return it.synced
    if case == 1:
        return it.data
    cut = SECTOR * random.randint(0, len(it.data) // SECTOR)
    return it.data[:cut] + (b"" if case == 2 else bytes(len(it.data) - cut))


def _settle(directory: Inode) -> None:
    """What is kept is all that there is."""
    directory.entries = dict(directory.kept)
    for it in directory.entries.values():
        if it.kind == "d":
            _settle(it)


class Files:
    """All file systems, as one tree."""

    def __init__(self, disk: Disk, memory: Disk) -> None:
        self.disk, self.memory = disk, memory
        self._last = 1
        self.root = Inode("d", memory, 1, 0o755, 0)

    def make(self, kind: str, disk: Disk, mode: int, now: int) -> Inode:
        """A new inode that has no name yet."""
        self._last += 1
        return Inode(kind, disk, self._last, mode, now)

    def mount(self, path: str, disk: Disk) -> Inode:
        """Make a directory that is a file system of its own."""
        *above, name = path.strip("/").split("/")
        directory = self.root
        for part in above:
            if part not in directory.entries:
                directory.entries[part] = self.make("d", self.memory, 0o755, 0)
            directory = directory.entries[part]
        made = directory.entries[name] = self.make("d", disk, 0o755, 0)
        return made

    def at(self, directory: Inode, path: str, *, follow: bool = True) -> Inode:
        """The inode of a path; OSError."""
        it = self.root if path.startswith("/") else directory
        for part in path.split("/"):
            if part and part != ".":
                found = it.entries.get(part)
                if found is None:
                    trouble = errno.ENOENT if it.kind == "d" else errno.ENOTDIR
                    raise OSError(trouble, os.strerror(trouble), path)
                it = found
        if it.kind == "l" and follow:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)  # recovery's leads nowhere
        return it

    def above(self, directory: Inode, path: str) -> tuple[Inode, str]:
        """The directory of a path, and the name in it; OSError."""
        folder, slash, name = path.rstrip("/").rpartition("/")
        it = self.at(directory, folder + slash)
        if it.kind != "d":
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        return it, name
