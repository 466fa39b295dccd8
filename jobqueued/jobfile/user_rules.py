"""The rules for users' files: the owner of their jobs, and the keys that require a permit.

Ids, locks and events belong to the user: in alice's file, `x` means ``alice/x``. Resources belong to the host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from jobqueued.base.instants import HOUR
from jobqueued.base.text import duration, size
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.jobfile.scopes import ONLY_OF_HOST, lock_of_fleet
from jobqueued.jobfile.tree.yamltext import Mapping as Tree
from jobqueued.jobfile.tree.yamltext import Node, YamlEntry, quoted
from jobqueued.jobfile.types.refusal import Refusal
from jobqueued.model.job import Job, Scope
from jobqueued.model.notify import Notify, Target
from jobqueued.model.users import Owner, UserLimits
from jobqueued.timing.closest import closest
from jobqueued.timing.schedule import Every

Entries = Mapping[str, YamlEntry]
_SETTINGS = "in jobqueued.yaml"
_CODE = "JQ214"
_MOST_TARGETS = 20
"""Maximum number of addresses in a user's job, because each gets a separate message."""


class _Permit(NamedTuple):
    """A key that the site may permit, and a function that returns whether a job needs the permit."""

    key: str
    is_more: Callable[[Job], bool]
    found: Callable[[Job], str]
    accepted: str


_PERMITS = (
    _Permit("exclusive", lambda job: job.exclusive, lambda _: "true", "false"),
    _Permit("priority", lambda job: job.priority > 0, lambda job: str(job.priority), "0 or less"),
    _Permit("escalation", lambda job: job.escalation is not None, lambda _: "the key `escalation`", "a job without it"),
    _Permit("nice", lambda job: job.nice < 0, lambda job: str(job.nice), "0 or more"),
    _Permit("oom_score_adj", lambda job: job.oom_score_adj < 0, lambda job: str(job.oom_score_adj), "0 or more"),
    _Permit(
        "cpu_scheduling",
        lambda job: job.cpu_scheduling.startswith(("fifo", "rr")),
        lambda job: quoted(job.cpu_scheduling),
        "other, batch or idle",
    ),
    _Permit(
        "ionice",
        lambda job: (job.ionice or "").startswith("realtime"),
        lambda job: quoted(job.ionice or ""),
        "best-effort or idle",
    ),
    _Permit("drain", lambda job: job.drain > HOUR, lambda job: _time(job.drain), "1h or less"),
)


class UserRules(NamedTuple):
    """The rules for reading a user's files."""

    owner: Owner
    limits: UserLimits

    @property
    def prefix(self) -> str:
        """The prefix of this user's job ids."""
        return f"{self.owner.share}/"

    def applied(self, job: Job, entries: Entries) -> tuple[Job, list[Refusal]]:
        """Return the job with this user as owner, and the refusals of `entries` that a user may not have."""
        return self._owned(job), [refusal for about in _RULES for refusal in about(self, job, entries)]

    def _owned(self, job: Job) -> Job:
        """Return the job with the owner's prefix in its locks, dependencies and events; the job's id already has the
        prefix.
        """
        own = self.prefix
        return replace(
            job,
            owner=self.owner,
            user=self.owner.name,
            asks_pam=True,
            more_groups=self.limits.groups,
            locks=tuple(claim._replace(resource=own + claim.resource) for claim in job.locks),
            dependencies=tuple(own + name for name in job.dependencies),
            on=tuple(on._replace(name=own + on.name) for on in job.on),
            notify=_sent_as(self.owner, job.notify),
            ping=None if job.ping is None else job.ping._replace(owner=self.owner),
        )


def _sent_as(owner: Owner, wish: Notify) -> Notify:
    """Return the setting with the user as the sender of all notices except mail, which the host sends."""
    is_own = any(target.channel != "email" for target in wish.targets())
    return replace(wish, owner=owner) if is_own else wish


def _permit(key: str, accepted: str) -> str:
    return f"{accepted}, unless root permits it with `users: {{permit: [{key}]}}` {_SETTINGS}"


def _of_permits(rules: UserRules, job: Job, entries: Entries) -> Iterator[Refusal]:
    for key, is_more, found, accepted in _PERMITS:
        if key not in rules.limits.permit and is_more(job):
            yield Refusal.of(entries[key].value, _permit(key, accepted), found(job), code=_CODE).below(key)


def _of_user(rules: UserRules, job: Job, entries: Entries) -> Iterator[Refusal]:
    name = rules.owner.name
    if job.user not in (None, name):
        accepted = f"{name}, because all jobs of this file run as {name}"
        yield Refusal.of(entries["user"].value, accepted, quoted(job.user or ""), code=_CODE).below("user")


