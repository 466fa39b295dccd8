"""One job file: bytes → Jobs, or everything that is wrong with it.

The file is accepted or refused as a whole.  `defaults` apply to each job of the file: maps merge one level, lists and
all else are replaced.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from jobqueued.keys import FILE_KEYS, JOB_KEYS, MAX_PROBLEMS, PLANNED, Kind, Wrong, mapping, read_keys, refused
from jobqueued.model import Job, Problem, Trigger
from jobqueued.schedule import Every, Schedule, ScheduleError
from jobqueued.yamltext import Entry, Mapping, Node, Scalar, quoted, read_tree

_ID = re.compile("[a-z0-9][a-z0-9._-]{0,63}")
_ID_RULE = "an id of 1 to 64 of a-z 0-9 . _ - that starts with a letter or digit"
_TOP = mapping("a mapping with the keys defaults and jobs", dict)
_BODY = mapping("a mapping of job keys", dict)

Entries = dict[str, Entry]


def read_jobs(
    data: bytes, file: str, *, timezone: str = "UTC", seed: str = ""
) -> tuple[tuple[Job, ...], list[Problem]]:
    """The jobs of a file, in its order; with any Problem of severity "error" there are none.

    `timezone` is that of jobs that name none; `seed` (the machine id) settles their `H`.  Problems come errors first,
    then by their place, at most `MAX_PROBLEMS`.  Never raises.
    """
    tree, problems = read_tree(data, file)
    reading = _Reading(file, timezone, seed)
    jobs = reading.jobs(tree) if tree is not None else ()
    errors = {*problems, *reading.errors}
    problems = (_in_order(errors) + _in_order(reading.warnings))[:MAX_PROBLEMS]
    return () if errors else tuple(jobs), [problem._replace(file=file) for problem in problems]


def _in_order(problems: set[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: problem[1:])


@dataclass(slots=True)
class _Reading:
    """One file being read, and what was found so far: in sets, as each job meets what is wrong in `defaults` again."""

    file: str
    timezone: str
    seed: str
    errors: set[Problem] = field(default_factory=set)
    warnings: set[Problem] = field(default_factory=set)

    def jobs(self, tree: Node) -> list[Job]:
        top = self._values(self._entries(tree, _TOP) or {}, FILE_KEYS)
        defaults = top.get("defaults", {})
        self._values(defaults, JOB_KEYS, PLANNED)
        jobs = []
        for entry in top.get("jobs", {}).values():
            job = self._job(entry, defaults)
            if job is not None:
                jobs.append(job)
            if len(self.errors) >= MAX_PROBLEMS:
                break
        return jobs

    def _job(self, entry: Entry, defaults: Entries) -> Job | None:
        key, body = entry
        if not _ID.fullmatch(key.text):
            self.errors.add(refused(key, _ID_RULE, quoted(key.text)))
        given = self._entries(body, _BODY)
        if given is None:
            return None
        entries = _merged(defaults, given)
        if "command" not in entries:
            accepted = JOB_KEYS["command"].kind.accepted
            self.errors.add(refused(key, accepted, "no command")._replace(key="command"))
        values = self._values(entries, JOB_KEYS, PLANNED)
        expressions = values.pop("schedule", ())
        values.setdefault("timezone", self.timezone)
        triggers = self._triggers(key.text, expressions, values)
        if "command" not in values:
            return None
        schedule = tuple(expression.text for expression in expressions)
        return Job(id=key.text, schedule=schedule, triggers=triggers, file=self.file, line=key.line, **values)

    def _triggers(self, job: str, expressions: Iterable[Scalar], values: dict[str, Any]) -> tuple[Trigger, ...]:
        zone, dst = values["timezone"], values.get("dst", "cron")
        triggers = []
        for expression in expressions:
            try:
                triggers.append(Schedule(expression.text, zone, job, dst, seed=self.seed))
            except ScheduleError as error:
                self.errors.add(_about(expression, str(error)))
            else:
                self.warnings.update(_about(expression, text, "warning") for text in triggers[-1].warnings)
        interval = values.get("every")
        return tuple(triggers) if interval is None else (*triggers, Every(interval))

    def _entries(self, node: Node, kind: Kind) -> Entries | None:
        try:
            entries: Entries = kind.read(node)
        except Wrong as wrong:
            self.errors.update(wrong.problems)
            return None
        return entries

    def _values(self, entries: Entries, *tables: Any) -> dict[str, Any]:
        values, problems = read_keys(entries, *tables)
        self.errors.update(problems)
        return values


def _about(expression: Scalar, message: str, severity: str = "error") -> Problem:
    return Problem("", expression.line, expression.column, "schedule", message, severity)


def _merged(defaults: Entries, given: Entries) -> Entries:
    merged = defaults | given
    for name in defaults.keys() & given.keys():
        key, mine = given[name]
        shared = defaults[name].value
        if isinstance(mine, Mapping) and isinstance(shared, Mapping):
            merged[name] = Entry(key, mine._replace(entries=shared.entries | mine.entries))
    return merged
