"""jobqueuectl history: the runs of all jobs or of one, newest first; from the records while the daemon is down."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import merge
from itertools import chain, islice
from operator import itemgetter
from typing import Any

import click

from jobqueued.ctl import completion, offline, records
from jobqueued.ctl.arguments import check_period, past_time
from jobqueued.ctl.client import Refused, Unreachable
from jobqueued.ctl.terminal import json_option, local, print_json, print_line, print_table, styled
from jobqueued.model import FAILURES, LIVE, PENDING, Record, RunState, to_text
from jobqueued.paths import Paths

_STATES = [state.value for state in RunState if state not in PENDING]
ENDED = frozenset(_STATES) - LIVE
_PAGE = 50


def of_runs(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that choose runs; it gets `states` (None: all), `since` and `until`."""

    @click.option("-s", "--state", "states", type=click.Choice(_STATES), multiple=True, metavar="S",
                  help=f"Only runs in this state: {', '.join(_STATES)}; may be repeated.")  # fmt: skip
    @click.option("--failed", is_flag=True, help=f"Only runs that ended badly: {', '.join(sorted(FAILURES))}.")
    @click.option("--since", callback=past_time, metavar="T", help="Only runs queued since T: 2h, today, 2026-11-24.")
    @click.option("--until", callback=past_time, metavar="T", help="Only runs queued before T.")
    @functools.wraps(command)
    def chosen(*args: Any, states: tuple[str, ...], failed: bool, **options: Any) -> None:
        check_period(options["since"], options["until"])
        command(*args, states=sorted({*states, *(FAILURES if failed else ())}) or None, **options)

    return chosen


@click.command()
@click.argument("job", required=False, shell_complete=completion.jobs)
@click.option(
    "-n", "--runs", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="Show at most N runs."
)
@of_runs
@json_option
@click.pass_obj
def history(
    paths: Paths, job: str | None, runs: int, states: list[str] | None, since: int | None, until: int | None,
    as_json: bool,
) -> None:  # fmt: skip
    """List the runs of JOB, or of all jobs, newest first.

    Live runs come first, then those that have ended and those skipped, by the time they were queued.  For a run that
    never started, the time it was due is shown in brackets.  While the daemon is down, the records are read instead.

    \b
    Examples:
      jobqueuectl history --failed --since yesterday
      jobqueuectl history nightly-backup -n 100 --json
    """
    found = list(islice(matching(paths, [job] if job else [], states, since, until, min(runs, _PAGE)), runs))
    if as_json:
        print_json({"runs": found})
    elif found:
        _print(found)
    else:
        print_line("no such runs")


def matching(
    paths: Paths, jobs: Sequence[str], states: Sequence[str] | None, since: int | None, until: int | None,
    page: int = _PAGE, also: Sequence[str] = (),
) -> Iterator[Record]:  # fmt: skip
    """Yield the runs of these jobs, or of all, newest first, so many at a time; from files while the daemon is down.

    `also`: more jobs, of which nothing need be known.
    """
    query = {"states": states, "limit": page}
    names: Sequence[str | None] = jobs or [None]
    each = [records.history(paths, {**query, "job": job}, since, until) for job in names]
    each += [_if_known(records.history(paths, {**query, "job": job}, since, until)) for job in also]
    try:
        first = [list(islice(found, 1)) for found in each]
    except Unreachable as down:
        return _from_files(paths, down, jobs, states, since, until, also)
    return _merged(chain(*both) for both in zip(first, each, strict=True))


def _from_files(
    paths: Paths, down: Unreachable, jobs: Sequence[str], states: Sequence[str] | None, since: int | None,
    until: int | None, also: Sequence[str],
) -> Iterator[Record]:  # fmt: skip
    last = None if until is None else to_text(until)
    names: Sequence[str | None] = jobs or [None]
    for job in names:
        offline.require_record(paths, down, job)
    offline.explain(paths, down)
    found = (offline.history(paths, job, to_text(since) if since else "") for job in (*names, *also))
    return (
        record
        for record in _merged(found)
        if (last is None or record["queued"] < last) and (states is None or record["state"] in states)
    )


def _if_known(found: Iterator[Record]) -> Iterator[Record]:
    with contextlib.suppress(Refused):
        yield from found


def _merged(each: Iterable[Iterator[Record]]) -> Iterator[Record]:
    return merge(*each, key=itemgetter("queued"), reverse=True)


def _print(found: Sequence[Record]) -> None:
    print_table(
        ("RUN", "STATE", "STARTED (DUE)", "TOOK", "WHY"),
        (
            (record["run"], styled(record["state"]), _when(record), records.elapsed(record) or "-", _why(record))
            for record in found
        ),
        keep=("RUN", "STATE", "WHY", "STARTED (DUE)"),
    )


def _when(record: Record) -> str:
    """The time of the start; without one the due time, in brackets."""
    return local(record["started"]) if record["started"] else f"({local(record['due'])})"


def _why(record: Record) -> str:
    ended_badly = record["exit_code"] != 0 and records.exit_status(record)
    return records.repeats(record) + (record["reason"] or ended_badly or "-")