def _of_notices(rules: UserRules, job: Job, entries: Entries) -> Iterator[Refusal]:
    """Refuse too many addresses. Without permission, refuse all notices except mail to the user, as cron does."""
    if (named := len({*job.notify.targets()})) > _MOST_TARGETS:
        accepted = f"at most {_MOST_TARGETS} addresses per job; one `command` can notify several people"
        yield Refusal.of(entries["notify"].value, accepted, str(named), code=_CODE).below("notify")
    if "notify" in rules.limits.permit:
        return
    oneself = Target("email", rules.owner.name)
    other = next((target for target in job.notify.targets() if target != oneself), None)
    if other is not None or job.notify.sender:
        accepted = _permit("notify", f"only `email: {rules.owner.name}`")
        found = other.shown if other is not None else "`from`"
        yield Refusal.of(entries["notify"].value, accepted, found, code=_CODE).below("notify")
    if job.ping is not None:
        accepted = _permit("notify", "a job without it")
        yield Refusal.of(entries["ping"].value, accepted, "the key `ping`", code=_CODE).below("ping")


def of_the_host(job: Job, entries: Entries) -> Iterator[Refusal]:
    """Refuse a path with ``~/`` in a host's file, because only users' files may have such paths."""
    name = next((on.name for on in job.on if on.kind == "path" and on.name.startswith("~")), None)
    if name is not None:
        accepted = "an absolute path; ~/ works only in files that users add (jobqueuectl add)"
        yield Refusal.of(entries["on"].value, accepted, quoted(name), code=_CODE).below("on")


def _of_locks(_rules: UserRules, job: Job, entries: Entries) -> Iterator[Refusal]:
    if any(claim.units for claim in job.locks):
        accepted = "the whole lock; for units, use the host's `resources`"
        yield Refusal.of(entries["locks"].value, accepted, "units of a lock", code=_CODE).below("locks")
    if name := lock_of_fleet(job.locks):
        found = f"the fleet lock {quoted(name)}"
        yield Refusal.of(entries["locks"].value, ONLY_OF_HOST, found, code=_CODE).below("locks")


def _of_scope(_rules: UserRules, job: Job, entries: Entries) -> Iterator[Refusal]:
    if job.scope is Scope.FLEET:
        yield Refusal.of(entries["scope"].value, ONLY_OF_HOST, "a fleet job", code=_CODE).below("scope")


def _of_caps(rules: UserRules, job: Job, entries: Entries) -> Iterator[Refusal]:
    for key, cap in rules.limits.caps.items():
        if cap is None or key not in job.resource_limits:
            continue
        asked = job.resource_limits[key]
        if asked is None or asked > cap:
            place, at = _within(entries["resource_limits"].value, key), f"resource_limits.{key}"
            accepted = f"at most {_amount(key, cap)}, the limit of `users: {{caps: …}}` {_SETTINGS}"
            yield Refusal.of(place, accepted, _amount(key, asked), code=_CODE).below(at)


def _amount(key: str, value: Any) -> str:
    if value is None:
        return "unlimited"
    return f"{value:g}" if key == "cpu" else str(value) if key == "tasks" else size(value)


def _of_interval(rules: UserRules, job: Job, entries: Entries) -> Iterator[Refusal]:
    interval = rules.limits.interval
    accepted = f"{_time(interval)} or more, unless root lowers `users: {{interval: …}}` {_SETTINGS}"
    for trigger in job.triggers:
        if isinstance(trigger, Every) and trigger.interval < interval:
            yield Refusal.of(entries["every"].value, accepted, _time(trigger.interval), code=_CODE).below("every")
    if (apart := closest(job.triggers, interval)) is not None:
        key = "seconds" if job.seconds is not None and "seconds" in entries else "schedule"
        found = f"{_time(apart)} between two starts"
        yield Refusal.of(entries[key].value, accepted, found, code=_CODE).below(key)


def _of_output(rules: UserRules, job: Job, entries: Entries) -> Iterator[Refusal]:
    most = rules.limits.output_of_a_run
    if "output_limit" in entries and job.output_limit > most:
        accepted = f"at most {size(most)}: the values `logs` / `live` of `users` {_SETTINGS}"
        refusal = Refusal.of(entries["output_limit"].value, accepted, size(job.output_limit), code=_CODE)
        yield refusal.below("output_limit")


def _time(nanoseconds: int) -> str:
    return duration(nanoseconds / 1_000_000_000)


def _within(node: Node, key: str) -> Node:
    """Return the node of a mapping's key, or the mapping itself if it has no such key."""
    return node.entries[key].value if isinstance(node, Tree) and key in node.entries else node


_RULES = (_of_user, _of_permits, _of_notices, _of_locks, _of_scope, _of_caps, _of_interval, _of_output)
