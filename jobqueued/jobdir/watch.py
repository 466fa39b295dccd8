"""The watched job directory: reads the changed files that its inbox names, in slices, and accepts them together.

No call takes long, even if many files change.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from jobqueued.base.problem import Problem
from jobqueued.child.contract.trust import FileRefused
from jobqueued.jobdir.acceptance import Acceptance, Read
from jobqueued.jobdir.file_changes import FileChanges
from jobqueued.jobdir.inbox import Inbox
from jobqueued.jobdir.kinds import JOB_FILES, DirectoryKind
from jobqueued.jobdir.layers import Layers
from jobqueued.jobdir.trust import InWriting
from jobqueued.jobdir.units import ORPHANS
from jobqueued.jobfile.tree.yamltext import Steps
from jobqueued.model.events import FileGone, JobsRead
from jobqueued.model.job import Job
from jobqueued.model.source import soonest

SLICE = 16
"""Maximum number of files to start, and of reading steps, in one call of `scan` (about 10 ms)."""
MOST_UNREAD = 20
"""Maximum number of warnings about unread files in one batch, because more would not help."""
_OVER = object()


class Watch:
    """The files in one or several directories: for each name, the first directory with such a file counts.

    Call `scan` while `has_more`, and at `deadline`; `inbox` gets the kernel's notices.
    """

    def __init__(
        self,
        directory: Path,
        read: Read,
        kept: Mapping[str, bytes] | None = None,
        kind: DirectoryKind = JOB_FILES,
        below: Sequence[Path] = (),
    ) -> None:
        """Start to watch; `read` parses a file's bytes and path into its jobs, in steps. The directory need not exist.

        `kept` has the last accepted texts, by name; an existing file that can't be accepted now keeps its last accepted
        jobs. `below` lists the other directories. A file's path is always its real or possible path in the first
        directory.
        """
        self.directory = self._directory = directory.absolute()
        self.read, self._kind = read, kind
        directories = [self._directory, *(each.absolute() for each in below)]
        self.inbox: FileChanges = Layers(directories, kind) if kind.drop_ins else Inbox(self._directory, kind)
        own = {str(self._directory / name): text for name, text in _of(kind, kept or {})}
        self._acceptance = Acceptance(read, own, kind, self.is_gone)
        self._todo: list[str] = []
        self._reading: Steps[None] | None = None
        """The file that is being read."""
        self._recalls = bool(own)
        self._is_agreed = True
        """Whether `agree` was called for the last batch."""
        self._is_held = self._leaves = False
        """Whether another cron runs the files' jobs, and whether the files' deletion must still be reported."""
        self._is_asked = self._settles = False
        """Whether a user requested a reload after the current batch began, and whether a user requested one before."""

    @property
    def is_table(self) -> bool:
        """True if the files are cron's tables."""
        return self._kind.lenient

    @property
    def changes(self) -> dict[str, list[Problem]]:
        """Changed problems of the last scan: path → the file's problems, or [] if they were fixed."""
        return self._acceptance.changes

    @property
    def accepted(self) -> dict[str, bytes | None]:
        """The texts that the last scan accepted, by name. None means that the file was deleted."""
        return self._acceptance.accepted

    @property
    def problems(self) -> dict[str, list[Problem]]:
        """Problems of the refused files by path, and under the directory's path the reason if it can't be read."""
        return self._acceptance.problems

    @property
    def flaws(self) -> dict[str, list[Problem]]:
        """Problems of the files that are accepted except for some of their lines, by path."""
        return self._acceptance.flaws

    def last_good(self, path: str) -> tuple[Job, ...]:
        """Return a file's last good jobs, which remain in force while the file is refused."""
        return self._acceptance.last_good(path)

    def is_gone(self, path: str) -> bool:
        """Return whether the file does not exist.

        Also return False if the file system fails or the directory is missing.
        """
        return self.inbox.is_gone(os.path.basename(path))

    def place(self, path: str) -> str:
        """Return a file's path for messages; return other paths unchanged."""
        return self.inbox.place(os.path.basename(path)) if os.path.dirname(path) == str(self._directory) else path

    @property
    def complete(self) -> bool:
        """True if all existing jobs were reported: each file was read, and each refused file has last good jobs."""
        if self._is_held:
            return not self.has_more
        if self._is_busy:
            return False
        refused = self.problems.keys() - {str(self._directory)} if self._kind.vital else ()
        return self.inbox.was_listed and not self._acceptance.awaits and all(map(self.last_good, refused))

    @property
    def deadline(self) -> int | None:
        """The time (CLOCK_MONOTONIC, ns) to scan next, or None if neither a missing file nor a retry will be due."""
        return soonest((self._acceptance.deadline, self.inbox.deadline))

    @property
    def has_more(self) -> bool:
        """True if another scan is needed at once."""
        return self.inbox.has_news or self._is_busy

    @property
    def _is_busy(self) -> bool:
        return bool(self._todo or self._reading or self._acceptance.has_more) or not self._is_agreed

    def read_again(self, path: str) -> None:
        """Re-read a file if it is in this directory, because another file that it depends on changed."""
        if os.path.dirname(path) == str(self._directory):
            self.inbox.touch(os.path.basename(path))

    def settle(self) -> None:
        """Re-list the directory, and treat missing files as deleted at once, because a user requested a reload."""
        self.inbox.relist()
        self._is_asked = True

    def hold(self, *, held: bool) -> None:
        """If `held`, treat all files as deleted, because another cron runs them. Otherwise read them again."""
        self._is_held = self._leaves = held
        self.inbox.forget_all()

    def scan(self, mono: int) -> list[JobsRead | FileGone]:
        """Read a slice of the changed files and return the events: jobs of accepted files, and deleted files.

        A refused file keeps its last good jobs, so it has no event. Its problems are in `problems`, and only once in
        `changes`.
        """
        acceptance = self._acceptance
        acceptance.changes, acceptance.accepted = {}, {}
        if self._is_held:
            self.inbox.take(mono)
            if self._leaves:
                self._leave(mono)
            return [*acceptance.events()]
        if not self._is_busy:
            self._begin(mono)
        if not acceptance.has_more:
            self._read_slice(mono)
            self._agree()
        found = [*acceptance.events()]
        if not self._is_busy:
            acceptance.expire(mono, at_once=self._settles)
            found += acceptance.events()
        return found

    def _agree(self) -> None:
        """Accept the files that were read so far, if the batch is complete or need not wait for the other files."""
        if self._reading is not None:
            return
        if not self._todo:
            self._acceptance.agree()
            self._is_agreed = True
        elif self._acceptance.is_ready:
            self._acceptance.agree()
            self._acceptance.begin()

    def _read_slice(self, mono: int) -> None:
        """Continue to read the batch's files."""
        for _ in range(SLICE):
            if self._reading is None:
                if not self._todo:
                    return
                self._reading = self._look(self._todo.pop(), mono)
            if next(self._reading, _OVER) is _OVER:
                self._reading = None

    def _begin(self, mono: int) -> None:
        """Begin a batch with the changes since the last batch."""
        self._settles, self._is_asked, self._is_agreed = self._is_asked, False, False
        news = self.inbox.take(mono)
        if news.trouble is not None:
            self._acceptance.say(str(self._directory), news.trouble)
        for unread in islice(filter(os.path.isfile, sorted(news.unread)), MOST_UNREAD):
            path = ascii(unread)[1:-1]
            self._acceptance.say(path, [Problem(path, 0, 0, "", self._kind.unread, "warning", code="JQ503")])
        self._todo = sorted(news.names, reverse=True)
        self._acceptance.begin()
        if self._recalls and (self.inbox.was_listed or self.inbox.is_unreadable):
            self._recalls = False
            for path in self._acceptance.recall(mono):
                self.inbox.expect(os.path.basename(path))
        if self.inbox.is_unreadable:
            for path in self._acceptance.reprieve():
                self.inbox.expect(os.path.basename(path))

    def _leave(self, mono: int) -> None:
        """Drop the current batch, and report all files as deleted."""
        self._todo, self._reading, self._leaves, self._is_agreed = [], None, False, True
        if self._recalls:
            self._recalls = False
            self._acceptance.recall(mono)
        self._acceptance.leave()

    def _look(self, name: str, mono: int) -> Steps[None]:
        """Read one file into the batch, or report its problems."""
        path = str(self._directory / name)
        self._acceptance.withdraw(path)
        signature = self.inbox.signature(name)
        try:
            text = self.inbox.read(name)
        except (FileNotFoundError, NotADirectoryError):
            if self.inbox.is_gone(name):
                self._acceptance.miss(path, mono, was_there=self.inbox.forget(name))
                self._say_orphans(name, [ORPHANS.format(name)])
            return
        except InWriting:
            if not self.inbox.put_back(name):
                message = "is still being written; it will be read when its writer closes it"
                self._acceptance.say(path, [Problem(self.inbox.at, 0, 0, "", message, "warning", code="JQ518")])
            return
        except OSError as error:
            self._acceptance.refuse(path, f"cannot be read: {error.strerror}", self.inbox.at, "JQ501")
            self.inbox.look_again(name, mono)
        except FileRefused as refused:
            self._acceptance.refuse(path, str(refused), self.inbox.at, "JQ502")
        else:
            yield from self._acceptance.offer(path, text)
        self._say_orphans(name, [])
        self.inbox.has_read(name, signature)

    def _say_orphans(self, name: str, messages: list[str]) -> None:
        """Report these warnings about a file's drop-in directories."""
        for path in self.inbox.orphans(name):
            found = [Problem(path, 0, 0, "", message, "warning", code="JQ503") for message in messages]
            self._acceptance.say(path, found)


def _of(kind: DirectoryKind, kept: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield the saved texts of a kind's files, each with the file name."""
    for name, text in kept.items():
        prefix, slash, rest = name.rpartition("/")
        if prefix + slash == kind.prefix:
            yield rest, text
