"""Calls that act on a run: rerun, retry and stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jobqueued.control.calls.job_calls import new_key
from jobqueued.control.calls.record_calls import RecordCalls
from jobqueued.control.protocol.access import AccessRule, Rank
from jobqueued.control.protocol.declaration import method
from jobqueued.control.protocol.ownership import Asker
from jobqueued.control.protocol.parameters import cause_of, run_of
from jobqueued.control.protocol.varlink import VarlinkError
from jobqueued.core.records import record
from jobqueued.core.scheduler import Scheduler
from jobqueued.model.events import Event, LostAsked, RetryAsked, RunAsked, StopAsked
from jobqueued.model.run import RunId
from jobqueued.runs.lost_attempts import LostAttempts

_OF_RUN = AccessRule(Rank.OPERATOR, own=True, names="run")


class RunCalls:
    """Turns requests about runs into events. `records` finds ended runs."""

    def __init__(
        self, scheduler: Scheduler, happen: Callable[[Event], None], records: RecordCalls, lost: LostAttempts
    ) -> None:
        self._scheduler, self._happen, self._records, self._lost = scheduler, happen, records, lost

    @method("Rerun", _OF_RUN)
    def rerun(self, asked: dict[str, Any], asker: Asker) -> None:
        """Make a run's job due once more."""
        run = run_of(asked["run"])
        known = self._scheduler.runs.get(run)
        by = self._records.ended(asked["run"]).get("triggered_by") if known is None else known.triggered_by
        cause = cause_of(asked, record.repeated(by))
        self._happen(RunAsked(asker.ticket(), run.job, asker.peer.name, new_key(), run, cause))

    @method("Retry", _OF_RUN)
    def retry(self, asked: dict[str, Any], asker: Asker) -> None:
        """Start the next attempt of a run now."""
        if (run := run_of(asked["run"])) not in self._scheduler.runs:
            self._records.ended(asked["run"])  # NoSuchRun if it never existed
        self._happen(RetryAsked(asker.ticket(), run, asker.peer.name))

    @method("Stop", _OF_RUN)
    def stop(self, asked: dict[str, Any], asker: Asker) -> None:
        """Stop a run, or declare it lost if its supervisor is lost."""
        run = run_of(asked["run"])
        if run not in self._scheduler.runs:
            state = self._records.ended(asked["run"])["state"]
            raise VarlinkError("Refused", {"reason": f"{run} has already ended: {state}"})
        if asked.get("lost"):
            self._give_up(run, asker)
        else:
            self._happen(StopAsked(asker.ticket(), run, asker.peer.name))

    def _give_up(self, run: RunId, asker: Asker) -> None:
        try:
            over = self._lost.give_up(run, asker.peer.name)
        except OSError as error:
            reason = f"cannot read the files of {run} now ({error.strerror}); try again"
            raise VarlinkError("Refused", {"reason": reason}) from None
        if over is None:
            raise VarlinkError("Refused", {"reason": f"{run} is not lost; to stop it: jobqueuectl stop {run}"})
        self._happen(LostAsked(asker.ticket(), over))
