"""jobqueuectl run, rerun: make a job due now."""

from __future__ import annotations

import sys

import click

from jobqueued.ctl import completion
from jobqueued.ctl.client import TIMEOUT, ask
from jobqueued.ctl.records import own_run, own_span, wait_for_end
from jobqueued.paths import Paths

_wait = click.option(
    "-w",
    "--wait",
    is_flag=True,
    help="Wait for the run to end; exit 0 if it succeeded, else 1.  Standard error says what it waits for.",
)


@click.command("run")
@click.argument("job", shell_complete=completion.jobs)
@_wait
@click.pass_obj
def run_job(paths: Paths, job: str, wait: bool) -> None:
    """Queue a run of JOB now and print its id.

    The run waits for its turn in the queue like any other, but not for its `dependencies`.  Disabled jobs can be run,
    too; an invalid one is refused, with what keeps it from running.

    \b
    Examples:
      jobqueuectl run nightly-backup
      jobqueuectl run --wait nightly-backup && echo done
    """
    _queue(paths, wait, "Run", job=job)


@click.command("rerun")
@click.argument("run", shell_complete=completion.runs)
@_wait
@click.pass_obj
def rerun(paths: Paths, run: str, wait: bool) -> None:
    """Queue the job of RUN once more; print the new run's id.

    The new run follows the job's present definition.  Its record names RUN as its trigger.

    \b
    Example:
      jobqueuectl rerun --wait nightly-backup@142
    """
    _queue(paths, wait, "Rerun", run=run)


def _queue(paths: Paths, wait: bool, method: str, **parameters: object) -> None:
    if wait and own_run() is not None:
        raise click.UsageError("a run can't wait for another one, as both might need the same slot; omit --wait")
    run = ask(paths.control, method, TIMEOUT, traceparent=own_span(), **parameters)["run"]
    click.echo(run)
    if wait:
        sys.exit(wait_for_end(paths, run, "goes on")["state"] != "succeeded")
