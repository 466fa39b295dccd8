"""jobqueuectl logs: print a run's output, and follow it while it grows."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, islice
from typing import Any

import click

from jobqueued.base.text import counted, printable, size
from jobqueued.child.contract.documents import Record
from jobqueued.ctl.base import completion
from jobqueued.ctl.base.arguments import run_id
from jobqueued.ctl.base.client import CallRefused, DaemonUnreachable, ask
from jobqueued.ctl.base.output import CHUNK, Copy, JsonLines, OutputSource, Sink, beginning_of_last, source_of
from jobqueued.ctl.base.records import history, result
from jobqueued.ctl.base.terminal import distance, json_option, local, localised, reaching
from jobqueued.ctl.base.waiting import Interrupted
from jobqueued.ctl.base.whole_names import by_whole_name
from jobqueued.ctl.past import offline
from jobqueued.ctl.past.follow import follow as follow_run
from jobqueued.model.run import RunId
from jobqueued.model.run_states import LIVE, PENDING
from jobqueued.settings.paths import Paths
from jobqueued.state import record_files

_OPEN = LIVE | PENDING
_UNBOUNDED = 1 << 62
_PAGE = 50
_LOOK = 2.0
"""Pause (s) between two checks for the next run of a job."""
_ALL = {"offset": 0, "bytes": _UNBOUNDED}
"""Position of an attempt's output if the record does not contain it."""


@click.command()
@click.argument("name", metavar="RUN|JOB", shell_complete=completion.jobs_or_runs)
@click.option(
    "-f", "--follow", is_flag=True, help="Follow the output until the run ends; exit 0 if the run succeeded, else 1."
)
@click.option("-n", "--lines", type=click.IntRange(0), metavar="N", help="Start at the last N lines.")
@click.option("-a", "--attempt", type=click.IntRange(1), metavar="N", help="Print only the output of attempt N.")
@click.option("-c", "--colour", "--color", is_flag=True, help="Keep the job's colours on a terminal.")
@json_option
@click.pass_obj
def logs(paths: Paths, /, name: str, as_json: bool, **options: Any) -> None:
    """Print the output of a run or of a job's newest run.

    For a JOB, the command chooses the newest run that has output or waits for its next attempt, and names it on
    standard error.  With -f, it follows the newest run that started and has not ended.  If there is no such run, `logs
    -f` waits for the job's next run.

    A pipe gets the output byte for byte.  On a terminal, control characters are escaped, so that no output can harm the
    terminal.  All messages of `logs`, such as the run's result with -f, go to standard error.

    With --json, each line of output is a JSON object: the `run`, its `text`, the line's `offset` in the run's whole
    output, in bytes, and whether a `newline` ends the line.  A line of more than 48 KiB is split into several objects.

    `logs` also works while the daemon is down.

    Exits 1 if there is no output.

    \b
    Examples:
      jobqueuectl logs -f nightly-backup
      jobqueuectl logs nightly-backup@142 | grep -i error
      jobqueuectl logs -n 20 --attempt 1 nightly-backup@142
    """
    try:
        record = by_whole_name(paths.control, name, lambda name: copied(paths, name, as_json=as_json, **options))
    except KeyboardInterrupt:
        raise Interrupted(
            f"a live run of {printable(name)} continues; see: jobqueuectl show {printable(name)}"
        ) from None
    if options["follow"]:
        click.echo(f"{record['run']} {result(record)}", err=True)
        sys.exit(record["state"] != "succeeded")


def copied(
    paths: Paths,
    name: str,
    *,
    follow: bool,
    lines: int | None = None,
    attempt: int | None = None,
    colour: bool = False,
    as_json: bool = False,
) -> Record:
    """Print the output of a run and return its record. With `follow`, continue until the run ends."""
    if "@" in name:
        record = offline.find_record(paths, run_id(name))
    else:
        record = _live(paths, name) if follow else _newest(paths, name, follow=False)
    run = RunId.parse(record["run"])
    source = source_of(paths, run)
    excerpt = Excerpt(source, record, attempt, JsonLines(run) if as_json else Copy(colour=colour))
    is_open = record["state"] in _OPEN
    try:
        excerpt.skip_to_last(lines)
        excerpt.copy()
    except FileNotFoundError:
        if not (follow and is_open):
            raise _no_output(paths, record) from None
    if follow and is_open:
        _announce(paths, record, source)
        record = follow_run(paths, run, source, excerpt.copy_if_any)
    excerpt.close()
    _report_dropped(record)
    return record


def _newest(paths: Paths, job: str, *, follow: bool) -> Record:
    """Return a job's newest run with output. A run that waits for its next attempt and, with `follow`, a live run may
    have no output yet.

    Raises CallRefused.
    """
    found = _history(paths, job)
    first = sorted(islice(found, _PAGE), key=lambda record: (record["state"] in LIVE, record["number"]), reverse=True)
    for record in chain(first, found):
        is_live = record["state"] in LIVE
        has_output = record_files.whole_output(record)["file"] or (
            record["state"] in _OPEN and _has_output(paths, record)
        )
        if has_output or _waits_again(record) or (is_live and follow):
            return _named(record)
        if record["output"]["dropped"] or record["output"].get("error") or (is_live and _is_full(paths)):
            click.echo(_no_output(paths, record).message, err=True)
    raise CallRefused(f"no run of {printable(job)} has output")


