"""jobqueuectl pause, resume, skip-next: let nothing of a job start for a while, or once."""

from __future__ import annotations

import click

from jobqueued.ctl.client import ask
from jobqueued.ctl.moments import coming
from jobqueued.ctl.terminal import local
from jobqueued.model import to_text
from jobqueued.paths import Paths


@click.command()
@click.argument("job")
@click.option("--until", callback=coming, metavar="T", help="Resume it then: 2h, 18:00, tomorrow, 2026-11-24.")
@click.pass_obj
def pause(paths: Paths, job: str, until: int | None) -> None:
    """Let nothing of JOB start until it is resumed.

    What comes due meanwhile is skipped, which its records say; what waits is held; live runs go on.  The pause outlives
    restarts, edits and even the removal of the job.

    \b
    Examples:
      jobqueuectl pause nightly-backup
      jobqueuectl pause nightly-backup --until tomorrow
    """
    ask(paths.control, "Pause", job=job, until=until and to_text(until))


@click.command()
@click.argument("job")
@click.pass_obj
def resume(paths: Paths, job: str) -> None:
    """Let a paused JOB go on.

    What was held waits for its turn again; nothing is started for what came due meanwhile.

    \b
    Example:
      jobqueuectl resume nightly-backup
    """
    ask(paths.control, "Resume", job=job)


@click.command("skip-next")
@click.argument("job")
@click.option("--undo", is_flag=True, help="Start the last that is to be skipped after all.")
@click.pass_obj
def skip_next(paths: Paths, job: str, undo: bool) -> None:
    """Skip what the clock makes due of JOB next.

    When that would have started is printed.  Asked again, one more is skipped.  Each leaves a record with the reason
    `skip_next`.  `show` tells what is to be skipped.

    \b
    Examples:
      jobqueuectl skip-next nightly-backup
      jobqueuectl skip-next --undo nightly-backup
    """
    click.echo(local(ask(paths.control, "SkipNext", job=job, undo=undo)["due"]))
