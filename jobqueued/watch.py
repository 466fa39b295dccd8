"""The job directory: which files changed (inotify), which of them may be read at all, what they hold, what is gone.

A file is read when its writer has closed it, never while it is being written: half a command is a command too.  The
only exceptions are the first scan and one after lost events, when nobody knows of writers.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from jobqueued import kernel
from jobqueued.catalog import Catalog
from jobqueued.events import FileGone, JobsRead
from jobqueued.model import SECOND, Job, Problem
from jobqueued.yamltext import MAX_BYTES

PATIENCE = 5 * SECOND
"""How long a file may be missing before its jobs are removed: editors and package managers delete and re-create."""

Content = tuple[tuple[Job, ...], list[Problem]]
Read = Callable[[bytes, str], Content]

_SELF = kernel.IN_DELETE_SELF | kernel.IN_MOVE_SELF
_UNWATCHED = _SELF | kernel.IN_IGNORED | kernel.IN_UNMOUNT
_ENTRIES = kernel.IN_CREATE | kernel.IN_MOVED_TO | kernel.IN_ATTRIB
_IN_DIRECTORY = _ENTRIES | kernel.IN_CLOSE_WRITE | kernel.IN_MOVED_FROM | kernel.IN_DELETE | kernel.IN_MODIFY
_KINDS = {stat.S_IFDIR: "directory", stat.S_IFIFO: "FIFO", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}
_UNOPENED = {errno.ELOOP: "symbolic link", errno.ENXIO: "socket"}


class Refused(Exception):
    """A file that is not to be read, and why."""


def is_job_file(name: str) -> bool:
    """Whether the directory's entry of this name is read.

    ``*.yaml`` and ``*.yml`` leave out what editors and package managers leave behind (``~``, ``.swp``, ``.dpkg-old``);
    dotfiles, and names that no terminal or journal could show, are left out too.
    """
    return name.endswith((".yaml", ".yml")) and not name.startswith(".") and name.isprintable()


def read_trusted(path: str) -> bytes:
    """A file's bytes, at most one more than it may have; Refused as `check_trusted` says, OSError as open(2)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _UNOPENED:
            raise Refused(f"found a {_UNOPENED[error.errno]}; accepted: a regular file") from None
        raise
    try:
        check_trusted(os.fstat(descriptor), os.geteuid())
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)


def check_trusted(found: os.stat_result, daemon: int) -> None:
    """Refused unless it is a regular file of one name that only root, or the daemon's user, can write."""
    if not stat.S_ISREG(found.st_mode):
        raise Refused(f"found a {_KINDS.get(stat.S_IFMT(found.st_mode), 'special file')}; accepted: a regular file")
    if found.st_nlink > 1:
        raise Refused(f"found {found.st_nlink} hard links to this file; accepted: one name for a file")
    if found.st_uid not in (0, daemon):
        raise Refused(f"found a file of user {found.st_uid}; accepted: one of root or of the daemon's user")
    if found.st_mode & stat.S_IWOTH:
        raise Refused("found a file that everybody may write; accepted: write permission for its owner")
    if found.st_mode & stat.S_IWGRP and not _is_private(found.st_gid, found.st_uid):
        raise Refused(f"found a file that group {found.st_gid} may write; accepted: write permission for its owner")


def _is_private(group: int, user: int) -> bool:
    """Whether a group is the user's private one: primary, of the same name, and nobody else's."""
    try:
        owner, members = pwd.getpwuid(user), grp.getgrgid(group)
    except KeyError:
        return False
    return owner.pw_gid == group and owner.pw_name == members.gr_name and set(members.gr_mem) <= {owner.pw_name}


