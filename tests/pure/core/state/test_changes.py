"""What has to become durable: the newest of each run and job, and nothing twice."""

from __future__ import annotations

import pytest

from jobqueued.core.state.changes import Changes
from jobqueued.model.commands import ForgetJob, ForgetRun, SaveBoot, SaveHold, SaveJob, SaveRun, SaveSubmission
from jobqueued.model.run import Run, RunId
from jobqueued.model.saved import SavedJob
from tests.support.world import ended

RUN = Run(id=RunId("a", 1), key="k", due=1, queued=1, arrival=1)


def saved(job: str) -> SavedJob:
    """What is saved of a job."""
    return SavedJob(job=job)


@pytest.mark.parametrize(
    "note",
    [
        lambda it: it.note_run(SaveRun(RUN)),
        lambda it: it.note_run(ForgetRun(RUN.id, ended(RUN.id))),
        lambda it: it.note_job("a"),
        lambda it: it.note_host(SaveBoot("b")),
        lambda it: it.note_submission(ForgetJob("a")),
    ],
)
def test_something_has_changed(note: object) -> None:
    """Whatever it is, it is handed over once."""
    changes = Changes()
    assert (False, []) == (bool(changes), changes.take(saved))
    note(changes)  # type: ignore[operator]
    assert (True, 1, False) == (bool(changes), len(changes.take(saved)), bool(changes))
    assert [] == changes.take(saved)


def test_the_newest_of_each() -> None:
    """Runs come first, then jobs, the host, and submissions; of what is over nothing else is saved."""
    changes = Changes()
    gone = ForgetRun(RUN.id, ended(RUN.id))
    changes.note_submission(SaveSubmission("alice/1", "text", ""))
    changes.note_host(SaveHold(None))
    for name in ("alice/1", "b", "b"):
        changes.note_job(name)
    changes.note_submission(ForgetJob("alice/1"))
    changes.note_run(SaveRun(RUN))
    changes.note_run(gone)
    changes.note_host(SaveBoot("b"))
    assert [gone, SaveJob(saved("b")), SaveHold(None), SaveBoot("b"), ForgetJob("alice/1")] == changes.take(saved)
