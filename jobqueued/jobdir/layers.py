"""The directories of job files as one inbox.

For each name, only the file in the first directory counts, but all drop-ins do.

While a directory can't be read, no change takes effect, because its files may replace files in other directories.
Except for the first directory, a directory that other users can change is ignored.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from operator import attrgetter
from pathlib import Path

from jobqueued.base.problem import Problem
from jobqueued.child.contract.trust import FileRefused, distrust
from jobqueued.child.watcher import inotify
from jobqueued.jobdir.file_changes import News, Signature
from jobqueued.jobdir.inbox import (
    AGAIN,
    CHANGES_IN_DIRECTORY,
    UNWATCHED,
    Inbox,
    KernelNotices,
    mount_table,
    signature_of,
)
from jobqueued.jobdir.kinds import DirectoryKind
from jobqueued.jobdir.trust import LEFT_OUT, InWriting
from jobqueued.jobdir.units import Assembly
from jobqueued.model.source import soonest
from jobqueued.settings.drop_in_files import drop_in_directory, file_of_drop_ins, is_job_file, listed

_has_news, _deadline = attrgetter("has_news"), attrgetter("deadline")
_NONE = -1
"""Stands for the watch of a path that is not a directory; the parent's watch reports when the path becomes one."""


class Layer(Inbox):
    """A directory of job files, and the drop-in directories in it.

    A change to a drop-in counts as a change to its file.
    """

    def __init__(self, directory: Path, kind: DirectoryKind, kernel: KernelNotices) -> None:
        self._watches: dict[str, int] = {}
        """File → watch of its drop-ins, or 0 if they can't be watched."""
        self._files: dict[int, str] = {}
        super().__init__(directory, kind, kernel)

    def drop_ins(self, name: str) -> list[str]:
        """Return the names of a file's drop-ins. Raises FileRefused or OSError."""
        return listed(self._of_drop_ins(name), os.geteuid()) if name in self._watches else []

    def has_drop_ins(self, name: str) -> bool:
        """Return whether a file has a drop-in directory."""
        return name in self._watches

    def put_back(self, name: str) -> bool:
        """Defer a file because the file or its drop-in is being written."""
        self._in_writing.add(name)
        directory, slash, _ = name.rpartition("/")
        self.expect(file_of_drop_ins(directory) if slash else name)
        return self._is_told

    def signature(self, name: str) -> Signature:
        """Return the signature of a file and its drop-ins in this directory."""
        own = super().signature(name)
        if name not in self._watches:
            return own
        directory = self._of_drop_ins(name)
        names = list[str]()
        with suppress(Exception):  # the read reports the same error
            names = sorted(listed(directory, None))
        return sum(
            (signature_of(f"{directory}/{each}") for each in names), (*own, *signature_of(directory), len(names))
        )

    def _of_drop_ins(self, name: str) -> str:
        return f"{self._directory}/{drop_in_directory(name)}"

    # events of the kernel

    def _note(self, name: str, mask: int) -> None:
        if file := file_of_drop_ins(name):
            self._follow(file)
            self.touch(file)
        else:
            super()._note(name, mask)

    def _hear_else(self, event: inotify.InotifyEvent) -> None:
        """Process an event about a drop-in directory."""
        file = self._files.get(event.watch)
        if file is None:
            return
        if event.mask & UNWATCHED:
            self._follow(file)
            self.touch(file)
        elif not event.name:
            self.touch(file)
        elif is_job_file(event.name):
            self._take_in(f"{drop_in_directory(file)}/{event.name}", event.mask, file)

    def _others(self, names: Sequence[str]) -> set[str]:
        """Watch exactly the drop-in directories in a listing; return the names of their files."""
        found = {file for name in names if (file := file_of_drop_ins(name))}
        for file in self._watches.keys() - found:
            self._forsake(file)
        for file in found:
            self._follow(file)
        return found

    @property
    def _hears_all(self) -> bool:
        return all(self._watches.values())

    def _follow(self, file: str) -> None:
        """Watch a file's drop-in directory if it exists; replace the watch of an earlier directory."""
        directory, old, new = self._of_drop_ins(file), self._watches.get(file), 0
        is_directory = None
        try:
            is_directory = stat.S_ISDIR(os.lstat(directory).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            self._forsake(file)
            return
        except OSError:  # it may exist; its type is unknown
            pass
        if is_directory is False:
            new = _NONE
        elif self._kernel.inotify is not None:
            new = self._add(Path(directory), CHANGES_IN_DIRECTORY | inotify.IN_ONLYDIR | inotify.IN_DONT_FOLLOW)
        if old is not None and old != new:
            self._forsake(file)
        self._watches[file] = new
        if new > 0:
            self._files[new] = file

    def _forsake(self, file: str) -> None:
        watch = self._watches.pop(file, 0)
        if watch > 0:
            self._files.pop(watch, None)
            with suppress(OSError):  # the kernel removed the watch
                self._unwatch(watch)


class OptionalLayer(Layer):
    """A directory that counts as empty while it is missing or not trusted. Packages may create and remove it.

    If other users can write to a directory on its way, they can create it after a check that found it missing. So the
    way is checked once more after each listing and read.
    """

    def __init__(self, directory: Path, kind: DirectoryKind, kernel: KernelNotices) -> None:
        super().__init__(directory, kind, kernel)
        self._is_optional, self._is_left_out, self._was_missing = True, False, False

    def read(self, name: str) -> bytes:
        """Read a file as Inbox does. Raises FileNotFoundError while the directory is ignored."""
        if self._is_left_out:
            raise self._no_file(name)
        try:
            text = super().read(name)
        except (FileNotFoundError, NotADirectoryError):
            raise
        except (OSError, FileRefused):
            self._check_read(name)
            raise
        self._check_read(name)
        return text

    def _check_read(self, name: str) -> None:
        """Raise FileNotFoundError, and ignore the directory from now on, if other users can put files there."""
        if self._distrust_way() is not None:
            self._is_left_out = True
            self.relist()
            raise self._no_file(name)

    def _no_file(self, name: str) -> FileNotFoundError:
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), f"{self._directory}/{name}")

    def _distrust_way(self) -> FileRefused | None:
        """Return the reason if other users can change the directory, or create it if it is missing."""
        return distrust(str(self._directory), os.geteuid(), may_miss=True)

    def drop_ins(self, name: str) -> list[str]:
        """Return the names of a file's drop-ins. Raises FileRefused or OSError."""
        return [] if self._is_left_out else super().drop_ins(name)

    def has_drop_ins(self, name: str) -> bool:
        """Return whether a file has a drop-in directory."""
        return not self._is_left_out and super().has_drop_ins(name)

    def signature(self, name: str) -> Signature:
        """Return the signature of a file and its drop-ins, or () while the directory is ignored."""
        return () if self._is_left_out else super().signature(name)

    def is_missing_in(self, name: str) -> bool:
        """Return whether the file is missing or the directory is ignored."""
        return self._is_left_out or super().is_missing_in(name)

    def _listed(self, mono: int, refused: FileRefused | None) -> tuple[set[str], list[Problem]]:
        """List the directory. Ignore it while other users can change it, so that no other directory waits for it."""
        self._is_left_out, self._was_missing = refused is not None, False
        if refused is None:
            found = super()._listed(mono, None)
            refused = None if self._was_missing else self._distrust_way()
            if refused is None:
                return found
            self._is_left_out = True
        self._arm()
        self._listed_well(self._watch, mono)
        self._lost_track = True
        self._take_again(mono + AGAIN)
        return self._missing(), [Problem(str(self._directory), 0, 0, "", f"{refused}; {LEFT_OUT}", code="JQ502")]

    def _missing(self) -> set[str]:
        self._was_missing = True
        return {*self._seen, *self._others([])}


