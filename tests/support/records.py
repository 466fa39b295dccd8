"""Record files of a test: whole ones, and every way in which one can be damaged."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jobqueued.base.instants import SECOND, to_text
from jobqueued.child.contract import wire
from jobqueued.child.contract.documents import Record, with_attempt
from jobqueued.core.records import record
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import RunState
from jobqueued.state import record_files

NOW = 1_800_000_000 * SECOND
"""When the first of these runs was due."""


def a_record(number: int, state: str = "succeeded", job: str = "job", *, attempts: int = 1, **fields: Any) -> Record:
    """A whole record of a run that was due `number` seconds after NOW, by the clock; one that is skipped has none."""
    due = NOW + number * SECOND
    run = Run(
        id=RunId(job, number), key=f"c0.{due // SECOND}", due=due, queued=due, arrival=number, attempt=1,
        state=RunState(state), last_due=fields.pop("last_due", None), count=fields.pop("count", 1),
    )  # fmt: skip
    if state == "skipped":
        return {**record.skipped(run, None, HostLimits("host")), **fields}
    document = record.begin(run, None, HostLimits("host"))
    for attempt in range(1, attempts + 1):
        last = state if attempt == attempts and state != "retrying" else "failed"
        document = with_attempt(document, {
            "attempt": attempt, "state": last, "reason": None if last == "succeeded" else "exit code 3", "pid": 4,
            "exit_code": 0, "signal": None, "started": to_text(due + attempt * SECOND),
            "ended": to_text(due + attempt * SECOND + 2 * SECOND), "output": {**document["output"], "offset": 0},
        })  # fmt: skip
    return {**document, "state": state, **fields}


def empty(path: Path) -> None:
    """As a crash of the host may leave it."""
    path.write_bytes(b"")


def half(path: Path) -> None:
    """Cut."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def nonsense(path: Path) -> None:
    """Noise."""
    path.write_bytes(os.urandom(300))


def zeros(path: Path) -> None:
    """The right size, and no content."""
    path.write_bytes(b"\0" * path.stat().st_size)


def list_of_one(path: Path) -> None:
    """Good JSON that is no record."""
    path.write_bytes(b"[" + path.read_bytes() + b"]")


def of_another(path: Path) -> None:
    """The record of another run."""
    path.write_bytes(wire.encode(a_record(77, job="other")))


def without_end(path: Path) -> None:
    """A record that says that its run goes on."""
    path.write_bytes(wire.encode({**a_record(int(path.stem), job=path.parent.name), "state": "due", "attempts": []}))


def no_instant(path: Path) -> None:
    """A record that was due at no time."""
    path.write_bytes(wire.encode(a_record(int(path.stem), job=path.parent.name, due="yesterday")))


def directory(path: Path) -> None:
    """A directory in its place."""
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    """A FIFO in its place, of which a reader would wait for ever."""
    path.unlink()
    os.mkfifo(path)


def dangling(path: Path) -> None:
    """A link to nowhere in its place."""
    path.unlink()
    path.symlink_to("nowhere")


DAMAGES: tuple[Callable[[Path], None], ...] = (
    empty, half, nonsense, zeros, list_of_one, of_another, without_end, no_instant, directory, pipe, dangling,
)  # fmt: skip


def write(logs: Path, *records: Record) -> None:
    """Make the files of these records."""
    for document in records:
        record_files.write(logs, document)
