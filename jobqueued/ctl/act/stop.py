"""jobqueuectl stop: stop runs."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from jobqueued.base.text import printable
from jobqueued.ctl.base import completion
from jobqueued.ctl.base.client import CallRefused, DaemonUnreachable
from jobqueued.ctl.base.records import history, own_run, wait_for_end
from jobqueued.ctl.base.tags import jobs_with, named, require_either, tag_option
from jobqueued.ctl.base.whole_names import ask_by_name, by_whole_name
from jobqueued.model.run_states import LIVE
from jobqueued.settings.paths import Paths

if TYPE_CHECKING:
    from jobqueued.child.contract.documents import Record


@click.command()
@click.argument("names", nargs=-1, metavar="[RUN|JOB]...", shell_complete=completion.jobs_or_runs)
@click.option("-w", "--wait", is_flag=True, help="Wait until the runs have ended, and print their results.")
@click.option(
    "--lost",
    is_flag=True,
    help="Declare runs without a supervisor lost.  Use this only if none of the run's processes is left.",
)
@tag_option("Stop the live runs of all")
@click.pass_obj
def stop(paths: Paths, names: tuple[str, ...], wait: bool, lost: bool, tags: tuple[str, ...]) -> None:
    """Stop runs, or all live runs of a JOB or tag.

    All processes of a live run get the run's stop signal and, after its kill_grace, SIGKILL.  To stop a waiting run,
    name it as JOB@N; it then never starts.  The command prints the state of each run.

    If a run's supervisor died, the run keeps its locks and other claims as long as one of its processes may be alive.
    `status`, `why` and `doctor` name that process.  If the process does not belong to the run, use --lost: the run
    ends, and no process is signalled.

    Exits 1 if a run already ended, or if JOB or the jobs with the tag have no live run.

    \b
    Examples:
      jobqueuectl stop nightly-backup
      jobqueuectl stop --wait nightly-backup@142 report@7
      jobqueuectl stop --lost nightly-backup@142
      jobqueuectl stop --tag nightly
    """
    require_either(names, tags, "RUN, JOB")
    runs, live, stopped, failed = list[str](), list[str](), list[str](), False
    try:
        if tags:
            live = _live_runs_with(paths, tags)
        for name in names:
            try:
                if "@" in name:
                    runs.append(name)
                else:
                    live += by_whole_name(paths.control, name, lambda job: _live_runs(paths, job))
            except CallRefused as refused:
                refused.show()
                failed = True
        for run in [*_waiting_first(paths, runs, is_alone=len(runs) == 1 and not live), *live]:
            try:
                whole, answer = ask_by_name(paths.control, "Stop", run, kind="run", lost=lost or None)
                click.echo(printable(f"{whole} {answer['state']}"))
                stopped.append(whole)
            except CallRefused as refused:
                refused.show()
                failed = True
    except DaemonUnreachable as down:
        raise down.with_more(_live_without_it(paths, names, tags)) from None
    for run in stopped if wait else ():
        if run != own_run():  # this command can't wait for the end of its own run
            wait_for_end(paths, run, "is being stopped")
    sys.exit(failed)


def _waiting_first(paths: Paths, runs: list[str], *, is_alone: bool) -> list[str]:
    """Sort live runs last, because a waiting run could otherwise start with the locks of a stopped run.

    `is_alone` means that the command stops only one run, so the order does not matter.
    """
    if is_alone:
        return runs
    return [run for _, run in sorted((_looked_up(paths, run) for run in runs), key=lambda found: found[0])]


def _looked_up(paths: Paths, run: str) -> tuple[bool, str]:
    """Return whether a run is live, and its whole name."""
    with suppress(CallRefused):  # Stop reports it
        run, answer = ask_by_name(paths.control, "Show", run, kind="run")
        return answer["record"]["state"] in LIVE, run
    return False, run


def _live_without_it(paths: Paths, names: tuple[str, ...], tags: tuple[str, ...]) -> str:
    """Return a message about the live runs with these names or tags, and how to end them without the daemon."""
    from jobqueued.ctl.past import offline

    found = [
        run
        for run in offline.live(paths)
        if {run["run"], run["job"]} & {*names} or (tags and {*tags} <= {*run["tags"]})
    ]
    lines = (
        f"{run['run']} continues without the daemon; to end it now: kill {run['pid']}; its record will show the kill"
        for run in found
        if run["pid"] is not None
    )
    return printable("\n".join(lines))


def _live_runs_with(paths: Paths, tags: tuple[str, ...]) -> list[str]:
    jobs = {row["id"] for row in jobs_with(paths.control, tags)}
    if not (live := [run["run"] for run in _all_live(paths) if run["job"] in jobs]):
        raise CallRefused(f"no job with {named(tags)} has a live run")
    return live


def _all_live(paths: Paths, **query: str) -> list[Record]:
    return [run for run in history(paths, {**query, "states": sorted(LIVE)}) if run["state"] in LIVE]


def _live_runs(paths: Paths, job: str) -> list[str]:
    if not (live := [run["run"] for run in _all_live(paths, job=job)]):
        raise CallRefused(f"{printable(job)} has no live run; to stop a waiting run, name it: JOB@N")
    return live
