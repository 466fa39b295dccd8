"""Changes to save: for each run and job, only the newest change. `take` removes and returns the changes for one
commit.
"""

from __future__ import annotations

from collections.abc import Callable

from jobqueued.model.commands import ForgetJob, ForgetRun, Save, SaveBoot, SaveHold, SaveJob, SaveRun, SaveSubmission
from jobqueued.model.run import RunId
from jobqueued.model.saved import SavedJob


class Changes:
    """Runs, jobs and host state that have changed since the last commit."""

    def __init__(self) -> None:
        self._runs: dict[RunId, SaveRun | ForgetRun] = {}
        self._jobs: dict[str, None] = {}
        self._host: list[SaveBoot | SaveHold] = []
        self._submissions: dict[str, SaveSubmission | ForgetJob] = {}

    def __bool__(self) -> bool:
        return bool(self._runs or self._jobs or self._host or self._submissions)

    def note_run(self, change: SaveRun | ForgetRun) -> None:
        """Record the newest change of a run, which replaces an earlier change."""
        self._runs[(change.run if isinstance(change, ForgetRun) else change.run.id)] = change

    def note_job(self, job: str) -> None:
        """Record that a job's saved state has changed."""
        self._jobs[job] = None

    def note_host(self, change: SaveBoot | SaveHold) -> None:
        """Record a change of the host's saved state."""
        self._host.append(change)

    def note_submission(self, change: SaveSubmission | ForgetJob) -> None:
        """Record a new submission, or the end of a submission. After a submission's end, its job need not be saved."""
        self._submissions[change.job] = change
        if isinstance(change, ForgetJob):
            self._jobs.pop(change.job, None)

    def take(self, saved: Callable[[str], SavedJob]) -> list[Save]:
        """Remove and return the changes as commands; `saved` is a function from a job ID to the state to save."""
        jobs = (SaveJob(saved(job)) for job in self._jobs)
        found: list[Save] = [*self._runs.values(), *jobs, *self._host, *self._submissions.values()]
        self._runs, self._jobs, self._host, self._submissions = {}, {}, [], {}
        return found
