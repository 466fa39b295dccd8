"""jobqueuectl run, rerun, retry: make a job or a run's next attempt due now."""

from __future__ import annotations

import sys

import click

from jobqueued.base.text import printable
from jobqueued.ctl.base import completion
from jobqueued.ctl.base.records import own_run, own_span, wait_for_end
from jobqueued.ctl.base.tags import job_names, on_each, tag_option
from jobqueued.ctl.base.terminal import reaching
from jobqueued.ctl.base.whole_names import ask_by_name
from jobqueued.settings.paths import Paths

_wait = click.option(
    "-w",
    "--wait",
    is_flag=True,
    help="Wait for the end of each run; exit 0 if all succeeded, else 1.  Standard error shows what a run waits for.",
)


@click.command("run")
@click.argument("job", required=False, shell_complete=completion.jobs)
@_wait
@tag_option("Run all")
@click.pass_obj
def run_job(paths: Paths, job: str | None, wait: bool, tags: tuple[str, ...]) -> None:
    """Queue a run of JOB, or of each job with a tag, now.

    The command prints the id of each run.  The runs wait in the queue like any other run, but do not wait for their
    `dependencies`.  A disabled JOB can be run too, but --tag leaves out disabled jobs.  For an invalid job, the command
    queues no run and prints the cause.

    With --wait, exits 0 if all runs were queued and succeeded, else 1.

    \b
    Examples:
      jobqueuectl run nightly-backup
      jobqueuectl run --wait nightly-backup && echo done
      jobqueuectl run --tag nightly
    """
    _refuse_in_a_run(wait)
    runs, names = list[str](), job_names(paths.control, job, tags, enabled=True)
    is_queued = on_each(names, lambda name: runs.append(_queued(paths, "Run", "job", name)))
    sys.exit(not (_have_succeeded(paths, runs, wait=wait) and is_queued))


@click.command("rerun")
@click.argument("run", shell_complete=completion.runs)
@_wait
@click.pass_obj
def rerun(paths: Paths, run: str, wait: bool) -> None:
    """Queue RUN's job again and print the new run's id.

    The new run uses the job's current definition.  Its record names RUN as its trigger.

    With --wait, exits 0 if the run succeeded, else 1.

    \b
    Example:
      jobqueuectl rerun --wait nightly-backup@142
    """
    _refuse_in_a_run(wait)
    sys.exit(not _have_succeeded(paths, [_queued(paths, "Rerun", "run", run)], wait=wait))


@click.command("retry")
@click.argument("run", shell_complete=completion.runs)
@_wait
@click.pass_obj
def retry(paths: Paths, run: str, wait: bool) -> None:
    """Start RUN's next attempt now, without its delay.

    Use `retry` if RUN's last attempt failed and RUN waits for its `retry_delay`, or if RUN could not be started and
    waits for another try.  The attempt counts as one of its `retries`, and waits in the queue like any other run.  If
    RUN ended, use `rerun` instead.

    Exits 1 if RUN does not wait for an attempt.

    \b
    Example:
      jobqueuectl retry nightly-backup@142
    """
    _refuse_in_a_run(wait)
    run, answer = ask_by_name(paths.control, "Retry", run, kind="run")
    state = answer["state"]
    click.echo(printable(f"{run} {state}"))
    if state == "due":
        click.echo(reaching(f"{run} can't start yet; to see why: jobqueuectl why {run}"), err=True)
    sys.exit(not _have_succeeded(paths, [run], wait=wait))


def _queued(paths: Paths, method: str, kind: str, name: str) -> str:
    """Queue a run, and print and return its id."""
    _, answer = ask_by_name(paths.control, method, name, kind=kind, traceparent=own_span())
    run: str = answer["run"]
    click.echo(run)
    return run


def _have_succeeded(paths: Paths, runs: list[str], *, wait: bool) -> bool:
    """With `wait`, wait until the runs end. Return whether none of them is known to have ended otherwise."""
    ends = [wait_for_end(paths, run, "continues")["state"] for run in runs] if wait else []
    return all(state == "succeeded" for state in ends)


def _refuse_in_a_run(wait: bool) -> None:
    if wait and own_run() is not None:
        raise click.UsageError("a run can't wait for another run, because both might need the same slot; omit --wait")
