"""jobqueuectl run, rerun: make a job due now."""

from __future__ import annotations

import os
import sys

import click

from jobqueued.ctl.client import TIMEOUT, Unreachable, ask
from jobqueued.ctl.show import verdict
from jobqueued.paths import Paths

_wait = click.option("-w", "--wait", is_flag=True, help="Wait for the run's end; exit 0 if it succeeded, else 1.")


@click.command("run")
@click.argument("job")
@_wait
@click.pass_obj
def run_job(paths: Paths, job: str, wait: bool) -> None:
    """Make JOB due now and print the run's id.

    The run goes through the queue like any other: it waits for its turn.  A disabled job can be run so, too.

    \b
    Examples:
      jobqueuectl run nightly-backup
      jobqueuectl run --wait nightly-backup && echo done
    """
    _ask(paths, wait, "Run", job=job)


@click.command("rerun")
@click.argument("run")
@_wait
@click.pass_obj
def rerun(paths: Paths, run: str, wait: bool) -> None:
    """Make the job of RUN due once more, and print the new run's id.

    It is carried out as its file says now: a run of its own, whose record names RUN as its trigger.

    \b
    Example:
      jobqueuectl rerun --wait nightly-backup@142
    """
    _ask(paths, wait, "Rerun", run=run)


def _ask(paths: Paths, wait: bool, method: str, **parameters: object) -> None:
    if wait and "JOBQUEUE_RUN" in os.environ:
        raise click.UsageError("a run can't wait for another one: both might need the same slot. Leave out --wait.")
    run = ask(paths.control, method, TIMEOUT, **parameters)["run"]
    click.echo(run)
    if wait:
        sys.exit(not _succeeds(paths, run))


def _succeeds(paths: Paths, run: str) -> bool:
    """Whether the run succeeds, said on stderr as soon as it is known."""
    try:
        record = ask(paths.control, "Wait", timeout=None, run=run)["record"]
    except Unreachable as error:
        raise Unreachable(f"{error.message}\n{run} goes on; `jobqueuectl show {run}` tells how it ends") from None
    click.echo(f"{run} {verdict(record)}", err=True)
    return bool(record["state"] == "succeeded")
