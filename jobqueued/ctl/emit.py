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

    These are the jobs with `on: {event: EVENT}`.  Prints their runs.  If no job waits for EVENT, says so on the
    standard error and exits 0.

    \b
    Example:
      jobqueuectl emit deployed
    """
    answer = ask(paths.control, "Emit", event=event)
    for run in answer["runs"]:
        click.echo(run)
    if not answer["runs"] and answer["disabled"]:
        click.echo(f"all jobs that wait for the event {event} are disabled: {', '.join(answer['disabled'])}", err=True)
    elif not answer["runs"]:
        guess = f"; did you mean {answer['nearest']}?" if answer["nearest"] else ""
        click.echo(f"no job waits for the event {event}{guess}", err=True)
