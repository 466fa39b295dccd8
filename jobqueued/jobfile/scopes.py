"""Scopes: the host and the fleet by which a file is read, and what no job can have whose occurrences are a fleet's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from jobqueued.child.tuples import NamedTuple
from jobqueued.fleet import FLEET, FleetSettings
from jobqueued.jobfile.refusal import Refusal
from jobqueued.jobfile.yamltext import Entry, quoted
from jobqueued.model import Claim, Job, OnHostLoss, Overlap, Scope
from jobqueued.timing.schedule import Schedule

ONLY_OF_HOST = "one of this host; what a fleet has in common is in job files of root"
"""What is accepted where others may say nothing about the fleet."""


def lock_of_fleet(locks: Iterable[Claim]) -> str:
    """Name the first of the locks that is the fleet's; "": none is."""
    found = (lock.resource.removeprefix(FLEET) for lock in locks if lock.resource.startswith(FLEET))
    return next(found, "")


class Locality(NamedTuple):
    """The host that reads a file: its zone, its seed (the machine id), and the fleet that it is in."""

    timezone: str = "UTC"
    seed: str = ""
    fleet: FleetSettings | None = None

    def of(self, scope: Scope) -> tuple[str, str]:
        """The zone of jobs that name none, and the seed of `H` and `spread`: of a fleet's jobs the same on each host.

        Where there is no fleet its jobs are read as the host's; they do not run.
        """
        if scope is Scope.FLEET and self.fleet is not None:
            return self.fleet.timezone, self.fleet.name
        return self.timezone, self.seed


NOWHERE = Locality()
"""What a file is read by that no host reads."""


class _Rule(NamedTuple):
    """A key that a fleet's job can't have so: what was found ("": nothing), and what is accepted."""

    key: str
    found: Callable[[Job], str]
    accepted: str


def _boot(job: Job) -> bool:
    return any(isinstance(trigger, Schedule) and trigger.at_boot for trigger in job.triggers)


def _on(job: Job) -> str:
    """Find what happens on one host alone."""
    if job.at_boot and not _boot(job):
        return quoted("boot")
    return next((f"the {on.kind.removesuffix('s')} {quoted(on.name)}" for on in job.on if on.kind != "event"), "")


_RULES = (
    _Rule("schedule", lambda job: quoted("@reboot") * _boot(job),
        "times of the clock, as each host boots at another time"),
    _Rule("on", _on, "an event by name, as boots, files and ends of runs are of one host"),
    _Rule("max_runs", lambda job: "" if job.max_runs is None else str(job.max_runs),
        "none, as each host counts its own runs"),
    _Rule("exclusive", lambda job: "true" * job.exclusive, "false, as no run can have all hosts for itself"),
    _Rule("overlap", lambda job: quoted("replace") * (job.overlap is Overlap.REPLACE),
        "queue or skip, as the live run may be on another host"),
    _Rule("dependencies", lambda job: quoted(", ".join(job.dependencies)) if job.dependencies else "",
        "a job without them, as their runs may be on other hosts"),
)  # fmt: skip


_OF_HOST = (
    _Rule("on_host_loss", lambda job: quoted(job.on_host_loss.value) * (job.on_host_loss is not OnHostLoss.LOST),
        "lost, or a job with `scope: fleet`, which another host could run again"),
    _Rule("hosts", lambda job: quoted(", ".join(job.hosts)) if job.hosts else "",
        "none, or a job with `scope: fleet`, as other jobs run on each host that has their file"),
)  # fmt: skip


def of_a_fleet(job: Job, entries: Mapping[str, Entry]) -> Iterator[Refusal]:
    """Refuse in a job with `scope: fleet` what one host alone can't know or do, and in others what no other does."""
    for key, found, accepted in _RULES:
        if job.scope is Scope.FLEET and (what := found(job)):
            told = f"{what} beside `scope: fleet`"
            yield Refusal.of(entries[key].value, accepted, told, code="JQ205").below(key)
    for key, found, accepted in _OF_HOST:
        if job.scope is Scope.HOST and (what := found(job)):
            told = f"{what} beside `scope: host`"
            yield Refusal.of(entries[key].value, accepted, told, code="JQ205").below(key)
