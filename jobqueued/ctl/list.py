"""jobqueuectl list: all jobs, one a line; from job files and records while the daemon is down."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import click

from jobqueued.control.varlink import Message
from jobqueued.ctl import completion, failed_submissions, standing
from jobqueued.ctl.client import Refused, Unreachable, ask, removed
from jobqueued.ctl.table import Cell, Text
from jobqueued.ctl.terminal import Columns, distance, json_option, local, print_json, print_values, styled
from jobqueued.paths import Paths
from jobqueued.text import printable


@click.command("list")
@click.argument("names", nargs=-1, metavar="[JOB|GLOB]...", shell_complete=completion.jobs)
@click.option("--sort", type=click.Choice(("name", "next", "last")), default="name", show_default=True, metavar="BY",
              help="Sort by name, by next start or by last start.")  # fmt: skip
@click.option("-t", "--tag", "tags", multiple=True, metavar="T", help="List only jobs with this tag; may be repeated.")
@click.option("--failed", is_flag=True,
              help="List only jobs that need attention: Failed, Invalid, Missed, Outdated, late, overdue.")  # fmt: skip
@click.option("--files", is_flag=True, help="Show the file and line of each job, and the drop-ins of its file.")
@click.option("--tsv", is_flag=True, help="Print values for scripts: no headings, a tab between columns.")
@json_option
@click.pass_obj
def list_jobs(
    paths: Paths, names: tuple[str, ...], sort: str, tags: tuple[str, ...], failed: bool, files: bool, tsv: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """List the jobs, one a line.

    Lists all, or those whose id is a JOB or matches a GLOB.  A name that no job has, such as batch, finds host/batch
    and alice/batch, and the standard error says so.

    STATUS of a submission with several runs has its progress: how many of them are done, and how many failed.

    NEXT is the next start by the clock, past a pause that has an end; LAST the start of the last run that has ended,
    ENDED its result.  STATUS also tells if a run of it is late, or if it is overdue: it has not succeeded for longer
    than its `expect`.  A job is Outdated where its fleet goes by a newer definition than the files of this host have.
    The first line says if the host is on hold and, with --failed, names the jobs that are overdue but in no file, and
    the submissions that are over and had a run that failed in the last 24 hours.

    While the daemon is down, job files, records and live runs are read instead, which do not show pauses and
    waiting runs.

    With --files, shows where each job is defined; `show --origin JOB` does so for each key of a job.

    With --tsv each line has the same columns, NEXT and LAST in RFC 3339 and UTC; a missing value is an empty field.
    Later versions may append columns.

    Exits 1 if there is none of these names.

    \b
    Examples:
      jobqueuectl list --sort next 'nightly-*'
      jobqueuectl list --failed --tag backup
      jobqueuectl list --failed --tsv | cut -f1 | xargs -n1 jobqueuectl run
      jobqueuectl list --json | jq -r '.jobs[] | select(.status == "Failed") | .id'
    """
    gc.disable()  # a long answer lives to the end, and each collection would look through all of it
    click.get_current_context().call_on_close(gc.enable)
    try:
        answer = ask(paths.control, "List")
    except Unreachable as down:
        answer = _from_files(paths, down)
    names, known = _whole_names(answer["jobs"], names), {job["id"] for job in answer["jobs"]}
    answer["jobs"] = _chosen(answer["jobs"], names, set(tags), failed=failed)
    answer["jobs"].sort(key=ORDERS[sort])
    gone = _removed(paths, names, known) if not tags and (failed or not answer["jobs"]) else ""
    if names and not answer["jobs"]:
        raise Refused(gone or f"no such job: {printable(' '.join(names))}; see: jobqueuectl list")
    click.echo(gone, err=True, nl=bool(gone))
    if as_json:
        print_json(answer)
        return
    standing.warn_of_hold(answer)
    if tsv:
        print_values([job[key] for key in _VALUES] for job in answer["jobs"])
        return
    (PLACES if files else JOBS).print(answer["jobs"])


def _place(job: Message) -> tuple[str, ...]:
    return job["id"], f"{job['file']}:{job['line']}", ", ".join(job["drop_ins"]) or "-"


PLACES = Columns(("JOB", "DEFINED IN", "DROP-INS"), _place)
_when = cache(distance)
"""The distance to an instant; many jobs are due alike."""


def _cells(job: Message) -> tuple[Cell, ...]:
    return (
        job["id"],
        _status(job),
        _when(job["next"]),
        _when(job["last_run"]),
        styled("by failover", "retrying") if job["last_failover"] else styled(job["last_state"]),
        str(job["priority"]),
        ", ".join(map(rhythm, job["schedule"])) or "-",
        job["description"],
    )


JOBS = Columns(
    ("JOB", "STATUS", "NEXT", "LAST", "ENDED", "PRIORITY", "SCHEDULE", "DESCRIPTION"), _cells,
    keep=("JOB", "STATUS", "NEXT", "LAST"),
)  # fmt: skip
_VALUES = ("id", "status", "next", "last_run", "last_state", "priority", "schedule", "description")
_FAILED = {"Failed", "Invalid", "Missed", "Outdated"}
_TROUBLES = ("failing_since", "late", "overdue_since")


def _status(job: Message) -> Text:
    """The status of a job, the progress of a batch, and if a run is late, or it has not succeeded for too long."""
    more = [standing.progress(job["batch"])] if job.get("batch") else []
    more += [word for word, fact in (("late", job["late"]), ("overdue", job["overdue_since"])) if fact]
    is_wrong = job["late"] or job["overdue_since"]
    return styled(", ".join([job["status"], *more]), "retrying" if is_wrong else job["status"])


ORDERS: dict[str, Callable[[Message], Any]] = {
    "name": lambda job: job["id"],
    "next": lambda job: (job["next"] is None, job["next"], job["id"]),
    "last": lambda job: (job["last_run"] or "", job["id"]),
}


def _whole_names(jobs: list[Message], names: tuple[str, ...]) -> tuple[str, ...]:
    """The names, and for one that no job has those of users' jobs and submissions that end with it, which it says."""
    ids, found = [job["id"] for job in jobs] if names else [], list[str]()
    for name in names:
        if "/" in name or any(fnmatchcase(one, name) for one in ids):
            found.append(name)
            continue
        owned = [one for one in ids if fnmatchcase(one.partition("/")[2], name)]
        if owned:
            click.echo(printable(f"{name}: {', '.join(owned)}"), err=True)
        found += owned or [name]
    return tuple(found)


