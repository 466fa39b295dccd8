"""Converts a crontab's lines to Jobs, which behave as in cron. A line that can't be a job becomes a problem.

As with cron, a job's runs may overlap, missed starts are not made up for, and processes that a run leaves behind
continue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from jobqueued.base.instants import DAY, to_instant
from jobqueued.base.problem import Problem
from jobqueued.base.text import size
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.crontabs import names
from jobqueued.crontabs.options import MOVED, is_option, options
from jobqueued.crontabs.periods import OF_ANACRON, is_run_by_crontab, when
from jobqueued.crontabs.run_parts import Parts, parts_of
from jobqueued.crontabs.table import Assignment, Comment, Form, Item, LineFlaw, TableEntry, read_in_steps
from jobqueued.crontabs.variables import foreign_sender, keys_of, odd_mail, odd_value
from jobqueued.jobfile.tree.yamltext import MAX_BYTES, Steps
from jobqueued.jobfile.types.spelling import odd_space_in
from jobqueued.jobfile.types.types import MAX_PROBLEMS
from jobqueued.model.job import CatchUp, Claim, Job
from jobqueued.timing.crontab import drawn_once
from jobqueued.timing.schedule import At, Every, Schedule, ScheduleError, offset

MAX_JOBS = 1000
"""Maximum number of jobs in one table, as in a job file. All its jobs come into force in one turn."""
UNLIMITED = 1000
"""Maximum number of a job's runs at a time. Cron has no limit; this is the highest limit that a job can have."""
_LINES_A_STEP = 20
_ROOT = "root"
_AS_OF_ANACRON: dict[str, Any] = {
    "concurrency": 1,
    "catch_up": CatchUp.LATEST,
    "catch_up_window": 31 * DAY,
}
"""Settings of jobs for scripts: after host downtime, each script runs once, as with anacron."""
_LONGEST, _SHOWN = 1000, 300
"""Maximum length of a message, and length of the beginning and of the end that a longer message keeps (characters).

A message may quote a huge value.
"""
_NOT_RUN = "; this line is not run"


class TablePlace(NamedTuple):
    """A table's place, which its jobs' names are derived from: `id` (``cron.d/munin``), and the owner, or None for the
    system.

    `expand`: whether a line with run-parts becomes one job for each script, unless an option of the line says
    otherwise. `periodic`: whether the table is an anacrontab.
    """

    id: str
    owner: str | None = None
    expand: bool = False
    periodic: bool = False

    @property
    def form(self) -> Form:
        """The form of the table's lines."""
        if self.periodic:
            return Form.ANACRON
        return Form.SYSTEM if self.owner is None else Form.USER


class CronHost(NamedTuple):
    """The facts about a host that jobs depend on: the timezone, the seed, whether the host can send mail, and directory
    → scripts.

    `boots`: whether jobs that are due at this boot may run, because no other cron has run them. `name`: the host's
    name. `any_sender`: whether MAILFROM in a user's table may be any address.
    """

    timezone: str = "UTC"
    seed: str = ""
    mails: bool = True
    boots: bool = True
    scripts: Mapping[str, tuple[str, ...]] = {}
    name: str = ""
    any_sender: bool = False


def read_jobs_in_steps(
    data: bytes, file: str, place: TablePlace, host: CronHost
) -> Steps[tuple[tuple[Job, ...], list[Problem]]]:
    """Return a table's jobs, and the problems in its other lines; each step takes about a millisecond. Never raises."""
    if len(data) > MAX_BYTES:
        message = f"found more than {size(MAX_BYTES)}; expected at most {size(MAX_BYTES)} per table"
        return (), [Problem(file, 0, 0, "", message, code="JQ103")]
    items = yield from read_in_steps(data, place.form)
    reading = _TableConversion(file, place, host)
    for number, item in enumerate(items, 1):
        reading.take(item)
        if not number % _LINES_A_STEP:
            yield
        if len(reading.jobs) > MAX_JOBS:
            break
    return reading.end()


