"""Converts jobs to a crontab for /etc/cron.d; a comment above each line lists the keys that cron can't express."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import fields, replace

from jobqueued.base.instants import MINUTE
from jobqueued.child.contract.documents import DEFAULT_PATH
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.crontabs.table import Form, TableEntry, read
from jobqueued.crontabs.words import assignment
from jobqueued.exchange.yaml_values import comment
from jobqueued.jobfile.tree.words import is_variable
from jobqueued.model.job import CatchUp, Job
from jobqueued.model.notify import NOBODY
from jobqueued.timing.cronexpr import ScheduleError, check_field
from jobqueued.timing.schedule import Schedule

_SAID = frozenset((
    "id", "command", "schedule", "timezone", "every", "at", "at_boot", "on", "seconds", "triggers", "offset", "shell",
    "user", "working_directory", "stdin", "environment", "umask", "enabled", "notify", "file", "line", "origin",
    "drop_ins", "description", "concurrency", "catch_up", "catch_up_window", "leave_children", "grace", "asks_pam",
    "outlasts_steps",
))  # fmt: skip
"""Job fields that a line expresses, or that are handled in another way."""
_EVEN = (1, 3, 5, 15)
"""Intervals (minutes) whose starts fall on the same minutes of the hour in all timezones."""
_UNSET = {"SHELL": "/bin/sh", "PATH": None, "MAILTO": None, "MAILFROM": ""}
"""Variables that a line may need above it → their values at the beginning of a table."""
_ESCAPED = re.compile(r"(\\*)%|\\{2,}")
_HEAD = (
    "Written by jobqueuectl export --crontab in the format of /etc/cron.d: minute hour day month weekday user command."
)
_WAYS = (
    "cron starts a job while its last run is live, does not make up for missed starts, and does not stop processes "
    "that a command leaves behind"
)


class Exported(NamedTuple):
    """A crontab, and the losses as pairs of job and text. `left_out`: the jobs without a line."""

    text: str
    losses: list[tuple[str, str]]
    left_out: list[str]


class _Unsaid(Exception):
    """A crontab can't express a job, or one of its times."""


def crontab_of(jobs: Iterable[Job], timezone: str, user: str, root_groups: frozenset[str] = frozenset()) -> Exported:
    """Return the crontab of these jobs for a host in a timezone.

    `user`: the user of jobs that name no user. `root_groups`: the groups that cron gives root's jobs.
    """
    jobs = tuple(jobs)
    variables: dict[str, str | None] = {**_UNSET, "CRON_TZ": timezone}
    found, losses, left_out = [comment(_HEAD)], list[tuple[str, str]](), list[str]()
    if ways := [
        job.id for job in jobs if (job.concurrency, job.catch_up, job.leave_children) != (1000, CatchUp.NONE, True)
    ]:
        found.append(comment(_WAYS))
        losses.append((", ".join(ways), _WAYS))
    for job in jobs:
        changed = {name: value for name, value in _variables(job).items() if variables[name] != value}
        above = [_assignment(name, value) for name, value in changed.items()]
        has_cron_groups = (job.user or user) == "root" and frozenset(job.groups or ()) == root_groups
        unsaid = list(_losses(replace(job, groups=None) if has_cron_groups else job, timezone))
        lines, wrong = _lines(job, user) if all(above) else ([], ["it has a variable that crontabs can't express"])
        unsaid += wrong
        found += ["", comment(f"{job.id}{job.description and ': '}{job.description}")]
        found += [comment(f"not in this crontab: {text}") for text in unsaid]
        losses += [(job.id, text) for text in unsaid]
        if not lines:
            left_out.append(job.id)
            continue
        variables |= changed
        found += above
        found += lines if job.enabled else [comment(f"not enabled: {line}") for line in lines]
    return Exported("\n".join(found) + "\n", losses, left_out)


def _assignment(name: str, value: str) -> str:
    """Return the line that sets a variable, or "" if no line can set this value."""
    lines = (f"{name}={quote}{value}{quote}" for quote in "\"'")
    return next((line for line in lines if "\n" not in line and assignment(line) == (name, value)), "")


def _variables(job: Job) -> dict[str, str]:
    """Return the variables that the table must set above a job's line."""
    path = dict(job.environment).get("PATH", DEFAULT_PATH)
    mailto = ",".join(job.notify.email) if "output" in job.notify.on else ""
    return {"SHELL": job.shell, "PATH": path, "MAILTO": mailto, "MAILFROM": job.notify.sender, "CRON_TZ": job.timezone}


