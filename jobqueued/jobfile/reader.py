"""One job file: bytes → Jobs, or all its problems.

The file is accepted or refused as a whole. `defaults` apply to each job in the file: maps merge one level; lists and
other values are replaced.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from jobqueued.base.instants import Trigger, to_instant
from jobqueued.base.intern import shared
from jobqueued.base.problem import Problem
from jobqueued.jobfile.foreign import AT_THE_TOP, ELSEWHERE
from jobqueued.jobfile.keys.keys import FILE_KEYS, JOB_KEYS
from jobqueued.jobfile.merged_tree import TOP, merged_tree
from jobqueued.jobfile.runner_rules import of_a_runner
from jobqueued.jobfile.scopes import NOWHERE, Locality, of_a_fleet
from jobqueued.jobfile.tree.drop_ins import FileText, in_its_file, parts_of
from jobqueued.jobfile.tree.yamlslips import A_JOB_FILE
from jobqueued.jobfile.tree.yamltext import PART, Mapping, Node, Scalar, Steps, YamlEntry, at_once, is_null
from jobqueued.jobfile.types.queue_types import ID
from jobqueued.jobfile.types.refusal import NotAccepted, Refusal
from jobqueued.jobfile.types.scalars import Key, ValueType
from jobqueued.jobfile.types.spelling import plain_name
from jobqueued.jobfile.types.types import MAX_PROBLEMS, mapping, read_keys
from jobqueued.jobfile.user_rules import UserRules, of_the_host
from jobqueued.model.job import Job, On, Scope
from jobqueued.timing.cronexpr import SECONDS
from jobqueued.timing.crontab import in_a_job
from jobqueued.timing.schedule import At, Every, Schedule, ScheduleError, Seconds, offset, schedule_of

_BODY = mapping("a mapping of job keys such as {command: ls -l}", dict)
MAX_JOBS = 1000
"""Maximum number of jobs in one file, because all of them come into force in one turn of the main loop."""
MAX_EXPRESSIONS = 500
"""Maximum number of cron expressions in one job, because one step compiles all of them (about 10 ms)."""
MAX_ID = 64
MAX_COST, EXPRESSION = 15_000, 3
"""Maximum cost of one file.

