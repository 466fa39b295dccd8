"""jobqueuectl run, rerun, retry: make a job or a run's next attempt due now."""

from __future__ import annotations

import sys

import click

from jobqueued.base.text import printable
from jobqueued.ctl.base import completion
from jobqueued.ctl.base.records import own_run, own_span, wait_for_end
from jobqueued.ctl.base.terminal import reaching
from jobqueued.ctl.base.whole_names import ask_by_name
from jobqueued.settings.paths import Paths

_wait = click.option(
    "-w",
    "--wait",
    is_flag=True,
    help="Wait until the run ends; exit 0 if it succeeded, else 1.  Standard error shows what the run waits for.",
)


@click.command("run")
@click.argument("job", shell_complete=completion.jobs)
@_wait
@click.pass_obj
def run_job(paths: Paths, job: str, wait: bool) -> None:
    """Queue a run of JOB now and print the run's id.

    The run waits in the queue like any other run, but does not wait for its `dependencies`.  A disabled job can be run
    too.  For an invalid job, the command queues no run and prints the cause.

    With --wait, exits 0 if the run succeeded, else 1.

    \b
    Examples:
      jobqueuectl run nightly-backup
      jobqueuectl run --wait nightly-backup && echo done
    """
    _queue(paths, wait, "Run", "job", job)


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
    _queue(paths, wait, "Rerun", "run", run)


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
    if wait:
        sys.exit(wait_for_end(paths, run, "continues")["state"] != "succeeded")


def _queue(paths: Paths, wait: bool, method: str, kind: str, name: str) -> None:
    _refuse_in_a_run(wait)
    _, answer = ask_by_name(paths.control, method, name, kind=kind, traceparent=own_span())
    run = answer["run"]
    click.echo(run)
    if wait:
        sys.exit(wait_for_end(paths, run, "continues")["state"] != "succeeded")


def _refuse_in_a_run(wait: bool) -> None:
    if wait and own_run() is not None:
        raise click.UsageError("a run can't wait for another run, because both might need the same slot; omit --wait")
