"""jobqueuectl list: all jobs, one a line; from job files and records while the daemon is down."""

from __future__ import annotations

import time

import click

from jobqueued.control.varlink import Message
from jobqueued.ctl import offline, standing
from jobqueued.ctl.client import Unreachable, ask
from jobqueued.ctl.terminal import distance, json_option, local, print_json, print_table, styled
from jobqueued.paths import Paths
from jobqueued.text import printable


@click.command("list")
@json_option
@click.pass_obj
def list_jobs(paths: Paths, as_json: bool) -> None:
    """List all jobs, one a line.

    NEXT is the next start by the clock, past a pause that has an end; LAST the start of the last run, ENDED its result.
    If the host is on hold, this is said first.

    While the daemon is down, job files, records and live runs are read instead, which do not show pauses and
    waiting runs.

    \b
    Example:
      jobqueuectl list --json | jq -r '.jobs[] | select(.status == "Failed") | .id'
    """
    try:
        answer = ask(paths.control, "List")
    except Unreachable as down:
        answer = _from_files(paths, down)
    if as_json:
        print_json(answer)
        return
    standing.warn_of_hold(answer)
    print_table(
        ("JOB", "STATUS", "NEXT", "LAST", "ENDED", "PRIORITY", "SCHEDULE", "DESCRIPTION"),
        (
            (
                job["id"],
                styled(job["status"]),
                distance(job["next"]),
                distance(job["last_run"]),
                styled(job["last_state"]),
                str(job["priority"]),
                ", ".join(map(rhythm, job["schedule"])) or "-",
                job["description"],
            )
            for job in answer["jobs"]
        ),
    )


def rhythm(text: str) -> str:
    """A trigger of a job, for people: an `at` is shown in the local zone."""
    return f"at {local(text[3:])}" if text.startswith("at 2") else text


def _from_files(paths: Paths, down: Unreachable) -> Message:
    jobs = offline.jobs(paths)
    if not jobs:
        raise Unreachable(f"{down.message}\nNo jobs can be read from {printable(str(paths.jobs))} either.")
    offline.explain(paths, down, "pauses or waiting runs")
    now, live = time.time_ns(), offline.live(paths)
    return {"jobs": [offline.job_row(paths, job, live, now) for job in jobs]}
