"""The run log: one record and one output file for each run, ``<logs>/<job>/<n>.json`` and ``<n>.log``."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from jobqueued.base.filenames import file_name, named_by_file
from jobqueued.base.text import size
from jobqueued.child.contract import atomic_file, wire
from jobqueued.child.contract.documents import OutputPlaces, Record
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.child.report import output
from jobqueued.child.report.output import TAIL, shown
from jobqueued.core.records import record_checks
from jobqueued.core.records.record_checks import Damaged
from jobqueued.model.job import MAX_DIGITS
from jobqueued.model.run import RunId
from jobqueued.model.run_states import LIVE, PENDING

_END, _OUTPUT = ".json", ".log"
RUN_OVERHEAD = 8 << 10
"""Number of bytes that each run counts in addition to its files, for its row in state.db, its job's directory, and the
rest of the last block of each.
"""
_OF_A_RUN = [
    re.compile(rf"/([1-9]\d{{0,{MAX_DIGITS - 1}}}){re.escape(ending)}(?=/)", re.A)
    for ending in (_END, _OUTPUT, f"{_END}{atomic_file.TEMPORARY}")
]
"""Patterns for the run numbers of records, outputs and partial records in a list of file names, each between
slashes.
"""


def directory_of(logs: Path, job: str) -> str:
    """Return the path of a job's directory."""
    return f"{logs}/{file_name(job)}"


def path_of(logs: Path, run: RunId) -> str:
    """Return the path of a run's two files without their suffixes."""
    return f"{logs}/{file_name(run.job)}/{run.number}"


def read(logs: Path, run: RunId) -> Record | None:
    """Return the record in a run's file, or None if the file is missing, unreadable or incomplete.

    Raises OSError if descriptors or memory are short.
    """
    try:
        document = json.loads(atomic_file.content(f"{path_of(logs, run)}{_END}"))
    except OSError as error:
        if error.errno in wire.SHORTAGE:
            raise
        return None
    except (ValueError, RecursionError):
        return None
    whole = isinstance(document, dict) and isinstance(document.get("state"), str)
    return cast("Record", document) if whole else None


def checked(logs: Path, run: RunId) -> Record:
    """Return the record in a run's file.

    Raises record_checks.Damaged if the file has no complete record of the run, or OSError if descriptors or memory are
    short.
    """
    try:
        document = json.loads(atomic_file.content(f"{path_of(logs, run)}{_END}"))
    except OSError as error:
        if error.errno in wire.SHORTAGE:
            raise
        raise Damaged(error.strerror) from None
    except (ValueError, RecursionError):
        raise Damaged("it is not JSON") from None
    return record_checks.checked(document, run)


def output_of(logs: Path, run: RunId) -> Path:
    """Return the path of a run's output file, which exists once the run has written output."""
    return Path(path_of(logs, run) + _OUTPUT)


def read_output(logs: Path, run: RunId, offset: int, limit: int) -> tuple[bytes, int]:
    """Return at most `limit` bytes of a run's output from `offset` on, and the total size of the output. Raises
    OSError.
    """
    descriptor = atomic_file.to_read(str(output_of(logs, run)))
    try:
        return os.pread(descriptor, limit, offset), os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def shortage(logs: Path, keep_free: int | None) -> str:
    """Return why output or records can't be stored in the directory, or "" if they can.

    `keep_free` as in the settings. A missing directory is not an error, because it will be re-created.
    """
    try:
        disk = os.statvfs(logs)
    except OSError:
        return ""
    if disk.f_flag & os.ST_RDONLY:
        return f"{logs} is on a read-only file system: no output is saved; remount it read-write"
    if disk.f_files and not disk.f_favail:
        return f"{logs}: no inodes are left, so no output is saved; remove files there"
    kept, free = output.kept_by_default(disk) if keep_free is None else keep_free, disk.f_bavail * disk.f_frsize
    if free > kept:
        return ""
    limit = f", and {size(kept)} must stay free (keep_free in jobqueued.yaml)" if kept else ""
    return f"{logs}: {size(free)} are free{limit}: no output is saved; free space on its file system"


def found_output(logs: Path, run: RunId) -> OutputPlaces | None:
    """Return the output of a run from its file, for a run whose supervisor could not record the output; None if no file
    exists.
    """
    try:
        there = read_output(logs, run, 0, 0)[1]
        tail = read_output(logs, run, max(0, there - TAIL), TAIL)[0]
    except OSError:
        return None
    return {
        "file": str(output_of(logs, run)),
        "bytes": there,
        "dropped": None,
        "tail": shown(tail),
        "journal": None,
    }


def whole_output(document: Record) -> OutputPlaces:
    """Return the output of all attempts of a run, from the record.

    A record's field `output` has only the last attempt's output, or the file's content so far.
    """
    last = document["output"]
    pieces = [attempt["output"] for attempt in document["attempts"] if "output" in attempt]
    return {
        **last,
        "file": next((piece["file"] for piece in [last, *pieces] if piece.get("file")), None),
        "bytes": max(last["bytes"], sum(piece["bytes"] for piece in pieces)),
        "dropped": max(last["dropped"] or 0, sum(piece.get("dropped") or 0 for piece in pieces)),
    }


