"""Acceptance of job files: a parsed file's jobs replace its last good jobs if no other file has their ids.

Files that change together are checked together, so that an id can move between them.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping

from jobqueued.base.instants import SECOND
from jobqueued.base.problem import Problem
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.jobdir.kinds import DirectoryKind
from jobqueued.jobdir.trust import IS_MASKED, MASKED
from jobqueued.jobfile.tree.drop_ins import main_path, parts_of
from jobqueued.jobfile.tree.yamltext import Steps, at_once
from jobqueued.model.catalog import Catalog
from jobqueued.model.events import FileGone, JobsRead
from jobqueued.model.job import Job

LONGEST_WAIT = 5 * SECOND
"""How long (ns) a file may be missing before its jobs are removed: editors and package managers re-create files."""

SLICE_JOBS, _AGREED_AS_ONE_REPORTED = 60, 10
"""Maximum number of jobs that one call of `events` reports (about 10 ms). Checking 10 jobs counts as reporting one."""

Content = tuple[tuple[Job, ...], list[Problem]]
Read = Callable[[bytes, str], Steps[Content]]


class File(NamedTuple):
    """A good file: its text, its jobs, and the problems that do not prevent its acceptance."""

    text: bytes
    jobs: tuple[Job, ...]
    problems: list[Problem]


class Acceptance:
    """The last good jobs and the problems of each file.

    Call `begin` to start a batch, `offer` for each file, and `agree` at the end. `events` then yields the resulting
    events, slice by slice.
    """

    def __init__(
        self, read: Read, kept: Mapping[str, bytes], kind: DirectoryKind, is_gone: Callable[[str], bool]
    ) -> None:
        """`read` parses a file's bytes and path into its jobs, in steps; `kept` has the last accepted texts, by path.

        `is_gone` returns whether a path's file is missing; False if unknown.
        """
        self._kind, self._is_gone = kind, is_gone
        self.changes: dict[str, list[Problem]] = {}
        self.accepted: dict[str, bytes | None] = {}
        self._read, self._kept = read, dict(kept)
        self._catalog = Catalog()
        self._said: dict[str, list[Problem]] = {}
        self._flawed: set[str] = set()
        """Files that are accepted except for some of their lines."""
        self._batch: dict[str, File] = {}
        self._held: dict[str, File] = {}
        """Good files with an id that another file has; each new batch includes them."""
        self._recalled: dict[str, File] = {}
        """Good files that an earlier daemon accepted, and this daemon has not accepted yet."""
        self._away: dict[str, bytes] = {}
        """Path → last accepted text, for each file that was missing at the start."""
        self._vanished: dict[str, int] = {}
        """Missing file → the time (CLOCK_MONOTONIC, ns) at which it counts as deleted."""
        self._ready: deque[tuple[str, File]] = deque()
        self._leaving: deque[str] = deque()
        self._agreed = 0
        """Number of jobs that `agree` checked and `events` has not counted yet."""

    @property
    def problems(self) -> dict[str, list[Problem]]:
        """Problems of the refused files, by path."""
        return {path: found for path, found in self._said.items() if path not in self._flawed and _has_error(found)}

    @property
    def flaws(self) -> dict[str, list[Problem]]:
        """Problems in files that are accepted except for some of their lines, by path."""
        return {path: self._said[path] for path in sorted(self._flawed)}

    def last_good(self, path: str) -> tuple[Job, ...]:
        """Return a file's last good jobs, which remain in force while the file is refused."""
        return self._catalog.of_file(path)

    @property
    def awaits(self) -> bool:
        """True while a file that was missing at the start may return with its jobs."""
        return any(path in self._vanished for path in self._away)

    @property
    def deadline(self) -> int | None:
        """The time (CLOCK_MONOTONIC, ns) at which the next missing file counts as deleted, or None."""
        return min(self._vanished.values(), default=None)

    @property
    def has_more(self) -> bool:
        """True while there are more events to yield."""
        return bool(self._ready or self._leaving)

    def say(self, path: str, problems: list[Problem], *, counts: bool = False) -> None:
        """Save a file's problems, and add them to `changes` if they differ from the last saved ones.

        `counts`: the file is accepted in spite of its errors.
        """
        if counts and _has_error(problems):
            self._flawed.add(path)
        else:
            self._flawed.discard(path)
        if problems != self._said.pop(path, []):
            self.changes[path] = problems
        if problems:
            self._said[path] = problems

    # one batch

    def begin(self) -> None:
        """Begin a batch with the files that the last batch held back."""
        self._batch = dict(self._held)

    def recall(self, mono: int) -> list[str]:
        """Restore an earlier daemon's last good jobs, which apply until their files are read. Return these files.

        A missing file has no jobs until it returns, which may happen within LONGEST_WAIT.
        """
        kept, self._kept = self._kept, {}
        self._away = {path: text for path, text in kept.items() if self._is_gone(path)}
        self._vanished |= dict.fromkeys(self._away, mono + LONGEST_WAIT)
        found = {path: at_once(self._parsed(path, text)) for path, text in kept.items() if path not in self._away}
        good = {path: file for path, file in found.items() if isinstance(file, File)}
        refused = self._catalog.conflicts_among({path: file.jobs for path, file in good.items()})
        self._recalled = {path: file for path, file in good.items() if path not in refused}
        for path, file in self._recalled.items():
            self._catalog.replace_file(path, file.jobs)
        return list(self._recalled)

    def withdraw(self, path: str) -> None:
        """Remove a file from the batch, because it changed again."""
        self._batch.pop(path, None)

    def offer(self, path: str, text: bytes) -> Steps[None]:
        """Parse a file's text, and add the file to the batch if it is good."""
        self._vanished.pop(path, None)
        main = parts_of(text, path)[0]
        is_emptied = not (main.text or self._kind.lenient) and self.last_good(path)
        found = [_emptied(main.path)] if is_emptied else (yield from self._parsed(path, text))
        if isinstance(found, File):
            self._away.pop(path, None)
            self._batch[path] = found
        else:
            self._recall_one(path)
            self.say(path, found)

    def refuse(self, path: str, reason: str, at: str, code: str) -> None:
        """Keep the last good jobs of a file that can't be read; `at` is the file or its unreadable drop-in."""
        self._vanished.pop(path, None)
        self._recall_one(path)
        self.say(path, [Problem(at, 0, 0, "", reason, code=code)])

    def miss(self, path: str, mono: int, *, was_there: bool) -> None:
        """Keep the last good jobs of a missing file for LONGEST_WAIT."""
        if was_there or path in self._recalled:
            self._vanished[path] = mono + LONGEST_WAIT

    def reprieve(self) -> list[str]:
        """Let missing files keep their jobs because their directory is missing too.

        Return the files, to check them later.
        """
        spared = [path for path in self._vanished if path not in self._away]
        for path in spared:
            del self._vanished[path]
        return spared

    def agree(self) -> None:
        """Accept the good files whose ids no other file has, and hold the others until the ids are free.

        A job that moves between files always remains in force, because the file that receives it is reported first. A
        file that both receives and loses jobs is reported twice: the first report still includes the jobs that it
        loses.
        """
        jobs = {path: file.jobs for path, file in self._batch.items()}
        refused = self._catalog.conflicts_among(jobs, self._vanished)
        self._held = {path: self._batch[path] for path in refused}
        for path, file in self._batch.items():
            self.say(path, refused.get(path, file.problems), counts=path not in refused)
        accepted = sorted(jobs.keys() - refused.keys())
        takers = {path for path in accepted if self._takes_over(path, jobs[path])}
        accepted.sort(key=lambda path: path not in takers)
        owner = {job.id: path for path in accepted for job in jobs[path]} if takers else {}
        for path in filter(takers.__contains__, accepted):
            if moving := tuple(job for job in self.last_good(path) if owner.get(job.id, path) != path):
                self._ready.append((path, self._batch[path]._replace(jobs=(*moving, *jobs[path]))))
        stale = sorted(self._recalled.keys() - set(accepted))
        self._agreed = sum(map(len, jobs.values()))
        self._ready.extend([(path, self._batch[path]) for path in accepted])
        self._ready.extend([(path, self._recalled[path]) for path in stale])

    def leave(self) -> None:
        """Treat all files as deleted, even existing ones, and forget their problems."""
        self._leaving.extend(sorted({job.file for job in self._catalog} - {*self._leaving}))
        for forgotten in (self._said, self._flawed, self._batch, self._held, self._away, self._vanished, self._ready):
            forgotten.clear()

    @property
    def is_ready(self) -> bool:
        """True if the batch can be agreed on before all changed files have been read.

        A job id in a cron table includes the table's name, so no table has to wait for another. Therefore a thousand
        tables do not take one long turn.
        """
        return self._kind.lenient and not self._recalled and bool(self._batch)

    # the resulting events

    def events(self) -> Iterator[JobsRead | FileGone]:
        """Yield the events of the agreed batch's next slice."""
        count, self._agreed = self._agreed // _AGREED_AS_ONE_REPORTED, 0
        while self._leaving and count < SLICE_JOBS:
            path = self._leaving.popleft()
            jobs = self.last_good(path)
            if self._recalled.pop(path, None):  # its jobs were not reported yet
                yield JobsRead(path, jobs)
            self.say(path, [])
            self._catalog.replace_file(path, ())
            self.accepted[self._name(path)] = None
            count += len(jobs) + 1
            yield FileGone(path)
        while self._ready and count < SLICE_JOBS:
            path, file = self._ready.popleft()
            self._catalog.replace_file(path, file.jobs)
            if self._recalled.pop(path, None) is not file:
                self.accepted[self._name(path)] = file.text
            count += len(file.jobs) + 1
            place = main_path(file.text, path)
            yield JobsRead(path, file.jobs, "" if place == path else place)

    def expire(self, mono: int, *, at_once: bool) -> None:
        """Report files that were missing for LONGEST_WAIT as deleted; with `at_once`, report all missing files."""
        for path in sorted(path for path, due in self._vanished.items() if at_once or due <= mono):
            if not self._is_gone(path):  # it exists again and is being written, or its state is unknown
                self._vanished[path] = mono + LONGEST_WAIT
                continue
            del self._vanished[path]
            self._away.pop(path, None)
            self._leaving.append(path)

    def _recall_one(self, path: str) -> None:
        """Restore the jobs of a file that was missing at the start.

        These jobs remain in force while the file is refused.
        """
        file = at_once(self._parsed(path, self._away.pop(path))) if path in self._away else None
        if isinstance(file, File) and not self._catalog.conflicts(path, file.jobs):
            self._recalled[path] = file
            self._catalog.replace_file(path, file.jobs)

    def _parsed(self, path: str, text: bytes) -> Steps[File | list[Problem]]:
        if path in self._recalled and self._recalled[path].text == text:
            return self._recalled[path]
        jobs, problems = yield from self._read(text, path)
        if (main := parts_of(text, path)[0]).text == MASKED:
            problems = [Problem(main.path, 0, 0, "", IS_MASKED, "warning", code="JQ504")]
        return problems if self._refuses(problems) else File(text, jobs, problems)

    def _refuses(self, problems: list[Problem]) -> bool:
        """Return whether an error prevents the acceptance of the whole file, not only of a line."""
        return any(problem.severity == "error" and not (problem.line and self._kind.lenient) for problem in problems)

    def _name(self, path: str) -> str:
        """Return a file's name in state.db."""
        return self._kind.prefix + os.path.basename(path)

    def _takes_over(self, path: str, jobs: tuple[Job, ...]) -> bool:
        """Return whether a job moves to this file from another file."""
        return any(job.id in self._catalog and self._catalog[job.id].file != path for job in jobs)


def _emptied(path: str) -> Problem:
    """Return the problem to report for an empty file that had jobs.

    Its jobs remain, because a full disk may have emptied it.
    """
    message = "found an empty file that had jobs; to remove all of them, write `jobs: {}`"
    return Problem(path, 0, 0, "", message, code="JQ112")


def _has_error(problems: list[Problem]) -> bool:
    return any(problem.severity == "error" for problem in problems)