def _losses(job: Job, timezone: str) -> Iterator[str]:
    """Yield a job's losses: the keys that no crontab line can express."""
    blank = Job(id=job.id, command=job.command)
    names = (field.name for field in fields(Job) if field.name not in _SAID)
    lost = [name for name in names if getattr(job, name) != getattr(blank, name)]
    if job.notify != NOBODY and (set(job.notify.on) != {"output"} or [*job.notify.targets()][len(job.notify.email) :]):
        lost.append("notify")
    if lost:
        yield f"cron has no {', '.join(f'`{name}`' for name in lost)}"
    if job.timezone != timezone:
        yield "Debian's cron has no CRON_TZ and uses the host's time zone; cronie has CRON_TZ"
    if job.on:
        yield "cron has no events, so `on` does not start the job"
    if not job.enabled:
        yield "the job is not enabled, so its line is a comment"


def _lines(job: Job, user: str) -> tuple[list[str], list[str]]:
    """Return a job's lines, and the reasons why lines are missing."""
    lines, wrong = list[str](), list[str]()
    try:
        command, stdin = _command(job), _stdin(job)
    except _Unsaid as error:
        return [], [str(error)]
    for when in _times(job, wrong):
        line = f"{when} {job.user or user} {_escaped(command)}{stdin}"
        if _is_read(line, when, job.user or user, command, job.stdin):
            lines.append(line)
        else:
            wrong.append("it has something that crontabs can't express, such as a backslash before % in its `stdin`")
            break
    if not lines and not wrong:
        wrong.append("it has no clock time that starts it")
    return lines, wrong


def _times(job: Job, wrong: list[str]) -> Iterator[str]:
    """Yield the five fields for each of a job's schedules; add to `wrong` the reasons why schedules are missing."""
    if job.seconds not in (None, "0"):
        wrong.append("cron has no seconds")
        return
    if job.at is not None:
        wrong.append("cron has no `at`: see at(1)")
    if job.every is not None:
        minutes, odd = divmod(job.every, MINUTE)
        if odd or minutes not in _EVEN or job.anchor % job.every:
            wrong.append("cron has no `every`; it can express only 1m, 3m, 5m and 15m")
        else:
            yield "* * * * *" if minutes == 1 else f"*/{minutes} * * * *"
    if job.at_boot:
        yield "@reboot"
    for trigger in job.triggers:
        if isinstance(trigger, Schedule) and not trigger.at_boot:
            numbers = trigger.in_numbers
            try:
                for index, text in enumerate(numbers.split()):
                    check_field(index, text)
            except ScheduleError:
                wrong.append(f"cron can't express {numbers!r}")
            else:
                yield numbers


def _command(job: Job) -> str:
    text = job.command if isinstance(job.command, str) else shlex.join(job.command)
    own = {name: value for name, value in job.environment if name not in _UNSET and name != "CRON_TZ"}
    before = []
    if any(not is_variable(name) for name in own):
        raise _Unsaid("it has a variable that no shell can set")
    if own:
        before.append("export " + " ".join(f"{name}={shlex.quote(value)}" for name, value in own.items()))
    if job.umask is not None:
        before.append(f"umask {job.umask:04o}")
    if job.working_directory:
        directory = job.working_directory.removeprefix("-")
        before.append(f"cd {shlex.quote(directory)} || {'exit' if directory == job.working_directory else 'cd /'}")
    whole = "; ".join([*before, text.strip(" \t")])
    if "\n" in whole:
        raise _Unsaid("its command has several lines; put them into a script and call that")
    return whole


def _escaped(command: str) -> str:
    """Escape a command for a crontab line. Cron keeps a backslash unless another backslash or ``%`` follows."""
    return _ESCAPED.sub(lambda found: found[1] * 2 + "\\%" if found[0].endswith("%") else found[0] * 2, command)


def _stdin(job: Job) -> str:
    if not job.stdin:
        return ""
    if not job.stdin.endswith("\n"):
        raise _Unsaid("its `stdin` does not end with a newline, but cron always adds one")
    return "%" + job.stdin.removesuffix("\n").replace("%", "\\%").replace("\n", "%")


def _is_read(line: str, when: str, user: str, command: str, stdin: str) -> bool:
    """Return whether cron would read these values from a line."""
    items = read(f"{line}\n".encode(errors="surrogateescape"), Form.SYSTEM)
    meant = (when, user, command, stdin)
    return [meant] == [
        (item.schedule, item.user, item.command, item.stdin or "") for item in items if isinstance(item, TableEntry)
    ]
