"""The launch spec: everything that a supervisor gets for one attempt."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from jobqueued.base.instants import SECOND
from jobqueued.child.contract import wire
from jobqueued.child.contract.documents import Above, Attributes, Hook, JobOwner, LaunchSpec, Record
from jobqueued.core.records import event_data, spans
from jobqueued.core.records.record import triggered_by
from jobqueued.core.records.telemetry import name_of
from jobqueued.model.commands import Launch
from jobqueued.model.job import CommandLine, Job
from jobqueued.model.run import Run, RunId
from jobqueued.model.telemetry import TelemetryHook
from jobqueued.model.users import Owner, UserLimits, budget_of, path_in
from jobqueued.queue.placement import CPUS, environment
from jobqueued.runs.marks import IDENTITY
from jobqueued.runs.slurm_order import order_of
from jobqueued.state import record_files


def order(
    launch: Launch, logs: Path, journal: Path, keep_free: int | None = None, users: UserLimits | None = None
) -> LaunchSpec:
    """Return the launch spec: the current job, the attempt's run, and the record so far.

    `journal`: the socket of journald. `keep_free`: bytes that output must leave free on the disk. `users`: the limits
    of each user. For `keep_free` and `users`, None means the default.
    """
    run, job, users = launch.run, launch.job, users or UserLimits()
    command = job.failover if run.failover and job.failover is not None else job.command
    identity = {
        "JOBQUEUE_JOB": job.id,
        "JOBQUEUE_RUN": str(run.id),
        "JOBQUEUE_ATTEMPT": str(run.attempt),
        "JOBQUEUE_DUE": launch.record["due"],
        "JOBQUEUE_INVOCATION_ID": os.urandom(16).hex(),
    }
    fence = {"JOBQUEUE_FENCE": str(launch.grant.fence)} if launch.grant.fence else {}
    told = {**_cause_variables(run, logs), **_of_array(job, run), **fence}
    return {
        "v": wire.VERSION,
        "attempt": run.attempt,
        "command": command,
        "failover": run.failover,
        "shell": job.shell,
        "owner": _owner(job),
        "user": job.user,
        "group": job.group,
        "groups": job.groups,
        "asks_pam": job.asks_pam,
        "working_directory": job.working_directory,
        "stdin": job.stdin,
        "environment": {**dict(job.environment), **environment(run.placed), **identity, **told},
        "environment_file": job.environment_file,
        "login_environment": job.login_environment,
        "traceparent": _traceparent(launch.record, run.attempt),
        "not_after": launch.grant.until,
        "locks": [(path, claim.exclusive) for claim in run.claims if (path := path_in(claim.resource))],
        "caps": [cap for key, value in job.resource_limits.items() for cap in caps(key, value)],
        "enforce": job.enforce,
        "above": above(job.owner, users) if budget_of(job.id) else None,
        "cpus": dict(run.placed).get(CPUS),
        "attributes": _attributes(job),
        "umask": 0o022 if job.umask is None else job.umask,
        "timeout": None if job.timeout is None else job.timeout / SECOND,
        "kill_grace": job.kill_grace / SECOND,
        "stop_signal": job.stop_signal,
        "leave_children": job.leave_children,
        "success_codes": job.success_codes,
        "hooks": [_hook(job, hook, hook.command) for hook in job.telemetry_hooks if not callable(hook.command)],
        "slurm": order_of(launch, identity["JOBQUEUE_INVOCATION_ID"]) if job.runner == "slurm" else None,
        "output": job.output,
        "output_limit": min(job.output_limit, users.output_of_a_run) if budget_of(job.id) else job.output_limit,
        "keep_free": keep_free,
        "journal_rate": job.journal_rate,
        "journal": str(journal),
        "logs": str(record_files.path_of(logs, run.id)),
        "run": {field: getattr(run, field) for field in IDENTITY},
        "record": launch.record,
    }


def _owner(job: Job) -> JobOwner | None:
    if job.owner is None:
        return None
    return {"uid": job.owner.uid, "name": job.owner.name, "more_groups": list(job.more_groups)}


def _of_array(job: Job, run: Run) -> dict[str, str]:
    """Return the environment variable with the index of a run in its array, or {} if the job is not an array."""
    array = job.submission.array if job.submission else None
    return {} if array is None else {"JOBQUEUE_ARRAY_INDEX": str(array.index_of(run.id.number))}


def _hook(job: Job, hook: TelemetryHook, command: CommandLine) -> Hook:
    """Return a telemetry hook for a supervisor; hooks that are functions work only in programs that use the library."""
    return {
        "name": name_of(job, hook),
        "command": command,
        "at": hook.at,
        "every": hook.every / SECOND,
        "timeout": hook.timeout / SECOND,
    }


def _traceparent(record: Record, attempt: int) -> str:
    return spans.traceparent(record["trace_id"], spans.of_attempt(record["span_id"], attempt))


_TOLD = ("run", "state", "exit_code", "signal", "path", "event")


def _cause_variables(run: Run, logs: Path) -> dict[str, str]:
    """Return the environment variables that describe the cause of a run; unknown facts have no variable."""
    by: Mapping[str, Any] = triggered_by(run)
    if run.triggered_by is None:
        return {"JOBQUEUE_TRIGGER": by["kind"]}
    told = {name: str(by[name]) for name in _TOLD if by.get(name) is not None}
    if "run" in told:
        told["record"] = f"{record_files.path_of(logs, RunId.parse(told['run']))}.json"
    if "data" in by:
        told["data"] = event_data.text(by["data"])
    return {"JOBQUEUE_TRIGGER": by["kind"], **{f"JOBQUEUE_TRIGGER_{name.upper()}": told[name] for name in told}}


_RLIMITS = {
    "open_files": "RLIMIT_NOFILE",
    "file_size": "RLIMIT_FSIZE",
    "core": "RLIMIT_CORE",
    "cpu_time": "RLIMIT_CPU",
    "stack": "RLIMIT_STACK",
    "locked_memory": "RLIMIT_MEMLOCK",
    "address_space": "RLIMIT_AS",
    "processes": "RLIMIT_NPROC",
    "data": "RLIMIT_DATA",
    "msgqueue": "RLIMIT_MSGQUEUE",
    "sigpending": "RLIMIT_SIGPENDING",
}
_CPU_TIME_GRACE = 5
"""CPU time (s) between SIGXCPU, which shows people the cause, and the kernel's SIGKILL."""


