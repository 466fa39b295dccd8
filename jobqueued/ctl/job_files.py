"""Job files, read as the daemon would, but without it."""

from __future__ import annotations

import grp
import os
import pwd
import select
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from jobqueued.accounts import Account, accounts
from jobqueued.catalog import Catalog, awaited
from jobqueued.child.trust import Refused, check_path
from jobqueued.core import validity
from jobqueued.core.scheduler_state import SchedulerState
from jobqueued.ctl import receivers
from jobqueued.ctl.table_files import TableFiles
from jobqueued.ctl.unlikely import unlikely
from jobqueued.host.usage import host_has
from jobqueued.jobdir.acceptance import Content
from jobqueued.jobdir.kinds import JOB_FILES
from jobqueued.jobdir.trust import IS_MASKED, MASKED, UNREAD, is_foreign, is_job_file, read_trusted
from jobqueued.jobfile.oddities import Surroundings, read_here
from jobqueued.jobfile.reader import read_jobs
from jobqueued.jobfile.yamltext import MAX_BYTES, at_once
from jobqueued.model import Job
from jobqueued.paths import Paths
from jobqueued.problem import Problem
from jobqueued.settings import Settings, limits_of, machine_id, read_settings, user_name

STANDARD_INPUT = Path("-")


class Reading(NamedTuple):
    """The jobs that the daemon would accept, why some are invalid here, all problems, and if a file was unreadable."""

    jobs: list[Job]
    invalid: dict[str, str]
    problems: list[Problem]
    unreadable: bool


def read_files(paths: Paths, files: Iterable[Path] = ()) -> Reading:
    """Read files and directories, in this order; without any all that the daemon reads, cron's tables too.

    Files in the daemon's own directories, and tables where cron has them, must be trusted by it.
    """
    daemon = user_of_daemon(paths)
    config, problems = settings_of(paths)
    tables = TableFiles(paths, config, daemon)
    files = tuple(files) or (paths.jobs, *tables.all_live())
    if paths.jobs in {path.absolute() for path in files}:
        problems += _distrust(paths)
    problems += [problem for path in files for problem in tables.distrust(path)]
    catalog, closing = Catalog(), list[Job]()
    unreadable = False
    for file, listed in _files(files, tables):
        name = str(file)
        try:
            jobs, found = tables.read(file) if tables.is_table(file) else _read(file, listed, paths, config)
        except OSError as error:
            problems.append(Problem(name, 0, 0, "", f"cannot be read: {error.strerror}"))
            unreadable = True
        except Refused as refused:
            problems.append(Problem(name, 0, 0, "", str(refused)))
        else:
            clashes = catalog.conflicts(name, jobs)
            problems += found + clashes
            if clashes:
                closing += jobs
            else:
                catalog.replace_file(name, jobs)
    jobs = tuple(catalog)
    warnings = [*_unknown_accounts(jobs), *_impossible(jobs, closing, paths, config)]
    invalid, found = {job: why for job, why, _ in warnings}, [problem for _, _, problem in warnings]
    odd = [*unlikely(jobs, paths), *receivers.problems(jobs, config, paths, daemon)]
    return Reading(list(jobs), invalid, [*problems, *odd, *found], unreadable)


def _read(file: Path, listed: bool, paths: Paths, config: Settings) -> Content:
    """The jobs of a job file, and what is wrong with it; Refused, OSError."""
    name = str(file)
    if listed and is_foreign(file.name):
        return (), [Problem(ascii(name)[1:-1], 0, 0, "", UNREAD, "warning")]
    data = read_trusted(name, _reader(file, paths)) if listed else read_file(file)
    where = _surroundings(paths)
    jobs, found = at_once(read_here(where, data, name, timezone=config.timezone, seed=machine_id()))
    return jobs, [*found, Problem(name, 0, 0, "", IS_MASKED, "warning")] if data == MASKED else found


def _surroundings(paths: Paths) -> Surroundings:
    """The surroundings of the daemon that has this job directory, as far as its owner tells them; else of root's."""
    try:
        owner = paths.jobs.stat().st_uid
    except OSError:
        owner = 0
    return Surroundings(len(host_has()[0]), user_name(owner), own_tmp=paths == Paths.system())


