"""Calls that act on a job, or on the jobs that wait for an event."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from jobqueued.base.instants import to_text
from jobqueued.control.protocol.access import AccessRule, Rank
from jobqueued.control.protocol.at_lists import AtLists
from jobqueued.control.protocol.declaration import method
from jobqueued.control.protocol.ownership import Asker
from jobqueued.control.protocol.parameters import MOST_RUNS, cause_of, event_of, instant_of
from jobqueued.control.protocol.varlink import VarlinkError
from jobqueued.control.views import views
from jobqueued.core.due.set_back import waits_until
from jobqueued.core.scheduler import Scheduler
from jobqueued.model.events import Emitted, Event, ForgetAsked, PauseAsked, RunAsked, SkipAsked

_OF_JOB = AccessRule(Rank.OPERATOR, own=True, names="job")


class JobCalls:
    """Answers calls about a job's starts; requests become events."""

    def __init__(self, scheduler: Scheduler, happen: Callable[[Event], None], at_lists: AtLists) -> None:
        self._scheduler, self._happen, self._at_lists = scheduler, happen, at_lists

    @method("Next", AccessRule(Rank.READER, own=True, names="job"))
    def next_starts(self, asked: dict[str, Any], asker: Asker) -> dict[str, Any]:
        """Return a job's next starts, and the reasons why it does not start."""
        name, count = asked["job"], asked["count"]
        job = self._scheduler.catalog.get(name)
        if job is None:
            raise VarlinkError("NoSuchJob", {"job": name})
        saved = self._scheduler[name].saved
        starts = saved.starts(job, max(0, min(count, MOST_RUNS)))
        row = views.job_row(job, views.condition(self._scheduler, job))
        barred = {name: row[name] for name in ("enabled", "invalid", "paused", "paused_until")}
        return {
            "timezone": job.timezone,
            "next": list(map(to_text, starts)),
            **barred,
            "set_back_until": views.moment(waits_until(saved, job, asker.now.wall)),
            **views.hold(self._scheduler),
        }

    @method("Run", _OF_JOB)
    def run(self, asked: dict[str, Any], asker: Asker) -> None:
        """Make a job due now."""
        cause = cause_of(asked)
        self._happen(RunAsked(asker.ticket(), asked["job"], asker.peer.name, new_key(), None, cause))

    @method("Emit", AccessRule(Rank.OPERATOR, own=True, names="event"))
    def emit(self, asked: dict[str, Any], asker: Asker) -> None:
        """Make due all jobs that wait for an event."""
        event, cause = event_of(asked["event"]), cause_of(asked)
        self._happen(Emitted(asker.ticket(), event, asker.peer.name, new_key(), cause))

    @method("Pause", _OF_JOB)
    def pause(self, asked: dict[str, Any], asker: Asker) -> None:
        """Pause a job for a period or until it is resumed. A submission's pause with an end is like its `at`."""
        name, until = asked["job"], instant_of(asked, "until")
        owner = self._scheduler.owner_of(name)
        if self._scheduler.is_submitted(name) and owner is not None and owner.uid == asker.peer.uid:
            self._at_lists.check_later(owner, until, asker.now.wall)
        self._happen(PauseAsked(asker.ticket(), name, asker.peer.name, pause=True, until=until))

    @method("Resume", _OF_JOB)
    def resume(self, asked: dict[str, Any], asker: Asker) -> None:
        """End the pause of a job."""
        self._happen(PauseAsked(asker.ticket(), asked["job"], asker.peer.name, pause=False))

    @method("SkipNext", _OF_JOB)
    def skip_next(self, asked: dict[str, Any], asker: Asker) -> None:
        """Skip a job's next occurrence, or restore the last occurrence skipped by request."""
        self._happen(SkipAsked(asker.ticket(), asked["job"], asker.peer.name, bool(asked.get("undo"))))

    @method("Forget", _OF_JOB)
    def forget(self, asked: dict[str, Any], asker: Asker) -> None:
        """Forget a job that is in no file, so that it is no longer reported as overdue."""
        self._happen(ForgetAsked(asker.ticket(), asked["job"], asker.peer.name))


def new_key() -> str:
    """Return a random key for an occurrence that no schedule made."""
    return f"x{os.urandom(8).hex()}"
