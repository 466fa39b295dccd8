"""jobqueuectl history: the runs of all jobs or of one, newest first; from the records while the daemon is down."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import click

from jobqueued.control.varlink import Message
from jobqueued.ctl import completion, offline, records
from jobqueued.ctl.arguments import past_time
from jobqueued.ctl.client import Unreachable
from jobqueued.ctl.terminal import json_option, local, print_json, print_line, print_table, styled
from jobqueued.model import FAILURES, PENDING, Record, RunState, to_text
from jobqueued.paths import Paths

_STATES = [state.value for state in RunState if state not in PENDING]
_PAGE = 50


@click.command()
@click.argument("job", required=False, shell_complete=completion.jobs)
@click.option(
    "-n", "--runs", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="Show at most N runs."
)
@click.option("-s", "--state", "states", type=click.Choice(_STATES), multiple=True, metavar="S",
              help=f"Show only runs in this state: {', '.join(_STATES)}; may be repeated.")  # fmt: skip
@click.option("--failed", is_flag=True, help=f"Show only runs that ended badly: {', '.join(sorted(FAILURES))}.")
@click.option("--since", callback=past_time, metavar="T", help="Show only runs queued since T: 2h, today, 2026-11-24.")
@click.option("--until", callback=past_time, metavar="T", help="Show only runs queued before T.")
@json_option
@click.pass_obj
def history(
    paths: Paths, job: str | None, runs: int, states: tuple[str, ...], failed: bool, since: int | None,
    until: int | None, as_json: bool,
) -> None:  # fmt: skip
    """List the runs of JOB, or of all jobs, newest first.

    Live runs come first, then those that have ended and those skipped, by the time they were queued.  For a run that
    never started, the time it was due is shown in brackets.  While the daemon is down, the records are read instead.

    \b
    Examples:
      jobqueuectl history --failed --since yesterday
      jobqueuectl history nightly-backup -n 100 --json
    """
    wanted = sorted({*states, *(FAILURES if failed else ())}) or None
    query = {"job": job, "states": wanted, "limit": min(runs, _PAGE)}
    try:
        found = list(islice(records.history(paths, query, since, until), runs))
    except Unreachable as down:
        found = list(islice(_from_files(paths, down, query, since, until), runs))
    if as_json:
        print_json({"runs": found})
    elif found:
        _print(found)
    else:
        print_line("no such runs")


def _from_files(
    paths: Paths, down: Unreachable, query: Message, since: int | None, until: int | None
) -> Iterator[Record]:
    job, states, last = query["job"], query["states"], None if until is None else to_text(until)
    offline.require_record(paths, down, job)
    offline.explain(paths, down)
    return (
        record
        for record in offline.history(paths, job, to_text(since) if since else "")
        if (last is None or record["queued"] < last) and (states is None or record["state"] in states)
    )


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
