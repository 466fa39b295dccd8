"""write_batch: what waits for a commit, and what gives way when there is no room for all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobqueued.commands import SaveBoot, SaveJob
from jobqueued.saved import SavedJob
from jobqueued.state.faults import CommitFailed
from jobqueued.state.store import Store
from jobqueued.state.write_batch import WriteBatch
from tests.support.states import limit_pages


def test_texts_give_way_to_runs(tmp_path: Path) -> None:
    """Where only the job files' texts find no room, all else is committed, it is said once, and they come later."""
    store = Store(tmp_path)
    batch = WriteBatch(store)
    (tmp_path / "ballast").unlink()
    limit_pages(store, 1)
    batch.take_files({"a.yaml": b"x" * 100_000})
    batch.take(SaveBoot("one"))
    assert "no room for the last good text of a.yaml: database or disk is full" == batch.commit()
    assert (True, {}, True) == (store.knows_boot("one"), store.files(), bool(batch))
    batch.take(SaveBoot("two"))
    assert ("", True) == (batch.commit(), store.knows_boot("two"))
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
