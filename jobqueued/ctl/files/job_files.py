"""Job files, read in the daemon's way but without the daemon."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from jobqueued.base.problem import Problem
from jobqueued.base.text import size
from jobqueued.child.contract.trust import FileRefused, distrust
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.ctl.base.client import CallRefused as NoAnswer
from jobqueued.ctl.base.client import DaemonUnreachable, ask
from jobqueued.ctl.files.id_conflicts import conflicts
from jobqueued.ctl.files.job_units import Unit, units, user_of_daemon
from jobqueued.host.capacity import host_has
from jobqueued.jobdir.trust import IS_MASKED, LEFT_OUT, MASKED
from jobqueued.jobfile.oddities import Surroundings, read_here
from jobqueued.jobfile.reader import read_packed
from jobqueued.jobfile.tree.drop_ins import parts_of
from jobqueued.jobfile.tree.yamltext import at_once
from jobqueued.jobfile.user_rules import UserRules
from jobqueued.model.accounts import Account, accounts
from jobqueued.model.catalog import awaited, written_in
from jobqueued.model.job import Job
from jobqueued.model.users import LARGEST_FILE, Owner
from jobqueued.queue.locks import may_ask_too_much
from jobqueued.settings.paths import Paths
from jobqueued.settings.settings import Settings, limits_of, read_settings, user_name

if TYPE_CHECKING:
    from jobqueued.ctl.files.table_files import TableFiles
    from jobqueued.jobdir.acceptance import Content


class Reading(NamedTuple):
    """Accepted jobs, causes of invalid jobs, problems, number of refused files, and True if a file was unreadable."""

    jobs: list[Job]
    invalid: dict[str, str]
    problems: list[Problem]
    refused: int
    unreadable: bool


NOTHING = Reading([], {}, [], 0, False)


def read_files(paths: Paths, files: Iterable[Path] = (), owner: Owner | None = None, *, looks: bool = False) -> Reading:
    """Read files and directories in this order; by default, all files that the daemon reads, including cron's tables.

    For files in the daemon's directories and tables in cron's directories, check owner and mode as the daemon does.
    Read other files as files of the user `owner`. With `looks`, also check the programs and files that jobs need on
    this host.
    """
    daemon = user_of_daemon(paths)
    config, problems = settings_of(paths)
    files = tuple(files)
    tables = _tables(paths, config, daemon, files)
    files = files or (paths.jobs, *(tables.all_live() if tables else ()))
    if paths.jobs in {path.absolute() for path in files}:
        problems += _distrust(paths)
    problems += [problem for path in files if tables for problem in tables.distrust(path)]
    parts, good, bad, unreadable = list[tuple[str, list[Problem]]](), dict[str, tuple[Job, ...]](), list[str](), False
    for found in units(paths, files, tables):
        if isinstance(found, Problem):
            parts.append(("", [found]))
            continue
        try:
            jobs, odd = _content(found, paths, config, owner, tables)
        except OSError as error:
            is_missing = found.at == str(paths.jobs) and isinstance(error, FileNotFoundError)
            remedy = f"; to have no job files: mkdir {found.at}" if is_missing else ""
            jobs, message = (), f"cannot be read: {error.strerror}{remedy}"
            odd, unreadable = [Problem(found.at, 0, 0, "", message, code="JQ501")], True
        parts.append((found.file, odd))
        if not jobs and any(problem.severity == "error" for problem in odd):
            bad.append(found.file)
        else:
            good[found.file] = jobs
    clashes = conflicts(paths, good, bad)
    problems += (each for file, odd in parts for each in (*odd, *clashes.get(file, ())))
    closing = [job for file in clashes for job in good[file]]
    jobs = tuple(job for file, those in good.items() if file not in clashes for job in those)
    kept = [] if owner is None else _kept(paths, {job.id for job in jobs})
    warnings = [*_unknown_accounts(jobs), *_barred(jobs, config), *_impossible(jobs, [*closing, *kept], paths, config)]
    invalid, told = {job: why for job, why, _ in warnings}, dict.fromkeys(problem for *_, problem in warnings)
    odd = _unlikely(jobs, config, paths, daemon) if looks else []
    refused = len(clashes) + len(bad) - sum(problem.code == "JQ501" for _, each in parts for problem in each)
    return Reading(list(jobs), invalid, [*problems, *odd, *told], refused, unreadable)


def _unlikely(jobs: Sequence[Job], config: Settings, paths: Paths, daemon: int) -> list[Problem]:
    """Return the warnings about missing programs and files, and about notices that can't be sent."""
    from jobqueued.ctl.files import receivers
    from jobqueued.ctl.files.unlikely import unlikely

    return [*unlikely(jobs, paths, daemon), *receivers.problems(jobs, config, paths, daemon)]


