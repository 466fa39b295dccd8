"""The past of a job while the daemon is down: by record files, and by what it has left in state.db."""

from __future__ import annotations

from itertools import islice

from jobqueued.audit.known import Answer, Known
from jobqueued.audit.past import answer
from jobqueued.ctl import offline
from jobqueued.ctl.client import Unreachable
from jobqueued.model import Record, RunId, to_text
from jobqueued.paths import Paths
from jobqueued.saved import DueChange, Past
from jobqueued.state import rows
from jobqueued.state.faults import StoreError
from jobqueued.state.opening import left

_LOOKED_AT = 1000
"""So many records, of the job as of all jobs, are looked at, the newest that were queued until the instant."""


def why(paths: Paths, down: Unreachable, job: str, at: int, run: str | None) -> Answer:
    """Tell why a job, or a run of it, did not run at an instant (wall), by files; Unreachable: they have nothing."""
    offline.require_record(paths, down, job)
    offline.explain(paths, down)
    found, instant = list(islice(offline.history(paths, job), _LOOKED_AT)), to_text(at)
    others = list(islice((it for it in offline.history(paths) if it["queued"] <= instant), _LOOKED_AT))
    unknown, changes = list[str](), list[DueChange]()
    try:
        changes = left(paths.state).due_changes
    except StoreError as error:
        unknown.append(f"pauses, holds, what job files said, and when the daemon was down: {error}")
    standing = {each.id: "enabled" if each.enabled else "disabled" for each, _ in offline.jobs(paths)}
    known = Known(
        job, found, _is_whole(found), found[-1]["queued"] if len(found) >= _LOOKED_AT else "", others,
        len(others) < _LOOKED_AT, _noted(changes, job),
        [(it.until, it.since) for it in changes if it.kind == "start"], standing.get(job, "gone"), None,
    )  # fmt: skip
    told = answer(known, at, run)
    return told._replace(unknown=[*told.unknown, *unknown])


def _is_whole(found: list[Record]) -> bool:
    return any(RunId.parse(it["run"]).number == 1 for it in found)


def _noted(changes: list[DueChange], job: str) -> list[Past]:
    noted = [rows.past_in(it) for it in changes if it.kind == rows.PAST and it.name in (job, "")]
    return sorted(noted, key=lambda it: it.at)
