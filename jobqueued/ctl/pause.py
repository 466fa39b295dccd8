"""jobqueuectl pause, resume: let nothing of a job start for a while."""

from __future__ import annotations

import click

from jobqueued.config import Paths
from jobqueued.ctl.client import ask


@click.command()
@click.argument("job")
@click.pass_obj
def pause(paths: Paths, job: str) -> None:
    """Let nothing of JOB start until it is resumed.

    What comes due meanwhile is skipped, which its records say; what waits is held; live runs go on.  The pause outlives
    restarts, edits and even the removal of the job.

    \b
    Example:
      jobqueuectl pause nightly-backup
    """
    ask(paths.control, "Pause", job=job)


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
