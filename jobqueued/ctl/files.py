"""Job files as the daemon would read them, without it: for `check`, and for `next` while the daemon is down."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from jobqueued.catalog import Catalog
from jobqueued.config import Paths, machine_id, read_config
from jobqueued.jobfile import read_jobs
from jobqueued.model import Job, Problem
from jobqueued.trust import UNREAD, Refused, is_job_file, is_meant, read_trusted
from jobqueued.yamltext import MAX_BYTES


class Reading(NamedTuple):
    """The jobs that the daemon would accept, all problems, and whether something could not even be read."""

    jobs: list[Job]
    problems: list[Problem]
    unreadable: bool


def read_files(paths: Paths, files: Iterable[Path]) -> Reading:
    """Read files and directories, in this order.  Those of the daemon's own directory must be trusted, as it does."""
    (config, problems), seed = read_config(paths.config), machine_id()
    catalog = Catalog()
    unreadable = False
    for file, listed in _job_files(files):
        name = str(file)
        if listed and is_meant(file.name):
            problems.append(Problem(ascii(name)[1:-1], 0, 0, "", UNREAD, "warning"))
            continue
        try:
            data = read_trusted(name, _reader(file, paths.jobs)) if listed else _read(file)
        except OSError as error:
            problems.append(Problem(name, 0, 0, "", f"cannot be read: {error.strerror}"))
            unreadable = True
        except Refused as refused:
            problems.append(Problem(name, 0, 0, "", str(refused)))
        else:
            jobs, found = read_jobs(data, name, timezone=config.timezone, seed=seed)
            clashes = catalog.conflicts(name, jobs)
            problems += found + clashes + list(_unknown_users(jobs))
            if not clashes:
                catalog.replace_file(name, jobs)
    return Reading(list(catalog), problems, unreadable)


def _job_files(paths: Iterable[Path]) -> Iterator[tuple[Path, bool]]:
    """Each file, and whether it is only listed in a directory: who names a pipe or a link means what it gives."""
    for path in paths:
        try:
            names = os.listdir(path)
        except OSError:
            yield path, False  # no directory; or its reading says why
            continue
        for name in sorted(names, key=os.fsencode):
            if is_job_file(name) or is_meant(name):
                yield path / name, True


def _read(file: Path) -> bytes:
    """At most one byte more than a job file may have."""
    with file.open("rb") as stream:
        return stream.read(MAX_BYTES + 1)


def _reader(file: Path, own: Path) -> int | None:
    """Whose daemon reads the file: that of its own directory is its owner's; of another directory, nobody's."""
    return own.stat().st_uid if file.parent.absolute() == own else None


def _unknown_users(jobs: Iterable[Job]) -> Iterator[Problem]:
    """It refuses no file: the job itself is Invalid on a host without the user."""
    for job in jobs:
        if job.user is not None and not user_exists(job.user):
            message = f"found {job.user!r}; accepted: a user of this host; without it job {job.id} does not run"
            yield Problem(job.file, job.line, 0, "user", message, "warning")


def user_exists(user: str) -> bool:
    """Whether this host's user database has it."""
    try:
        return bool(pwd.getpwnam(user))
    except KeyError:
        return False
