"""The part of Why about an instant: the saved part of a job's past."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jobqueued.audit.known import Known
from jobqueued.audit.past import answer
from jobqueued.base.instants import to_text
from jobqueued.child.contract.documents import Record
from jobqueued.control.protocol.ownership import Asker
from jobqueued.control.protocol.parameters import run_of
from jobqueued.control.protocol.varlink import VarlinkError
from jobqueued.core.records import record
from jobqueued.core.scheduler import Scheduler
from jobqueued.core.state.holders import ANOTHERS_RUN
from jobqueued.model.run import Run
from jobqueued.model.run_states import LIVE
from jobqueued.model.users import share_of
from jobqueued.state import past
from jobqueued.state.db.store import Store
from jobqueued.state.write_batch import WriteBatch


class PastCalls:
    """Answers Why about an instant. `begun` returns a live run's record so far."""

    def __init__(self, scheduler: Scheduler, store: Store, batch: WriteBatch, begun: Callable[[Run], Record]) -> None:
        self._scheduler, self._store, self._batch, self._begun = scheduler, store, batch, begun

    def why(self, asked: dict[str, Any], at: int, asker: Asker) -> dict[str, Any]:
        """Return the reason why a job or run did not run at an instant (wall)."""
        run = run_of(asked["run"]) if "run" in asked else None
        job = asked["job"] if run is None else run.job
        known = self._known(job, at, asker)
        if run is not None and all(it["run"] != str(run) for it in known.runs):
            known = known._replace(runs=[*known.runs, self._named(asked["run"])])
        if run is None and not known.runs and known.presence == "gone" and all(it.job != job for it in known.past):
            raise VarlinkError("NoSuchJob", {"job": job})
        found = answer(known, at, run and str(run))
        if found.kind == "waiting":
            found = answer(self._with_others(known, at, asker), at, run and str(run))
        return {"job": job, "at": to_text(at), **found._asdict()}

    def _known(self, name: str, at: int, asker: Asker) -> Known:
        scheduler = self._scheduler
        job, around = scheduler.catalog.get(name), past.around(self._store, name, at)
        unsaved = {run.number: document for run, document in self._batch.ended.items() if run.job == name}
        going_on = {run.number: self._so_far(scheduler.runs[run]) for run in scheduler[name].unfinished}
        found = {it["number"]: it for it in around.records} | unsaved
        runs = {number: it for number, it in found.items() if asker.has(it)} | going_on
        is_whole = around.is_whole or 1 in runs or not scheduler[name].saved.last_number
        presence = "gone" if job is None else "enabled" if job.enabled else "disabled"
        return Known(
            name,
            list(runs.values()),
            is_whole,
            around.looked_back,
            [],
            True,
            past.noted(self._store, self._batch.due_changes, name),
            past.downs(self._store, at),
            presence,
            scheduler.next_start(name),
        )

    def _named(self, text: str) -> Record:
        document = self._batch.record(run_of(text))
        if document is None:
            raise VarlinkError("NoSuchRun", {"run": text})
        return document

    def _so_far(self, run: Run) -> Record:
        """Return an unfinished run's record so far; a waiting run's record includes its claims."""
        begun, job, limits = self._begun(run), self._scheduler.catalog.get(run.id.job), self._scheduler.limits
        if run.state in LIVE or job is None:
            return begun
        return {**begun, "claims": list(record.claims(limits.claims_of(job), job, limits))}

    def _with_others(self, known: Known, at: int, asker: Asker) -> Known:
        """Add to `known` the other runs that were live at the instant, under the names that the caller may see."""
        going_on = [self._so_far(run) for run in self._scheduler.live if run.queued <= at]
        found = {it["run"]: it for it in [*past.live(self._store, at), *self._batch.ended.values(), *going_on]}
        others = [self._as_known_to(asker, it) for it in found.values()]
        return known._replace(others=others, has_all_others=past.has_all(self._store, at))

    @staticmethod
    def _as_known_to(asker: Asker, found: Record) -> Record:
        if asker.has(found) or not share_of(found["job"]):
            return found
        hidden: Any = {**found, "run": ANOTHERS_RUN}
        return hidden  # type: ignore[no-any-return]
