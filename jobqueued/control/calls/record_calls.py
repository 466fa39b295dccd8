"""Calls about runs: their records, their output, and waiting for their end."""

from __future__ import annotations

import base64
import os
from collections.abc import Container
from operator import itemgetter
from pathlib import Path
from typing import Any

from jobqueued.base.instants import to_text
from jobqueued.base.text import slurm_job
from jobqueued.child.contract.documents import Record
from jobqueued.child.contract.trust import name_of
from jobqueued.control.calls.monitor import Monitor
from jobqueued.control.protocol.access import AccessRule, Rank
from jobqueued.control.protocol.declaration import method
from jobqueued.control.protocol.ownership import Asker
from jobqueued.control.protocol.parameters import MOST_RUNS, instant_of, run_of, wrong
from jobqueued.control.protocol.replies import Replies
from jobqueued.control.protocol.varlink import VarlinkError
from jobqueued.control.views import views
from jobqueued.control.views.definitions import definition
from jobqueued.core.records import record
from jobqueued.core.scheduler import Scheduler
from jobqueued.model.job import Job
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import LIVE, PENDING
from jobqueued.model.users import share_of
from jobqueued.runs.run_directory import Name
from jobqueued.state import record_files
from jobqueued.state.db.store import NEWEST, HistoryMark, Page, Store
from jobqueued.state.write_batch import WriteBatch

_PAGE_RUNS, _PAGE_BYTES = 50, 1 << 16
_LIVE_PLACE = "live/"
_UNENDED = {state.value for state in LIVE | PENDING}
_ANY = 1 << 63
"""An instant later than any other instant."""

_SEES_RUN = AccessRule(Rank.READER, own=True, names="run")