def no_output(document: Record) -> str:
    """Return why the run with this record has no output file."""
    output, state = whole_output(document), document["state"]
    facts = (
        (state in PENDING and not document["attempts"], "it has not started yet"),
        (state in LIVE, "it has written nothing so far"),
        (state == "skipped", f"it did not run: {document['reason']}"),
        (output.get("error"), f"it could not be stored: {output.get('error')}"),
        (output["file"], f"its file {output['file']} was deleted"),
        (
            output["bytes"] or output["tail"],
            f"it was not stored in a file; try `journalctl JOBQUEUE_RUN={document['run']}`",
        ),
        (output["dropped"], f"all {output['dropped']} bytes were dropped"),
    )
    silent = "it has written nothing so far" if state in PENDING else "it wrote nothing"
    return next((reason for fact, reason in facts if fact), silent)


def write(logs: Path, document: Record) -> None:
    """Write a record file atomically, by a rename. Raises OSError if this fails."""
    path = path_of(logs, RunId(document["job"], document["number"]))
    atomic_file.replace(path + _END, wire.encode(document))


def jobs(logs: Path) -> list[str]:
    """Return the jobs that have a directory."""
    with contextlib.suppress(OSError):
        entries = os.scandir(logs)
        return sorted(named_by_file(entry.name) for entry in entries if entry.is_dir(follow_symlinks=False))
    return []


def remove_directory(logs: Path, job: str) -> bool:
    """Remove a job's directory if it is empty; return False if it remains."""
    try:
        os.rmdir(directory_of(logs, job))
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


class RecordListing(NamedTuple):
    """The numbers of a job's runs that have files.

    `runs`: runs with a record or output, oldest first. `unfinished`: runs with a partially written record. `records`:
    runs with a record. `outputs`: runs with output.
    """

    runs: list[int]
    unfinished: list[int]
    records: frozenset[int] = frozenset()
    outputs: frozenset[int] = frozenset()


def listing(logs: Path, job: str) -> RecordListing:
    """Return the runs of a job that have files. Raises OSError."""
    try:
        names = os.listdir(directory_of(logs, job))
    except FileNotFoundError:
        return RecordListing([], [])
    listed = f"/{'/'.join(names)}/"
    records, outputs, unfinished = ([int(number) for number in each.findall(listed)] for each in _OF_A_RUN)
    return RecordListing(sorted({*records, *outputs}), unfinished, frozenset(records), frozenset(outputs))


def numbers(logs: Path, job: str) -> list[int]:
    """Return the numbers of a job's runs that have files, oldest first, or [] if the directory can't be read."""
    with contextlib.suppress(OSError):
        return listing(logs, job).runs
    return []


def changed(logs: Path, since: int) -> Iterator[str]:
    """Yield the jobs whose directories changed at an instant (wall) or later.  Raises OSError."""
    with os.scandir(logs) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_mtime_ns >= since:
                yield named_by_file(entry.name)


def tells(logs: Path, run: RunId, attempt: int) -> bool:
    """Return whether the record file of a run contains the end of an attempt."""
    document: Record | None = read(logs, run)
    attempts = None if document is None else document.get("attempts")
    return isinstance(attempts, list) and any(
        isinstance(each, dict) and each.get("attempt") == attempt for each in attempts
    )


class Files(NamedTuple):
    """The files of a run.

    `record`: whether the record exists. `modified`: the last change (wall, ns) of the files, or 0 if none exist.
    `bytes`: the total size of the files and RUN_OVERHEAD, or 0 if none exist. `names`: the number of files.
    """

    record: bool
    modified: int
    bytes: int
    names: int


def files(logs: Path, run: RunId) -> Files:
    """Return the files of a run.  Raises OSError.

    An empty record file, which a crash of the host may leave, does not count as a record.
    """
    record, modified, total, count, path = False, 0, 0, 0, path_of(logs, run)
    for ending in (_END, _OUTPUT):
        try:
            status = os.stat(path + ending)
        except FileNotFoundError:
            continue
        record = record or (ending == _END and status.st_size > 0)
        modified, total, count = max(modified, status.st_mtime_ns), total + status.st_size, count + 1
    return Files(record, modified, total + RUN_OVERHEAD * bool(count), count)


def remove(logs: Path, run: RunId) -> None:
    """Remove a run's files, with the record last. Raises OSError if files remain."""
    for ending in (_OUTPUT, _END):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path_of(logs, run) + ending)


def remove_unfinished(logs: Path, run: RunId) -> None:
    """Remove the partial record of a run.  Raises OSError."""
    os.unlink(f"{path_of(logs, run)}{_END}{atomic_file.TEMPORARY}")
