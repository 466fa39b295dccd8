"""The order for an attempt's job on Slurm: the job's name, its comment, and the options of the submission."""

from __future__ import annotations

import math
from collections.abc import Iterator

from jobqueued.base.instants import SECOND
from jobqueued.base.text import size
from jobqueued.child.contract.documents import SlurmOrder
from jobqueued.model.commands import Launch
from jobqueued.model.job import Job

_MIB = 1 << 20
_MINUTE = 60
_SHORT = 12
"""Number of digits of the invocation ID in a directory's name, so that attempts with the same name get different
directories.
"""


def order_of(launch: Launch, invocation: str) -> SlurmOrder:
    """Return the order. `invocation` is the ID of this launch, which distinguishes the launch's job from all others."""
    run, job = launch.run, launch.job
    base = f"{job.id}@{run.due // SECOND}"
    of_run = f"{launch.record['host']}:{run.id}."
    name, comment = f"{base}#{run.attempt}", f"{of_run}{run.attempt}:{invocation}:{launch.grant.fence or ''}"
    memory = job.resource_limits.get("memory")
    return {
        "name": name,
        "comment": comment,
        "run": of_run,
        "earlier": [f"{base}#{attempt}" for attempt in range(1, run.attempt)],
        "options": [f"--job-name={name}", f"--comment={comment}", *_options(job)],
        "directory": job.slurm.get("directory"),
        "files": f".{run.attempt_name}-{invocation[:_SHORT]}",
        "limits": {
            "memory": size(memory) if memory else "",
            "cpu": f"{job.resource_limits['cpu']:g}" if "cpu" in job.resource_limits else "",
            "timeout": "" if job.timeout is None else f"{job.timeout / SECOND:g} s",
        },
    }


def _options(job: Job) -> Iterator[str]:
    """Yield options for sbatch. A priority becomes `--nice`, because any user may lower a job's priority, but only
    operators may raise it.
    """
    yield from ("--no-requeue", "--export=NIL", "--open-mode=append")
    for name in ("partition", "account", "qos", "gres"):
        if name in job.slurm:
            yield f"--{name}={job.slurm[name]}"
    if licenses := job.slurm.get("licenses"):
        yield f"--licenses={','.join(f'{name}:{count}' for name, count in licenses.items())}"
    if job.priority:
        yield f"--nice={-job.priority}"
    if memory := job.resource_limits.get("memory"):
        yield f"--mem={math.ceil(memory / _MIB)}M"
    if cpus := job.resource_limits.get("cpu"):
        yield f"--cpus-per-task={math.ceil(cpus)}"
    if job.timeout is not None:
        yield f"--time={math.ceil(job.timeout / SECOND / _MINUTE)}"
