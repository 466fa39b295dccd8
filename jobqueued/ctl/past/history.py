"""jobqueuectl history: list the runs of a job or of all jobs, newest first."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from typing import TypeVar

import click

from jobqueued.base.text import duration
from jobqueued.child.contract.documents import Record
from jobqueued.ctl.base import completion, records
from jobqueued.ctl.base.client import CallRefused, DaemonUnreachable, ask
from jobqueued.ctl.base.table import Cell
from jobqueued.ctl.base.terminal import (
    Columns,
    json_option,
    local,
    localised,
    print_json,
    print_line,
    print_table,
    reaching,
    styled,
)
from jobqueued.ctl.base.whole_names import by_whole_name
from jobqueued.ctl.past import run_stats
from jobqueued.ctl.past.chosen_runs import PAGE, Wanted, matching, of_runs
from jobqueued.model.run_states import PENDING
from jobqueued.settings.paths import Paths

Found = TypeVar("Found")


@click.command()
@click.argument("job", required=False, shell_complete=completion.jobs)
@click.option(
    "-n", "--runs", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="Show at most N runs."
)
@click.option(
    "--stats",
    is_flag=True,
    help="Show figures for each job instead of runs: count, success rate, durations, "
    "trend and CPU hours, from at most 100,000 runs.",
)
@click.option(
    "--diff",
    nargs=2,
    metavar="RUN RUN",
    shell_complete=completion.jobs_or_runs,
    help="Show the differences between two runs: definition, environment, durations, memory, output.",
)
@of_runs
@json_option
@click.pass_obj
def history(
    paths: Paths, job: str | None, runs: int, stats: bool, diff: tuple[str, str] | None, wanted: Wanted, as_json: bool
) -> None:
    """List the runs of JOB, or of all jobs, newest first.

    Live runs and runs that wait for their next attempt come first.  Ended and skipped runs follow, sorted by the time
    they were queued.  If a run never started, its due time is shown in brackets.  While the daemon is down, the command
    reads the records.

    --tag, --of-user, --reason, --exit-code and --longer-than search the newest 100,000 runs.  If older runs were not
    searched, a message on standard error reports this.

    With --stats, P50 and P95 are durations of the runs that succeeded: 50 % and 95 % of these runs took no longer.
    TREND compares the median of the oldest third of these runs with the median of the newest third.  A job with fewer
    than 9 such runs has no trend.

    With --diff, figures that differ by less than a tenth are omitted.  For each output, the last 2,000 lines, at most
    256 KiB, are compared.  Only root and the daemon's own user see former job files and environment variables; the
    command names the parts that are no longer saved.

    \b
    Examples:
      jobqueuectl history --failed --since yesterday
      jobqueuectl history nightly-backup -n 100 --json
      jobqueuectl history --longer-than usual --since 7d
      jobqueuectl history --stats --tag nightly
      jobqueuectl history --diff nightly-backup@141 nightly-backup@142
    """
    if diff is not None:
        if job is not None or stats or not wanted.is_any:
            raise click.UsageError("--diff compares two runs; omit JOB and the options that select runs")
        from jobqueued.ctl.past.history_diff import print_diff

        print_diff(paths, diff, as_json=as_json)
        return
    if stats:
        _print_stats(paths, job, wanted, as_json=as_json)
        return
    page = min(runs + 1, PAGE)
    job, found = _by_name(paths, job, lambda jobs: list(islice(matching(paths, jobs, wanted, page), runs + 1)))
    more, found = found[runs:], found[:runs]
    if as_json:
        print_json({"runs": found})
    elif found:
        RUNS.print(found)
        if more:
            click.echo(f"older runs are omitted; to show more: -n {2 * runs}", err=True)
    elif job and wanted.is_any and (waiting := _waiting(paths, job)):
        print_line(
            reaching(f"no run of {job} is live or has ended; waiting: {', '.join(waiting)}; see: jobqueuectl why {job}")
        )
    else:
        print_line("no such runs")


def _by_name(paths: Paths, job: str | None, find: Callable[[list[str]], Found]) -> tuple[str | None, Found]:
    """Return the job's whole name and what `find` returns for this job, or for all jobs if `job` is None."""
    if job is None:
        return None, find([])
    return by_whole_name(paths.control, job, lambda job: (job, find([job])))


def _waiting(paths: Paths, job: str) -> list[str]:
    """Return the runs of a job that wait to start; [] if the daemon is down."""
    with suppress(CallRefused, DaemonUnreachable):
        return [run["run"] for run in ask(paths.control, "Describe", job=job)["runs"] if run["state"] in PENDING]
    return []


def _run(record: Record) -> tuple[Cell, ...]:
    return record["run"], styled(record["state"]), _when(record), records.elapsed(record) or "-", _why(record)


RUNS = Columns(("RUN", "STATE", "STARTED (DUE)", "TOOK", "WHY"), _run, keep=("RUN", "STATE", "WHY", "STARTED (DUE)"))


def _when(record: Record) -> str:
    """Return the start, or the due time in brackets if the run has not started."""
    return local(record["started"]) if record["started"] else f"({local(record['due'])})"


def _why(record: Record) -> str:
    ended_badly = record["exit_code"] != 0 and records.exit_status(record)
    return records.repeats(record) + localised(records.reason(record) or ended_badly or "-")


def _print_stats(paths: Paths, job: str | None, wanted: Wanted, *, as_json: bool) -> None:
    _, found = _by_name(paths, job, lambda jobs: run_stats.stats_of(matching(paths, jobs, wanted, bounded=True)))
    if as_json:
        print_json({"jobs": [each.document for each in found]})
    elif found:
        print_table(
            ("JOB", "RUNS", "SUCCEEDED", "P50", "P95", "TREND", "CPU HOURS", "SKIPPED", "SINCE"),
            map(_cells, found),
            keep=("JOB", "RUNS", "SUCCEEDED", "P95", "TREND"),
        )
    else:
        print_line("no such runs")


def _cells(of: run_stats.Stats) -> tuple[str, ...]:
    p50, p95 = ("-" if it is None else duration(it) for it in (of.p50, of.p95))
    rate, hours = "-" if of.rate is None else f"{of.rate:.1%}", "-" if of.cpu is None else run_stats.hours(of.cpu)
    return of.job, f"{of.runs:,}", rate, p50, p95, str(of.trend or "-"), hours, f"{of.skipped:,}", local(of.since)
