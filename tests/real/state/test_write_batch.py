"""write_batch: what waits for a commit, and what gives way when there is no room for all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobqueued.model.commands import ForgetRun, SaveBoot, SaveJob, SavePast, SaveRun
from jobqueued.model.run import RunId
from jobqueued.model.run_states import RunState
from jobqueued.model.saved import Past, SavedJob
from jobqueued.state import past, write_batch
from jobqueued.state.db.faults import CommitFailed
from jobqueued.state.db.store import Store
from jobqueued.state.write_batch import WriteBatch
from tests.support.states import a_record, a_run, limit_pages


def test_texts_give_way_to_runs(tmp_path: Path) -> None:
    """Where only the job files' texts find no room, all else is committed, it is said once, and they come later."""
    store = Store(tmp_path)
    batch = WriteBatch(store)
    (tmp_path / "ballast").unlink()
    limit_pages(store, 1)
    batch.take_files({"a.yaml": b"x" * 100_000})
    batch.take(SaveBoot("one"))
    assert "no room to save the last good version of a.yaml: database or disk is full" == batch.commit()
    assert (True, {}, True) == (store.has_seen_boot("one"), store.files(), bool(batch))
    batch.take(SaveBoot("two"))
    assert ("", True) == (batch.commit(), store.has_seen_boot("two"))
    limit_pages(store, 1000)
    assert ("", False, 100_000) == (batch.commit(), bool(batch), len(store.files()["a.yaml"]))
    store.close()


def test_what_finds_no_room_stays(tmp_path: Path) -> None:
    """Without files to give way a commit fails, and nothing of it is forgotten."""
    store = Store(tmp_path)
    batch = WriteBatch(store)
    (tmp_path / "ballast").unlink()
    limit_pages(store, 0)
    for number in range(200):
        batch.take(SaveJob(SavedJob(job=f"job{number}", rhythm="x" * 1000)))
    with pytest.raises(CommitFailed):
        batch.commit()
    limit_pages(store, 1000)
    assert ("", False, 200) == (batch.commit(), bool(batch), len(store.jobs()))
    store.close()


def test_a_run_that_another_record_covers_leaves_nothing(tmp_path: Path) -> None:
    """Its row goes with the commit of that record, which stays its job's newest; what has ended never goes so."""
    store = Store(tmp_path)
    batch = WriteBatch(store)
    skip = a_run(1, state=RunState.SKIPPED)
    batch.take(SaveRun(skip, a_record(1, state="skipped")))
    batch.take(SaveRun(a_run(2)))
    batch.take(SaveJob(SavedJob(job="job", last_number=2)))
    batch.commit()
    for number in (1, 2):
        batch.take(ForgetRun(RunId("job", number), a_record(1)))
    assert ("", False) == (batch.commit(), bool(batch))
    store.close()
    store = Store(tmp_path)
    assert [skip] == store.load()[1]
    store.close()


def test_what_people_did_stays_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing can be saved each pause and hold waits by itself, up to a limit; all of it is known meanwhile."""
    monkeypatch.setattr(write_batch, "MOST_PAST", 4)
    store = Store(tmp_path)
    batch = WriteBatch(store)
    whats = ("paused", "held", "resumed", "paused")
    done = [Past(at, "" if at == 2 else "job", what) for at, what in enumerate(whats, 1)]
    for each in done:
        batch.take(SavePast(each))
    assert done == past.noted(store, batch.due_changes, "job")
    for at in range(5, 9):
        batch.take(SavePast(Past(at, "job", "resumed")))
    assert [*done, Past(5, "job", "resumed")] == past.noted(store, batch.due_changes, "job")
    batch.commit()
    assert [*done, Past(5, "job", "resumed")] == past.noted(store, batch.due_changes, "job")
    assert [done[1]] == past.noted(store, (), "other")
    store.close()
