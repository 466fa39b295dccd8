"""jobqueuectl list: all jobs, one per line. While the daemon is down, the command lists jobs from job files and
records.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import click

from jobqueued.base.text import printable
from jobqueued.control.protocol.varlink import Message
from jobqueued.ctl.base import completion, hold_messages
from jobqueued.ctl.base.client import CallRefused, DaemonUnreachable, ask, describe_ended, has_record, removed
from jobqueued.ctl.base.table import Cell, StyledText
from jobqueued.ctl.base.tags import tag_option
from jobqueued.ctl.base.terminal import (
    Columns,
    distance,
    json_option,
    local,
    print_json,
    print_values,
    reaching,
    styled,
)
from jobqueued.ctl.base.whole_names import ended, owned, print_found
from jobqueued.ctl.past import failed_submissions
from jobqueued.jobfile.types.spelling import nearest
from jobqueued.settings.paths import Paths


@click.command("list")
@click.argument("names", nargs=-1, metavar="[JOB|GLOB]...", shell_complete=completion.jobs)
@click.option(
    "--sort",
    type=click.Choice(("name", "next", "last")),
    default="name",
    show_default=True,
    metavar="BY",
    help="Sort by name, next start or last start.",
)
@tag_option("List only")
@click.option(
    "--failed",
    is_flag=True,
    help="List only jobs that need attention: Failed, Invalid, Missed, Outdated, late, overdue.",
)
@click.option("--files", is_flag=True, help="Show each job's file and line, and the file's drop-ins.")
@click.option("--tsv", is_flag=True, help="Print tab-separated values for scripts, without headings.")
@json_option
@click.pass_obj
def list_jobs(
    paths: Paths,
    names: tuple[str, ...],
    sort: str,
    tags: tuple[str, ...],
    failed: bool,
    files: bool,
    tsv: bool,
    as_json: bool,
) -> None:
    """List the jobs, one per line.

    Without arguments, the command lists all jobs; otherwise, the jobs whose id is a JOB or matches a GLOB.  If no job
    is named batch, `jobqueuectl list batch` shows host/batch and alice/batch, and names them on standard error.

    STATUS shows the state of the job, and whether one of its runs is late or the job is overdue: it has not succeeded
    for longer than its `expect`.  A job is Outdated if its fleet uses a newer definition of the job than this host's
    files.  For a submission with several runs, STATUS also counts its finished, failed, live and waiting runs, and
    shows the expected time until its last run ends.

    NEXT is the next scheduled start.  If a pause has an end, NEXT is the first start after the pause.  LAST is the
    start of the last run that ended, and ENDED is the result of that run.

    Standard error shows whether the host is on hold.  With --failed, it also names overdue jobs that are in no file,
    and finished submissions with a run that failed in the last 24 hours.

    With --files, the table shows the file and line of each job.  To see where each of a job's keys is set: `show
    --origin JOB`.

    With --tsv, every line has the same columns.  NEXT and LAST are in RFC 3339 and UTC, and a missing value is an empty
    field.  Later versions may append columns.

    While the daemon is down, the list is made from job files, records and live runs, and does not include pauses or
    waiting runs.

    Exits 1 if there is no job for a name or glob that you give, or if --failed or --tag leaves out all named jobs.

    \b
    Examples:
      jobqueuectl list --sort next 'nightly-*'
      jobqueuectl list --failed --tag backup
      jobqueuectl list --failed --tsv | cut -f1 | xargs -n1 jobqueuectl run
      jobqueuectl list --json | jq -r '.jobs[] | select(.status == "Failed") | .id'
    """
    gc.disable()  # a long reply exists until this program exits, and each collection would scan it
    click.get_current_context().call_on_close(gc.enable)
    answer = _ask(paths)
    ids: list[str] = [job["id"] for job in answer["jobs"]]
    names = _whole_names(ids, names)
    unknown = tuple(name for name in names if not any(fnmatchcase(one, name) for one in ids))
    answer["jobs"] = _chosen(answer["jobs"], names, set(tags), failed=failed)
    answer["jobs"].sort(key=ORDERS[sort])
    told, failures = list[str](), list[Message]()
    overdue = removed(paths.control) if failed or unknown else {}
    if failed and not tags:
        failures = failed_submissions.find(paths, ids, names)
        told = [*_matching(overdue, names), *map(failed_submissions.line, failures)]
    for name in unknown:
        reasons = _matching(overdue, (name,)) or _why_none(paths, name, ids, failures)
        told += [text for text in reasons if text not in told]
    if names and not answer["jobs"]:
        raise CallRefused("\n".join(told) or _left_out(names, "--failed" if failed else "--tag"))
    for text in told:
        click.echo(reaching(text), err=True)
    _print(answer if not failed else {**answer, "failed_submissions": failures}, files=files, tsv=tsv, as_json=as_json)
    sys.exit(bool(unknown))


def _print(answer: Message, *, files: bool, tsv: bool, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    hold_messages.warn_of_hold(answer)
    if tsv:
        print_values([job[key] for key in _VALUES] for job in answer["jobs"])
        return
    (PLACES if files else JOBS).print(answer["jobs"])


def _place(job: Message) -> tuple[str, ...]:
    return job["id"], f"{job['file']}:{job['line']}", ", ".join(job["drop_ins"]) or "-"


PLACES = Columns(("JOB", "DEFINED IN", "DROP-INS"), _place)
_when = cache(distance)
"""Format the time to or since an instant, with a cache, because many jobs are due at the same instant."""


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
    ("JOB", "STATUS", "NEXT", "LAST", "ENDED", "PRIORITY", "SCHEDULE", "DESCRIPTION"),
    _cells,
    keep=("JOB", "STATUS", "NEXT", "LAST"),
)
_VALUES = ("id", "status", "next", "last_run", "last_state", "priority", "schedule", "description")
_FAILED = {"Failed", "Invalid", "Missed", "Outdated"}
_TROUBLES = ("failing_since", "late", "overdue_since")


def _status(job: Message) -> StyledText:
    """Return the status of a job, the progress of its submission, and whether a run is late or the job is overdue."""
    more = [hold_messages.progress(job["batch"], brief=True)] if job.get("batch") else []
    more += [word for word, fact in (("late", job["late"]), ("overdue", job["overdue_since"])) if fact]
    is_wrong = job["late"] or job["overdue_since"]
    return styled(", ".join([job["status"], *more]), "retrying" if is_wrong else job["status"])


ORDERS: dict[str, Callable[[Message], Any]] = {
    "name": lambda job: job["id"],
    "next": lambda job: (job["next"] is None, job["next"], job["id"]),
    "last": lambda job: (job["last_run"] or "", job["id"]),
}


def _whole_names(ids: list[str], names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names. If no job has a name, replace the name by the ids that have it after a slash, and print these
    ids on stderr.
    """
    found = list[str]()
    for name in names:
        if "/" in name or any(fnmatchcase(one, name) for one in ids):
            found.append(name)
            continue
        if those := owned(name, ids):
            print_found(name, those)
        found += those or [name]
    return tuple(found)


def _chosen(jobs: list[Message], names: tuple[str, ...], tags: set[str], *, failed: bool) -> list[Message]:
    """Return the jobs that match a name (if names are given), have all tags, and need attention (with `failed`)."""
    return [
        job
        for job in jobs
        if (not names or any(fnmatchcase(job["id"], name) for name in names))
        and tags.issubset(job.get("tags", ()))
        and (not failed or job["status"] in _FAILED or any(map(job.get, _TROUBLES)))
    ]


def _matching(overdue: dict[str, str], names: tuple[str, ...]) -> list[str]:
    """Return the lines of the overdue jobs that match a name (if names are given)."""
    return [line for job, line in overdue.items() if not names or any(fnmatchcase(job, name) for name in names)]


def _why_none(paths: Paths, name: str, ids: list[str], failures: list[Message]) -> list[str]:
    """Return lines about a name that no job has: ended submissions (except `failures`), or a similar id."""
    whole = [name] if "/" in name and has_record(paths.control, name) else ended(paths.control, name)
    if whole or any(fnmatchcase(part, name) for one in failures for part in (one["job"], one["job"].partition("/")[2])):
        known = {one["job"] for one in failures}
        return [describe_ended(one) for one in whole if one not in known]
    near = nearest(name, ids) if ids else ""
    remedy = f"did you mean {near}?" if near else "see: jobqueuectl list"
    return [printable(f"no such job: {name}; {remedy}")]


def _left_out(names: tuple[str, ...], option: str) -> str:
    return f"nothing to list: {option} leaves out {printable(', '.join(names))}"


def rhythm(text: str) -> str:
    """Format a trigger of a job, and the time of an `at` in the local zone."""
    return f"at {local(text[3:])}" if text.startswith("at 2") else text


def _ask(paths: Paths) -> Message:
    """Return the daemon's list of jobs, or the list from job files if the daemon is down."""
    try:
        return ask(paths.control, "List")
    except DaemonUnreachable as down:
        return _from_files(paths, down)


def _from_files(paths: Paths, down: DaemonUnreachable) -> Message:
    from jobqueued.ctl.past import offline

    jobs = offline.jobs(paths)
    if not jobs:
        raise DaemonUnreachable(f"{down.message}\nNo jobs can be read from {printable(str(paths.jobs))} either.")
    offline.explain(paths, down, "pauses or waiting runs")
    now, live = time.time_ns(), offline.live(paths)
    return {"jobs": [offline.job_row(paths, job, invalid, live, now) for job, invalid in jobs]}