def _waits_again(record: Record) -> bool:
    """Return whether a run waits for its next attempt: for the delay, a lock or anything else."""
    return record["state"] in PENDING and bool(record["attempts"])


def _named(record: Record) -> Record:
    click.echo(f"{record['run']}, {record['state']} {_when(record)}", err=True)
    return record


def _live(paths: Paths, job: str) -> Record:
    """Return a job's newest unfinished run that has started. If none exists, wait until its next run starts."""
    try:
        known = _started(paths, job)
        if known is None or known["state"] not in _OPEN:
            last = f"; for the last: jobqueuectl logs {known['run']}" if known else ""
            click.echo(printable(reaching(f"{job} has no live run; waiting for its next run{last}")), err=True)
        found = known
        while found is None or (found["state"] not in _OPEN and found == known):
            time.sleep(_LOOK)
            found = _started(paths, job)
    except DaemonUnreachable:
        return _newest(paths, job, follow=True)
    return _named(found)


def _started(paths: Paths, job: str) -> Record | None:
    """Return a job's newest started run, live or ended, or None."""
    return next((it for it in history(paths, {"job": job}) if it["started"] or it["attempts"]), None)


def _history(paths: Paths, job: str) -> Iterator[Record]:
    try:
        yield from history(paths, {"job": job})
    except DaemonUnreachable as down:
        offline.require_record(paths, down, job)
        offline.explain(paths, down)
        yield from offline.history(paths, job)


def _when(record: Record) -> str:
    if record["ended"] is None and record["started"] is not None:
        return f"since {local(record['started'])}"
    return distance(record["ended"] or record["queued"])


def _has_output(paths: Paths, record: Record) -> bool:
    try:
        return source_of(paths, RunId.parse(record["run"])).size() > 0
    except (FileNotFoundError, CallRefused):
        return False


class Excerpt:
    """The chosen part of the output, copied as it grows."""

    def __init__(self, source: OutputSource, record: Record, attempt: int | None, sink: Sink) -> None:
        self._source, self._sink = source, sink
        self._place, self._end = (0, _UNBOUNDED) if attempt is None else _bounds(record, attempt)

    def skip_to_last(self, lines: int | None) -> None:
        """Skip to the last lines of the output so far. Raises FileNotFoundError."""
        if lines is not None:
            end = min(self._end, self._source.size())
            self._place = beginning_of_last(self._source, lines, self._place, end)

    def copy(self) -> None:
        """Copy the output so far. Raises FileNotFoundError."""
        while data := self._source.read(self._place, min(CHUNK, self._end - self._place)):
            self._sink.write(data, self._place)
            self._place += len(data)

    def copy_if_any(self) -> None:
        """Copy the output so far, if there is any."""
        with suppress(FileNotFoundError):
            self.copy()

    def close(self) -> None:
        """Close the sink."""
        self._sink.close()


def _bounds(record: Record, attempt: int) -> tuple[int, int]:
    """Return the start and end of an attempt's output (bytes).

    A live attempt's output starts after all other output, and its end is unlimited.
    """
    pieces = {known["attempt"]: known.get("output", _ALL) for known in record["attempts"]}
    if attempt in pieces:
        offset = pieces[attempt]["offset"]
        return offset, offset + pieces[attempt]["bytes"]
    if record["state"] in LIVE and attempt == len(pieces) + 1:
        return max((piece["offset"] + piece["bytes"] for piece in pieces.values()), default=0), _UNBOUNDED
    count = counted(len(pieces) + (record["state"] in LIVE), "attempt")
    raise CallRefused(f"{record['run']} has no attempt {attempt}, only {count}")


def _no_output(paths: Paths, record: Record) -> CallRefused:
    lost = record["state"] in LIVE and _is_full(paths)
    reason = f"the run's output is dropped while {paths.logs} is full" if lost else record_files.no_output(record)
    wait = f"; {_wait(paths, record)}" if _waits_again(record) else ""
    return CallRefused(printable(f"no output of {record['run']}: {reason}{wait}"))


def _wait(paths: Paths, record: Record) -> str:
    """Return why a run's next attempt waits, and how long if the daemon is reachable."""
    found: list[str] = []
    with suppress(CallRefused, DaemonUnreachable):
        found = ask(paths.control, "Show", run=record["run"])["record"].get("waits_for", [])
    return "; ".join(found) or "it waits for its next attempt"


def _is_full(paths: Paths) -> bool:
    """Return whether the file system of the output is full; False if this user can't check."""
    with suppress(OSError):
        return not os.statvfs(paths.logs).f_bavail
    return False


def _announce(paths: Paths, record: Record, source: OutputSource) -> None:
    """Print on stderr why no output may arrive for a while."""
    if _waits_again(record):
        click.echo(printable(localised(f"{record['run']}: {_wait(paths, record)}")), err=True)
    elif record["state"] in PENDING:
        click.echo(f"{record['run']} has not started yet", err=True)
    if source.watched is None:
        click.echo("no permission to read the output file: the rest follows when the run ends", err=True)


def _report_dropped(record: Record) -> None:
    if dropped := record["output"]["dropped"]:
        cause = record["output"].get("error") or "output_limit reached"
        click.echo(printable(f"another {size(dropped)} of output was dropped: {cause}"), err=True)
