"""jobqueuectl emit: tell that something has happened."""

from __future__ import annotations

import click

from jobqueued.ctl.client import ask
from jobqueued.ctl.names import named
from jobqueued.paths import Paths


@click.command()
@click.argument("event", callback=named)
@click.pass_obj
def emit(paths: Paths, event: str) -> None:
    """Make the jobs due that wait for EVENT, and print their runs.

    Those are the jobs with `on: {event: EVENT}`.  Where none waits for it nothing is printed, and that is no failure.

    \b
    Example:
      jobqueuectl emit deployed
    """
    for run in ask(paths.control, "Emit", event=event)["runs"]:
        click.echo(run)
