"""The catalog of all jobs by ID: it adds and removes jobs, and replaces the jobs of a file."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator
from collections.abc import Mapping as Map
from dataclasses import fields
from itertools import chain, count
from operator import attrgetter
from typing import TypeVar

from jobqueued.base.instants import Trigger
from jobqueued.base.problem import Problem
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.model.accounts import Account, accounts
from jobqueued.model.cycles import cycles, format_way, way_back
from jobqueued.model.job import Job
from jobqueued.model.users import Owner, share_of

_NO_CYCLE = "no job that waits for itself; remove one from `dependencies` or `on`"
_ROUNDS = 10
"""Maximum number of passes that refuse one file for each cycle. After more passes, every file that closes a part of a
cycle is refused.
"""


class CatalogChange(NamedTuple):
    """The change of a file's jobs: `added` and `edited` have the new definitions, `removed` has the old definitions."""

    added: tuple[Job, ...] = ()
    edited: tuple[Job, ...] = ()
    removed: tuple[Job, ...] = ()


class _Conflict(NamedTuple):
    """The problems that keep a file from being accepted, and the files that already have its IDs."""

    problems: list[Problem]
    holders: set[str]


class Catalog:
    """All jobs by ID. An iteration yields IDs in the order of their addition."""

    def __init__(self, jobs: Iterable[Job] = ()) -> None:
        self._jobs: dict[str, Job] = {}
        self._ids: dict[str, set[str]] = {}
        self._accounts: dict[Account, set[str]] = {}
        self._owned: dict[Owner, set[str]] = {}
        self._dependents: dict[str, set[str]] = {}
        self._listeners: dict[tuple[str, str], set[str]] = {}
        self._followers: dict[str, set[str]] = {}
        self._patterns: dict[str, re.Pattern[str]] = {}
        self._limited: set[str] = set()
        for job in jobs:
            self.add(job)

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs.values())

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._jobs

    def __getitem__(self, job_id: str) -> Job:
        return self._jobs[job_id]

    def get(self, job_id: str) -> Job | None:
        """Return the job with this ID, or None if no such job exists."""
        return self._jobs.get(job_id)

    def of_file(self, file: str) -> tuple[Job, ...]:
        """Return the jobs of a file, sorted by ID."""
        return tuple(self._jobs[job_id] for job_id in sorted(self._ids.get(file, ())))

    def of_account(self, account: Account) -> tuple[Job, ...]:
        """Return the jobs that need an account (a user or a group), sorted by ID."""
        return tuple(self._jobs[job_id] for job_id in sorted(self._accounts.get(account, ())))

    def of_owner(self, owner: Owner | None) -> tuple[Job, ...]:
        """Return a user's jobs, sorted by ID, or () if `owner` is None."""
        return tuple(self._jobs[job_id] for job_id in sorted(self._owned.get(owner, ()))) if owner else ()

    def limited(self) -> list[Job]:
        """Return the jobs with `resource_limits`, sorted by ID."""
        return [self._jobs[job_id] for job_id in sorted(self._limited)]

    @property
    def owned(self) -> int:
        """The number of users' jobs."""
        return sum(map(len, self._owned.values()))

    def dependents(self, job_id: str) -> tuple[str, ...]:
        """Return the IDs of the jobs that depend on a job; that job need not exist."""
        found = self._dependents.get(job_id)
        return tuple(sorted(found)) if found else ()

    def followers(self, name: str) -> tuple[Job, ...]:
        """Return the submissions that wait for the end of this run or submission, sorted by ID."""
        return tuple(self._jobs[job_id] for job_id in sorted(self._followers.get(name, ())))

    def listeners(self, kind: str, name: str) -> tuple[Job, ...]:
        """Return the jobs that an event makes due, sorted by ID; `kind` and `name` as in `On`."""
        return tuple(self._jobs[job_id] for job_id in sorted(self._listeners.get((kind, name), ())))

    def patterns(self, job_id: str) -> list[str]:
        """Return the patterns in `on: {job: …}` that match a job ID and belong to jobs of the same owner; the job need
        not exist.
        """
        share = share_of(job_id)
        return sorted(
            name for name, pattern in self._patterns.items() if pattern.fullmatch(job_id) and share_of(name) == share
        )

    def awaited_names(self, of_kind: str) -> list[str]:
        """Return the names of the events, paths or jobs that jobs wait for; `of_kind` is the kind of `On`."""
        return sorted(name for (kind, name), ids in self._listeners.items() if kind == of_kind and ids)

    def paths_of_user(self, owner: Owner) -> list[str]:
        """Return the paths that a user's jobs wait for."""
        return sorted({on.name for job in self.of_owner(owner) for on in job.on if on.kind == "path"})

    def awaiting_paths(self) -> tuple[Job, ...]:
        """Return the jobs that wait for files."""
        return tuple(job for path in self.awaited_names("path") for job in self.listeners("path", path))

    def depending(self) -> list[Job]:
        """Return the jobs that wait for other jobs, or that become due when other jobs end."""
        ids = {*chain.from_iterable(self._dependents.values())}
        ids.update(*(found for (kind, _), found in self._listeners.items() if kind == "job"))
        return [self._jobs[job_id] for job_id in sorted(ids)]

    def cycles(self) -> dict[str, str]:
        """Return job → its cycle, such as ``a → b → a``, for each job that waits for itself through other jobs.

        All jobs of a cycle have the same text.
        """
        ways: dict[str, str] = {}
        for group in cycles((job.id for job in self.depending()), self._awaited):
            way = format_way(way_back(min(group), {*group}, self._awaited))
            ways |= dict.fromkeys(group, way)
        return ways

    def _awaited(self, name: str) -> tuple[str, ...]:
        job = self._jobs.get(name)
        return () if job is None else awaited(job)

    def add(self, job: Job) -> None:
        """Add a job. Raises ValueError if the ID already exists."""
        if job.id in self._jobs:
            raise ValueError(f"there is a job {job.id!r} already")
        self._put(job)

    def remove(self, job_id: str) -> Job:
        """Remove a job and return it. Raises KeyError if the job does not exist."""
        job = self._jobs[job_id]
        _discard(self._ids, job.file, job_id)
        return self._pop(job_id)

    def replace_file(self, file: str, jobs: Iterable[Job]) -> CatalogChange:
        """Replace the jobs of `file` by `jobs`, which may include jobs that moved to `file` from another file.

        The result omits jobs that only moved, within the file or to the file.
        """
        added, edited = [], []
        left = self._ids.pop(file, set())
        for job in jobs:
            left.discard(job.id)
            old = self._jobs.get(job.id)
            if old is None:
                added.append(job)
            elif not is_same(old, job):
                edited.append(job)
            self._put(job)
        removed = tuple(self._pop(job_id) for job_id in sorted(left))
        return CatalogChange(tuple(added), tuple(edited), removed)

    def conflicts(self, file: str, jobs: tuple[Job, ...]) -> list[Problem]:
        """Return the problems that keep `file` from having `jobs`; for example, an ID already belongs to another
        file.
        """
        return self.conflicts_among({file: jobs}).get(file, [])

    def conflicts_among(
        self, files: Map[str, tuple[Job, ...]], vanished: Container[str] = ()
    ) -> dict[str, list[Problem]]:
        """Return file → problems that keep the file from being accepted, for files that changed at the same time.

        The files are judged together, so that two files can swap IDs. A new ID goes to the first file by name (in byte
        order); the IDs of `vanished` files are free. If files close a cycle, the last of these files by name is
        refused, and the others are judged as if the refused file did not exist.
        """
        refused = self._taken(files, vanished)
        for rounds_left in count(_ROUNDS, -1):
            left = {file: jobs for file, jobs in files.items() if file not in refused}
            closing = self._closing(left, vanished, all_of_them=rounds_left < 0)
            if not closing:
                break
            refused |= closing
            refused |= self._taken({file: jobs for file, jobs in left.items() if file not in closing}, vanished)
        return refused

    def _closing(
        self, files: Map[str, tuple[Job, ...]], vanished: Container[str], *, all_of_them: bool
    ) -> dict[str, list[Problem]]:
        """Return the problems of files that close cycles: one file for each cycle or, with `all_of_them`, all files."""
        fresh = {job.id: job for jobs in files.values() for job in jobs}
        edges = {name: {*wanted} - {*self._awaited(name)} for name, job in fresh.items() if (wanted := awaited(job))}

        def after(name: str) -> tuple[str, ...]:
            if name in fresh:
                return awaited(fresh[name])
            old = self._jobs.get(name)
            return () if old is None or old.file in files or old.file in vanished else awaited(old)

        found: dict[str, list[Problem]] = {}
        for group in cycles((name for name, new in edges.items() if new), after):
            members = {*group}
            closing = {fresh[name].file: fresh[name] for name in group if edges.get(name, set()) & members}
            for file in closing if all_of_them else [max(closing)] if closing else []:
                job = closing[file]
                way = format_way(way_back(job.id, members, after))
                message = f"found a cycle: {way}; expected {_NO_CYCLE}"
                problem = Problem(written_in(job), job.line, 0, "", message, code="JQ403")
                found.setdefault(file, []).append(problem)
        return found

    def _taken(self, files: Map[str, tuple[Job, ...]], vanished: Container[str]) -> dict[str, list[Problem]]:
        """Return the problems of files that have an ID of another file."""
        refused: dict[str, _Conflict] = {}
        while found := self._conflicts({f: jobs for f, jobs in files.items() if f not in refused}, vanished):
            sure = {file: conflict for file, conflict in found.items() if conflict.holders - found.keys()}
            refused |= sure or found
        for file in sorted(refused):  # retry, in order of name, the files that were refused only because of one another
            if refused[file].holders <= refused.keys():
                others = {other: jobs for other, jobs in files.items() if other == file or other not in refused}
                if not self._conflicts(others, vanished):
                    del refused[file]
        return {file: conflict.problems for file, conflict in refused.items()}

    def _conflicts(self, files: Map[str, tuple[Job, ...]], vanished: Container[str]) -> dict[str, _Conflict]:
        holders = self._holders(files, vanished)
        found: dict[str, _Conflict] = {}
        for file, jobs in files.items():
            for job in jobs:
                holder = holders[job.id]
                if holder.file != file:
                    where = f"{written_in(holder)}:{holder.line}"
                    message = f"found the id {job.id!r}; expected an id that no other file uses ({where} has it)"
                    conflict = found.setdefault(file, _Conflict([], set()))
                    conflict.problems.append(Problem(written_in(job), job.line, 0, "", message, code="JQ213"))
                    conflict.holders.add(holder.file)
        return found

    def _holders(self, files: Map[str, tuple[Job, ...]], vanished: Container[str]) -> dict[str, Job]:
        """Return ID → the job that has it if all `files` are accepted; a file that already had an ID keeps this ID."""
        holders: dict[str, Job] = {}
        for file in sorted(files):
            for job in files[file]:
                old = self._jobs.get(job.id)
                if old is not None and old.file not in files and old.file not in vanished:
                    holders[job.id] = old
                elif job.id not in holders or (old is not None and old.file == file):
                    holders[job.id] = job
        return holders

    def _pop(self, job_id: str) -> Job:
        job = self._jobs.pop(job_id)
        self._forget(job)
        return job

    def _put(self, job: Job) -> None:
        old = self._jobs.get(job.id)
        if old is not None:
            _discard(self._ids, old.file, job.id)
        if old is not None:
            self._forget(old)
        self._jobs[job.id] = job
        if job.resource_limits:
            self._limited.add(job.id)
        for account in accounts(job):
            self._accounts.setdefault(account, set()).add(job.id)
        if job.owner is not None:
            self._owned.setdefault(job.owner, set()).add(job.id)
        for name in job.dependencies:
            self._dependents.setdefault(name, set()).add(job.id)
        for after in job.submission.after if job.submission else ():
            self._followers.setdefault(after.name, set()).add(job.id)
        for on in job.on:
            self._listeners.setdefault((on.kind, on.name), set()).add(job.id)
            if on.kind == "jobs":
                self._patterns[on.name] = re.compile(re.escape(on.name).replace(r"\*", ".*").replace(r"\?", "."))
        self._ids.setdefault(job.file, set()).add(job.id)

    def _forget(self, job: Job) -> None:
        """Remove a job from the indexes."""
        if job.owner is not None:
            self._owned[job.owner].discard(job.id)
            if not self._owned[job.owner]:
                del self._owned[job.owner]
        self._limited.discard(job.id)
        for account in accounts(job):
            _discard(self._accounts, account, job.id)
        for name in job.dependencies:
            _discard(self._dependents, name, job.id)
        for after in job.submission.after if job.submission else ():
            _discard(self._followers, after.name, job.id)
        for on in job.on:
            _discard(self._listeners, (on.kind, on.name), job.id)
            if on.kind == "jobs" and (on.kind, on.name) not in self._listeners:
                self._patterns.pop(on.name, None)


