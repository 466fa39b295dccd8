"""The states of a run, and what they have in common."""

from __future__ import annotations

from enum import StrEnum


class RunState(StrEnum):
    """The states of a run; `lifecycle.TABLE` says how it gets there."""

    DUE = "due"
    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    KILLED = "killed"
    OOM_KILLED = "oom_killed"
    LOST = "lost"
    SKIPPED = "skipped"


LIVE = frozenset({RunState.STARTING, RunState.RUNNING, RunState.STOPPING})
PENDING = frozenset({RunState.DUE, RunState.WAITING, RunState.RETRYING})  # not ended, and without a live attempt
FAILURES = frozenset({RunState.FAILED, RunState.TIMED_OUT, RunState.KILLED, RunState.OOM_KILLED, RunState.LOST})
"""The ends that need attention."""
ATTENTION = ("invalid", "failing", "missed", "late", "overdue", "outdated", "paused", "set_back")
"""The kinds of what a person should look at, in the order in which it is told."""
WELL = frozenset({"paused", "set_back"})
"""Those of them that are as they should be."""


class Unstarted(StrEnum):
    """Causes for which an attempt was not started; NO_FAULT: nothing was wrong, whoever was to start it was gone."""

    NO_FAULT = "no_fault"
    TROUBLE = "trouble"
    PATH_BUSY = "path_busy"
