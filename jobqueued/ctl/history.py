"""jobqueuectl history: the runs of all jobs or of one, newest first; from the records while the daemon is down."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import click

from jobqueued.control.varlink import Message
from jobqueued.ctl import offline
from jobqueued.ctl.client import Unreachable, ask
from jobqueued.ctl.moments import past
from jobqueued.ctl.show import end, repeated, took
from jobqueued.ctl.terminal import json_option, local, print_json, print_line, print_table, styled
from jobqueued.model import FAILURES, PENDING, Record, RunState, to_text
from jobqueued.paths import Paths

_STATES = [state.value for state in RunState if state not in PENDING]
_PAGE = 50


@click.command()
@click.argument("job", required=False)
@click.option(
    "-n", "--runs", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="How many at most."
)
@click.option("-s", "--state", "states", type=click.Choice(_STATES), multiple=True, metavar="S",
              help=f"Only those in this state, one of {', '.join(_STATES)}; may be given again.")  # fmt: skip
@click.option("--failed", is_flag=True, help=f"Only those that ended badly: {', '.join(sorted(FAILURES))}.")
@click.option("--since", callback=past, metavar="T", help="Only those queued since then: 2h, today, 2026-11-24.")
@click.option("--until", callback=past, metavar="T", help="Only those queued before.")
@json_option
@click.pass_obj
def history(
    paths: Paths, job: str | None, runs: int, states: tuple[str, ...], failed: bool, since: int | None,
    until: int | None, as_json: bool,
) -> None:  # fmt: skip
    """List the runs of JOB, or of all jobs, newest first.

    At first come live ones, then those that have ended, and skips, by when they were queued.  What never started has
    in brackets when it was due.  While the daemon is down, the records are read instead.

    \b
    Examples:
      jobqueuectl history --failed --since yesterday
      jobqueuectl history nightly-backup -n 100 --json
    """
    wanted = sorted({*states, *(FAILURES if failed else ())}) or None
    asked = {"job": job, "states": wanted, "limit": min(runs, _PAGE)}
    try:
        found = list(islice(told(paths, asked, since, until), runs))
    except Unreachable as down:
        found = list(islice(_kept(paths, down, asked, since, until), runs))
    if as_json:
        print_json({"runs": found})
    elif found:
        _print(found)
    else:
        print_line("no such runs")


def told(paths: Paths, asked: Message, since: int | None = None, until: int | None = None) -> Iterator[Record]:
    """What the daemon tells of the runs that are asked for (`job`, `states`), page by page as they are taken."""
    asked = {**asked, "since": since and to_text(since), "until": until and to_text(until)}
    place = None
    while True:
        page = ask(paths.control, "History", **asked, before=place)
        yield from page["runs"]
        if (place := page["next"]) is None:
            return


def _kept(paths: Paths, down: Unreachable, asked: Message, since: int | None, until: int | None) -> Iterator[Record]:
    """What the records tell."""
    job, states, last = asked["job"], asked["states"], None if until is None else to_text(until)
    if next(offline.history(paths, job), None) is None:
        raise offline.nothing(paths, down, f"no record of {job}" if job else "no record")
    offline.say(paths, down)
    records = offline.history(paths, job, to_text(since) if since else "")
    return (
        record
        for record in records
        if (last is None or record["queued"] < last) and (states is None or record["state"] in states)
    )


def _print(records: Sequence[Record]) -> None:
    print_table(
        ("RUN", "STATE", "STARTED (DUE)", "TOOK", "WHY"),
        (
            (record["run"], styled(record["state"]), _when(record), took(record) or "-", _why(record))
            for record in records
        ),
    )


def _when(record: Record) -> str:
    """When it started; what did not, when it was due, in brackets."""
    return local(record["started"]) if record["started"] else f"({local(record['due'])})"


def _why(record: Record) -> str:
    return repeated(record) + (record["reason"] or (record["exit_code"] != 0 and end(record)) or "-")
