"""The call Why: the reasons why a job or run does not start, is stopping or ended, now or at an instant."""

from __future__ import annotations

from typing import Any

from jobqueued.control.calls.past_calls import PastCalls
from jobqueued.control.calls.record_calls import RecordCalls
from jobqueued.control.protocol.access import AccessRule, Rank
from jobqueued.control.protocol.declaration import method
from jobqueued.control.protocol.ownership import Asker
from jobqueued.control.protocol.parameters import instant_of, run_of, wrong
from jobqueued.control.protocol.varlink import VarlinkError
from jobqueued.control.views import views
from jobqueued.core.due.set_back import waits_until
from jobqueued.core.scheduler import Scheduler
from jobqueued.state.write_batch import WriteBatch

_EXPLAINED_RUNS = 10
"""Maximum number of a job's waiting runs that are explained."""


class WhyCalls:
    """Explains runs and jobs as they are now; `past` explains an instant."""

    def __init__(self, scheduler: Scheduler, batch: WriteBatch, records: RecordCalls, past: PastCalls) -> None:
        self._scheduler, self._batch, self._records, self._past = scheduler, batch, records, past

    @method("Why", AccessRule(Rank.READER, own=True, names="job run"))
    def why(self, asked: dict[str, Any], asker: Asker) -> dict[str, Any]:
        """Explain a run, or the waiting runs of a job."""
        if ("run" in asked) == ("job" in asked):
            raise wrong("run")
        if (at := instant_of(asked, "at")) is not None:
            found = self._past.why(asked, at, asker)
            return {"why": None, "runs": [], "more": 0, "idle": None, "past": found}
        if "job" in asked:
            return self._why_of_job(asked["job"], asker)
        why = self._why_of_run(asked["run"], asker)
        return {"why": why, "runs": [why], "more": 0, "idle": None, "past": None}

    def _why_of_run(self, text: str, asker: Asker) -> dict[str, Any]:
        run = run_of(text)
        if run in self._scheduler.runs:
            return self._records.explained(run, asker)
        record = self._records.ended(text)
        said = f"{run} ended: {record['state']}" + (f", {record['reason']}" if record["reason"] else "")
        return {"run": text, "state": record["state"], "reasons": [said]}

    def _why_of_job(self, name: str, asker: Asker) -> dict[str, Any]:
        job = self._scheduler.catalog.get(name)
        if job is None:
            raise VarlinkError("NoSuchJob", {"job": name})
        state, now = self._scheduler[name], asker.now
        waiting = len(state.pending)
        runs = self._scheduler.explain_pending(name, _EXPLAINED_RUNS, now, asker.owner)
        idle = None
        if not waiting:
            newest = filter(asker.has, self._batch.history(name, 1))
            condition = views.condition(self._scheduler, job)
            idle = views.idleness(job, condition, newest, waits_until(state.saved, job, now.wall))
        return {"why": None, "runs": runs, "more": waiting - len(runs), "idle": idle, "past": None}
