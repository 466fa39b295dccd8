"""jobqueuectl timeline: show past runs and their waits as a chart."""

from __future__ import annotations

import heapq
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import IO, cast

import click

from jobqueued.base.instants import DAY, MILLISECOND, to_instant, to_text
from jobqueued.base.text import counted
from jobqueued.child.contract.documents import Record
from jobqueued.ctl.base import completion
from jobqueued.ctl.base.terminal import json_option, local, print_json_list, print_line, print_pieces, room
from jobqueued.ctl.base.whole_names import whole_name
from jobqueued.ctl.chart.chart_file import NoRecord, records
from jobqueued.ctl.chart.chart_runs import OF_HOST, Runs, collected, moment, plain
from jobqueued.ctl.chart.chart_waits import Claims, claims_of, find_holders, related, waits
from jobqueued.ctl.past import offline
from jobqueued.ctl.past.chosen_runs import ENDED, USUAL, Wanted, matching, of_runs, usual_of
from jobqueued.model.run_states import RunState
from jobqueued.settings.paths import Paths

_WIDTH = 80
_LONGEST_WAITS = 5


@click.command()
@click.argument("jobs", nargs=-1, metavar="[JOB]...", shell_complete=completion.jobs)
@click.option(
    "--html",
    is_flag=True,
    help="Print an HTML page that shows each run, and can zoom and filter.  The page needs no network.",
)
@click.option(
    "--chrome-trace", is_flag=True, help="Print the ended runs as Trace Events in JSON, like `export --chrome-trace`."
)
@click.option(
    "--from",
    "source",
    type=click.File(encoding="utf-8", errors="surrogateescape"),
    metavar="FILE",
    help="Read the runs from FILE: one JSON record per line, or the --json output of `watch`, `history` or "
    "`--fleet history`.  - means standard input.",
)
@of_runs
@json_option
@click.pass_obj
def timeline(
    paths: Paths,
    jobs: tuple[str, ...],
    html: bool,
    chrome_trace: bool,
    source: IO[str] | None,
    wanted: Wanted,
    as_json: bool,
) -> None:
    """Show the runs of the JOBs, or of all jobs, as a chart.

    Each row is a job.  A row shows when the job ran, for what share of the time, and when its runs waited.  A letter
    marks each run that ended badly.  The longest waits are listed below the chart, with the lock or limit that the run
    waited for and the run that held it.  With --fleet or --host, each row is a job of one host.

    Without --since, the chart shows the last day.  With --from, it shows all runs in the file.

    \b
    Examples:
      jobqueuectl timeline --since 7d nightly-backup
      jobqueuectl timeline --since 30d --html >month.html
    """
    form = form_of(html=html, chrome_trace=chrome_trace, as_json=as_json)
    if source is None:
        jobs = tuple(whole_name(paths.control, job) for job in jobs)
    chart = Chart(form, jobs, wanted, is_of_file=source is not None)
    claims = cache(lambda: claims_of(job for job, _ in offline.jobs(paths)))
    if source is not None:
        try:
            chart.draw(_of_file(source, chart.fetched), claims)
        except NoRecord as error:
            raise click.ClickException(f"{source.name}, {error}") from None
    else:
        others = related(jobs, claims()) if jobs and form != "chrome_trace" else []
        chart.draw(matching(paths, list(dict.fromkeys(jobs)), chart.fetched, also=others), claims)


def form_of(**wanted: bool) -> str:
    """Return the chosen format, or "" if none was chosen. Raises UsageError for several formats, or for HTML on a
    terminal.
    """
    forms = [form for form, is_wanted in wanted.items() if is_wanted]
    if len(forms) > 1:
        raise click.UsageError("choose one format: --html, --chrome-trace or --json")
    if forms == ["html"] and sys.stdout.isatty():
        raise click.UsageError("an HTML page does not belong on a terminal; write it to a file: --html >timeline.html")
    return forms[0] if forms else ""


