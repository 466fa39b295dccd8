"""Runs and records for a state.db of a test, and how it becomes full."""

from __future__ import annotations

from typing import Any

from jobqueued.base.instants import SECOND
from jobqueued.child.contract.documents import Record
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import RunState
from jobqueued.model.saved import SavedJob
from jobqueued.state.db.store import Store


def a_run(number: int = 1, job: str = "job", **fields: Any) -> Run:
    """A run with an identity."""
    standard = {"key": f"c0.{number}", "due": number * SECOND, "queued": number * SECOND, "arrival": number}
    return Run(id=RunId(job, number), **{**standard, **fields})


def a_record(number: int, job: str = "job", **fields: Any) -> Record:
    """Enough of a record."""
    return {"run": f"{job}@{number}", "job": job, "number": number, "state": "succeeded", **fields}


def save(store: Store, *rows: tuple[Run, Record | None]) -> None:
    """One commit of these runs, and of what their jobs know then."""
    memories = {run.id.job: SavedJob(job=run.id.job, last_number=run.id.number) for run, _ in rows}
    store.commit({run.id: (run, record) for run, record in rows}, memories)


def save_ended(store: Store, *numbers: int, job: str = "job", **fields: Any) -> None:
    """One commit of runs that have ended."""
    save(store, *((a_run(n, job, state=RunState.SUCCEEDED), a_record(n, job, **fields)) for n in numbers))


def limit_pages(store: Store, more: int) -> None:
    """Let the database grow by so many pages at most."""
    db = store._db
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.execute(f"PRAGMA max_page_count = {pages + more}")
