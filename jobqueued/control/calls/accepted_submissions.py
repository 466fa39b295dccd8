"""Calls about accepted submissions: wait for their end, withdraw, resize and list them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from jobqueued.base.instants import to_text
from jobqueued.control.protocol.access import AccessRule, Rank
from jobqueued.control.protocol.declaration import method
from jobqueued.control.protocol.ownership import Asker
from jobqueued.control.protocol.peers import Peer
from jobqueued.control.protocol.replies import Reply
from jobqueued.control.protocol.varlink import VarlinkError
from jobqueued.core.scheduler import Scheduler
from jobqueued.jobfile import submissions
from jobqueued.model.events import Event, WithdrawAsked
from jobqueued.model.job import Job
from jobqueued.model.run import RunId
from jobqueued.model.run_states import LIVE
from jobqueued.model.submission import MOST_RUNS, Resized, Submission
from jobqueued.state.db.faults import StoreError
from jobqueued.state.write_batch import WriteBatch

_MOST_TOLD = 10_000
_OF_JOB = AccessRule(Rank.OPERATOR, own=True, names="job")


class SubmissionCalls:
    """Withdraws, resizes and lists submissions, and replies to callers that wait for their ends."""

    def __init__(self, scheduler: Scheduler, batch: WriteBatch, happen: Callable[[Event], None], reply: Reply) -> None:
        self._scheduler, self._batch, self._happen, self._reply = scheduler, batch, happen, reply
        self._waiters: dict[str, list[int]] = {}
        """Job → tickets that wait for its end."""

    @method("Withdraw", _OF_JOB)
    def withdraw(self, asked: dict[str, Any], asker: Asker) -> None:
        """Withdraw a submission: start no more of its runs."""
        name = asked["job"]
        self._require_submission(name, f"to start no more runs: jobqueuectl pause {name}")
        self._happen(WithdrawAsked(asker.ticket(), name, asker.peer.name_or_uid, bool(asked.get("stop"))))

    @method("Resize", _OF_JOB)
    def resize(self, asked: dict[str, Any], asker: Asker) -> None:
        """Set a submission's maximum number of live runs."""
        name, runs = asked["job"], asked["runs"]
        if self._require_submission(name, "in YAML files, `concurrency` limits a job's live runs").runs == 1:
            raise VarlinkError("Refused", {"reason": f"{name} has only one run; expected a submission with --array"})
        if not 1 <= runs <= MOST_RUNS:
            raise VarlinkError("Refused", {"reason": f"found {runs}; expected a number from 1 to {MOST_RUNS}"})
        text = submissions.resized(self._scheduler.text_of(name), runs)
        self._happen(Resized(asker.ticket(), name, runs, text, asker.peer.name_or_uid))

    def _require_submission(self, name: str, remedy: str) -> Submission:
        """Return an unfinished submission. Raises VarlinkError, with the `remedy` if a file contains the job."""
        job = self._scheduler.catalog.get(name)
        if job is None:
            raise VarlinkError("NoSuchJob", {"job": name})
        if job.submission is None:
            raise VarlinkError("Refused", {"reason": f"{name} is a job of a file, not a submission; {remedy}"})
        return job.submission

    @method("Await", AccessRule(Rank.READER, own=True, names="job"), waits=True)
    def await_end(self, asked: dict[str, Any], asker: Asker) -> dict[str, Any] | None:
        """Return the result of an ended submission; for an unfinished submission, reply when it ends."""
        name = asked["job"]
        job = self._scheduler.catalog.get(name)
        if job is not None and job.submission is not None:
            self._waiters.setdefault(name, []).append(asker.ticket())
            return None
        return self._end(name)

    def _end(self, name: str) -> dict[str, Any]:
        """Return how many runs a submission had, how many succeeded, and the record of its first failed run or its last
        run.
        """
        runs, succeeded, telling = self._batch.tally(name)
        if not runs:
            raise VarlinkError("NoSuchJob", {"job": name})
        return {"runs": runs, "succeeded": succeeded, "record": self._batch.record(RunId(name, telling))}

    def left(self, ticket: int) -> None:
        """Forget a caller that left before its reply."""
        for name, tickets in list(self._waiters.items()):
            if ticket in tickets:
                tickets.remove(ticket)
            if not tickets:
                del self._waiters[name]

    def answer(self) -> None:
        """Reply to the callers whose submission has ended."""
        for name in [name for name in self._waiters if not self._scheduler.is_submitted(name)]:
            for ticket in self._waiters.pop(name):
                try:
                    self._reply(ticket, self._end(name), None)
                except VarlinkError as error:
                    self._reply(ticket, error.parameters, error.name)
                except StoreError as error:
                    self._reply(ticket, {"reason": str(error)}, "Refused")

    @method("Submissions", AccessRule(Rank.READER, own=True))
    def list_unfinished(self, asked: dict[str, Any], asker: Asker) -> dict[str, Any]:
        """Return all unfinished submissions that the caller may see."""
        peer = asker.peer
        jobs = [job for job in map(self._scheduler.catalog.get, self._scheduler.submitted) if job is not None]
        seen = [job for job in jobs if asker.sees_all or _owns(job, peer)]
        return {
            "submissions": [self._row(job, peer) for job in seen[:_MOST_TOLD]],
            "more": max(0, len(seen) - _MOST_TOLD),
        }

    def _row(self, job: Job, peer: Peer) -> dict[str, Any]:
        """Return the row of an unfinished submission; only its user and root get its script, which may have secrets."""
        state = self._scheduler[job.id]
        start = self._scheduler.next_start(job.id)
        runs = [self._scheduler.runs[run] for run in state.unfinished]
        queued = min((run.queued for run in runs), default=state.saved.cursor)
        return {
            "job": job.id,
            "user": "root" if job.owner is None else job.owner.name,
            "at": None if start is None else to_text(start),
            "submitted": to_text(queued),
            "tags": list(job.tags),
            "running": sum(run.state in LIVE for run in runs),
            "left": job.as_submission.runs - state.saved.last_number,
            "waiting": sum(run.state not in LIVE for run in runs),
            "stdin": job.stdin if _owns(job, peer) or peer.uid == 0 else "",
        }


def _owns(job: Job, peer: Peer) -> bool:
    return peer.uid in (0, os.geteuid()) if job.owner is None else job.owner == peer.owner
