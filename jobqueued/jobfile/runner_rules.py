"""Rules about runners: keys that a job on Slurm can't have, and keys that only a job on Slurm can have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.jobfile.tree.yamltext import YamlEntry, quoted
from jobqueued.jobfile.types.refusal import Refusal
from jobqueued.model.job import CPU, MEMORY, Job

ASKED_OF_SLURM = frozenset({"memory", "cpu"})
"""The limits that Slurm enforces."""
_WITH_PROCESS = frozenset({"open_files", "file_size", "core", "cpu_time", "stack", "locked_memory", "address_space",
    "processes", "data", "msgqueue", "sigpending"})  # fmt: skip
"""The limits that a process has on any host, because the process sets them itself (setrlimit(2))."""


class _SlurmRule(NamedTuple):
    """A key that a job on Slurm can't have. `found` returns the refused part of a job, or "" if no part is refused."""

    key: str
    found: Callable[[Job], str]
    accepted: str


def _limits(job: Job) -> str:
    others = [key for key in job.resource_limits if key not in ASKED_OF_SLURM | _WITH_PROCESS]
    return quoted(", ".join(others)) if others else ""


def _resources(job: Job) -> str:
    own = [claim.resource for claim in job.resources if claim.resource in (CPU, MEMORY)]
    return quoted(", ".join(own)) if own else ""


_RULES = (
    _SlurmRule(
        "resources",
        _resources,
        "`resource_limits: {cpu: 1, memory: 512M}` to request them from Slurm, because "
        "the job uses none of this host's CPU or memory",
    ),
    _SlurmRule(
        "resource_limits", _limits, "cpu, memory and limits of setrlimit(2), because Slurm manages cgroups on nodes"
    ),
    _SlurmRule(
        "placement",
        lambda job: quoted(job.placement) if job.placement != "none" else "",
        "none, because Slurm chooses the CPUs",
    ),
    _SlurmRule(
        "leave_children",
        lambda job: "true" if job.leave_children else "",
        "false, because Slurm ends all processes that a job leaves on its node",
    ),
    _SlurmRule(
        "ionice",
        lambda job: "" if job.ionice is None else quoted(job.ionice),
        "the job without `ionice`, because it works on this host only",
    ),
    _SlurmRule(
        "cpu_scheduling",
        lambda job: quoted(job.cpu_scheduling) if job.cpu_scheduling != "other" else "",
        "other, because it works on this host only",
    ),
    _SlurmRule("oom_score_adj", lambda job: str(job.oom_score_adj or ""), "0, because it works on this host only"),
    _SlurmRule(
        "no_new_privs",
        lambda job: "true" if job.no_new_privs else "",
        "false, because Slurm starts the process on the node",
    ),
)


def of_a_runner(job: Job, entries: Mapping[str, YamlEntry]) -> Iterator[Refusal]:
    """Refuse keys that a job with `runner: slurm` can't have. In other jobs, refuse Slurm's keys."""
    if job.runner == "slurm":
        for key, found, accepted in _RULES:
            if what := found(job):
                told = f"{what} with `runner: slurm`"
                yield Refusal.of(entries[key].value, accepted, told, code="JQ205").below(key)
    elif job.slurm:
        told = "`slurm` in a job that runs on this host"
        yield Refusal.of(entries["slurm"].key, "`runner: slurm` in the same job", told, code="JQ205").below("slurm")
