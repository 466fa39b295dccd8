"""The states of a run, and their groups."""

from __future__ import annotations

from enum import StrEnum


class RunState(StrEnum):
    """The states of a run; `lifecycle.TABLE` has the transitions."""

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
PENDING = frozenset({RunState.DUE, RunState.WAITING, RunState.RETRYING})  # unfinished, without a live attempt
FAILURES = frozenset({RunState.FAILED, RunState.TIMED_OUT, RunState.KILLED, RunState.OOM_KILLED, RunState.LOST})
"""The final states that need attention."""
ATTENTION = ("invalid", "failing", "missed", "late", "overdue", "outdated", "paused", "set_back")
"""The kinds of jobs that need a user's attention, in the order of display."""
WELL = frozenset({"paused", "set_back"})
"""The kinds in ATTENTION that are not problems."""


class Unstarted(StrEnum):
    """Reasons why an attempt was not started. NO_FAULT means that no error occurred, but the launcher or supervisor had
    exited.
    """

    NO_FAULT = "no_fault"
    TROUBLE = "trouble"
    PATH_BUSY = "path_busy"