def _files(paths: Iterable[Path], tables: TableFiles | None = None) -> Iterator[tuple[Path, bool]]:
    """Yield each file, and whether a directory lists it: a pipe or a link that is named itself is read through."""
    for path in paths:
        if path == STANDARD_INPUT:
            yield path, False
            continue
        try:
            names = os.listdir(path)
        except OSError:
            yield path, False  # no directory; or its reading says why
            continue
        kind = (None if tables is None else tables.kind_in(path)) or JOB_FILES
        for name in sorted(names, key=os.fsencode):
            if kind.reads(name) or (kind.is_foreign(name) and os.path.isfile(path / name)):
                yield path / name, True


def read_file(file: Path) -> bytes:
    """Read at most one byte more than a job file may have; ``-`` is the standard input.

    Refused for a FIFO to which nobody writes.
    """
    if file == STANDARD_INPUT:
        return sys.stdin.buffer.read(MAX_BYTES + 1)
    with open(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), "rb", buffering=0) as stream:
        is_pipe = stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
        data = stream.read(MAX_BYTES + 1)  # None: its writer is about to write
        if data == b"" and is_pipe and not select.select([stream], [], [], 0)[0]:
            raise Refused("found a FIFO to which nobody writes; accepted: a file, or a pipe with a program's output")
        os.set_blocking(stream.fileno(), True)
        data = data or b""
        while len(data) <= MAX_BYTES and (more := stream.read(MAX_BYTES + 1 - len(data))):
            data += more
        return data


def _reader(file: Path, paths: Paths) -> int | None:
    """The user whose daemon reads the file; None: it is in another directory than the daemon's own."""
    return user_of_daemon(paths) if file.parent.absolute() == paths.jobs else None


def user_of_daemon(paths: Paths) -> int:
    """The user of the daemon by the owner of its directories; before it has any, whoever asks."""
    for path in (paths.run, paths.state):
        with suppress(OSError):
            return path.stat().st_uid
    return os.geteuid()


def settings_of(paths: Paths) -> tuple[Settings, list[Problem]]:
    """Read jobqueued.yaml as the daemon would."""
    return read_settings(paths.config, user_of_daemon(paths), of_user=paths.runtime is not None)


def _distrust(paths: Paths) -> list[Problem]:
    """The reason why the daemon believes nothing in its own directory."""
    try:
        check_path(str(paths.jobs), user_of_daemon(paths))
    except OSError:  # its listing says the same
        return []
    except Refused as refused:
        return [Problem(str(paths.jobs), 0, 0, "", str(refused))]
    return []


def _unknown_accounts(jobs: Iterable[Job]) -> Iterator[tuple[str, str, Problem]]:
    """Yield the jobs whose user or group does not exist, with the reason: only they are invalid, not their file."""
    for job in jobs:
        for kind, name in filter(is_unknown, accounts(job)):
            key = "groups" if kind == "group" and name != job.group else kind
            message = f"found {name!r}; accepted: a {kind} of this host; without it the job will not run"
            problem = Problem(job.file, job.line, 0, key, message, "warning", job.id)
            yield job.id, f"no {kind} {name!r} on this host", problem


def _impossible(
    jobs: tuple[Job, ...], refused: list[Job], paths: Paths, config: Settings
) -> Iterator[tuple[str, str, Problem]]:
    """Yield the jobs that are invalid on this host for another reason; they may depend on jobs that the daemon has.

    What depends on jobs of a `refused` file is not to blame for the circle that this closes: they count as there.
    """
    state, ids = SchedulerState(limits_of(config, "", *host_has())), {job.id for job in jobs}
    bare = [replace(job, dependencies=(), on=()) for job in refused if job.id not in ids]
    known = {job.id for job in bare} | ids
    others = (
        bare if known.issuperset(name for job in jobs for name in awaited(job)) else [*bare, *_others(paths, known)]
    )
    state.catalog.replace_file("", [*others, *jobs])
    state.complete = True
    for job, invalid in validity.verdicts(state, [job.id for job in jobs]):
        if invalid is not None and job.id in ids:
            message = f"it will not run: {invalid.text}"
            yield job.id, invalid.text, Problem(job.file, job.line, 0, "", message, "warning", job.id)


def _others(paths: Paths, ids: set[str]) -> Iterator[Job]:
    """Yield the jobs of the daemon's own directory, except those of these ids."""
    for file, listed in _files((paths.jobs,)):
        if listed and is_job_file(file.name):
            with suppress(OSError, Refused):
                yield from (job for job in read_jobs(read_trusted(str(file), None), str(file))[0] if job.id not in ids)


def is_unknown(account: Account) -> bool:
    """True if this host has no such user or group."""
    try:
        return not (pwd.getpwnam(account.name) if account.kind == "user" else grp.getgrnam(account.name))
    except KeyError:
        return True