A copied variable costs 1, and a cron expression costs EXPRESSION; 5,000 expressions take 30 ms in a turn.
"""
JOBS_A_STEP = 5
"""Number of jobs in one step, which takes about half a millisecond."""
_COST_OF_A_JOB = 10 * EXPRESSION
"""Cost of a job, in expressions: reading one job takes as long as reading ten expressions."""
_OF_CRON = {
    "MAILTO": ("notify", "for mail, write `notify`"),
    "CRON_TZ": ("timezone", "write `timezone`"),
    "SHELL": ("shell", "write `shell`"),
    "RANDOM_DELAY": ("spread", "write `spread`"),
}
"""Crontab variable → the key that replaces it, and the advice for a job without this key."""

Entries = dict[str, YamlEntry]


def read_jobs(
    data: bytes, file: str, *, timezone: str = "UTC", seed: str = "", rules: UserRules | None = None
) -> tuple[tuple[Job, ...], list[Problem]]:
    """Return a file's jobs, in the file's order, and its Problems.

    Return no jobs if any Problem has the severity "error".

    `timezone` applies to jobs without the key `timezone`. `seed` (the machine id) determines the values of `H`. `rules`
    has the limits for a user's file. Problems are sorted, errors first, then by place; at most `MAX_PROBLEMS`. Never
    raises.
    """
    return at_once(read_in_steps(data, file, Locality(timezone, seed), rules=rules))


def read_in_steps(
    data: bytes, file: str, host: Locality = NOWHERE, *, rules: UserRules | None = None
) -> Steps[tuple[tuple[Job, ...], list[Problem]]]:
    """Read a file as `read_jobs` does, in steps of about a millisecond."""
    return (yield from read_parts_in_steps([FileText(file, data)], file, host, rules=rules))


def read_packed(text: bytes, file: str, host: Locality = NOWHERE) -> tuple[tuple[Job, ...], list[Problem]]:
    """Return the jobs in the output of `packed`, which joins a file and its drop-ins. Each Problem names its own
    file."""
    return at_once(read_parts_in_steps(parts_of(text, file), file, host))


def read_parts_in_steps(
    parts: Sequence[FileText],
    file: str,
    host: Locality = NOWHERE,
    *,
    rules: UserRules | None = None,
    refused: list[Refusal] | None = None,
) -> Steps[tuple[tuple[Job, ...], list[Problem]]]:
    """Read a file and its drop-ins in steps. `file` is the file's name in the catalog, and the `file` of its jobs.

    If `refused` is given, the refusals that became Problems are added to it.
    """
    tree, problems, refusals, of_no_effect = yield from merged_tree(parts)
    reading = _FileReading(file, host, [part.path for part in parts], rules, refused=refused)
    reading.note(refusals, of_no_effect)
    jobs = (yield from reading.jobs(tree, parts[0].text)) if tree is not None else ()
    errors = [problem for problem in problems if problem.severity == "error"] + reading.problems_of(reading.errors)
    odd = [problem for problem in problems if problem.severity == "warning"] + reading.problems_of(reading.warnings)
    problems = (reading.in_order(errors) + reading.in_order(odd))[:MAX_PROBLEMS]
    return () if errors else tuple(jobs), problems


@dataclass(slots=True)
class _FileReading:
    """A file that is being read, and its problems so far, each with the id of the first job that has the problem.

    An error in `defaults` recurs in each job, but counts once. `stood_for`: keys that the file contains under another
    program's name. Line numbers are positions in the merged tree (drop_ins.py); `paths` has the path of each part.
    """

    file: str
    host: Locality
    paths: list[str]
    rules: UserRules | None = None
    errors: dict[Problem, str] = field(default_factory=dict)
    job: str = ""
    stood_for: set[str] = field(default_factory=set)
    warnings: dict[Problem, str] = field(default_factory=dict)
    shared: dict[str, Any] = field(default_factory=dict)
    cost: int = 0
    refused: list[Refusal] | None = None

    def note(self, refusals: list[Problem], of_no_effect: list[Problem]) -> None:
        """Add the problems that an earlier step found."""
        self._note(self.errors, *refusals)
        self._note(self.warnings, *of_no_effect)

    def problems_of(self, found: dict[Problem, str]) -> list[Problem]:
        return [in_its_file(problem, self.paths)._replace(job=job[:MAX_ID]) for problem, job in found.items()]

    def in_order(self, problems: list[Problem]) -> list[Problem]:
        return sorted(problems, key=lambda problem: (self.paths.index(problem.file), *problem[1:]))

    def _place(self, key: Scalar) -> dict[str, Any]:
        """Return the Job fields that contain its place."""
        number, line = divmod(key.line, PART)
        place: dict[str, Any] = {"file": self.file, "line": line}
        if self.paths != [self.file]:
            place |= {"origin": self.paths[number], "drop_ins": tuple(self.paths[1:])}
        return place

    def jobs(self, tree: Node, data: bytes) -> Steps[list[Job]]:
        crontab = in_a_job(data.decode(errors="ignore")) if isinstance(tree, Scalar) else ""
        if crontab:
            self._refuse(Refusal.of(tree, A_JOB_FILE.format(crontab), "a crontab", code="JQ107"))
            return []
        entries = self._entries(tree, TOP) or {}
        misplaced = {plain_name(name): _misplaced(name, node) for name, (_, node) in entries.items()}
        misplaced = {name: advice for name, advice in misplaced.items() if advice}
        top = self._values(entries, FILE_KEYS, misplaced | AT_THE_TOP)
        defaults = top.get("defaults", {})
        self.shared = self._values(defaults, JOB_KEYS, ELSEWHERE)
        self._when("defaults", self.shared, defaults, defaults)
        if self.errors:
            self.shared.pop("schedule", None)  # its error was already reported
        jobs: list[Job] = []
        bodies = list(top.get("jobs", {}).values())
        if len(bodies) > MAX_JOBS:
            found = f"{len(bodies)} jobs"
            wrong = Refusal.of(bodies[MAX_JOBS].key, f"at most {MAX_JOBS} in a file", found, code="JQ103")
            self._refuse(wrong.below("jobs"))
            return jobs
        rested = 0
        for number, entry in enumerate(bodies):
            while number + self.cost // _COST_OF_A_JOB >= rested + JOBS_A_STEP:  # a long step counts as several
                rested += JOBS_A_STEP
                yield
            job = self._job(entry, defaults)
            if job is not None:
                jobs.append(job)
            if len(self.errors) >= MAX_PROBLEMS or self._costs_too_much(entry.key):
                break
        return jobs

    def _costs_too_much(self, place: Scalar) -> bool:
        """If a file's cost exceeds MAX_COST, refuse the file and return True.

        Each job re-reads `defaults`, which could take minutes.
        """
        if self.cost > MAX_COST:
            counting = f"a cron expression counts as {EXPRESSION}, and `defaults` count for each job"
            found = f"more than {MAX_COST} variables ({counting})"
            self._refuse(Refusal.of(place, f"at most {MAX_COST} in a file", found, code="JQ103"))
        return self.cost > MAX_COST

    def _job(self, entry: YamlEntry, defaults: Entries) -> Job | None:
        key, body = entry
        if key.text in JOB_KEYS and not isinstance(body, Mapping) and not is_null(body):
            found = f"the job key {key.text!r} in place of a job id"
            accepted = "the id of its job above it, and the key indented below that"
            self._refuse(Refusal.of(key, accepted, found, code="JQ201"))
            return None
        self.job = ""
        try:
            self.job = ID.read(key)
        except NotAccepted as wrong:
            self._refuse(*wrong.refusals)
        given = self._entries(body, _BODY)
        if given is None:
            return None
        own = self._own(defaults, given)
        entries = defaults | own
        values = {**self.shared, **self._values(own, JOB_KEYS, ELSEWHERE)}
        if "command" not in entries and "command" not in self.stood_for:
            accepted = f"{JOB_KEYS['command'].type.accepted}, as in `command: ls -l`"
            self._refuse(Refusal.of(key, accepted, "no command", code="JQ203").below("command"))
        self._check_claims(values, entries)
        name = key.text if self.rules is None else self.rules.prefix + key.text
        self._warn_of_notices(own, values)
        when = self._when(name, values, entries, own)
        if "command" not in values:
            return None
        job = Job(id=name, **self._place(key), **{**values, **when})
        self._refuse(*of_a_runner(job, entries))
        if self.rules is None:
            self._refuse(*of_the_host(job, entries), *of_a_fleet(job, entries))
            return job
        job, refusals = self.rules.applied(job, entries)
        self._refuse(*refusals)
        return job

    def _check_claims(self, values: dict[str, Any], entries: Entries) -> None:
        """Refuse a name that is both a lock and a resource, because a run claims each name once."""
        locks = {claim.resource for claim in values.get("locks", ())}
        for claim in values.get("resources", ()):
            if claim.resource in locks:
                found = f"{claim.resource!r} in `locks` and in `resources`"
                twice = Refusal.of(entries["resources"].key, "the name in only one of them", found, code="JQ205")
                self._refuse(twice.below("resources"))

    def _own(self, defaults: Entries, given: Entries) -> Entries:
        """Return a job's entries: its maps are merged with the maps in `defaults`; other values remain unchanged."""
        own = dict(given)
        for name in defaults.keys() & given.keys():
            key, mine = given[name]
            shared = defaults[name].value
            if isinstance(mine, Mapping) and isinstance(shared, Mapping):
                self.cost += len(shared.entries)
                own[name] = YamlEntry(key, mine._replace(entries=shared.entries | mine.entries))
        return own

    def _when(self, job: str, values: dict[str, Any], entries: Entries, own: Entries) -> dict[str, Any]:
        """Return the Job fields that contain its triggers."""
        expressions, seconds = values.get("schedule", ()), values.get("seconds")
        self.cost += EXPRESSION * len(expressions)
        if len(expressions) > MAX_EXPRESSIONS:
            found = f"{len(expressions)} cron expressions"
            most = f"at most {MAX_EXPRESSIONS} of a job"
            self._refuse(Refusal.of(expressions[MAX_EXPRESSIONS], most, found, code="JQ103").below("schedule"))
            return {}
        if self.cost > MAX_COST:
            return {}
        zone, seed = self.host.of(values.get("scope", Scope.HOST))
        zone, dst = values.get("timezone", zone), values.get("dst", "cron")
        dst_place = entries["dst"].value if "dst" in entries else None
        schedules = list(self._schedules(expressions, job, zone, dst, seed, dst_place))
        triggers: list[Trigger] = list(schedules if seconds is None else self._with_seconds(schedules, seconds))
        texts = shared(tuple(expression.text for expression in expressions))
        when: dict[str, Any] = {"schedule": texts, "timezone": zone}
        anchor = At.read(values["anchor"], zone) if "anchor" in values else None
        if "every" in values and values["every"] is not None:
            triggers.append(Every(values["every"], *([anchor.instant] if anchor else [])))
        if "at" in values:
            triggers.append(at := At.read(values["at"], zone))
            when["at"] = to_instant(at.instant)
        if seconds is not None:
            when["seconds"] = seconds.text
        if anchor is not None:
            when["anchor"] = to_instant(anchor.instant)
        self._warn_of_no_effect(entries, "seconds", "schedule")
        self._warn_of_no_effect(entries, "anchor", "every")
        self._warn_of_variables(own, entries)
        self._warn_of_commands(own)
        on = values.get("on", ())
        boot = any(schedule.at_boot for schedule in schedules) or "boot" in on
        shift = offset(values["spread"], job, seed) if "spread" in values else 0
        events = tuple(event for event in on if isinstance(event, On))
        return {**when, "on": events, "at_boot": boot, "triggers": tuple(triggers), "offset": shift}

    def _schedules(self, expressions: Iterable[Scalar], *rest: Any) -> Iterator[Schedule]:
        for expression in expressions:
            if len(self.errors) >= MAX_PROBLEMS:
                return
            if schedule := self._schedule(expression, *rest):
                yield schedule

    def _schedule(
        self, expression: Scalar, job: str, zone: str, dst: str, seed: str, dst_place: Node | None
    ) -> Schedule | None:
        try:
            schedule = schedule_of(job, expression.text, zone, dst, seed)
        except ScheduleError as error:
            if error.field == "dst" and isinstance(dst_place, Scalar):
                self._note(self.errors, _about(dst_place, "dst", error.reason, error.code))
            else:
                self._note(self.errors, _about(expression, "schedule", _reason(error), error.code))
            return None
        self._note(
            self.warnings,
            *(_about(expression, "schedule", str(found), "JQ304", "warning") for found in schedule.warnings),
        )
        return schedule

    def _with_seconds(self, schedules: list[Schedule], seconds: Scalar) -> list[Seconds]:
        try:
            found = [Seconds(schedule, seconds.text) for schedule in schedules]
        except ScheduleError as error:
            self._note(self.errors, _about(seconds, "seconds", error.reason, error.code))
            return []
        own = {warning for each in found for warning in each.warnings if warning.field == SECONDS.name}
        self._note(self.warnings, *(_about(seconds, "seconds", it.text, "JQ304", "warning") for it in own))
        return found

    def _warn_of_no_effect(self, entries: Entries, name: str, other: str) -> None:
        if name in entries and other not in entries:
            message = f"has no effect without `{other}`"
            self._note(self.warnings, _about(entries[name].key, name, message, "JQ206", "warning"))

    def _warn_of_variables(self, own: Entries, entries: Entries) -> None:
        """Warn of crontab variables that a key replaces, unless the job has the key or the variable is empty."""
        body = own["environment"].value if "environment" in own else None
        for name, place in body.entries.items() if isinstance(body, Mapping) else ():
            key, advice = _OF_CRON.get(name, ("", ""))
            is_empty = isinstance(place.value, Scalar) and not place.value.text
            if key and key not in entries and not is_empty:
                message = f"is only a variable of the command, unlike in a crontab; {advice}"
                self._note(self.warnings, _about(place.key, f"environment.{name}", message, "JQ207", "warning"))

    def _warn_of_notices(self, own: Entries, values: dict[str, Any]) -> None:
        """Warn of `notify` without an address; `notify: {}` means that no one is notified."""
        body = own["notify"].value if "notify" in own else None
        says_something = isinstance(body, Mapping) and body.entries and "notify" in values
        if says_something and next(values["notify"].targets(), None) is None:
            message = "has no effect without `email`, `webhook`, `command` or `apprise`"
            self._note(self.warnings, _about(own["notify"].key, "notify", message, "JQ206", "warning"))

    def _warn_of_commands(self, entries: Entries) -> None:
        for name in ("command", "failover"):
            node = entries[name].value if name in entries else None
            if not isinstance(node, Scalar):
                continue
            if node.joined:
                message = (
                    "found several lines, which the shell gets as one; expected | after the key, to keep line breaks"
                )
                self._note(self.warnings, _about(node, name, message, "JQ208", "warning"))
            if node.escaped:
                message = f"found {node.escaped} in double quotes, where YAML replaces it before the shell sees it"
                message += "; expected single quotes, or | after the key"
                self._note(self.warnings, _about(node, name, message, "JQ209", "warning"))

    def _entries(self, node: Node, body: ValueType) -> Entries | None:
        try:
            entries: Entries = body.read(node)
        except NotAccepted as wrong:
            self._refuse(*wrong.refusals)
            return None
        return entries

    def _values(self, entries: Entries, keys: dict[str, Key], elsewhere: dict[str, str]) -> dict[str, Any]:
        values, refusals = read_keys(entries, keys, elsewhere)
        self._refuse(*refusals)
        return values

    def _note(self, among: dict[Problem, str], *problems: Problem) -> None:
        for problem in problems:
            among.setdefault(problem, self.job)

    def _refuse(self, *refusals: Refusal) -> None:
        self._note(self.errors, *(refusal.problem() for refusal in refusals))
        self.stood_for.update(refusal.stands_for for refusal in refusals)
        if self.refused is not None:
            self.refused += refusals


_INDENT = "a line `jobs:` above it, and the job with its keys indented below that, as in jobs: {backup: {…}}"


def _misplaced(name: str, node: Node) -> str:
    """Return advice if a job or a crontab line stands where `jobs` is expected; otherwise return ""."""
    if isinstance(node, Mapping):
        return _INDENT if "command" in node.entries else ""
    keys = in_a_job(f"{name}: {node.text}") if isinstance(node, Scalar) else ""
    return f"{A_JOB_FILE.format(keys)}; this line is from a crontab" if keys else ""


def _reason(error: ScheduleError) -> str:
    return error.reason if error.field == "expression" else str(error)


def _about(place: Scalar, key: str, message: str, code: str, severity: str = "error") -> Problem:
    return Problem("", place.line, place.column, key, message, severity, code=code)