def _chosen(jobs: list[Message], names: tuple[str, ...], tags: set[str], *, failed: bool) -> list[Message]:
    """The jobs that match one of the names, if there are any, have all tags, and need attention if only those count."""
    return [
        job
        for job in jobs
        if (not names or any(fnmatchcase(job["id"], name) for name in names))
        and tags.issubset(job.get("tags", ()))
        and (not failed or job["status"] in _FAILED or any(map(job.get, _TROUBLES)))
    ]


def _removed(paths: Paths, names: tuple[str, ...], known: set[str]) -> str:
    """A line of each job with one of the names, if there are any, that is overdue though it is in no file, and of each
    submission that is over, and has failed in the last day.
    """
    found = removed(paths.control).items()
    overdue = [it for job, it in found if not names or any(fnmatchcase(job, name) for name in names)]
    return "\n".join([*overdue, *failed_submissions.lines(paths, known, names)])


def rhythm(text: str) -> str:
    """A trigger of a job, for people: an `at` is shown in the local zone."""
    return f"at {local(text[3:])}" if text.startswith("at 2") else text


def _from_files(paths: Paths, down: Unreachable) -> Message:
    from jobqueued.ctl import offline

    jobs = offline.jobs(paths)
    if not jobs:
        raise Unreachable(f"{down.message}\nNo jobs can be read from {printable(str(paths.jobs))} either.")
    offline.explain(paths, down, "pauses or waiting runs")
    now, live = time.time_ns(), offline.live(paths)
    return {"jobs": [offline.job_row(paths, job, invalid, live, now) for job, invalid in jobs]}