def _tables(paths: Paths, config: Settings, daemon: int, files: Iterable[Path]) -> TableFiles | None:
    """Return the reader of cron's tables, or None if no table must be read; the reader's imports are slow."""
    places = {path for file in files for path in (file.absolute(), file.absolute().parent)}
    if not (places.intersection(paths.crontabs) if files else config.cron.get("live")):
        return None
    from jobqueued.ctl.files.table_files import TableFiles

    return TableFiles(paths, config, daemon)


def read_text(paths: Paths, file: Path, text: bytes, owner: Owner | None = None) -> Content:
    """Return the jobs and problems in a string, read like a file at this path without drop-ins."""
    daemon, (config, _) = user_of_daemon(paths), settings_of(paths)
    jobs, problems = _jobs_of(text, str(file), paths, config, owner)
    told = [problem for _, _, problem in _unknown_accounts(jobs)]
    return jobs, [*problems, *_unlikely(jobs, config, paths, daemon), *told]


def _content(found: Unit, paths: Paths, config: Settings, owner: Owner | None, tables: TableFiles | None) -> Content:
    """Return the jobs and problems in a job file or a table. Raises OSError."""
    try:
        if tables and tables.is_table(Path(found.file)):
            return tables.read(Path(found.file))
        return _read(found, paths, config, owner)
    except FileRefused as error:
        return (), [Problem(found.at, 0, 0, "", str(error), code="JQ502")]


def _read(found: Unit, paths: Paths, config: Settings, owner: Owner | None) -> Content:
    """Return the jobs and problems in a job file. Raises FileRefused or OSError."""
    data = found.text()
    jobs, problems = _jobs_of(data, found.file, paths, config, owner)
    main = parts_of(data, found.file)[0]
    if main.text == MASKED:
        problems = [*problems, Problem(main.path, 0, 0, "", IS_MASKED, "warning", code="JQ504")]
    return jobs, problems


def _jobs_of(data: bytes, file: str, paths: Paths, config: Settings, owner: Owner | None) -> Content:
    where, is_host = _surroundings(paths), Path(file).parent.absolute() == paths.jobs
    rules = None if is_host or owner is None else UserRules(owner, config.users)
    jobs, problems = at_once(read_here(where, data, file, config.locality, rules=rules))
    return jobs, problems + ([] if rules is None else _beyond(rules, file, data, len(jobs)))


def _beyond(rules: UserRules, name: str, data: bytes, jobs: int) -> list[Problem]:
    """Return the problems of a user's file as a whole: its size, number of jobs, and the user's right to have jobs."""
    from jobqueued.child.start.identity import trouble_with

    problems, most, (uid, user) = list[Problem](), rules.limits.jobs, rules.owner
    if trouble := trouble_with("owner", [user, uid, rules.limits.allow, rules.limits.deny]):
        problems.append(Problem(name, 0, 0, "", trouble, code="JQ214"))
    if len(data) > LARGEST_FILE:
        message = f"found {size(len(data))}; expected at most {size(LARGEST_FILE)}"
        problems.append(Problem(name, 0, 0, "", message, code="JQ103"))
    if jobs > most:
        message = (
            f"found {jobs} jobs; expected at most {most} per user; root can raise the limit by `users: {{jobs: …}}`"
        )
        problems.append(Problem(name, 0, 0, "jobs", f"{message} in jobqueued.yaml", code="JQ214"))
    return problems


def _kept(paths: Paths, ids: set[str]) -> list[Job]:
    """Return the caller's other jobs, which new jobs may depend on; [] if the daemon is down."""
    with suppress(NoAnswer, DaemonUnreachable):
        found = {job for file in ask(paths.control, "UserFiles")["files"] for job in file["jobs"]}
        return [Job(id=job, command="") for job in sorted(found - ids)]
    return []


def _surroundings(paths: Paths) -> Surroundings:
    """Return the surroundings of the daemon that uses this job directory; the daemon's user owns the directory."""
    try:
        owner = paths.jobs.stat().st_uid
    except OSError:
        owner = 0
    return Surroundings(len(host_has()[0]), user_name(owner), own_tmp=paths == Paths.system())


