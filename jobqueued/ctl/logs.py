"""jobqueuectl logs: what a run has written, and what it goes on to write."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress

import click

from jobqueued.ctl import offline
from jobqueued.ctl.client import Refused, Unreachable
from jobqueued.ctl.follow import follow as follow_run
from jobqueued.ctl.history import told
from jobqueued.ctl.output import CHUNK, Sink, Source, beginning_of_last, source_of
from jobqueued.ctl.show import parsed, verdict
from jobqueued.ctl.terminal import distance, local
from jobqueued.model import LIVE, PENDING, Record, RunId
from jobqueued.paths import Paths
from jobqueued.state import record_files
from jobqueued.text import printable, size

_UNBOUNDED = 1 << 62
_ALL = {"offset": 0, "bytes": _UNBOUNDED}
"""Where the output of an attempt is whose record does not tell."""


@click.command()
@click.argument("name", metavar="RUN|JOB")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends; exit 0 if it succeeded, else 1.")
@click.option(
    "-n", "--lines", type=click.IntRange(0), metavar="N", help="Only the last N lines (with -f: and all that follow)."
)
@click.option("-a", "--attempt", type=click.IntRange(1), metavar="N", help="Only what that attempt of the run wrote.")
@click.option("-c", "--colour", "--color", is_flag=True, help="Let the job's colours through to a terminal.")
@click.pass_obj
def logs(paths: Paths, name: str, follow: bool, lines: int | None, attempt: int | None, colour: bool) -> None:
    """Print what a run, or a job's newest run, has written.

    Of a JOB it is the newest run that has output, which is named on stderr.

    A pipe gets it byte for byte; for a terminal control characters are written as escapes, so that nothing a job wrote
    can harm it.  The verdict of -f, and whatever else is no output, is on stderr.

    While the daemon is down, the files are read and followed all the same.

    Exits 1 if there is no output to be had.

    \b
    Examples:
      jobqueuectl logs -f nightly-backup
      jobqueuectl logs nightly-backup@142 | grep -i error
      jobqueuectl logs -n 20 --attempt 1 nightly-backup@142
    """
    record = offline.asked_record(paths, parsed(name)) if "@" in name else _newest(paths, name, follow)
    run = RunId.parse(record["run"])
    source = source_of(paths, run)
    piece = Piece(source, record, attempt, Sink(colour=colour))
    is_live = record["state"] in LIVE | PENDING
    try:
        piece.skip_to_last(lines)
        piece.copy()
    except FileNotFoundError:
        if not (follow and is_live):
            raise _no_output(record) from None
    if follow and is_live:
        _tell_of(record, source)
        record = follow_run(paths, run, source, piece.copy_if_any)
    piece.close()
    _tell_dropped(record)
    if follow:
        click.echo(f"{run} {verdict(record)}", err=True)
        sys.exit(record["state"] != "succeeded")


def _newest(paths: Paths, job: str, follow: bool) -> Record:
    """The newest run of a job that has output, or is about to."""
    for record in _history(paths, job):
        is_live = record["state"] in LIVE
        if record_files.whole_output(record)["file"] or (is_live and (follow or _has_output(paths, record))):
            click.echo(f"{record['run']}, {record['state']} {_when(record)}", err=True)
            return record
    raise Refused(f"no run of {printable(job)} has output")


def _history(paths: Paths, job: str) -> Iterator[Record]:
    try:
        yield from told(paths, {"job": job})
    except Unreachable as down:
        if next(offline.history(paths, job), None) is None:
            raise offline.nothing(paths, down, f"no record of {job}") from None
        offline.say(paths, down)
        yield from offline.history(paths, job)


def _when(record: Record) -> str:
    if record["ended"] is None and record["started"] is not None:
        return f"since {local(record['started'])}"
    return distance(record["ended"] or record["queued"])


def _has_output(paths: Paths, record: Record) -> bool:
    try:
        return source_of(paths, RunId.parse(record["run"])).size() > 0
    except (FileNotFoundError, Refused):
        return False


class Piece:
    """The part of the output that was asked for, copied as it grows."""

    def __init__(self, source: Source, record: Record, attempt: int | None, sink: Sink) -> None:
        self._source, self._sink = source, sink
        self._place, self._end = (0, _UNBOUNDED) if attempt is None else _bounds(record, attempt)

    def skip_to_last(self, lines: int | None) -> None:
        """Leave out all but the last lines of what there is by now; FileNotFoundError."""
        if lines is not None:
            end = min(self._end, self._source.size())
            self._place = beginning_of_last(self._source, lines, self._place, end)

    def copy(self) -> None:
        """Copy what there is by now; FileNotFoundError."""
        while data := self._source.read(self._place, min(CHUNK, self._end - self._place)):
            self._sink.write(data)
            self._place += len(data)

    def copy_if_any(self) -> None:
        """As `copy`; no output yet is fine."""
        with suppress(FileNotFoundError):
            self.copy()

    def close(self) -> None:
        """It is complete."""
        self._sink.close()


def _bounds(record: Record, attempt: int) -> tuple[int, int]:
    """Where an attempt's output begins and ends; a live one's begins behind all others and is not yet at its end."""
    pieces = {known["attempt"]: known.get("output", _ALL) for known in record["attempts"]}
    if attempt in pieces:
        offset = pieces[attempt]["offset"]
        return offset, offset + pieces[attempt]["bytes"]
    if record["state"] in LIVE and attempt == len(pieces) + 1:
        return max((piece["offset"] + piece["bytes"] for piece in pieces.values()), default=0), _UNBOUNDED
    raise Refused(f"{record['run']} has no attempt {attempt}; it has {len(pieces) + (record['state'] in LIVE)}")


def _no_output(record: Record) -> Refused:
    return Refused(printable(f"there is no output of {record['run']}: {record_files.no_output(record)}"))


def _tell_of(record: Record, source: Source) -> None:
    """What a follower should know who sees nothing."""
    if record["state"] in PENDING:
        click.echo(f"{record['run']} has not started yet", err=True)
    if source.watched is None:
        click.echo("its file is not yours to read, so the rest follows when it ends", err=True)


def _tell_dropped(record: Record) -> None:
    if dropped := record["output"]["dropped"]:
        click.echo(f"{size(dropped)} more were dropped: the job's output_limit, or what `show` says", err=True)
