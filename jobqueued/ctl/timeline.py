"""jobqueuectl timeline: what has run, and what waited for what, as a chart."""

from __future__ import annotations

import heapq
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import IO

import click

from jobqueued.ctl import completion, offline
from jobqueued.ctl.chart_file import NoRecord, records
from jobqueued.ctl.chart_runs import Runs, collected, moment, plain
from jobqueued.ctl.chart_waits import claims_of, find_holders, related, waits
from jobqueued.ctl.chosen_runs import ENDED, USUAL, Wanted, matching, of_runs, usual_of
from jobqueued.ctl.terminal import json_option, local, print_json_list, print_line, print_pieces, room
from jobqueued.instants import DAY, MILLISECOND, to_instant, to_text
from jobqueued.model import Record, RunState
from jobqueued.paths import Paths
from jobqueued.text import counted

_WIDTH = 80
_LONGEST_WAITS = 5


@click.command()
@click.argument("jobs", nargs=-1, metavar="[JOB]...", shell_complete=completion.jobs)
@click.option("--html", is_flag=True, help="One HTML page, which needs no network: zoom, filter and read each run.")
@click.option("--chrome-trace", is_flag=True, help="Trace Events in JSON of the runs that have ended, as `export "
              "--chrome-trace` has them.")  # fmt: skip
@click.option("--from", "source", type=click.File(encoding="utf-8", errors="surrogateescape"), metavar="FILE",
              help="Runs of a file instead: a record in JSON a line, or what `watch` or `history` print with --json; "
              "- is the standard input.")  # fmt: skip
@of_runs
@json_option
@click.pass_obj
def timeline(
    paths: Paths, jobs: tuple[str, ...], html: bool, chrome_trace: bool, source: IO[str] | None, wanted: Wanted,
    as_json: bool,
) -> None:  # fmt: skip
    """Show runs of the JOBs, or of all, as a chart.

    A row is a job: what has run, and for how much of the time, a letter for what ended badly, and the waits.  The
    longest of these are told below, with what was waited for and the run that held it.  Without --since it is the
    last day; of a file, all that it has.

    \b
    Examples:
      jobqueuectl timeline --since 7d nightly-backup
      jobqueuectl timeline --since 30d --html >month.html
    """
    if html + chrome_trace + as_json > 1:
        raise click.UsageError("one form, please: --html, --chrome-trace or --json")
    if html and sys.stdout.isatty():
        raise click.UsageError("a page is no text for a terminal; say where it goes: --html >timeline.html")
    now = time.time_ns()
    if chrome_trace:
        wanted = replace(wanted, states=tuple(ENDED if wanted.states is None else ENDED.intersection(wanted.states)))
    if source is None and wanted.since is None:
        wanted = replace(wanted, since=now - DAY)
    claims = cache(lambda: claims_of(job for job, _ in offline.jobs(paths)))
    own, others = list(dict.fromkeys(jobs)), related(jobs, claims()) if jobs and not chrome_trace else []
    fetched = replace(wanted, tags=())  # who held what they waited for need not have them
    found = matching(paths, own, fetched, also=others) if source is None else _of_file(source, [*own, *others], fetched)
    try:
        if chrome_trace:
            from jobqueued.ctl.export import print_trace

            newest_first = found if source is None else sorted(found, key=_due, reverse=True)
            print_trace(record for record in newest_first if {*wanted.tags} <= {*record["tags"]})
            return
        runs = collected(found)
    except NoRecord as error:
        raise click.ClickException(f"{source and source.name}, {error}") from None
    find_holders(runs, claims() if jobs or runs.are_silent else {})
    runs = runs.chosen(jobs, wanted.tags) if jobs or wanted.tags else runs
    span = runs.span(now // MILLISECOND)
    if source is None and wanted.since is not None:  # where nothing has run is seen, too
        last = min(now, wanted.until or now)
        span = min(span[0], wanted.since // MILLISECOND), max(span[1], last // MILLISECOND)
    if as_json:
        begin, end = map(moment, span)
        print_json_list({"begin": begin, "end": end}, "runs", plain(runs))
    elif html:
        _print_page(runs, span, now // MILLISECOND)
    elif not runs.of:
        print_line("no such runs")
    else:
        _print_chart(runs, span, now // MILLISECOND)


def _of_file(source: IO[str], jobs: Sequence[str], wanted: Wanted) -> Iterator[Record]:
    """Those of a file that the options choose, as they choose those of the daemon; what is usual is so in the file."""
    since, until, states = wanted.since, wanted.until, wanted.asked_states
    found: Iterable[Record] = records(source)
    usual: Mapping[str, float | None] = {}
    if wanted.longer_than == USUAL:
        found = list(found)
        usual = _usual(found)
    for record in found:
        queued = _instant(record["queued"])
        in_time = (since is None or queued >= since) and (until is None or queued < until)
        if not in_time or (jobs and record["job"] not in jobs) or (states and record["state"] not in states):
            continue
        if not wanted.looks_into_records or wanted.takes(record, usual.get):
            yield record


def _usual(found: Sequence[Record]) -> dict[str, float | None]:
    """The seconds that the runs of each job usually take."""
    of = defaultdict[str, list[Record]](list)
    for record in sorted(found, key=lambda it: _instant(it["queued"]), reverse=True):
        if record["state"] == RunState.SUCCEEDED:
            of[record["job"]].append(record)
    return {job: usual_of(each) for job, each in of.items()}


def _due(record: Record) -> int:
    return _instant(record["due"])


def _instant(text: str) -> int:
    return to_instant(datetime.fromisoformat(text))


def _print_page(runs: Runs, span: tuple[int, int], now: int) -> None:
    from jobqueued.ctl.chart_page import page

    sys.stdout.write(page(runs, span, now))
    sys.stdout.flush()


def _print_chart(runs: Runs, span: tuple[int, int], now: int) -> None:
    from jobqueued.ctl import chart_text

    width = room() or _WIDTH
    lines = chart_text.chart(runs, chart_text.Window(*span, width), now, width)
    begin, end = map(_local, span)
    print_line(f"{counted(len(runs), 'run')} of {counted(len(runs.of), 'job')}, {begin} to {end}")
    print_pieces(lines)
    longest = heapq.nlargest(_LONGEST_WAITS, waits(runs), key=lambda wait: wait.run.waited)
    if longest:
        print_line("")
        print_line("The longest waits:")
    for wait in longest:
        print_line(f"  {chart_text.told(wait)}")


def _local(milliseconds: int) -> str:
    return local(to_text(milliseconds * MILLISECOND))