def _attributes(job: Job) -> Attributes:
    """Return the process settings of a job other than identity and environment; if there are any, a start costs one
    more fork.
    """
    asked = {
        "limits": {
            _RLIMITS[key]: [key, *_limit(key, value)] for key, value in job.resource_limits.items() if key in _RLIMITS
        },
        "nice": job.nice,
        "cpu_scheduling": job.cpu_scheduling if job.cpu_scheduling != "other" else None,
        "ionice": job.ionice,
        "oom_score_adj": job.oom_score_adj,
        "no_new_privs": job.no_new_privs,
    }
    return cast("Attributes", {name: value for name, value in asked.items() if value})


_CAPS = {
    "memory": "memory.max",
    "memory_high": "memory.high",
    "swap": "memory.swap.max",
    "tasks": "pids.max",
}
_DISKS = {"io_read": "rbps", "io_write": "wbps"}
_CPU_PERIOD = 100_000
"""Period (µs) of the CPU limit; a run that has used up its share waits for the next period."""


def caps(key: str, value: float | None) -> list[tuple[str, str, str]]:
    """Return the settings of a run's cgroup for a limit. If the memory limit is exceeded, the kernel kills the whole
    run.
    """
    if key == "cpu" and value is not None:
        return [(key, "cpu.max", f"{round(value * _CPU_PERIOD)} {_CPU_PERIOD}")]
    if key in _DISKS:
        return [(key, "io.max", f"{_DISKS[key]}={value}")]
    whole = [(key, "memory.oom.group", "1")] if key == "memory" else []
    return [(key, _CAPS[key], "max" if value is None else str(value)), *whole] if key in _CAPS else []


def above(owner: Owner | None, users: UserLimits) -> Above:
    """Return the cgroup for all runs of a user, with limits; for a crontab's user, the supervisor sets the cgroup's
    name.

    If this cgroup runs out of memory, the kernel kills only the largest run or process.
    """
    name = "" if owner is None else wire.cgroup_of_user(owner.uid)
    defaults = [("", *cap[1:]) for key in users.defaults.keys() - users.caps for cap in caps(key, users.defaults[key])]
    found = sorted(defaults) + [cap for key, value in users.caps.items() for cap in caps(key, value)]
    return {"name": name, "caps": [cap for cap in found if cap[1] != "memory.oom.group"]}


def unenforced(job: Job, controllers: list[str] | None) -> list[str]:
    """Return a job's limits that cgroups with these controllers can't enforce; None means that runs have no cgroups."""
    have = set(controllers or ())
    return [
        key
        for key, value in job.resource_limits.items()
        if not have.issuperset(file.partition(".")[0] for _, file, _ in caps(key, value))
    ]


def shortfall(jobs: Iterable[Job], controllers: list[str] | None) -> tuple[list[str], list[str]]:
    """Return two lists of warnings: about limits that the kernel can't enforce here, and about jobs that therefore do
    not start.
    """
    short: dict[str, list[str]] = {}
    barred: list[str] = []
    for job in jobs:
        keys = unenforced(job, controllers)
        if keys and job.enforce == "required":
            barred.append(job.id)
        else:
            for key in keys:
                short.setdefault(key, []).append(job.id)
    found = None if controllers is None else ", ".join(controllers) or "no controller"
    why = "have no cgroups" if found is None else f"have only the cgroup controllers {found}"
    how = {"memory": "only sampled"}
    lost = [f"resource_limits.{key} is {how.get(key, 'not enforced')} ({_some(ids)})" for key, ids in short.items()]
    verb = "does" if len(barred) == 1 else "do"
    barring = f"{_some(barred)} {verb} not start (enforce: required), because runs {why} on this host"
    return [f"runs {why} on this host: {', '.join(lost)}"] if lost else [], [barring] if barred else []


def _some(ids: list[str]) -> str:
    return f"{', '.join(ids[:3])}{' …' * (len(ids) > 3)}"


def _limit(key: str, value: int | None) -> tuple[int, int]:
    """Return the soft and the hard limit for setrlimit(2); -1 means unlimited."""
    if value is None:
        return -1, -1
    if key == "cpu_time":
        seconds = -(-value // SECOND)
        return seconds, seconds + _CPU_TIME_GRACE
    return value, value
