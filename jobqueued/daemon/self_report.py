"""The daemon's self-report: the line for systemctl, a part of the Status reply, and the daemon's own metrics."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from jobqueued import __version__
from jobqueued.base.instants import SECOND, to_text
from jobqueued.control.summary import farewell, summary
from jobqueued.core.scheduler import Scheduler
from jobqueued.daemon.installation import Installation
from jobqueued.daemon.job_assembly import JobAssembly
from jobqueued.daemon.run_assembly import RunAssembly
from jobqueued.daemon.state_assembly import StateAssembly
from jobqueued.metrics.counts import SHORT_TIMES, Histogram
from jobqueued.metrics.families import Sample
from jobqueued.metrics.readings import Figure


class SelfReport:
    """The daemon's report about itself, from all its parts. `problems` returns all lasting problems."""

    def __init__(
        self,
        installation: Installation,
        scheduler: Scheduler,
        state: StateAssembly,
        jobs: JobAssembly,
        runs: RunAssembly,
        problems: Callable[[], list[str]],
    ) -> None:
        self._config, self._host, self._since = installation.settings, installation.host, time.time_ns()
        self._scheduler, self._state, self._jobs, self._runs, self._problems = scheduler, state, jobs, runs, problems
        self._turns = Histogram(SHORT_TIMES)

    def add_turn(self, took: int) -> None:
        """Add a turn of the loop and its duration (ns)."""
        self._turns.add(took / SECOND)

    def summary(self) -> str:
        """Return the daemon's state in one line."""
        return summary(self._scheduler, len(self._jobs.watches.refused), self._state.commits.degraded)

    def greeting(self) -> str:
        """Return the version and the state, to log when the daemon is ready."""
        return f"jobqueued {__version__}, {self.summary()}"

    def farewell(self) -> str:
        """Return a description of the live runs, to log when the daemon stops."""
        return farewell(self._scheduler)

    def status(self) -> dict[str, Any]:
        """Return the daemon's part of the Status reply."""
        degraded, link = self._state.commits.degraded, self._runs.link
        return {
            "version": __version__,
            "pid": os.getpid(),
            "host": self._host,
            "started": to_text(self._since),
            "state": "degraded" if degraded else "ok",
            "reason": degraded,
            "max_running": self._config.max_running,
            "launcher": link.greeted,
            **self._jobs.reload.refused(),
            "troubles": self._problems(),
            "unenforced": self._runs.shortfall()[0],
            "unwatched": self._jobs.user_watchers.words(),
            "left": [str(name.run) for name in link.marks.left(tidy=True)],
            "controllers": link.controllers,
        }

    def health(self) -> dict[str, Figure]:
        """Return the daemon's own metrics."""
        commits = self._state.commits
        return {
            "jobqueue_build_info": [Sample("", {"version": __version__}, 1)],
            "jobqueue_start_time_seconds": self._since / SECOND,
            "jobqueue_degraded": commits.degraded is not None,
            "jobqueue_launcher_up": self._runs.link.greeted,
            "jobqueue_on_hold": self._scheduler.hold is not None,
            "jobqueue_troubles": len(self._problems()),
            "jobqueue_files_refused": len(self._jobs.watches.refused),
            "jobqueue_loop_turn_seconds": self._turns.samples(),
            "jobqueue_loop_longest_turn_seconds": self._turns.longest,
            "jobqueue_commit_seconds": commits.times.samples(),
            "jobqueue_commit_failures": [Sample("_total", {}, commits.failures)],
            "jobqueue_kept_bytes": self._runs.housekeeping.kept,
        }
