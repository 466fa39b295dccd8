"""Compare two runs for `history --diff`: their records, definitions and outputs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from jobqueued.base.instants import to_instant
from jobqueued.base.text import counted, duration, size
from jobqueued.child.contract.documents import Record
from jobqueued.control.views.definitions import definition
from jobqueued.ctl.base.arguments import run_id
from jobqueued.ctl.base.client import CallRefused, DaemonUnreachable
from jobqueued.ctl.base.output import source_of
from jobqueued.ctl.base.terminal import print_json, print_line, print_table, styled
from jobqueued.ctl.past import due_changes, offline
from jobqueued.ctl.past.run_diff import (
    OUTPUT_BYTES,
    OUTPUT_LINES,
    Difference,
    definition_differences,
    differences,
    output_difference,
    output_lines,
)
from jobqueued.model.run import RunId
from jobqueued.settings.paths import Paths
from jobqueued.state import record_files

_SECONDS, _BYTES = ("waited", "took", "cpu", "throttled"), ("memory_peak", "memory_mean", "io_read", "io_write")
_SHOWN = 200
"""Maximum number of lines to print from the diff of the outputs."""


def print_diff(paths: Paths, names: tuple[str, str], *, as_json: bool) -> None:
    """Print the differences between two runs: in their records, their jobs' definitions, and their outputs."""
    first, second = (offline.find_record(paths, run_id(name)) for name in names)
    found, unknown = differences(first, second), list[str]()
    try:
        found += _definitions(paths, first, second)
    except (CallRefused, DaemonUnreachable) as error:
        what = str(error.message).partition("\n")[0]
        unknown.append(f"the rest of the definitions and environments: {what}")
    before, after = (_output(paths, record, unknown) for record in (first, second))
    lines = [] if before is None or after is None else output_difference(before, after, names)
    if as_json:
        told = [each._asdict() for each in found]
        print_json({"runs": [first, second], "differences": told, "output": lines, "unknown": unknown})
        return
    if shown := [cells for cells in map(_cells, found) if cells[1] != cells[2]]:
        print_table(("WHAT", *names), shown)
    for what in unknown:
        print_line(f"unknown: {what}")
    _print_output(lines)
    if not (shown or lines):
        print_line(f"{names[0]} and {names[1]} do not differ in any recorded detail")


def _definitions(paths: Paths, first: Record, second: Record) -> list[Difference]:
    changes = due_changes.known(due_changes.sources(paths)).changes
    jobs = [due_changes.defined(changes, record["job"], _begun(record), paths) for record in (first, second)]
    if jobs[0] is None or jobs[1] is None:
        run = (first, second)[jobs[0] is not None]["run"]
        raise CallRefused(f"the job file of {run} is no longer saved")
    return definition_differences(definition(jobs[0]), definition(jobs[1]))


def _begun(record: Record) -> int:
    return to_instant(datetime.fromisoformat(record["started"] or record["queued"]))


def _output(paths: Paths, record: Record, unknown: list[str]) -> list[str] | None:
    """Return the last lines of a run's output. If it can't be read, return None and add the reason to `unknown`."""
    source = source_of(paths, RunId.parse(record["run"]))
    try:
        length = source.size()
        data = b""
        place = max(0, length - OUTPUT_BYTES)
        while place < length and (piece := source.read(place, length - place)):
            data, place = data + piece, place + len(piece)
    except (FileNotFoundError, CallRefused) as error:
        if not (record["output"]["bytes"] or record["output"]["dropped"]):
            return []
        why = record_files.no_output(record) if isinstance(error, FileNotFoundError) else error.message
        unknown.append(f"output of {record['run']}: {why}")
        return None
    lines = output_lines(data)
    if length > OUTPUT_BYTES or len(lines) == OUTPUT_LINES:
        unknown.append(f"output of {record['run']} before its last {counted(len(lines), 'line')}")
    return lines


def _cells(each: Difference) -> tuple[Any, ...]:
    values = (_shown(each.what, value) for value in (each.first, each.second))
    return (each.what.replace("_", " "), *(styled(it) if each.what == "state" else it for it in values))


def _shown(what: str, value: Any) -> str:
    if value is None or value in ("", [], {}):
        return "-"
    if what in _SECONDS:
        return duration(value)
    if what in _BYTES or what == "output_bytes":
        return size(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _print_output(lines: list[str]) -> None:
    for line in _with_rest(lines):
        print_line(line)


def _with_rest(lines: list[str]) -> Iterator[str]:
    if lines:
        yield ""
    yield from lines[:_SHOWN]
    if len(lines) > _SHOWN:
        yield f"… and {counted(len(lines) - _SHOWN, 'more line')} of the difference; to show all: --json"