class RecordCalls:
    """The methods Describe, Show, Usage, History, Logs and Wait."""

    def __init__(
        self, scheduler: Scheduler, store: Store, batch: WriteBatch, logs: Path, monitor: Monitor, replies: Replies
    ) -> None:
        self._scheduler, self._store, self._batch, self._logs = scheduler, store, batch, logs
        self._monitor, self._replies = monitor, replies
        self._waiters: dict[RunId, list[int]] = {}
        """Run → tickets that wait for its end."""

    @method("Describe", AccessRule(Rank.READER, own=True, names="job"))
    def describe(self, asked: dict[str, Any], asker: Asker) -> dict[str, Any]:
        """Return a job with its counters and newest records; its definition is redacted for most callers."""
        name, limit = asked["job"], asked.get("runs", 10)
        job = self._scheduler.catalog.get(name)
        if job is None:
            raise VarlinkError("NoSuchJob", {"job": name})
        state, limit = self._scheduler[name], max(0, min(limit, MOST_RUNS))
        unfinished = sorted(state.unfinished, reverse=True)
        runs = [self.begun(self._scheduler.runs[run]) for run in unfinished[:limit]] + self._batch.history(name, limit)
        return {
            "job": views.job_row(job, views.condition(self._scheduler, job)),
            "definition": definition(job, whole=_may_see_secrets(job, asker)),
            "stats": views.stats(state),
            "runs": list(filter(asker.has, runs))[:limit],
        }

    @method("Show", _SEES_RUN)
    def show(self, asked: dict[str, Any], asker: Asker) -> dict[str, Any] | None:
        """Return an ended run's record. For a live run, reply later, after its usage was measured."""
        run = self._scheduler.runs.get(run_of(asked["run"]))
        if run is None:
            return {"record": self.ended(asked["run"])}
        so_far = self._so_far(run, asker)
        if not run.pid:
            return {"record": so_far}
        if (telemetry := self._monitor.marks.telemetry(Name(run.id, run.attempt))) is not None:
            so_far["telemetry"] = telemetry
        if (there := self._monitor.marks.slurm(Name(run.id, run.attempt))) is not None:
            so_far["slurm"] = there
        number = asker.ticket()

        def then(used: dict[str, Any] | OSError | None) -> None:
            if isinstance(used, OSError):
                self._replies.reply(number, {"reason": str(used.strerror)}, "Refused")
            else:
                self._replies.reply(number, {"record": {**so_far, "usage": used}})

        self._monitor.measure(run, then)
        return None

    @method("Usage", AccessRule(Rank.READER, own=True))
    def usage(self, asked: dict[str, Any], asker: Asker) -> None:
        """Reply with the usage of the host and of the live runs that the caller may see."""
        sees = None if asker.sees_all else asker.has_run
        self._monitor.join(asker.ticket(), bool(asked.get("history")), asker.now, sees)

    def explained(self, name: RunId, asker: Asker) -> dict[str, Any]:
        """Explain a run: the causes of its wait or of its stop, and Slurm's reports."""
        why, run = self._scheduler.explain(name, asker.now, asker.owner), self._scheduler.runs[name]
        there = self._monitor.marks.slurm(Name(run.id, run.attempt)) if run.pid else None
        return why if there is None else {**why, "reasons": [*why["reasons"], f"it is in Slurm: {slurm_job(there)}"]}

    def ended(self, text: str) -> Record:
        """Return the record of an ended run. Raises VarlinkError."""
        document = self._batch.record(run_of(text))
        if document is None:
            raise VarlinkError("NoSuchRun", {"run": text})
        return document

    @method("Wait", _SEES_RUN, waits=True)
    def await_end(self, asked: dict[str, Any], asker: Asker) -> dict[str, Any] | None:
        """Return an ended run's record. For an unfinished run, reply when it ends."""
        run = run_of(asked["run"])
        if run not in self._scheduler.runs:
            return {"record": self.ended(asked["run"])}
        self._waiters.setdefault(run, []).append(asker.ticket())
        return None

    def left(self, ticket: int) -> None:
        """Forget a caller that left before its reply."""
        for run, tickets in list(self._waiters.items()):
            if ticket in tickets:
                tickets.remove(ticket)
                if not tickets:
                    del self._waiters[run]

    def notify_ended(self, run: RunId, record: Record) -> None:
        """Reply to the callers that wait for the end of this run."""
        for ticket in self._waiters.pop(run, []):
            self._replies.reply(ticket, {"record": record})

    @method("Logs", _SEES_RUN)
    def logs(self, asked: dict[str, Any], asker: Asker) -> dict[str, Any]:
        """Return a part of a run's output."""
        run, offset = run_of(asked["run"]), max(0, asked.get("offset", 0))
        limit = max(0, min(asked.get("limit", _PAGE_BYTES), _PAGE_BYTES))
        live = run in self._scheduler.runs
        document = None if live else self.ended(asked["run"])
        try:
            data, size = record_files.read_output(self._logs, run, offset, limit)
        except FileNotFoundError:
            if document is None:
                return {"data": "", "size": 0, "live": True}
            raise VarlinkError("NoOutput", {"run": str(run), "reason": record_files.no_output(document)}) from None
        except OSError as error:
            raise VarlinkError("NoOutput", {"run": str(run), "reason": f"it can't be read: {error.strerror}"}) from None
        return {"data": base64.b64encode(data).decode(), "size": size, "live": live}

    @method("History", AccessRule(Rank.READER, own=True, names="job"))
    def history(self, asked: dict[str, Any], asker: Asker) -> dict[str, Any]:
        """Return a page of the records that the caller may see."""
        job, limit = asked.get("job"), max(1, min(asked.get("limit", _PAGE_RUNS), _PAGE_RUNS))
        states, since, until = asked.get("states"), instant_of(asked, "since"), instant_of(asked, "until")
        first, last = since or 0, _ANY - 1 if until is None else until
        share = None if asker.owner is None else asker.owner.share

        def wanted(mark: HistoryMark, state: str) -> bool:
            is_theirs = share is None or share_of(mark.job) == share
            return is_theirs and first <= mark.queued < last and (states is None or state in states)

        place, among_live = _place(asked.get("before", _LIVE_PLACE))
        fresh: list[tuple[HistoryMark, Run]] = []
        if among_live:
            found = self._fresh(job, place, states)
            fresh = [(mark, run) for mark, run in found if wanted(mark, run.state) and asker.has_run(run.id)][:limit]
            place = NEWEST._replace(queued=last)
        ended = self._batch.ended
        runs = [ended.get(run.id) or self.begun(run) for _, run in fresh]
        if len(fresh) == limit:
            return {"runs": runs, "next": _LIVE_PLACE + _place_text(fresh[-1][0])}
        if states is not None and _UNENDED.issuperset(states):  # no ended run can match
            page = Page([], None)
        else:
            page = self._store.ended(place, first, limit - len(fresh), wanted, job)
        if job is not None and not (fresh or page.records or page.end or self._knows(job)):
            raise VarlinkError("NoSuchJob", {"job": job})
        runs += [known for known in page.records if RunId.parse(known["run"]) not in ended and asker.has(known)]
        return {"runs": runs, "next": None if page.end is None else _place_text(page.end)}

    def _so_far(self, run: Run, asker: Asker) -> Record:
        begun, is_live = self.begun(run), run.state in LIVE
        return {
            **begun,
            "output": record_files.found_output(self._logs, run.id) or begun["output"],
            "usage": None,
            "holds": views.holds(run) if is_live else [],
            "waits_for": [] if is_live else self._scheduler.explain(run.id, asker.now, asker.owner)["reasons"],
        }

    def begun(self, run: Run) -> Record:
        """Return an unfinished run's record so far."""
        begun = record.begin(run, self._scheduler.catalog.get(run.id.job), self._scheduler.limits)
        ended = None if run.state in LIVE else begun["ended"]  # a waiting run's previous attempt ended
        return {**begun, "pid": run.pid, "started": to_text(run.started) if run.started else None, "ended": ended}

    def _fresh(
        self, job: str | None, before: HistoryMark, states: Container[str] | None
    ) -> list[tuple[HistoryMark, Run]]:
        """Return unfinished runs and runs whose end is not saved yet; all are older than `before`.

        The unfinished runs are those in these states, or all that started an attempt if `states` is None.
        """
        unfinished = self._scheduler.runs.values()
        if states is None:
            runs = [run for run in unfinished if run.state in LIVE or run.so_far is not None]
        else:
            runs = [run for run in unfinished if run.state in states]
        runs += [run for run, record in self._batch.runs.values() if record is not None]
        marks = ((HistoryMark(run.queued, *run.id), run) for run in runs if job in (None, run.id.job))
        return sorted((found for found in marks if found[0] < before), key=itemgetter(0), reverse=True)

    def _knows(self, job: str) -> bool:
        return job in self._scheduler.catalog or bool(self._batch.history(job, 1))


def _may_see_secrets(job: Job, asker: Asker) -> bool:
    """Return whether the caller may see a job's secrets: only root, the daemon's user and the job's user may see
    them.
    """
    peer = asker.peer
    if peer.uid in (0, os.geteuid()):
        return True
    if job.owner is not None:
        return job.owner == peer.owner
    return job.user is not None and job.user == name_of(peer.uid)


def _place_text(mark: HistoryMark) -> str:
    return f"{mark.queued}/{RunId(mark.job, mark.number)}"


def _place(text: str) -> tuple[HistoryMark, bool]:
    """Parse the place where a page of history begins. Return the mark, and whether the page begins among live runs."""
    among_live = text.startswith(_LIVE_PLACE)
    queued, _, run = text.removeprefix(_LIVE_PLACE).partition("/")
    try:
        mark = NEWEST if text == _LIVE_PLACE else HistoryMark(int(queued), *RunId.parse(run))
        if not -_ANY <= mark.queued < _ANY:
            raise ValueError
        return mark, among_live
    except ValueError:
        raise wrong("before") from None
