"""Calls about notices: open incidents, waiting notices, and test notices."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from jobqueued.base.instants import to_text
from jobqueued.control.protocol.access import AccessRule, Rank
from jobqueued.control.protocol.declaration import method
from jobqueued.control.protocol.ownership import Asker
from jobqueued.control.protocol.varlink import VarlinkError
from jobqueued.model.notify import Target
from jobqueued.model.saved import Incident, Notice
from jobqueued.notices.notices import Notices
from jobqueued.runs.notice_sender import TooMany

_MOST = 1000


class NoticeCalls:
    """The methods Notices and Notify."""

    def __init__(self, notices: Notices, test: Callable[[str | None], list[Notice]]) -> None:
        self._notices, self._test = notices, test

    @method("Notices", AccessRule(Rank.READER))
    def list_notices(self, asked: dict[str, Any], asker: Asker) -> dict[str, Any]:
        """Return all incidents and the waiting notices, oldest first."""
        incidents = sorted(self._notices.incidents.values(), key=lambda incident: incident.since)
        waiting = sorted(self._notices.waiting(), key=lambda notice: notice.id)
        unsent = self._notices.outbox.targets()
        return {
            "incidents": [_incident(incident, unsent) for incident in incidents[:_MOST]],
            "notices": [self._notice(notice) for notice in waiting[:_MOST]],
            "more": max(0, len(incidents) - _MOST) + max(0, len(waiting) - _MOST),
        }

    @method("Notify", AccessRule(Rank.OPERATOR))
    def test(self, asked: dict[str, Any], asker: Asker) -> dict[str, Any]:
        """Queue a test notice for each target of a job."""
        job = asked.get("job")
        if job is not None and not self._notices.knows(job):
            raise VarlinkError("NoSuchJob", {"job": job})
        try:
            tests = self._test(job)
        except TooMany as many:
            reason = (
                f"a test would go to {many} recipients; to test only one job's recipients:"
                " jobqueuectl notify --test --job JOB"
            )
            raise VarlinkError("Refused", {"reason": reason}) from None
        if not tests:
            what = "anything" if job is None else job
            where = "or in any job" if job is None else "for it, or in its file"
            reason = f"no one is notified about {what}: there is no `notify` in jobqueued.yaml {where}"
            raise VarlinkError("Refused", {"reason": reason})
        return {"notices": [self._notice(notice) for notice in tests]}

    def _notice(self, notice: Notice) -> dict[str, Any]:
        target = Target.parse(notice.target)
        first = notice if target.channel == "ping" else self._notices.outbox.first(notice)
        return {
            "id": str(notice.id),
            "first": str(first.id),
            "target": target.shown,
            "event": notice.about["event"],
            "summary": notice.about["summary"],
            "created": to_text(notice.created),
            "more": notice.more,
            "tries": notice.tries,
            "error": notice.error or None,
        }


def _incident(incident: Incident, unsent: Collection[str]) -> dict[str, Any]:
    """Return an incident for people. `unsent`: the targets for which a notice still waits."""
    told = [target for target, _ in incident.told if target not in unsent]
    return {
        "subject": incident.subject,
        "kind": incident.kind,
        "since": to_text(incident.since),
        "times": incident.times,
        "first_run": incident.first_run or None,
        "told": [Target.parse(target).shown for target in told],
    }
