"""Converts a crontab to drafts of jobs that behave like the live table, with its comments and notes about each line."""

from __future__ import annotations

from collections import defaultdict
from typing import Any
from zoneinfo import ZoneInfo

from jobqueued.base.instants import to_datetime
from jobqueued.base.problem import Problem
from jobqueued.crontabs import names
from jobqueued.crontabs.jobs import CronHost, TablePlace, read_jobs_in_steps
from jobqueued.crontabs.options import is_option, written
from jobqueued.crontabs.table import Assignment, Comment, Item, LineFlaw, TableEntry, read
from jobqueued.exchange.draft import ImportedFile, JobDraft, UniqueIds, left_out
from jobqueued.exchange.yaml_values import of_node
from jobqueued.jobfile.tree.words import is_variable
from jobqueued.jobfile.tree.yamltext import at_once
from jobqueued.jobfile.types.spelling import spelled_duration
from jobqueued.model.job import Claim, Job
from jobqueued.model.notify import NOBODY, Notify

_NOT_KEYS = ("id", "expand", "locks")
"""Options that a job file expresses in another way."""
_SHELL = "/bin/sh"
_RELATIVE_SHELL = (
    "found a SHELL above this line that is not an absolute path, which a job file can't have; this line is not imported"
)
_NO_MAIL = (
    "MAILTO has no effect, as with cron, and no job gets `notify`: this host can't send mail (no sendmail, no `smtp` "
    "in jobqueued.yaml)"
)


def read_table(data: bytes, file: str, name: str, place: TablePlace, host: CronHost, ids: UniqueIds) -> ImportedFile:
    """Read a whole table. `name`: the source's name, which the job file's name is derived from. Never raises."""
    source = ImportedFile(file, name)
    jobs, problems = at_once(read_jobs_in_steps(data, file, place, host))
    reading = _TableImport(source, place, host, ids, jobs, problems)
    for item in read(data, place.form):
        reading.take(item)
    reading.end()
    return source


class _TableImport:
    """The conversion of one table. `pending`: comments that do not belong to a draft yet."""

    def __init__(
        self,
        source: ImportedFile,
        place: TablePlace,
        host: CronHost,
        ids: UniqueIds,
        jobs: tuple[Job, ...],
        problems: list[Problem],
    ) -> None:
        self._source, self._place, self._host, self._ids = source, place, host, ids
        self._jobs, self._told = defaultdict[int, list[Job]](list), defaultdict[int, list[Problem]](list)
        for job in jobs:
            self._jobs[job.line].append(job)
        for problem in problems:
            self._told[problem.line].append(problem)
        source.problems += (problem._replace(message=_of_an_import(problem.message)) for problem in problems)
        self._pending: list[tuple[int, str]] = []

    def take(self, item: Item) -> None:
        """Process the next line."""
        match item:
            case Comment():
                if not is_option(item):
                    self._pending.append((item.line, item.text))
            case Assignment():
                if item.name == "MAILTO" and item.value and not self._host.mails:
                    self._source.add_problem(item.line, _NO_MAIL)
                self._row(item.line, "env", name=item.name, value=item.value)
            case LineFlaw():
                self._row(item.line, "error", reason=item.reason, text=item.text)
                self._pending.append((item.line, left_out(item.line, item.text)))
            case TableEntry():
                self._take_entry(item)

    def end(self) -> None:
        """Assign the comments at the end of the table."""
        if self._source.drafts:
            self._source.tail = tuple(text for _, text in self._pending)
        else:
            self._source.head = tuple(text for _, text in self._pending)

    def _row(self, line: int, kind: str, **values: Any) -> None:
        notes = [_of_an_import(problem.message) for problem in self._told[line]]
        self._source.rows.append({"line": line, "type": kind, **values, "notes": notes})

    def _take_entry(self, entry: TableEntry) -> None:
        jobs = self._jobs[entry.line]
        if any(not job.shell.startswith("/") for job in jobs):
            jobs = []
            self._source.add_problem(entry.line, _RELATIVE_SHELL, "error")
        drafts = [self._draft(job, entry) for job in jobs]
        user = jobs[0].user if jobs else entry.user or self._place.owner
        self._row(
            entry.line,
            "job",
            schedule=entry.schedule,
            user=user,
            command=entry.command,
            stdin=entry.stdin,
            environment=dict(entry.environment),
            id=drafts[0].id if drafts else None,
        )
        self._source.rows[-1]["notes"] += [text for draft in drafts for text in draft.differs]
        if len(drafts) > 1:
            self._source.rows[-1]["notes"].append(
                f"becomes one job per script: {', '.join(draft.id for draft in drafts)}"
            )
        if not drafts:
            self._pending.append((entry.line, left_out(entry.line, f"{entry.schedule} {entry.command}")))
            return
        for draft in drafts:
            for text in draft.differs:
                self._source.add_problem(entry.line, text)
        self._source.drafts += drafts

    def _draft(self, job: Job, entry: TableEntry) -> JobDraft:
        lines = {comment.line for comment in entry.above}
        above = tuple(text for line, text in self._pending if line in lines)
        apart = tuple(text for line, text in self._pending if line not in lines)
        self._pending.clear()
        if not self._source.drafts and apart:
            self._source.head, apart = apart, ()
        options = {name: of_node(node) for name, node in written(entry.above).items()}
        keys, differs = keys_of(job, self._host.timezone)
        keys |= {name: value for name, value in options.items() if name not in _NOT_KEYS}
        return JobDraft(
            id=self._id(job, entry, options.get("id")),
            keys=keys,
            means=job,
            line=entry.line,
            above=above,
            apart=apart,
            differs=tuple(differs),
        )

    def _id(self, job: Job, entry: TableEntry, wanted: str | None) -> str:
        name = job.id.partition(":")[2]
        owner = self._place.owner or ""
        if self._place.periodic:
            return self._ids.free(wanted or name)
        if "/" in name:  # the job is for one of several scripts
            return self._ids.free(owner, *name.split("/"))
        if wanted is not None:
            return self._ids.free(owner, wanted)
        word = names.word_of(entry.command)
        table = owner or ("" if self._source.name == "crontab" else self._source.name)
        return self._ids.free(word) if word.startswith(table.lower()) else self._ids.free(table, word)


