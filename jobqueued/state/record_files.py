"""The run log: one record and one output file a run, ``<logs>/<job>/<n>.json`` and ``<n>.log``."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import NamedTuple, cast

from jobqueued.child import atomic_file, wire
from jobqueued.child.documents import Output
from jobqueued.child.output import TAIL, shown
from jobqueued.model import LIVE, MAX_DIGITS, PENDING, Record, RunId
from jobqueued.saved import SavedJob
from jobqueued.settings import Retention

_END = ".json"


def path_of(logs: Path, run: RunId) -> Path:
    """Both files' path without its ending."""
    return logs / run.job / str(run.number)


def read(logs: Path, run: RunId) -> Record | None:
    """The record file of a run; None: there is none, or it is not whole."""
    try:
        document = json.loads(path_of(logs, run).with_suffix(_END).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    whole = isinstance(document, dict) and isinstance(document.get("state"), str)
    return cast("Record", document) if whole else None


def output_of(logs: Path, run: RunId) -> Path:
    """The output file of a run; it is there once the run has written something."""
    return path_of(logs, run).with_suffix(".log")


def read_output(logs: Path, run: RunId, offset: int, limit: int) -> tuple[bytes, int]:
    """At most `limit` bytes of a run's output from `offset` on, and how many there are in all; OSError."""
    descriptor = os.open(output_of(logs, run), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, limit, offset), os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def found_output(logs: Path, run: RunId) -> Output | None:
    """The output, by its file, of a run whose supervisor did not come to record it; None: there is none."""
    try:
        size = read_output(logs, run, 0, 0)[1]
        tail = read_output(logs, run, max(0, size - TAIL), TAIL)[0]
    except OSError:
        return None
    return {
        "file": str(output_of(logs, run)), "bytes": size, "dropped": None, "tail": shown(tail), "journal": None,
    }  # fmt: skip


def whole_output(document: Record) -> Output:
    """The output of all attempts of a run; its record's own is the last one's, or what the file has so far."""
    last = document["output"]
    pieces = [attempt["output"] for attempt in document["attempts"] if "output" in attempt]
    return {
        **last,
        "file": next((piece["file"] for piece in [last, *pieces] if piece.get("file")), None),
        "bytes": max(last["bytes"], sum(piece["bytes"] for piece in pieces)),
        "dropped": max(last["dropped"] or 0, sum(piece.get("dropped") or 0 for piece in pieces)),
    }


def no_output(document: Record) -> str:
    """The reason why there is no output file of the run with this record."""
    output, state = whole_output(document), document["state"]
    facts = (
        (state in PENDING, "it has not started yet"),
        (state in LIVE, "it has written nothing so far"),
        (state == "skipped", f"it did not run: {document['reason']}"),
        (output.get("error"), f"it could not be stored: {output.get('error')}"),
        (output["file"], f"its file {output['file']} is gone"),
        (
            output["bytes"] or output["tail"],
            f"it was not stored in a file; try `journalctl JOBQUEUE_RUN={document['run']}`",
        ),
        (output["dropped"], f"all {output['dropped']} bytes were dropped"),
    )
    return next((reason for fact, reason in facts if fact), "it wrote nothing")


def write(logs: Path, document: Record) -> None:
    """Write a record file by rename; OSError says what hindered."""
    path = path_of(logs, RunId(document["job"], document["number"])).with_suffix(_END)
    atomic_file.replace(str(path), wire.encode(document))


def jobs(logs: Path) -> list[str]:
    """The jobs that have a directory."""
    with contextlib.suppress(OSError):
        return sorted(entry.name for entry in os.scandir(logs) if entry.is_dir(follow_symlinks=False))
    return []


def numbers(logs: Path, job: str) -> list[int]:
    """The numbers of a job's runs that left a file, oldest first."""
    names = set()
    with contextlib.suppress(OSError):
        names = {entry.name.partition(".")[0] for entry in os.scandir(logs / job)}
    return sorted(int(name) for name in names if name.isascii() and name.isdigit() and len(name) <= MAX_DIGITS)


def memories(logs: Path) -> list[SavedJob]:
    """The memory of jobs, by their files, whose state is lost: which numbers are used."""
    found = {job: numbers(logs, job) for job in jobs(logs)}
    return [SavedJob(job=job, last_number=used[-1]) for job, used in found.items() if used]


class _Kept(NamedTuple):
    number: int
    modified: float
    bytes: int


def expired(logs: Path, job: str, retention: Retention, wall: int) -> list[int]:
    """The runs that retention lets go, by count, age and size; the newest run always stays."""
    kept = [_sized(logs, RunId(job, number)) for number in reversed(numbers(logs, job))]
    oldest = (wall - retention.age) / 1e9
    total, gone = 0, []
    for rank, run in enumerate(kept):
        total += run.bytes
        if rank and (rank >= retention.runs or run.modified < oldest or total > retention.bytes):
            gone.append(run.number)
    return gone


def _sized(logs: Path, run: RunId) -> _Kept:
    modified, size = 0.0, 0
    for ending in (_END, ".log"):
        with contextlib.suppress(OSError):
            status = os.stat(path_of(logs, run).with_suffix(ending))
            modified, size = max(modified, status.st_mtime), size + status.st_size
    return _Kept(run.number, modified, size)


def remove(logs: Path, run: RunId) -> None:
    """Remove a run's files."""
    for ending in (_END, ".log"):
        with contextlib.suppress(OSError):
            path_of(logs, run).with_suffix(ending).unlink()