@dataclass(slots=True)
class _TableConversion:
    """The conversion of one table. `loose`: line number → comment with options that no job has used yet."""

    file: str
    place: TablePlace
    host: CronHost
    jobs: list[Job] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    alike: Counter[str] = field(default_factory=Counter)
    taken: set[str] = field(default_factory=set)
    loose: dict[int, Comment] = field(default_factory=dict)
    dos: int = 0

    def take(self, item: Item) -> None:
        match item:
            case Comment():
                if is_option(item):
                    self.loose[item.line] = item
                elif item.text.startswith(MOVED):
                    self._leave_above(item.line)
            case LineFlaw():
                self._add_problem(item.line, item.message + _NOT_RUN, "JQ601")
            case Assignment():
                if item.name == "LOGNAME":
                    message = "has no effect: LOGNAME is the name of the user who runs the job"
                    self._add_problem(item.line, message, "JQ603", "warning")
                elif item.name in ("MAILTO", "MAILFROM"):
                    self._warn_of_mail(item.line, odd_mail(item.name, item.value))
                elif message := odd_value(item.name, item.value, is_of_anacron=self.place.periodic):
                    self._add_problem(item.line, message, "JQ602", "warning")
                if item.name == "MAILFROM" and (wrong := self._foreign_sender(item.value)):
                    self._add_problem(item.line, f"MAILFROM has no effect: {wrong}", "JQ603", "warning")
            case TableEntry():
                self._take_entry(item)

    def _warn_of_mail(self, line: int, message: str) -> None:
        if message:
            self._add_problem(line, message, "JQ603", "warning")

    def _foreign_sender(self, text: str) -> str:
        """Return why this table's mail can't be sent from this address, or "" if it can."""
        owner, host = self.place.owner, self.host
        return "" if owner in (None, _ROOT) or host.any_sender else foreign_sender(text.strip(), owner, host.name)

    def end(self) -> tuple[tuple[Job, ...], list[Problem]]:
        for line in self.loose:
            self._add_problem(line, "has no effect, because the line directly below is not a job", "JQ603", "warning")
        if self.dos:
            message = "ends with a carriage return (DOS), which is removed; expected lines that end with a newline only"
            self._add_problem(self.dos, message, "JQ604", "warning")
        if len(self.jobs) > MAX_JOBS:
            message = f"found more than {MAX_JOBS} jobs; expected at most {MAX_JOBS} per table; the others are not run"
            self._add_problem(self.jobs[MAX_JOBS].line, message, "JQ103")
        problems = sorted(self.problems, key=lambda problem: (problem.severity, problem.line))
        if (more := len(problems) - MAX_PROBLEMS) > 0:
            last = problems[MAX_PROBLEMS - 1]
            problems[MAX_PROBLEMS - 1 :] = [last._replace(message=f"{last.message}; and {more} more problems")]
        return tuple(self.jobs[:MAX_JOBS]), problems

    def _leave_above(self, line: int) -> None:
        """Ignore the options directly above a disabled line, because they belong to this line."""
        while self.loose.pop(line := line - 1, None):
            pass

    def _take_entry(self, entry: TableEntry) -> None:
        for comment in entry.above:
            self.loose.pop(comment.line, None)
        if entry.dos and not self.dos:
            self.dos = entry.line
        if message := odd_space_in(entry.command):
            self._add_problem(entry.line, message, "JQ216", "warning")
        own, problems = options(entry.above, None if self.place.owner == _ROOT else self.place.owner)
        for problem in problems:
            self.problems.append(problem._replace(file=self.file, message=f"{problem.message}; its job is not run"))
        if problems:
            return
        try:
            self.jobs += self._jobs_of(entry, own)
        except ScheduleError as error:
            self._add_problem(entry.line, f"{error}{_NOT_RUN}", error.code)

    def _jobs_of(self, entry: TableEntry, own: dict[str, Any]) -> Iterator[Job]:
        """Yield a line's job, or the jobs for the scripts that the line runs."""
        name, expand = own.pop("id", None), own.pop("expand", self.place.expand)
        owner = self.place.owner or entry.user or _ROOT
        if self.host.mails and not any(name == "MAILTO" for name, _ in entry.environment):
            self._warn_of_mail(entry.line, odd_mail("", owner))
        values: dict[str, Any] = {
            "user": entry.user or owner,
            "command": entry.command,
            "stdin": entry.stdin or "",
            "concurrency": UNLIMITED,
            "catch_up": CatchUp.NONE,
            "leave_children": True,
            "asks_pam": True,
            **keys_of(entry, owner, mails=self.host.mails),
        }
        if self._foreign_sender(values["notify"].sender):
            values["notify"] = replace(values["notify"], sender="")
        if self.place.periodic:
            yield from self._periodic(entry, name, {**values, **OF_ANACRON, **own})
            return
        parts = parts_of(entry.command) if expand else None
        if parts is not None:
            yield from self._scripts(entry, parts, {**values, **_AS_OF_ANACRON}, own)
            return
        job_id = self._free(f"{self.place.id}:{name or names.of_line(entry, owner)}")
        yield self._job(job_id, entry, {**values, **own})

    def _free(self, job_id: str) -> str:
        """Return an ID that no other job in the table has.

        If several lines are equal, the first line gets `job_id` unchanged.
        """
        found = job_id
        while found in self.taken:
            self.alike[job_id] += 1
            found = f"{job_id}.{self.alike[job_id] + 1}"
        self.taken.add(found)
        return found

    def _periodic(self, entry: TableEntry, name: str | None, values: dict[str, Any]) -> Iterator[Job]:
        """Yield the job for a line in an anacrontab."""
        if is_run_by_crontab(entry):
            self._add_problem(
                entry.line, "is not run, because /etc/crontab already runs this directory", "JQ605", "warning"
            )
            return
        job_id = self._free(f"{self.place.id}:{name or names.of_table(entry.name)}")
        expression, minutes = when(entry)
        if minutes is None:
            yield self._job(job_id, entry._replace(schedule=expression), values)
            return
        zone = values.pop("timezone", self.host.timezone)
        anchor = At.read(datetime(1970, 1, 1, minutes // 60, minutes % 60), zone).instant
        shift = offset(values["spread"], job_id, self.host.seed) if "spread" in values else 0
        yield Job(
            id=job_id,
            every=entry.days * DAY,
            anchor=to_instant(anchor),
            timezone=zone,
            offset=shift,
            triggers=(Every(entry.days * DAY, anchor),),
            file=self.file,
            line=entry.line,
            **values,
        )

    def _scripts(self, entry: TableEntry, parts: Parts, values: dict[str, Any], own: dict[str, Any]) -> Iterator[Job]:
        directory = parts.directory.rpartition("/")[2]
        lock = (Claim(directory, exclusive=True),)
        for script in self.host.scripts.get(parts.directory, ()):
            told = {**values, "command": parts.command(script), **own}
            locks = {claim.resource: claim for claim in (*own.get("locks", ()), *lock)}
            yield self._job(
                self._free(f"{self.place.id}:{names.of_script(directory, script)}"),
                entry,
                {**told, "locks": tuple(locks.values())},
            )

    def _job(self, job_id: str, entry: TableEntry, values: dict[str, Any]) -> Job:
        zone, seed = values.pop("timezone", self.host.timezone), self.host.seed
        expression = drawn_once(entry.schedule)
        schedule = Schedule(expression, zone, job_id, values.get("dst", "cron"), seed=seed)
        for found in schedule.warnings:
            self._add_problem(entry.line, str(found), "JQ304", "warning")
        shift = offset(values["spread"], job_id, seed) if "spread" in values else 0
        return Job(
            id=job_id,
            schedule=(expression,),
            timezone=zone,
            triggers=(schedule,),
            offset=shift,
            at_boot=schedule.at_boot and self.host.boots,
            outlasts_steps=schedule.is_fixed,
            file=self.file,
            line=entry.line,
            **values,
        )

    def _add_problem(self, line: int, message: str, code: str, severity: str = "error") -> None:
        if len(message) > _LONGEST:
            message = f"{message[:_SHOWN]} … {message[-_SHOWN:]}"
        self.problems.append(Problem(self.file, line, 0, "", message, severity, code=code))