class Layers:
    """Several directories as one inbox; only the first must exist."""

    def __init__(self, directories: Sequence[Path], kind: DirectoryKind) -> None:
        first, *others = directories
        self._kernel = KernelNotices()
        self.parts = (Layer(first, kind, self._kernel), *(OptionalLayer(each, kind, self._kernel) for each in others))
        self._troubles: list[list[Problem]] = [[] for _ in self.parts]
        self._held: set[str] = set()
        """Files that changed while another directory could not be read."""
        self._assembly = Assembly([str(each) for each in directories], self._read, self._drop_ins)
        self._directories = [str(each) for each in directories]
        self._writing: tuple[Layer, str] = (self.parts[0], "")

    @property
    def at(self) -> str:
        """The path that was read last."""
        return self._assembly.at

    @property
    def has_news(self) -> bool:
        """True if there are changes to `take`."""
        return any(map(_has_news, self.parts))

    @property
    def was_listed(self) -> bool:
        """True if all directories have been listed since the start."""
        return all(part.was_listed for part in self.parts)

    @property
    def is_unreadable(self) -> bool:
        """True if the last listing of a directory failed."""
        return any(part.is_unreadable for part in self.parts)

    @property
    def deadline(self) -> int | None:
        """The time (CLOCK_MONOTONIC, ns) to call `take` next, or None if no call is due before an event."""
        return soonest(map(_deadline, self.parts))

    def fileno(self) -> int | None:
        """Return the inotify descriptor, or None if inotify is not in use."""
        return self._kernel.inotify

    @property
    def mounts(self) -> int | None:
        """A descriptor on which poll(2) sets POLLPRI after a mount or unmount, or None if /proc is missing."""
        return self._kernel.mounts

    def close(self) -> None:
        """Stop watching."""
        self._kernel.close()

    def drain(self) -> None:
        """Process the pending inotify events."""
        for event in self._kernel.events():
            for part in self.parts:
                part.hear(event)

    def remounted(self) -> None:
        """Re-list the directories that a changed mount affects."""
        table = mount_table()
        for part in self.parts:
            part.remounted(table)

    def touch(self, name: str) -> None:
        """Treat a file as changed."""
        self.parts[0].touch(name)

    def relist(self) -> None:
        """Re-list all directories."""
        for part in self.parts:
            part.relist()

    def forget_all(self) -> None:
        """Treat all files as changed."""
        for part in self.parts:
            part.forget_all()

    def rescan(self, mono: int) -> None:
        """Re-list each directory that has not been listed for a minute."""
        for part in self.parts:
            part.rescan(mono)

    def take(self, mono: int) -> News:
        """Return the changes since the last call. While a directory can't be read, save them for a later call."""
        taken = [part.take(mono) for part in self.parts]
        for number, news in enumerate(taken):
            if news.trouble is not None:
                self._troubles[number] = news.trouble
        is_told = any(news.trouble is not None for news in taken)
        trouble = [problem for found in self._troubles for problem in found] if is_told else None
        unread = set[str]().union(*(news.unread for news in taken))
        self._held.update(*(news.names for news in taken))
        if self.is_unreadable:
            return News(set(), unread, trouble)
        names, self._held = self._held, set()
        return News(names, unread, trouble)

    # one file

    def read(self, name: str) -> bytes:
        """Read a file and its drop-ins, joined into one text.

        Raises FileNotFoundError, InWriting, FileRefused and OSError, about the path `at`.
        """
        return self._assembly.text(name)

    def _read(self, number: int, path: str) -> bytes:
        part = self.parts[number]
        try:
            return part.read(path)
        except InWriting:
            self._writing = part, path
            raise

    def _drop_ins(self, number: int, name: str) -> list[str]:
        return self.parts[number].drop_ins(name)

    def put_back(self, name: str) -> bool:
        """Defer a file because the part that was read last is being written.

        Return whether inotify will report its close.
        """
        part, path = self._writing
        self.expect(name)
        return part.put_back(path)

    def signature(self, name: str) -> Signature:
        """Return the signatures of a file in all directories."""
        return tuple(part.signature(name) for part in self.parts)

    def has_read(self, name: str, signature: Signature) -> None:
        """Save the signatures that a file had before it was read."""
        for part, of_part in zip(self.parts, signature, strict=True):
            if of_part and isinstance(of_part, tuple):
                part.has_read(name, of_part)
            else:
                part.forget(name)

    def expect(self, name: str) -> None:
        """Record that a file exists although it was not read."""
        self.parts[0].expect(name)

    def look_again(self, name: str, mono: int) -> None:
        """Retry a file that can't be read now."""
        self.parts[0].look_again(name, mono)

    def forget(self, name: str) -> bool:
        """Forget a file that no directory contains, and return whether it existed."""
        known = [part.forget(name) for part in self.parts]
        return any(known)

    def is_gone(self, name: str) -> bool:
        """Return whether no directory has the file; False also if a file system fails."""
        first, *others = self.parts
        return first.is_gone(name) and all(part.is_missing_in(name) for part in others)

    def place(self, name: str) -> str:
        """Return a file's path in the first directory that has the file, or in the first directory if none has it."""
        paths = [f"{directory}/{name}" for directory in self._directories]
        return next(filter(os.path.lexists, paths), paths[0])

    def orphans(self, name: str) -> list[str]:
        """Return a file's drop-in directories."""
        return [
            f"{directory}/{drop_in_directory(name)}"
            for part, directory in zip(self.parts, self._directories, strict=True)
            if part.has_drop_ins(name)
        ]
