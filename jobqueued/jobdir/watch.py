"""The job directory: which files changed (inotify), what they hold, what is gone.

A file is read when its writer has closed it, never while it is being written: half a command is a command too.  Many
files are read in slices, so that no turn of the loop takes long, but accepted together, so that ids may change hands.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from jobqueued.catalog import Catalog
from jobqueued.events import FileGone, JobsRead
from jobqueued.host import linux
from jobqueued.jobdir.trust import UNREAD, InWriting, Refused, is_job_file, is_meant, read_trusted
from jobqueued.model import SECOND, Job, Problem

PATIENCE = 5 * SECOND
"""How long a file may be missing before its jobs are removed: editors and package managers delete and re-create."""

RESCAN = 60 * SECOND
"""How long it is at least between two listings for which no event asked."""

SLICE_BYTES, SLICE_JOBS = 16 << 10, 100
"""How much is read, and how many jobs are told, in one call of `scan`: some 10 ms each."""

_FILE_COST = 1 << 10
MOUNTS = "/proc/self/mountinfo"

Content = tuple[tuple[Job, ...], list[Problem]]
Read = Callable[[bytes, str], Content]

_OCTAL = re.compile(rb"\\([0-7]{3})")
_SELF = linux.IN_DELETE_SELF | linux.IN_MOVE_SELF
_UNWATCHED = _SELF | linux.IN_IGNORED | linux.IN_UNMOUNT
_ENTRIES = linux.IN_CREATE | linux.IN_MOVED_TO | linux.IN_ATTRIB
_IN_DIRECTORY = _ENTRIES | linux.IN_CLOSE_WRITE | linux.IN_MOVED_FROM | linux.IN_DELETE | linux.IN_MODIFY


class File(NamedTuple):
    """A good file: its text, its jobs, and what is odd about it."""

    text: bytes
    jobs: tuple[Job, ...]
    warnings: list[Problem]


class Watch:
    """The files of one directory.  `drain` when `fileno` is readable, `scan` then, at `deadline`, and at `has_more`."""

    def __init__(self, directory: Path, read: Read, kept: Mapping[str, bytes] | None = None) -> None:
        """Start to watch; `read` turns a file's bytes and path into its jobs.  The directory need not exist.

        `kept` are the texts accepted last, by name: what is there but can't be accepted now keeps those jobs.
        """
        self.changes: dict[str, list[Problem]] = {}
        """What the last scan found that was not so before, by path: the Problems of a file, or none: it is mended."""
        self.accepted: dict[str, bytes | None] = {}
        """The texts that the last scan accepted, by name; None: the file is gone."""
        self.mounts = _opened(MOUNTS)
        """A descriptor on which poll(2) tells POLLPRI when something was mounted or unmounted; None: no /proc."""
        self._directory = directory.absolute()
        self._read = read
        self._kept = {str(self._directory / name): text for name, text in (kept or {}).items()}
        self._recalled: dict[str, File] = {}
        self._inotify = linux.inotify()
        self._catalog = Catalog()
        self._seen: dict[str, tuple[int, ...]] = {}
        self._said: dict[str, list[Problem]] = {}
        self._held: dict[str, File] = {}
        self._vanished: dict[str, int] = {}
        self._touched: set[str] = set()
        self._in_writing: set[str] = set()
        self._closed: set[str] = set()
        self._unread: set[str] = set()
        self._batch: dict[str, File] = {}
        self._todo: list[str] = []
        self._ready: deque[tuple[str, File]] = deque()
        self._listed, self._watched, self._news = False, True, True
        self._listed_at = 0
        self._watch = self._parent = 0
        self._lost_track = True
        self._mounted = self._mounts_here()
        self._arm()

    def fileno(self) -> int:
        """The inotify descriptor; the same for the whole life of the Watch."""
        return self._inotify

    def close(self) -> None:
        """Stop watching."""
        os.close(self._inotify)
        if self.mounts is not None:
            os.close(self.mounts)

    @property
    def problems(self) -> dict[str, list[Problem]]:
        """What is wrong with the files refused now, by path (the directory's own: it cannot be read)."""
        return {path: found for path, found in self._said.items() if _refusing(found)}

    def last_good(self, path: str) -> tuple[Job, ...]:
        """The jobs that a file gave last, which go on while it is refused."""
        return self._catalog.of_file(path)

    @property
    def complete(self) -> bool:
        """Whether it is known which jobs there are: each file that is refused has its last good ones."""
        return all(map(self.last_good, self.problems))

    @property
    def deadline(self) -> int | None:
        """When (CLOCK_MONOTONIC) the next vanished file counts as gone."""
        return min(self._vanished.values(), default=None)

    @property
    def has_more(self) -> bool:
        """Whether there is something for another scan, at once."""
        return self._news or self._is_busy

    @property
    def _is_busy(self) -> bool:
        return bool(self._todo or self._ready)

    def drain(self) -> None:
        """Take in what inotify tells by now; only `scan` acts on it."""
        for event in linux.inotify_events(self._inotify):
            if event.mask & linux.IN_Q_OVERFLOW:
                self.relist()
            elif event.watch == self._watch:
                self._note(event.name, event.mask)
            elif event.watch == self._parent and (event.mask & _UNWATCHED or event.name in self._directory.parts):
                self.relist()

    def remounted(self) -> None:
        """`mounts` told of a change: list anew if it touches the directory, a file in it, or what it is in."""
        before, self._mounted = self._mounted, self._mounts_here()
        if before != self._mounted:
            self.relist()

    def relist(self) -> None:
        """Let the next scan list the directory: for a reload by hand, as inotify is blind to networks."""
        self._lost_track = self._news = True
        self._in_writing.clear()

    def rescan(self, mono: int) -> None:
        """List anew if the last time is a minute ago: for what no event tells, as on a network's file system."""
        if mono >= self._listed_at + RESCAN:
            self.relist()

    def scan(self, mono: int) -> list[JobsRead | FileGone]:
        """Read a slice of what changed and say what follows: the jobs of accepted files, and files gone for good.

        A refused file keeps its last good jobs, so it has no event; it is in `problems`, and in `changes` once.
        """
        self.changes, self.accepted = {}, {}
        if not self._is_busy:
            self._begin(mono)
        size = 0
        while self._todo and size < SLICE_BYTES:
            size += self._look(self._todo.pop(), mono) + _FILE_COST
        if not self._todo and not self._ready:
            self._agree()
        return [*self._told(), *([] if self._is_busy else self._expire(mono))]

    # what changed

    def _begin(self, mono: int) -> None:
        """A new batch: what changed since the last."""
        if self._lost_track:
            self._listed_at = mono
        self._watched, self._news = not self._lost_track, False
        names = self._changed_names() if self._lost_track else self._touched - self._in_writing
        for name in self._unread:
            path = f"{self._directory}/{ascii(name)[1:-1]}"
            self._say(path, [Problem(path, 0, 0, "", UNREAD, "warning")])
        self._touched, self._unread = set(), set()
        self._batch = dict(self._held)
        self._todo = sorted(names, reverse=True)
        if self._kept and self._listed:
            self._recall()

    def _recall(self) -> None:
        """Begin where an earlier daemon left off; what is gone since then is gone."""
        kept, self._kept = self._kept, {}
        found = {path: self._parsed(text, path) for path, text in kept.items() if os.path.lexists(path)}
        self.accepted = dict.fromkeys(os.path.basename(path) for path in kept.keys() - found.keys())
        good = {path: file for path, file in found.items() if isinstance(file, File)}
        refused = self._catalog.conflicts_among({path: file.jobs for path, file in good.items()})
        self._recalled = {path: file for path, file in good.items() if path not in refused}
        for path, file in self._recalled.items():
            self._catalog.replace_file(path, file.jobs)

    def _note(self, name: str, mask: int) -> None:
        if not name:
            self.relist()
        elif not is_job_file(name):
            if is_meant(name) and mask & (linux.IN_CLOSE_WRITE | linux.IN_MOVED_TO):
                self._unread.add(name)
                self._news = True
        elif mask & linux.IN_MODIFY:
            self._in_writing.add(name)
            self._closed.discard(name)
        else:
            if mask & linux.IN_CLOSE_WRITE:
                self._closed.add(name)
            self._touched.add(name)
            self._news = True
            if not mask & linux.IN_ATTRIB:
                self._in_writing.discard(name)

    def _arm(self) -> None:
        """Watch the directory and, to see it come back, its nearest parent that exists."""
        before = {self._watch, self._parent}
        nearest = None
        while nearest != (nearest := next(path for path in self._directory.parents if os.path.isdir(path))):
            self._parent = self._add(nearest, _ENTRIES | _SELF)
        self._watch = self._add(self._directory, _IN_DIRECTORY | _SELF | linux.IN_ONLYDIR)
        for number in before - {0, self._watch, self._parent}:
            with contextlib.suppress(OSError):  # gone with what it watched
                linux.unwatch(self._inotify, number)

    def _add(self, path: Path, mask: int) -> int:
        try:
            return linux.watch(self._inotify, str(path), mask)
        except OSError:
            return 0

    def _mounts_here(self) -> list[bytes]:
        """What is mounted on the directory, in it, or on what it is in; no two mounts have the same line."""
        try:
            with open(MOUNTS, "rb") as file:
                lines = file.readlines()
        except OSError:
            return []
        directory = os.fsencode(os.path.realpath(self._directory))
        points = ((line, _OCTAL.sub(lambda code: bytes([int(code[1], 8)]), line.split(b" ")[4])) for line in lines)
        return [line for line, point in points if _inside(point, directory) or _inside(directory, point)]

    def _changed_names(self) -> set[str]:
        """Those that came, went or changed while nobody watched."""
        self._arm()
        directory = str(self._directory)
        known = {os.path.basename(path) for path in self._seen}
        try:
            names = os.listdir(directory)
        except OSError as error:
            self._say(directory, [Problem(directory, 0, 0, "", f"cannot be read: {error.strerror}")])
            return known if isinstance(error, FileNotFoundError | NotADirectoryError) else set()
        listed = set(filter(is_job_file, names))
        self._unread |= set(filter(is_meant, names))
        self._listed, self._lost_track = True, not self._watch
        advice = "cannot be watched: raise fs.inotify.max_user_watches; until then a reload reads it"
        self._say(directory, [Problem(directory, 0, 0, "", advice)] if self._lost_track else [])
        return {name for name in listed | known if self._seen.get(path := f"{directory}/{name}") != _signature(path)}

    # what it holds

    def _look(self, name: str, mono: int) -> int:
        """Read one file into the batch, or say what is wrong with it; how many bytes that were."""
        path = str(self._directory / name)
        self._batch.pop(path, None)
        signature = _signature(path)
        text = b""
        try:
            text = self._complete(name, path)
            found = self._parsed(text, path) if text or not self.last_good(path) else [_emptied(path)]
        except (FileNotFoundError, NotADirectoryError):
            if self._seen.pop(path, None) is not None or path in self._recalled:
                self._vanished[path] = mono + PATIENCE
            return 0
        except InWriting:
            self._in_writing.add(name)
            self._seen.setdefault(path, ())
            if not self._watched:
                problem = Problem(path, 0, 0, "", "is being written: read once its writer closes it", "warning")
                self._say(path, [problem])
            return 0
        except OSError as error:
            found = [Problem(path, 0, 0, "", f"cannot be read: {error.strerror}")]
        except Refused as refused:
            found = [Problem(path, 0, 0, "", str(refused))]
        self._seen[path] = signature
        self._vanished.pop(path, None)
        if isinstance(found, File):
            self._batch[path] = found
        else:
            self._say(path, found)
        return len(text)

    def _complete(self, name: str, path: str) -> bytes:
        """The text of a file that nobody is writing: its close was told, or the kernel knows of no writer.

        The kernel tells of a close a moment before it forgets the writer, so what was told is not asked again.
        """
        if name in self._in_writing and self._watched:
            raise InWriting
        closed = name in self._closed
        self._closed.discard(name)
        return read_trusted(path, os.geteuid(), closed=closed)

    def _parsed(self, text: bytes, path: str) -> File | list[Problem]:
        if path in self._recalled and self._recalled[path].text == text:
            return self._recalled[path]
        jobs, problems = self._read(text, path)
        return problems if _refusing(problems) else File(text, jobs, problems)

    def _agree(self) -> None:
        """The good files whose ids are no other file's are accepted; the others are held until they are free.

        Jobs that move between files are never removed in between: files that get some are told first, and a file that
        also gives some away is told twice, at first still with these.
        """
        jobs = {path: file.jobs for path, file in self._batch.items()}
        refused = self._catalog.conflicts_among(jobs, self._vanished)
        self._held = {path: self._batch[path] for path in refused}
        for path, file in self._batch.items():
            self._say(path, refused.get(path, file.warnings))
        accepted = sorted(jobs.keys() - refused.keys())
        accepted.sort(key=lambda path: not self._takes_over(path, jobs[path]))
        owner = {job.id: path for path in accepted for job in jobs[path]}
        for path in filter(lambda path: self._takes_over(path, jobs[path]), accepted):
            if moving := tuple(job for job in self.last_good(path) if owner.get(job.id, path) != path):
                self._ready.append((path, self._batch[path]._replace(jobs=(*moving, *jobs[path]))))
        stale = sorted(self._recalled.keys() - set(accepted))
        self._ready.extend([(path, self._batch[path]) for path in accepted])
        self._ready.extend([(path, self._recalled[path]) for path in stale])

    def _told(self) -> Iterable[JobsRead]:
        count = 0
        while self._ready and count < SLICE_JOBS:
            path, file = self._ready.popleft()
            self._catalog.replace_file(path, file.jobs)
            if self._recalled.pop(path, None) is not file:
                self.accepted[os.path.basename(path)] = file.text
            count += len(file.jobs) + 1
            yield JobsRead(path, file.jobs)

    def _takes_over(self, path: str, jobs: tuple[Job, ...]) -> bool:
        """Whether jobs move here from another file: told first, so that they are not removed in between."""
        return any(job.id in self._catalog and self._catalog[job.id].file != path for job in jobs)

    def _expire(self, mono: int) -> Iterable[FileGone]:
        for path in sorted(path for path, due in self._vanished.items() if due <= mono):
            if os.path.lexists(path):  # it is there again, and being written
                self._vanished[path] = mono + PATIENCE
                continue
            del self._vanished[path]
            self._say(path, [])
            self._catalog.replace_file(path, ())
            self.accepted[os.path.basename(path)] = None
            yield FileGone(path)

    def _say(self, path: str, problems: list[Problem]) -> None:
        """Keep the Problems of a file; they are in `changes` if they are news."""
        if problems != self._said.pop(path, []):
            self.changes[path] = problems
        if problems:
            self._said[path] = problems


def _emptied(path: str) -> Problem:
    """What a full disk leaves is not taken for somebody's wish that all jobs go."""
    return Problem(
        path, 0, 0, "", "found an empty file that had jobs; accepted: `jobs: {}` where all of them are to go"
    )


def _signature(path: str) -> tuple[int, ...]:
    """What is another number whenever a file was changed or replaced; () while there is none."""
    try:
        found = os.lstat(path)
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _refusing(problems: list[Problem]) -> bool:
    return any(problem.severity == "error" for problem in problems)


def _inside(path: bytes, directory: bytes) -> bool:
    return path == directory or path.startswith(directory.rstrip(b"/") + b"/")


def _opened(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