def settings_of(paths: Paths) -> tuple[Settings, list[Problem]]:
    """Read jobqueued.yaml as the daemon does."""
    return read_settings(paths.config, user_of_daemon(paths), paths.more_config, of_user=paths.runtime is not None)


def _distrust(paths: Paths) -> list[Problem]:
    """Return the reasons why the daemon would not trust its own directories."""
    problems = []
    for directory in paths.job_directories:
        if refused := distrust(str(directory), user_of_daemon(paths)):
            message = f"{refused}" if directory == paths.jobs else f"{refused}; {LEFT_OUT}"
            problems.append(Problem(str(directory), 0, 0, "", message, code="JQ502"))
    return problems


def _unknown_accounts(jobs: Iterable[Job]) -> Iterator[tuple[str, str, Problem]]:
    """Yield the jobs whose user or group is missing, each with reason and warning; the daemon accepts their files."""
    for job in jobs:
        for account in filter(is_unknown, accounts(job)):
            kind, name = account[:2]
            key = "groups" if kind == "group" and name != job.group else kind
            whose = f" that has {account.member} as a member" if account.member else ""
            message = f"found {name!r}; expected a {kind} of this host{whose}; without it the job will not run"
            problem = Problem(written_in(job), job.line, 0, key, message, "warning", job.id, "JQ505")
            why = f"user {account.member!r} is not in group {name!r}" if whose else f"no {kind} {name!r} on this host"
            yield job.id, why, problem


def _barred(jobs: Iterable[Job], config: Settings) -> Iterator[tuple[str, str, Problem]]:
    """Yield the jobs in the crontabs of users who may not have jobs, each with the reason and the table's problem."""
    if config.users.allow is None and not config.users.deny:
        return
    from jobqueued.child.start.identity import trouble_with

    @cache
    def why(account: Account) -> str:
        order = [account.name, config.users.allow, config.users.deny]
        return "" if is_unknown(account) else trouble_with("crontab", order)

    for job in jobs:
        for account in accounts(job):
            if account.kind == "crontab" and (reason := why(account)):
                yield job.id, reason, Problem(written_in(job), 0, 0, "", reason, code="JQ214")


def _impossible(
    jobs: tuple[Job, ...], refused: list[Job], paths: Paths, config: Settings
) -> Iterator[tuple[str, str, Problem]]:
    """Yield the jobs that are invalid on this host because of its limits or of other jobs, including the daemon's jobs.

    Jobs of a `refused` file count as existing, but without dependencies, so that a cycle through that file is not
    reported for other jobs. If no job can be invalid, nothing is computed.
    """
    if not any(may_ask_too_much(job) or awaited(job) for job in jobs):
        return
    from jobqueued.core.hosts.fleet_state import FleetState
    from jobqueued.core.runs import validity
    from jobqueued.core.state.other_hosts import OtherHosts
    from jobqueued.core.state.scheduler_state import SchedulerState

    limits, ids = limits_of(config, "", *host_has()), {job.id for job in jobs}
    state = SchedulerState(limits, FleetState(limits.fleet), OtherHosts())
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
            code = _INVALID[invalid.fault.name]
            yield job.id, invalid.text, Problem(written_in(job), job.line, 0, "", message, "warning", job.id, code)


_INVALID = {"IMPOSSIBLE": "JQ401", "UNKNOWN_JOB": "JQ402", "CYCLIC": "JQ404", "ELSEWHERE": "JQ406"}
"""Name of a `core.job_state.Fault` → code of the finding."""


def _others(paths: Paths, ids: set[str]) -> Iterator[Job]:
    """Yield the jobs in the daemon's own directories, except jobs whose IDs are given."""
    for found in units(paths, (paths.jobs,)):
        if isinstance(found, Unit):
            with suppress(OSError, FileRefused):
                yield from (job for job in read_packed(found.text(), found.file)[0] if job.id not in ids)


def is_unknown(account: Account) -> bool:
    """Return whether the user, the group, or the membership does not exist on this host."""
    try:
        if account.kind != "group":
            return not pwd.getpwnam(account.name)
        gid = grp.getgrnam(account.name).gr_gid
        return bool(account.member) and gid not in os.getgrouplist(account.member, pwd.getpwnam(account.member).pw_gid)
    except KeyError:
        return True