class Watch:
    """The files of one directory.  `drain` when `fileno` is readable, `scan` then and at `deadline`."""

    def __init__(self, directory: Path, read: Read) -> None:
        """Start to watch; `read` turns a file's bytes and path into its jobs.  The directory need not exist."""
        self.changes: dict[str, list[Problem]] = {}
        """What the last scan found that was not so before, by path: the Problems of a file, or none: it is mended."""
        self._directory = directory.absolute()
        self._read = read
        self._inotify = kernel.inotify()
        self._catalog = Catalog()
        self._seen: dict[str, tuple[int, ...]] = {}
        self._said: dict[str, list[Problem]] = {}
        self._held: dict[str, Content] = {}
        self._vanished: dict[str, int] = {}
        self._touched: set[str] = set()
        self._in_writing: set[str] = set()
        self._watch = self._parent = 0
        self._lost_track = True
        self._arm()

    def fileno(self) -> int:
        """The inotify descriptor; the same for the whole life of the Watch."""
        return self._inotify

    def close(self) -> None:
        """Stop watching."""
        os.close(self._inotify)

    @property
    def problems(self) -> dict[str, list[Problem]]:
        """What is wrong with the files refused now, by path (the directory's own: it cannot be read)."""
        return {path: found for path, found in self._said.items() if _refusing(found)}

    @property
    def deadline(self) -> int | None:
        """When (CLOCK_MONOTONIC) the next vanished file counts as gone."""
        return min(self._vanished.values(), default=None)

    def drain(self) -> None:
        """Take in what inotify tells by now; only `scan` acts on it."""
        for event in kernel.inotify_events(self._inotify):
            if event.mask & kernel.IN_Q_OVERFLOW:
                self.relist()
            elif event.watch == self._watch:
                self._note(event.name, event.mask)
            elif event.watch == self._parent and (event.mask & _UNWATCHED or event.name in self._directory.parts):
                self.relist()

    def relist(self) -> None:
        """Let the next scan list the directory: for a reload by hand, as inotify is blind to mounts and networks."""
        self._lost_track = True
        self._in_writing.clear()

    def scan(self, mono: int) -> list[JobsRead | FileGone]:
        """Read what changed and say what follows: the jobs of accepted files, and files that are gone for good.

        A refused file keeps its last good jobs, so it has no event; it is in `problems`, and in `changes` once.
        """
        self.changes = {}
        names = self._changed_names() if self._lost_track else self._touched - self._in_writing
        self._touched = set()
        good = dict(self._held)
        for name in sorted(names):
            self._look(str(self._directory / name), mono, good)
        return [*self._accept(good), *self._expire(mono)]

    def _note(self, name: str, mask: int) -> None:
        if not name:
            self.relist()
        elif not is_job_file(name):
            return
        elif mask & kernel.IN_MODIFY:
            self._in_writing.add(name)
        else:
            self._touched.add(name)
            if not mask & kernel.IN_ATTRIB:
                self._in_writing.discard(name)

    def _arm(self) -> None:
        """Watch the directory and, to see it come back, its nearest parent that exists."""
        nearest = None
        while nearest != (nearest := next(path for path in self._directory.parents if os.path.isdir(path))):
            self._parent = self._add(nearest, _ENTRIES | _SELF)
        self._watch = self._add(self._directory, _IN_DIRECTORY | _SELF | kernel.IN_ONLYDIR)

    def _add(self, path: Path, mask: int) -> int:
        try:
            return kernel.watch(self._inotify, str(path), mask)
        except OSError:
            return 0

    def _changed_names(self) -> set[str]:
        """Those that came, went or changed while nobody watched."""
        self._arm()
        directory = str(self._directory)
        known = {os.path.basename(path) for path in self._seen}
        try:
            listed = {name for name in os.listdir(directory) if is_job_file(name)}
        except OSError as error:
            self._say(directory, [Problem(directory, 0, 0, "", f"cannot be read: {error.strerror}")])
            return known if isinstance(error, FileNotFoundError | NotADirectoryError) else set()
        self._lost_track = not self._watch
        advice = "cannot be watched: raise fs.inotify.max_user_watches; until then a reload reads it"
        self._say(directory, [Problem(directory, 0, 0, "", advice)] if self._lost_track else [])
        return {name for name in listed | known if self._seen.get(path := f"{directory}/{name}") != _signature(path)}

    def _look(self, path: str, mono: int, good: dict[str, Content]) -> None:
        """Read one file: into `good`, or say what is wrong with it."""
        good.pop(path, None)
        signature = _signature(path)
        try:
            content = self._read(read_trusted(path), path)
        except (FileNotFoundError, NotADirectoryError):
            if self._seen.pop(path, None) is not None:
                self._vanished[path] = mono + PATIENCE
            return
        except OSError as error:
            content = (), [Problem(path, 0, 0, "", f"cannot be read: {error.strerror}")]
        except Refused as refused:
            content = (), [Problem(path, 0, 0, "", str(refused))]
        self._seen[path] = signature
        self._vanished.pop(path, None)
        if _refusing(content[1]):
            self._say(path, content[1])
        else:
            good[path] = content

    def _accept(self, good: dict[str, Content]) -> Iterable[JobsRead]:
        """The good files whose ids are no other file's; the others are held until they are free."""
        jobs = {path: content[0] for path, content in good.items()}
        refused = self._catalog.conflicts_among(jobs, self._vanished)
        self._held = {path: good[path] for path in refused}
        for path, (_, warnings) in good.items():
            self._say(path, refused.get(path, warnings))
        accepted = sorted(jobs.keys() - refused.keys())
        for path in sorted(accepted, key=lambda path: not self._takes_over(path, jobs[path])):
            self._catalog.replace_file(path, jobs[path])
            yield JobsRead(path, jobs[path])

    def _takes_over(self, path: str, jobs: tuple[Job, ...]) -> bool:
        """Whether jobs move here from another file: told first, so that they are not removed in between."""
        return any(job.id in self._catalog and self._catalog[job.id].file != path for job in jobs)

    def _expire(self, mono: int) -> Iterable[FileGone]:
        for path in sorted(path for path, due in self._vanished.items() if due <= mono):
            del self._vanished[path]
            self._say(path, [])
            self._catalog.replace_file(path, ())
            yield FileGone(path)

    def _say(self, path: str, problems: list[Problem]) -> None:
        """Keep the Problems of a file; they are in `changes` if they are news."""
        if problems != self._said.pop(path, []):
            self.changes[path] = problems
        if problems:
            self._said[path] = problems


def _signature(path: str) -> tuple[int, ...]:
    """What is another number whenever a file was changed or replaced; () while there is none."""
    try:
        found = os.lstat(path)
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _refusing(problems: list[Problem]) -> bool:
    return any(problem.severity == "error" for problem in problems)
