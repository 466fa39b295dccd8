"""Explain from record files and state.db why a job did not run at an instant, while the daemon is down."""

from __future__ import annotations

from itertools import islice

from jobqueued.audit.known import AuditAnswer, Known
from jobqueued.audit.past import answer
from jobqueued.base.instants import to_text
from jobqueued.child.contract.documents import Record
from jobqueued.ctl.base.client import DaemonUnreachable
from jobqueued.ctl.past import offline
from jobqueued.model.run import RunId
from jobqueued.model.saved import DueChange, Past
from jobqueued.settings.paths import Paths
from jobqueued.state.db import rows
from jobqueued.state.db.faults import StoreError
from jobqueued.state.db.opening import left

_LOOKED_AT = 1000
"""Maximum numbers of records to read: for the job, and for all jobs. The newest runs queued before the instant
count."""


def why(paths: Paths, down: DaemonUnreachable, job: str, at: int, run: str | None) -> AuditAnswer:
    """Explain from files why a job or its run did not run at an instant (wall, ns).

    Raises DaemonUnreachable if no file has a record of the job.
    """
    offline.require_record(paths, down, job)
    offline.explain(paths, down)
    found, instant = list(islice(offline.history(paths, job), _LOOKED_AT)), to_text(at)
    others = list(islice((it for it in offline.history(paths) if it["queued"] <= instant), _LOOKED_AT))
    unknown, changes = list[str](), list[DueChange]()
    try:
        changes = left(paths.state).due_changes
    except StoreError as error:
        unknown.append(f"pauses, holds, former job files, and the daemon's downtimes: {error}")
    presence = {each.id: "enabled" if each.enabled else "disabled" for each, _ in offline.jobs(paths)}
    known = Known(
        job,
        found,
        _is_whole(found),
        found[-1]["queued"] if len(found) >= _LOOKED_AT else "",
        others,
        len(others) < _LOOKED_AT,
        _noted(changes, job),
        [(it.until, it.since) for it in changes if it.kind == "start"],
        presence.get(job, "gone"),
        None,
    )
    told = answer(known, at, run)
    return told._replace(unknown=[*told.unknown, *unknown])


def _is_whole(found: list[Record]) -> bool:
    return any(RunId.parse(it["run"]).number == 1 for it in found)


def _noted(changes: list[DueChange], job: str) -> list[Past]:
    noted = [rows.past_in(it) for it in changes if it.kind == rows.PAST and it.name in (job, "")]
    return sorted(noted, key=lambda it: it.at)
