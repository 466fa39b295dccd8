"""jobqueuectl emit: announce an event, which makes jobs due."""

from __future__ import annotations

import click

from jobqueued.ctl.arguments import name
from jobqueued.ctl.client import ask
from jobqueued.paths import Paths


@click.command()
@click.argument("event", callback=name)
@click.pass_obj
def emit(paths: Paths, event: str) -> None:
    """Emit EVENT: queue a run of each job that waits for it.

    These are the jobs with `on: {event: EVENT}`.  Prints their runs; if there is none, prints nothing and exits 0.

    \b
    Example:
      jobqueuectl emit deployed
    """
    for run in ask(paths.control, "Emit", event=event)["runs"]:
        click.echo(run)
