"""The check of a table before its installation: errors in Debian's words and ours, and next starts."""

from __future__ import annotations

import time
from heapq import nsmallest
from zoneinfo import ZoneInfo

from jobqueued.base.instants import to_text
from jobqueued.base.text import printable, size
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.child.spool.spool import LARGEST
from jobqueued.crontabs.jobs import MAX_JOBS, TablePlace, read_jobs_in_steps
from jobqueued.crontabs.names import of_table
from jobqueued.crontabs.table import Form, LineFlaw, TableEntry, read
from jobqueued.ctl.base.terminal import local
from jobqueued.ctl.files.job_units import user_of_daemon
from jobqueued.ctl.files.unlikely import misplaced_user
from jobqueued.jobdir.cron_tables import host_of
from jobqueued.jobdir.kinds import SPOOL
from jobqueued.jobfile.tree.yamltext import at_once
from jobqueued.model.job import Job
from jobqueued.settings.paths import Paths
from jobqueued.settings.settings import read_settings

MOST_LINES = 10_000
"""Maximum number of lines in a table, as in Debian's crontab."""
MOST_BYTES = LARGEST - 1024
"""Maximum size (bytes) of a table, without the header that crontab adds."""
NEXT = 3
_SHOWN, _ERRORS = 60, 20


class CrontabVerdict(NamedTuple):
    """The result of a check. `errors` prevent the installation; their last line is a summary."""

    errors: list[str]
    warnings: list[str]
    jobs: tuple[Job, ...]


def check(table: bytes, name: str, user: str, paths: Paths) -> CrontabVerdict:
    """Check a user's table; messages call the table `name`."""
    if len(table) > MOST_BYTES:
        return CrontabVerdict([f"crontab is too long; expected at most {size(MOST_BYTES)}."], [], ())
    if table.count(b"\n") > MOST_LINES:
        return CrontabVerdict([f"crontab is too long; maximum number of lines is {MOST_LINES}."], [], ())
    items = read(table, Form.USER)
    flaws = {item.line: item for item in items if isinstance(item, LineFlaw)}
    entries = {item.line for item in items if isinstance(item, TableEntry)}
    settings, _ = read_settings(paths.config, user_of_daemon(paths), paths.more_config)
    place, host = TablePlace(SPOOL.prefix + of_table(user), user), host_of(settings, settings.zone)._replace(mails=True)
    jobs, problems = at_once(read_jobs_in_steps(table, name, place, host))
    wrong = [(flaw.line, _of_flaw(flaw)) for flaw in flaws.values() if not flaw.is_half]
    if len(entries) > MAX_JOBS:
        wrong.append((sorted(entries)[MAX_JOBS], f"too many jobs; expected at most {MAX_JOBS} in a table"))
    odd = list[tuple[int, str]]()
    for problem in problems:
        if problem.severity == "error" and problem.line not in entries and problem.line not in flaws:
            wrong.append((problem.line, f"bad option: {problem.message}"))
        elif problem.line not in flaws:
            odd.append((problem.line, problem.message))
    odd += [(job.line, text) for job in jobs if (text := misplaced_user(job))]
    errors, warnings = (
        [f'"{printable(name)}":{line}: {printable(text)}' for line, text in sorted(found)] for found in (wrong, odd)
    )
    ends_early = any(flaw.is_half for flaw in flaws.values())
    return CrontabVerdict(_summed_up(errors, ends_early), warnings, jobs)


def _of_flaw(flaw: LineFlaw) -> str:
    """Return Debian's message, followed by our message without the repeated field."""
    field = flaw.reason.removeprefix("bad ").replace("-", " ")
    return f"{flaw.reason}: {flaw.message.removeprefix(f'{field}: ')}"


def _summed_up(errors: list[str], ends_early: bool) -> list[str]:
    """Return the first errors, the number of remaining errors, and a summary in Debian's words; [] if there are no
    errors.
    """
    if errors:
        more = [f"and {len(errors) - _ERRORS} more"] if len(errors) > _ERRORS else []
        return [*errors[:_ERRORS], *more, "errors in crontab file, can't install."]
    return ["new crontab file is missing newline before EOF, can't install."] if ends_early else []


def next_starts(jobs: tuple[Job, ...]) -> list[str]:
    """Return the next starts of all jobs as lines with their commands; without starts, the jobs that start at boot."""
    now = time.time_ns()
    starts = [(start, job) for job in jobs if job.enabled for start in job.next_starts(now, NEXT)]
    found = nsmallest(NEXT, starts, key=lambda each: each[0])
    told = [f"{local(to_text(start), ZoneInfo(job.timezone))}  {_short(job.command)}" for start, job in found]
    return told or [f"at the next boot  {_short(job.command)}" for job in jobs if job.enabled and job.at_boot][:NEXT]


def _short(command: str | tuple[str, ...]) -> str:
    text = printable(command if isinstance(command, str) else " ".join(command))
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
