"""Makes incidents from log lines, and notices for the people who subscribed to them.

Call `about` with a turn's commands before the commit that saves them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from fnmatch import translate
from itertools import chain
from typing import Any

from jobqueued.base.instants import SECOND, to_text
from jobqueued.base.sha256 import sha256
from jobqueued.base.text import duration
from jobqueued.model.commands import Command, EndedElsewhere, SaveIncident, SaveNotice, Say
from jobqueued.model.job import Job
from jobqueued.model.notify import DEFAULT_POLICY, NOBODY, NotifyRule, Target
from jobqueued.model.saved import Incident, Notice
from jobqueued.model.users import share_of
from jobqueued.notices import happenings, incidents
from jobqueued.notices.failing_receivers import Numbers
from jobqueued.notices.happenings import Happening
from jobqueued.notices.outbox import Outbox
from jobqueued.notices.pings import Pings


class Notices:
    """The notices of a host.

    `job` returns the job with an ID, and `zone` returns the host's timezone. `rules`: the rules in jobqueued.yaml.
    `user`: the user for jobs that name no user.
    """

    def __init__(
        self,
        host: str,
        rules: Sequence[NotifyRule],
        zone: Callable[[], str],
        job: Callable[[str], Job | None],
        user: str = "root",
    ) -> None:
        self._host, self._rules, self._job, self._user = host, rules, job, user
        self._patterns = [re.compile("|".join(map(translate, rule.jobs))) if rule.jobs else None for rule in rules]
        policies = {target: rule.policy for rule in reversed(rules) for target in rule.notify.targets()}
        numbers = Numbers()
        self._named = {target for rule in rules for target in rule.notify.targets()}
        """The targets in the rules in jobqueued.yaml."""
        self.outbox = Outbox(host, lambda target: policies.get(target, DEFAULT_POLICY), zone, numbers)
        self.pings = Pings(host, job, numbers)
        self.incidents: dict[str, Incident] = {}

    def restore(self, kept: Iterable[Incident], waiting: Iterable[Notice]) -> None:
        """Restore the state that an earlier scheduler saved."""
        self.incidents = {incident.subject: incident for incident in kept}
        waiting = list(waiting)
        self.outbox.restore(notice for notice in waiting if not _is_ping(notice))
        self.pings.restore(filter(_is_ping, waiting))

    def everything(self) -> list[Command]:
        """Return the commands that save the whole state."""
        saves: list[Command] = [SaveIncident(each.subject, each) for each in self.incidents.values()]
        return [*saves, *map(SaveNotice, self.waiting())]

    def waiting(self) -> Iterator[Notice]:
        """Return all waiting notices, including pings."""
        return chain(self.outbox, self.pings)

    @property
    def troubles(self) -> list[str]:
        """The messages about unreachable receivers."""
        return [*self.outbox.troubles, *self.pings.troubles.describe_all]

    def about(self, commands: Iterable[Command], wall: int) -> list[Command]:
        """Return the commands that save the notices and incidents that these commands cause."""
        saves = list[Command]()
        for command in commands:
            if isinstance(command, Say) and (command.removed is not None or self._matters(command.fields)):
                saves += self._of_line(command, wall)
            elif isinstance(command, EndedElsewhere) and self._matters({"job": command.job}):
                saves += self._of_another_host(command, wall)
        return saves

    def _of_another_host(self, ended: EndedElsewhere, wall: int) -> Iterator[Command]:
        """Yield the commands that save the changes after a run's end on another host, which notifies people itself."""
        happening = happenings.elsewhere(ended.job, ended.state)
        if happening is None:
            return
        if happening.closes:
            yield from self.note(happening, wall)
            return
        known, wishes = self.incidents.get(happening.subject), self._wishes(happening)
        if known is not None or wishes:
            incident = incidents.with_happening_elsewhere(known, happening, wishes, wall)
            self.incidents[incident.subject] = incident
            yield SaveIncident(incident.subject, incident)

    def _of_line(self, said: Say, wall: int) -> list[Command]:
        """Return the commands that save the changes after a log line.

        A run's output is sent in addition to notices about incidents, because these notices may be delayed and joined.
        """
        happening, output = happenings.of(said.event, said.fields), happenings.output_of(said.event, said.fields)
        saves, receivers = list[Command](), list[Target]()
        if output is not None:
            output = output._replace(removed=said.removed)
            receivers = [*self._wishes(output)]
        if happening is not None:
            saves += self.note(happening._replace(removed=said.removed), wall, receivers)
        return saves + [self._put(target, output, "output", None, wall) for target in receivers if output]

    def _matters(self, fields: Mapping[str, Any]) -> bool:
        """Return whether a log line may require a notice. This fast check skips runs of jobs without notices."""
        if self._rules or self.incidents:
            return True
        record, run = fields.get("record"), fields.get("run")
        name = record["job"] if record else run.rpartition("@")[0] if run else fields.get("job")
        job = self._job(name) if name else None
        return job is not None and job.notify is not NOBODY

    def note(self, happening: Happening, wall: int, informed: Collection[Target] = ()) -> Iterator[Command]:
        """Yield the commands that save a happening's notices and incident.

        `informed`: the targets that get a notice of a happening only if it belongs to an incident.
        """
        for subject in happening.closes:
            yield from self._close(subject, happening, wall)
        wishes = self._wishes(happening)
        if not happening.subject or self._is_once(happening):
            yield from (
                self._put(target, happening, happening.event, None, wall) for target in wishes if target not in informed
            )
            return
        known = self.incidents.get(happening.subject)
        if known is None and not wishes:  # no target needs a notice of the end either
            return
        incident, told = incidents.with_happening(known, happening, wishes, wall)
        self.incidents[incident.subject] = incident
        yield SaveIncident(incident.subject, incident)
        for target, event in told.items():
            yield self._put(target, happening, event, incident, wall)

    def _is_once(self, happening: Happening) -> bool:
        """Return whether a happening is the end of a run of a submission or of a removed job.

        Such an end opens no incident, because no later run could end the incident.
        """
        if happening.removed is not None:
            return True
        job = self._job(happening.job) if happening.job is not None else None
        return job is not None and job.submission is not None and happening.event not in ("late", "overdue")

    def reconcile(
        self,
        refused: Collection[str],
        invalid: Callable[[str], bool | None],
        lasts: Callable[[str, str], bool],
        wall: int,
    ) -> list[Command]:
        """End incidents whose ends were not logged; incidents of a deleted job end without a notice.

        `refused`: the files that are refused now. `invalid` returns whether a job can't run, or None if no such job
        exists. `lasts` returns whether a job is still late or overdue; its first argument is "late" or "overdue".
        """
        commands: list[Command] = []
        for subject in list(self.incidents):
            area, _, name = subject.partition(" ")
            if area == "file" and name not in refused:
                over = Happening("success", f"{name}: accepted again", closes=(subject,))
                commands += self.note(over, wall)
            elif area == "invalid" and invalid(name) is False:
                over = Happening("success", f"{name} is valid again", closes=(subject,), job=name)
                commands += self.note(over, wall)
            elif area in ("late", "overdue"):
                if not lasts(area, name):
                    over = Happening("over", f"{name} is no longer {area}", closes=(subject,), job=name)
                    commands += self.note(over, wall)
            elif area not in ("file", "state") and invalid(name) is None:
                del self.incidents[subject]
                commands.append(SaveIncident(subject, None))
        return commands

    def retain(self, jobs: Callable[[], Iterable[Job]]) -> list[Command]:
        """Drop notices for receivers that are no longer in any file; keep outputs of removed jobs.

        `jobs` returns all jobs; it is called only if notices wait.
        """
        if self.outbox.is_idle and self.pings.is_idle:
            return []
        named = self._named | self.outbox.of_past_jobs(self.knows)
        checks = set[Target]()
        for job in jobs():
            named.update(job.notify.targets())
            checks |= {job.ping.target} if job.ping is not None else set()
        return [*self._let_go(named), *self.pings.retain(checks)]

    def _let_go(self, named: Collection[Target]) -> Iterator[Command]:
        """Drop notices for all targets except `named`; a target whose notices were dropped counts as not notified."""
        waited = self.outbox.targets()
        yield from self.outbox.retain(named)
        gone = waited - self.outbox.targets()
        for subject, incident in self.incidents.items():
            told = tuple(mark for mark in incident.told if mark[0] not in gone)
            if told != incident.told:
                self.incidents[subject] = incident._replace(told=told)
                yield SaveIncident(subject, self.incidents[subject])

    def add_test(self, target: Target, job: str | None, wall: int) -> SaveNotice:
        """Add a test notice for a target. `job` is the job that the notice is about, or None.

        The notice is sent at once, together with all waiting notices, even if the last message failed.
        """
        self.outbox.try_again(target)
        test = Happening("test", f"a test of notices to {target.shown} from {self._host}", job=job)
        return self._put(target, test, "test", None, wall)

    def knows(self, job: str) -> bool:
        """Return whether a job with this ID exists."""
        return self._job(job) is not None

    def targets(self, job: str) -> list[Target]:
        """Return all targets that may get notices of a job, from its `notify` and the rules in jobqueued.yaml."""
        own, about = self._job(job), Happening("test", "", job=job)
        rules = [
            rule for rule, jobs in zip(self._rules, self._patterns, strict=True) if _is_about(rule, jobs, about, own)
        ]
        wishes = [*([] if own is None else [own.notify]), *(rule.notify for rule in rules)]
        return list(dict.fromkeys(target for wish in wishes for target in wish.targets()))

    def all_targets(self, jobs: Iterable[Job]) -> dict[Target, str | None]:
        """Return target → the first of these jobs with the target, or None if a rule in jobqueued.yaml names it."""
        found: dict[Target, str | None] = {target: None for rule in self._rules for target in rule.notify.targets()}
        for job in jobs:
            for target in job.notify.targets():
                found.setdefault(target, job.id)
        return found

    def may_go(self, target: Target, job: str | None) -> bool:
        """Return whether a waiting notice about this job may be sent, because the user who must send it is known.

        A waiting notice from an earlier version does not contain the owner of a target in a user's job, so such a
        notice is not sent.
        """
        is_known = target.owner is not None or target.channel == "email" or target in self._named
        return is_known or not share_of(job or "")

    def settings(self, target: Target, job: str | None) -> dict[str, Any]:
        """Return the settings for sending a notice about this job to a target."""
        return self._settings(target, self._job(job) if job is not None else None)

    def _settings(self, target: Target, own: Job | None) -> dict[str, Any]:
        wishes = [*([] if own is None else [own.notify]), *(rule.notify for rule in self._rules)]
        return next((found for wish in wishes if (found := wish.settings(target))), {})

    def _close(self, subject: str, happening: Happening, wall: int) -> Iterator[Command]:
        incident = self.incidents.pop(subject, None)
        if incident is None:
            return
        yield SaveIncident(subject, None)
        if subject.partition(" ")[0] not in _RECOVERS or incident.elsewhere:
            return
        known = incidents.notified_targets(incident)
        times = "once" if incident.times == 1 else f"{incident.times} times"
        span = duration(max(0, wall - incident.since) / SECOND)
        summary = f"{happening.summary}; before that, it failed {times} in {span}"
        if not subject.startswith("run "):
            summary = happening.summary
        told = happening._replace(event="recovery", summary=summary)
        wishes = self._wishes(told)
        for target in known:
            if target in wishes:
                yield self._put(target, told, "recovery", incident, wall)

    def _wishes(self, happening: Happening) -> Mapping[Target, int | None]:
        """Return targets to notify of this happening → pause (ns) between reminders, or None for no reminders."""
        job = self._job_of(happening)
        own = [job.notify] if job is not None else []
        site = [
            rule.notify
            for rule, jobs in zip(self._rules, self._patterns, strict=True)
            if _is_about(rule, jobs, happening, job)
        ]
        return {t: each.remind for each in (*site, *own) if each.wants(happening.event) for t in each.targets()}

    def _job_of(self, happening: Happening) -> Job | None:
        """Return the job that a happening is about, even if the job was removed during its run."""
        job = self._job(happening.job) if happening.job is not None else None
        return job or happening.removed

    def _put(self, target: Target, it: Happening, event: str, incident: Incident | None, wall: int) -> SaveNotice:
        settings = self._settings(target, self._job_of(it))
        return self.outbox.put(target, self._document(it, event, incident, wall), wall, settings)

    def _document(self, it: Happening, event: str, incident: Incident | None, wall: int) -> dict[str, Any]:
        """Return a notice's content: text and facts (docs/notices.md)."""
        record, since = it.record, ""
        if incident is not None and event == "reminder":
            since = f" ({incident.times} times since {to_text(incident.since)})"
        return {
            "event": event,
            "host": self._host,
            "at": to_text(wall),
            "job": it.job,
            "run": it.run,
            "summary": f"{it.summary}{since}",
            "user": (record["user"] or self._user) if record else None,
            "command": record["command"] if record else None,
            "incident": _incident_document(incident, self._host),
            "record": record,
            "held_back": [],
            "not_shown": 0,
        }


def _is_ping(notice: Notice) -> bool:
    return Target.parse(notice.target).channel == "ping"


_RECOVERS = ("run", "invalid", "file", "state", "late", "overdue")
"""Kinds of incidents whose ends are reported; others end silently."""


def _incident_document(incident: Incident | None, host: str) -> dict[str, Any] | None:
    if incident is None:
        return None
    subject = sha256(incident.subject.encode(errors="surrogateescape")).hexdigest()[:12]
    return {
        "id": f"{host}-{incident.since}-{subject}",
        "since": to_text(incident.since),
        "count": incident.times,
        "first_run": incident.first_run or None,
    }


def _is_about(rule: NotifyRule, jobs: re.Pattern[str] | None, happening: Happening, job: Job | None) -> bool:
    """Return whether a rule in jobqueued.yaml applies to a happening. For a user's job, the rule must name the job or
    the user.
    """
    if jobs is not None and not jobs.fullmatch(happening.job or ""):
        return False
    if share_of(happening.job or "") and jobs is None and not rule.users:
        return False
    if rule.tags and (job is None or not set(rule.tags) & set(job.tags)):
        return False
    return not rule.users or (job is not None and (job.user or "root") in rule.users)