class Chart:
    """A chart of the chosen runs in a format. `fetched` filters the records to read, and may match more runs.

    If the runs do not come from a file, the chart covers the chosen period, by default the last day.
    """

    def __init__(self, form: str, jobs: Sequence[str], wanted: Wanted, *, is_of_file: bool = False) -> None:
        self._form, self._jobs, self._tags, self._now = form, jobs, wanted.tags, time.time_ns()
        if form == "chrome_trace":
            ended = ENDED if wanted.states is None else ENDED.intersection(wanted.states)
            wanted = replace(wanted, states=tuple(sorted(ended)))
        if not is_of_file and wanted.since is None:
            wanted = replace(wanted, since=self._now - DAY)
        self.fetched, self._is_of_file = replace(wanted, tags=()), is_of_file  # no tags: holders may not have them

    def draw(self, found: Iterable[Record], claims: Callable[[], Claims], **head: object) -> None:
        """Print the chart of the runs, which may be in any order. `head` contains the JSON fields before the runs."""
        if self._form == "chrome_trace":
            self._print_trace(found)
            return
        runs, now = collected(found), self._now // MILLISECOND
        find_holders(runs, claims() if runs.are_silent else {})
        if self._jobs or self._tags:
            runs = runs.chosen(self._jobs, self._tags)
        span = self._span(runs)
        if self._form == "as_json":
            begin, end = map(moment, span)
            print_json_list({"begin": begin, "end": end, **head}, "runs", plain(runs))
        elif self._form == "html":
            _print_page(runs, span, now)
        elif not runs.of:
            print_line("no such runs")
        else:
            _print_chart(runs, span, now)

    def _span(self, runs: Runs) -> tuple[int, int]:
        """Return the period (ms) from the first run to the last. Without a file, include the chosen period."""
        begin, end = runs.span(self._now // MILLISECOND)
        if self._is_of_file or self.fetched.since is None:
            return begin, end
        last = min(self._now, self.fetched.until or self._now)
        return min(begin, self.fetched.since // MILLISECOND), max(end, last // MILLISECOND)

    def _print_trace(self, found: Iterable[Record]) -> None:
        from jobqueued.ctl.export.export import print_trace

        newest_first = sorted(found, key=_due, reverse=True) if self._is_of_file else found
        print_trace(
            record
            for record in newest_first
            if {*self._tags} <= {*record["tags"]} and (not self._jobs or record["job"] in self._jobs)
        )


@of_runs
def of_hosts(
    ask: Callable[[Wanted], tuple[list[Record], Mapping[str, object]]],
    *,
    jobs: tuple[str, ...],
    html: bool,
    chrome_trace: bool,
    source: IO[str] | None,
    wanted: Wanted,
    as_json: bool,
) -> None:
    """Draw the chart of several hosts. `ask` returns their runs, and additional fields for JSON."""
    if source is not None:
        raise click.UsageError("--from reads a file, so it can't be combined with --fleet or --host")
    chart = Chart(form_of(html=html, chrome_trace=chrome_trace, as_json=as_json), jobs, wanted)
    found, head = ask(chart.fetched)
    if head["hosts"] or as_json:
        chart.draw(found, dict, **head)


def _of_file(source: IO[str], wanted: Wanted) -> Iterator[Record]:
    """Yield the runs of a file that the filter accepts. Usual durations are calculated from the file's runs."""
    since, until, states = wanted.since, wanted.until, wanted.asked_states
    found: Iterable[Record] = records(source)
    usual: Mapping[tuple[str, str], float | None] = {}
    if wanted.longer_than == USUAL:
        found = list(found)
        usual = _usual(found)
    for record in found:
        queued = _instant(record["queued"])
        in_time = (since is None or queued >= since) and (until is None or queued < until)
        if not in_time or (states is not None and record["state"] not in states):
            continue
        if not wanted.looks_into_records or wanted.takes(record, lambda it: usual.get(_whose(it))):
            yield record


def _whose(record: Record) -> tuple[str, str]:
    return cast("Mapping[str, str]", record).get(OF_HOST, ""), record["job"]


def _usual(found: Sequence[Record]) -> dict[tuple[str, str], float | None]:
    """Return (host, job) → usual duration (s) of the job's runs on the host."""
    of = defaultdict[tuple[str, str], list[Record]](list)
    for record in sorted(found, key=lambda it: _instant(it["queued"]), reverse=True):
        if record["state"] == RunState.SUCCEEDED:
            of[_whose(record)].append(record)
    return {whose: usual_of(each) for whose, each in of.items()}


def _due(record: Record) -> int:
    return _instant(record["due"])


def _instant(text: str) -> int:
    return to_instant(datetime.fromisoformat(text))


def _print_page(runs: Runs, span: tuple[int, int], now: int) -> None:
    from jobqueued.ctl.chart.chart_page import page

    sys.stdout.write(page(runs, span, now))
    sys.stdout.flush()


def _print_chart(runs: Runs, span: tuple[int, int], now: int) -> None:
    from jobqueued.ctl.chart import chart_text

    width = room() or _WIDTH
    lines = chart_text.chart(runs, chart_text.Window(*span, width), now, width)
    begin, end = map(_local, span)
    hosts, jobs = (len({runs.whose[job][which] for job in runs.of}) for which in (0, 1))
    on = f" on {counted(hosts, 'host')}" if runs.are_of_hosts else ""
    print_line(f"{counted(len(runs), 'run')} of {counted(jobs, 'job')}{on}, {begin} to {end}")
    print_pieces(lines)
    longest = heapq.nlargest(_LONGEST_WAITS, waits(runs), key=lambda wait: wait.run.waited)
    if longest:
        print_line("")
        print_line("The longest waits:")
    for wait in longest:
        print_line(f"  {chart_text.format_wait(wait)}")


def _local(milliseconds: int) -> str:
    return local(to_text(milliseconds * MILLISECOND))
