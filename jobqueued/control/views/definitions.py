"""A job's definition from its file and the defaults, as JSON."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from jobqueued.base.instants import SECOND, to_text
from jobqueued.jobfile.types.spelling import spelled_rate
from jobqueued.model.fleet import FLEET
from jobqueued.model.job import CORE, CPU, HIDDEN, UNBOUNDED, Claim, Job, On
from jobqueued.model.notify import NOBODY, USUALLY, Late, Notify
from jobqueued.model.telemetry import TelemetryHook
from jobqueued.model.users import awaited_path, path_in

_DURATIONS = (
    "every",
    "spread",
    "offset",
    "catch_up_window",
    "grace",
    "start_deadline",
    "timeout",
    "kill_grace",
    "drain",
    "dependency_timeout",
    "retry_delay",
    "retry_max_delay",
    "expect",
)
_INSTANTS = ("anchor", "at")
_INTERNAL = ("triggers", "file", "line", "origin", "drop_ins", "at_boot", "owner", "more_groups")


def definition(job: Job, *, whole: bool = True) -> dict[str, Any]:
    """Return the job's definition as JSON. `whole`: include settings that only root and the job's user may see."""
    found = {field.name: getattr(job, field.name) for field in fields(job) if field.name not in _INTERNAL}
    for name in _DURATIONS:
        found[name] = None if found[name] is None else found[name] / SECOND
    for name in _INSTANTS:
        found[name] = None if found[name] is None else to_text(found[name])
    found["locks"] = [_lock(claim) for claim in job.locks]
    found["resources"] = {claim.resource: _amount(claim) for claim in job.resources}
    found["on"] = [*(["boot"] if job.at_boot else []), *(_on(on) for on in job.on)]
    if job.escalation is not None:
        found["escalation"] = {"points": job.escalation.points, "every": job.escalation.every / SECOND}
    found["rate"] = None if job.rate is None else spelled_rate(*job.rate)
    found["max_waiting"] = "none" if job.max_waiting == UNBOUNDED else job.max_waiting
    found["late"] = _late(job.late)
    limits = dict(job.resource_limits)
    if limits.get("cpu_time") is not None:
        limits["cpu_time"] /= SECOND
    found |= {"environment": dict(job.environment), "resource_limits": limits, "notify": _notify(job.notify)}
    found["telemetry_hooks"] = [_hook(hook, hook.command) for hook in job.telemetry_hooks]
    found["ping"] = job.ping.settings if job.ping is not None else {}
    return found if whole else {**found, **_redacted(job)}


def _late(late: Late | None) -> bool | dict[str, float]:
    """Return the limit in the format of the key `late` in a job file."""
    if late is None or late == USUALLY:
        return late is not None
    after = {} if late.after is None else {"after": late.after / SECOND}
    return {**after, **({} if late.level is None else {"level": late.level})}


def _redacted(job: Job) -> dict[str, Any]:
    """Return the redacted forms of settings that may contain secrets."""
    return {
        "command": job.redacted(job.command),
        "failover": job.redacted(job.failover),
        "redact": [HIDDEN] * len(job.redact),
        "environment": dict.fromkeys(dict(job.environment), HIDDEN),
        "stdin": HIDDEN if job.stdin else "",
        "telemetry_hooks": [
            _hook(hook, None if callable(hook.command) else job.redacted(hook.command)) for hook in job.telemetry_hooks
        ],
        "notify": _without_urls(job.notify),
        "ping": dict.fromkeys(job.ping.settings, HIDDEN) if job.ping else {},
    }


def _hook(hook: TelemetryHook, command: object) -> dict[str, Any]:
    return {"command": command, "at": hook.at, "every": hook.every / SECOND, "timeout": hook.timeout / SECOND}


def _notify(wish: Notify) -> dict[str, Any]:
    """Return the setting in the format of the key `notify` in a job file, or {} if no one is notified."""
    if wish == NOBODY:
        return {}
    plain = {name: value for name, value in wish.plain().items() if name != "owner"}
    return {**plain, "remind": None if wish.remind is None else wish.remind / SECOND}


def _without_urls(wish: Notify) -> dict[str, Any]:
    hidden = {name: [HIDDEN] * len(getattr(wish, name)) for name in ("webhook", "apprise")}
    return {**plain, **hidden} if (plain := _notify(wish)) else {}


def _lock(claim: Claim) -> dict[str, Any]:
    how = {"units": claim.units} if claim.units else {"mode": "exclusive" if claim.exclusive else "shared"}
    if claim.resource.startswith(FLEET):
        return {"name": claim.resource.removeprefix(FLEET), "scope": "fleet", **how}
    path = path_in(claim.resource)
    return {**({"path": path} if path else {"name": claim.resource}), **how}


def _on(on: On) -> dict[str, str]:
    if on.kind == "path":
        return {"path": awaited_path(on.name)}
    return {"event": on.name} if on.kind == "event" else {"job": on.name, "result": on.result}


def _amount(claim: Claim) -> float:
    return claim.units / CORE if claim.resource == CPU else claim.units