Key = TypeVar("Key")


def _discard(index: dict[Key, set[str]], key: Key, job_id: str) -> None:
    """Remove a job ID from an index; remove the key too if no ID is left."""
    ids = index.get(key, set())
    ids.discard(job_id)
    if not ids:
        index.pop(key, None)


def written_in(job: Job) -> str:
    """Return the path of the file that contains the job's `line`: the job file, or a drop-in that was merged into
    it.
    """
    return job.origin or job.file


def awaited(job: Job) -> tuple[str, ...]:
    """Return the IDs of the jobs that a job depends on or whose end makes it due; a pattern adds no ID."""
    return (*job.dependencies, *(on.name for on in job.on if on.kind == "job"))


_PLACE_AND_COMPILED = {"file", "line", "origin", "drop_ins", "triggers"}
_definition = attrgetter(*(field.name for field in fields(Job) if field.name not in _PLACE_AND_COMPILED))


def is_same(old: Job, new: Job) -> bool:
    """Return whether two definitions are equal except for their place (file and line).

    Of compiled triggers, only the timezones are compared, because the rest depends on the definition.
    """
    return bool(_definition(old) == _definition(new)) and all(map(_has_same_zone, old.triggers, new.triggers))


def _has_same_zone(old: Trigger, new: Trigger) -> bool:
    return getattr(old, "zone", None) is getattr(new, "zone", None)