def _of_an_import(message: str) -> str:
    return message.replace("is not run", "is not imported")


def keys_of(job: Job, timezone: str) -> tuple[dict[str, Any], list[str]]:
    """Return the keys for a table's job, and notes on the parts that no job file can express; `timezone` is the default
    timezone.
    """
    environment, differs = _environment(job)
    keys: dict[str, Any] = {
        "schedule": job.schedule[0] if len(job.schedule) == 1 else list(job.schedule),
        "timezone": job.timezone,
        "every": job.every and spelled_duration(job.every),
        "anchor": _wall(job) if job.anchor else "",
        "spread": spelled_duration(job.spread),
        "user": job.user,
        "command": job.command,
        "stdin": job.stdin,
        "shell": job.shell,
        "working_directory": job.working_directory,
        "environment": environment,
        "concurrency": job.concurrency,
        "catch_up": job.catch_up.value,
        "catch_up_window": spelled_duration(job.catch_up_window),
        "leave_children": job.leave_children,
        "locks": [_lock(claim, differs) for claim in job.locks],
        "notify": _notify(job.notify),
    }
    usual = {"timezone": timezone, "shell": _SHELL, "spread": "0s", "catch_up_window": "1d", "concurrency": 1}
    for variable, name in (("CRON_TZ", "timezone"), ("RANDOM_DELAY", "spread")):
        if environment.get(variable):
            del usual[name]
    return {
        name: value
        for name, value in keys.items()
        if value not in (None, "", {}, [], False) and value != usual.get(name)
    }, differs


def _environment(job: Job) -> tuple[dict[str, str], list[str]]:
    """Return a job's variables, and notes about omitted variables; the shell is a key, not a variable."""
    given = {name: value for name, value in job.environment if (name, value) != ("SHELL", job.shell)}
    odd = [name for name in given if not is_variable(name)]
    for name in odd:
        del given[name]
    rule = "a name of letters, digits and _"
    return given, [
        f"leaves the variable {name!r} out, because a job file can't have a variable of this name; expected {rule}"
        for name in odd
    ]


def _lock(claim: Claim, differs: list[str]) -> Any:
    """Return a lock in a job file's form.

    A user's own lock gets a new name that includes the user's name; record this in `differs`.
    """
    if claim.resource.startswith("/"):
        name = {"path": claim.resource}
    else:
        name = {"name": claim.resource.replace("/", "-")}
        if "/" in claim.resource:
            differs.append(f"renames the lock {claim.resource!r} to {name['name']!r}")
    if claim.exclusive:
        return name.get("name", name)
    return {**name, "units": claim.units} if claim.units else {**name, "mode": "shared"}


def _wall(job: Job) -> str:
    """Return the anchor of a job's interval as wall time in the job's timezone."""
    wall = to_datetime(job.anchor).astimezone(ZoneInfo(job.timezone))
    return wall.replace(tzinfo=None).isoformat(timespec="minutes")


def _notify(wish: Notify) -> dict[str, Any]:
    if wish == NOBODY:
        return {}
    found: dict[str, Any] = {"on": _one(wish.on), "email": _one(wish.email), "from": wish.sender}
    found["remind"] = "none" if wish.remind is None else spelled_duration(wish.remind)
    return {name: value for name, value in found.items() if value}


def _one(values: tuple[str, ...]) -> str | list[str]:
    return values[0] if len(values) == 1 else list(values)
