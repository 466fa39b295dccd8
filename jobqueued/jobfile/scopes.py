"""Scopes: facts about the host and fleet that reads a file, and the keys that a job with `scope: fleet` can't have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.jobfile.tree.yamltext import YamlEntry, quoted
from jobqueued.jobfile.types.refusal import Refusal
from jobqueued.jobfile.types.spelling import spelled_rate
from jobqueued.model.fleet import FLEET, FleetSettings
from jobqueued.model.job import Claim, Job, OnHostLoss, Overlap, Scope
from jobqueued.timing.schedule import Schedule

ONLY_OF_HOST = "`scope: host`, because only root's job files may have fleet jobs and fleet locks"
"""What is accepted instead of a fleet's lock in files other than root's."""


def lock_of_fleet(locks: Iterable[Claim]) -> str:
    """Return the name of the first lock that belongs to the fleet, or "" if there is none."""
    found = (lock.resource.removeprefix(FLEET) for lock in locks if lock.resource.startswith(FLEET))
    return next(found, "")


class Locality(NamedTuple):
    """The host that reads a file: its zone, its seed (the machine id), and its fleet."""

    timezone: str = "UTC"
    seed: str = ""
    fleet: FleetSettings | None = None

    def of(self, scope: Scope) -> tuple[str, str]:
        """Return the default zone of jobs, and the seed of `H` and `spread`.

        All hosts get the same zone and seed for fleet jobs.

        On a host without a fleet, jobs with `scope: fleet` are read like the host's jobs, but do not run.
        """
        if scope is Scope.FLEET and self.fleet is not None:
            return self.fleet.timezone, self.fleet.name
        return self.timezone, self.seed


NOWHERE = Locality()
"""The Locality for files that are read without a host."""


class _FleetRule(NamedTuple):
    """A key that a fleet's job can't have. `found` returns the refused part of a job, or "" if no part is refused."""

    key: str
    found: Callable[[Job], str]
    accepted: str


def _boot(job: Job) -> bool:
    return any(isinstance(trigger, Schedule) and trigger.at_boot for trigger in job.triggers)


def _on(job: Job) -> str:
    """Return the job's first trigger that concerns only one host, such as `'boot'`, or "" if there is none."""
    if job.at_boot and not _boot(job):
        return quoted("boot")
    return next((f"the {on.kind.removesuffix('s')} {quoted(on.name)}" for on in job.on if on.kind != "event"), "")


_RULES = (
    _FleetRule(
        "schedule",
        lambda job: quoted("@reboot") * _boot(job),
        'a clock time such as "0 2 * * *", because each host boots at a different time',
    ),
    _FleetRule(
        "on",
        _on,
        "a named event such as {event: deployed}, because boots, files and ends of runs concern only one host",
    ),
    _FleetRule(
        "max_runs",
        lambda job: "" if job.max_runs is None else str(job.max_runs),
        "none, because each host counts its own runs",
    ),
    _FleetRule(
        "rate",
        lambda job: "" if job.rate is None else spelled_rate(*job.rate),
        "none, because each host counts its own runs",
    ),
    _FleetRule(
        "exclusive", lambda job: "true" if job.exclusive else "", "false, because no run can have all hosts for itself"
    ),
    _FleetRule(
        "overlap",
        lambda job: quoted("replace") if job.overlap is Overlap.REPLACE else "",
        "queue or skip, because the live run might be on another host",
    ),
    _FleetRule(
        "dependencies",
        lambda job: quoted(", ".join(job.dependencies)) if job.dependencies else "",
        "a job without dependencies, because their runs might be on other hosts",
    ),
)


_OF_HOST = (
    _FleetRule(
        "on_host_loss",
        lambda job: quoted(job.on_host_loss.value) * (job.on_host_loss is not OnHostLoss.LOST),
        "lost, or `scope: fleet`, which lets another host run the job again",
    ),
    _FleetRule(
        "hosts",
        lambda job: quoted(", ".join(job.hosts)) if job.hosts else "",
        "the job without `hosts`, or `scope: fleet`, because otherwise each host that has the file runs the job",
    ),
)


def of_a_fleet(job: Job, entries: Mapping[str, YamlEntry]) -> Iterator[Refusal]:
    """Refuse keys that can't work for a job with `scope: fleet`. In other jobs, refuse a fleet's keys."""
    for key, found, accepted in _RULES:
        if job.scope is Scope.FLEET and (what := found(job)):
            told = f"{what} with `scope: fleet`"
            yield Refusal.of(entries[key].value, accepted, told, code="JQ205").below(key)
    for key, found, accepted in _OF_HOST:
        if job.scope is Scope.HOST and (what := found(job)):
            told = f"{what} with `scope: host`"
            yield Refusal.of(entries[key].value, accepted, told, code="JQ205").below(key)
