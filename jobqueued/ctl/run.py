"""jobqueuectl run: make a job due now."""

from __future__ import annotations

import os
import sys

import click

from jobqueued.config import Paths
from jobqueued.ctl.client import Unreachable, ask
from jobqueued.ctl.show import verdict


@click.command("run")
@click.argument("job")
@click.option("-w", "--wait", is_flag=True, help="Wait for the run's end; exit 0 if it succeeded, else 1.")
@click.pass_obj
def run_job(paths: Paths, job: str, wait: bool) -> None:
    """Make JOB due now and print the run's id.

    The run goes through the queue like any other: it waits for its turn.  A disabled job can be run so, too.

    \b
    Examples:
      jobqueuectl run nightly-backup
      jobqueuectl run --wait nightly-backup && echo done
    """
    if wait and "JOBQUEUE_RUN" in os.environ:
        raise click.UsageError("a run can't wait for another one: both might need the same slot. Leave out --wait.")
    run = ask(paths.control, "Run", job=job)["run"]
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
