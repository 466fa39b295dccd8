"""State directories as a scheduler that was killed leaves them, to be damaged, and what a start makes of them."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

from jobqueued.core.scheduler import Scheduler
from jobqueued.model.job import Now
from jobqueued.model.run_states import LIVE, PENDING, RunState
from jobqueued.model.saved import Hold, SavedJob
from jobqueued.state.db.rows import hold_text
from jobqueued.state.db.store import Store
from tests.support import REPO
from tests.support.states import a_record, a_run

PAGE = 4096
SALT = 32 + 24 + PAGE
"""The bytes of the header of a write-ahead log, and of a frame."""


def build(directory: Path, *, clean: bool) -> None:
    """Some jobs with history and runs that go on, a hold, two job files; half of it in the write-ahead log.

    In a process that ends at once, unless it is `clean`.
    """
    command = [sys.executable, "-m", "tests.support.damage", str(directory), *(["clean"] if clean else [])]
    subprocess.run(command, cwd=REPO, check=True)


def work(store: Store) -> None:
    """What is committed of it, in six commits."""
    for turn in range(1, 7):
        ended = [a_run(number, f"job{turn}", state=RunState.SUCCEEDED) for number in range(1, 9)]
        live = [
            a_run(9, f"job{turn}", state=RunState.RUNNING, attempt=1, pid=42, started=9),
            a_run(10, f"job{turn}", state=RunState.WAITING),
            a_run(11, f"job{turn}", state=RunState.RETRYING, attempt=2, so_far={"attempts": []}),
        ]
        store.commit(
            {run.id: (run, a_record(run.id.number, run.id.job, text="x" * 3000)) for run in ended}
            | {run.id: (run, None) for run in live},
            {f"job{turn}": SavedJob(job=f"job{turn}", rhythm="0 2 * * *", cursor=turn, last_number=11)},
            {f"{turn}.yaml": b"jobs: {}\n" * 500},
            {"boot": f"boot {turn}", "hold": hold_text(Hold("root", until=turn))},
        )
        if turn == 3:
            store.tidy()


def kept(store: Store) -> tuple[object, ...]:
    """All that a start needs."""
    jobs, runs = store.load()
    boots = tuple(turn for turn in range(7) if store.has_seen_boot(f"boot {turn}"))
    return sorted(jobs, key=str), sorted(runs, key=str), store.files(), store.hold(), boots


def restored(store: Store) -> Scheduler:
    """A scheduler that begins with it, as the daemon does, and holds what it says."""
    scheduler = Scheduler()
    jobs, runs = store.load()
    scheduler.restore(jobs, runs, Now(10**18, 10**9), store.hold())
    scheduler.validate()
    assert all(run.state in LIVE | PENDING for run in scheduler.runs.values())
    return scheduler


def damage(data: bytes, start: int, kind: str) -> bytes:
    """The data with one page of something else."""
    size = min(PAGE, len(data) - start)
    other = {
        "zeros": bytes(size), "ones": b"\xff" * size, "noise": random.Random(start).randbytes(size),
        "another": data[-PAGE:][:size] if start < len(data) - PAGE else data[:size],
    }  # fmt: skip
    return data[:start] + other[kind] + data[start + size :]


def cuts(size: int) -> list[int]:
    """Lengths at which a file may be cut."""
    some = {0, 1, 32, 100, 512, size // 2, size - 1, size - PAGE}
    borders = {page * PAGE + more for page in (1, 2, size // PAGE // 2, size // PAGE) for more in (-1, 0, 1)}
    return sorted(length for length in some | borders if 0 <= length < size)


if __name__ == "__main__":
    store = Store(Path(sys.argv[1]))
    work(store)
    if sys.argv[2:]:
        store.close()
    os._exit(0)
