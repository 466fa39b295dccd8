"""The scheduler's state in one line, for ``systemctl status`` and the journal."""

from __future__ import annotations

from jobqueued.base.text import counted
from jobqueued.control.views import views
from jobqueued.core.scheduler import Scheduler
from jobqueued.host.messages import local_time
from jobqueued.model.run_states import LIVE


def summary(scheduler: Scheduler, refused: int, degraded: str | None) -> str:
    """Return the state in one line, such as ``3 jobs, 1 running, 2 waiting, next backup, due 2026-11-24 02:00:00``."""
    if degraded:
        return f"degraded: {degraded}"
    jobs, counts, soonest = len(scheduler.catalog), views.counts(scheduler), views.next_job(scheduler)
    waiting = counts["due"] + counts["waiting"]
    words = [counted(jobs, "job"), f"{counts['running']} running"]
    words += [f"{waiting} waiting"] if waiting else []
    words += [counted(refused, "refused file")] if refused else []
    words += [f"next {soonest[1]}, due {local_time(soonest[0])}"] if soonest else []
    return ", ".join(words)


def farewell(scheduler: Scheduler) -> str:
    """Describe the live runs, which continue after the daemon stops."""
    live = [run for run in scheduler.runs.values() if run.state in LIVE]
    names = ", ".join(f"{run.id} (pid {run.pid})" if run.pid else str(run.id) for run in live)
    return f"live runs continue, and the next start follows them again: {names}" if live else "nothing was running"
