"""Calls whose replies many callers share: the daemon's status, the list of jobs, and the metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from jobqueued.base.instants import to_text
from jobqueued.control.protocol.access import AccessRule, Rank, Whose
from jobqueued.control.protocol.declaration import method
from jobqueued.control.protocol.ownership import Asker, Ownership
from jobqueued.control.protocol.replies import Replies
from jobqueued.control.views import views
from jobqueued.control.views.problems import problem_texts
from jobqueued.control.views.seen import VisibleView, public_status, seen_status, unwatched
from jobqueued.control.views.texts import Texts
from jobqueued.core.scheduler import Scheduler
from jobqueued.metrics.exposition import Told
from jobqueued.model.job import Now
from jobqueued.model.users import Owner

_PUBLIC = AccessRule(Rank.READER, own=True, public=True)


class StatusCalls:
    """Answers Status, List and Metrics, mostly from `texts`.

    `status` returns the daemon's own part of Status. `clocks` re-reads both clocks, because a reply may be written
    after the call.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        ownership: Ownership,
        status: Callable[[], dict[str, Any]],
        metrics: Callable[[Now], Iterable[Told]],
        clocks: Callable[[], Now],
        replies: Replies,
    ) -> None:
        self._scheduler, self._ownership, self._status, self._clocks = scheduler, ownership, status, clocks
        self.texts = Texts(scheduler, self._status_for, lambda: metrics(clocks()), replies)

    @method("Status", _PUBLIC)
    def status(self, asked: dict[str, Any], asker: Asker) -> dict[str, Any] | None:
        """Return the status to callers who see everything. Reply later to all others."""
        if asker.sees_all:
            return self._whole_status()
        self.texts.ask_status(asker, asker.now)
        return None

    @method("List", _PUBLIC)
    def list_jobs(self, asked: dict[str, Any], asker: Asker) -> None:
        """Reply with the list of jobs."""
        self.texts.ask_jobs(asker, asker.now)

    @method("Metrics", AccessRule(Rank.READER))
    def metrics(self, asked: dict[str, Any], asker: Asker) -> None:
        """Reply with the metrics."""
        self.texts.ask(self.texts.metrics, asker.ticket(), asker.now)

    def _whole_status(self, seen: VisibleView | None = None) -> dict[str, Any]:
        """Return the whole status, or the part that a user sees."""
        catalog, soonest = self._scheduler.catalog, views.next_job(self._scheduler, seen)
        attention, own = self._scheduler.attention(self._clocks()), self._status()
        if seen is not None:
            own, attention = seen_status(own, seen), (one for one in attention if seen.job(one.job))
        status = {
            **own,
            **views.hold(self._scheduler),
            **views.counts(self._scheduler, seen),
            **views.exclusive(self._scheduler),
            **views.attention(attention),
            **views.fleet_counted(self._scheduler),
            "jobs": len(catalog) if seen is None else len(catalog) - catalog.owned + len(catalog.of_owner(seen.user)),
            "next": to_text(soonest[0]) if soonest else None,
            "next_job": soonest[1] if soonest else None,
            "unwatched": unwatched(own["unwatched"], seen),
        }
        return {"unwell": problem_texts(status), **status}

    def _status_for(self, user: Owner | None) -> dict[str, Any]:
        """Return the status for a user who is not a reader."""
        seen = VisibleView(lambda job: self._ownership.job(job, user) in (Whose.OWN, Whose.HOST), user)
        return public_status(self._whole_status(seen), seen)
