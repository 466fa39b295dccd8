"""jobqueued: a job queue daemon for Linux that replaces cron.

The scheduler's core is a library: ``from jobqueued import Scheduler, Job``.  Names are resolved on first use, so that
the small programs in ``jobqueued.child`` can be in this package without loading the rest of it.
"""

from __future__ import annotations

__version__ = "0.1.0"

_HOME = {
    "Catalog": "model.catalog",
    "HostLimits": "core.records.host_limits",
    "Job": "model.job",
    "Now": "model.job",
    "Run": "model.run",
    "RunState": "model.run_states",
    "Schedule": "timing.schedule",
    "ScheduleError": "timing.schedule",
    "Scheduler": "core.scheduler",
    "TelemetryHook": "model.telemetry",
    "read_jobs": "jobfile.reader",
    "tell_hooks": "core.records.telemetry",
    "to_instant": "base.instants",
    "to_text": "child.contract.instants",
}

__all__ = [
    "Catalog", "HostLimits", "Job", "Now", "Run", "RunState", "Schedule", "ScheduleError", "Scheduler",
    "TelemetryHook", "__version__", "read_jobs", "tell_hooks", "to_instant", "to_text",
]  # fmt: skip


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in ("commands", "events"):
        return import_module(f"jobqueued.model.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'jobqueued' has no attribute {name!r}")
    return getattr(import_module(f"jobqueued.{_HOME[name]}"), name)
