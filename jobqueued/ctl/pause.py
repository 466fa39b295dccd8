"""jobqueuectl pause, resume, skip-next, forget: start no run of a job for a while, skip it once, or expect none."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import click

from jobqueued.ctl import completion, standing
from jobqueued.ctl.arguments import future_time
from jobqueued.ctl.client import ask
from jobqueued.ctl.terminal import command, distance, local, print_line
from jobqueued.instants import to_text
from jobqueued.paths import Paths
from jobqueued.text import printable


@click.command()
@click.argument("job", shell_complete=completion.jobs)
@click.option(
    "--until", callback=future_time, metavar="T", help="Resume it at this time: 2h, 18:00, tomorrow, 2026-11-24."
)
@click.pass_obj
def pause(paths: Paths, job: str, until: int | None) -> None:
    """Pause JOB: start no run of it until it is resumed.

    Occurrences during the pause are skipped and recorded as such.  Runs that wait stay queued; live runs go on.  A
    pause survives restarts, edits and even the removal of the job.

    \b
    Examples:
      jobqueuectl pause nightly-backup
      jobqueuectl pause nightly-backup --until tomorrow
    """
    ends = None if until is None else to_text(until)
    ask(paths.control, "Pause", job=job, until=ends)
    print_line(f"{job} is paused{standing.until(ends)}{standing.resumed_by(job)}")


@click.command()
@click.argument("job", shell_complete=completion.jobs)
@click.pass_obj
def resume(paths: Paths, job: str) -> None:
    """Resume a paused JOB.

    Its queued runs wait for their turn again.  What was skipped during the pause is not run.

    \b
    Example:
      jobqueuectl resume nightly-backup
    """
    answer = ask(paths.control, "Resume", job=job)
    is_resumed = f"{job} is resumed; what was skipped meanwhile is not run"
    print_line(is_resumed if answer["was_paused"] else f"{job} was not paused")
    if reason := standing.obstacle(job, answer):
        click.echo(printable(reason), err=True)


@click.command()
@click.argument("job")
@click.pass_obj
def forget(paths: Paths, job: str) -> None:
    """Expect nothing more of JOB, which is in no job file.

    A job that is expected to succeed (`expect`) is overdue if it does not, even where it was removed from its file, as
    that may be an accident.  This says that it was none.

    \b
    Example:
      jobqueuectl forget nightly-backup
    """
    ask(paths.control, "Forget", job=job)
    print_line(f"nothing is expected of {job} any more")


@click.command("skip-next")
@click.argument("job", shell_complete=completion.jobs)
@click.option("--undo", is_flag=True, help="Cancel the latest of these skips.")
@click.pass_obj
def skip_next(paths: Paths, job: str, undo: bool) -> None:
    """Skip the next run of JOB that its schedule makes due.

    Tells which start that is, and which comes after it, in the time zone of JOB.  Called again, it skips one more.
    Each skip leaves a record with the reason `skip_next`; `show` lists those to come.

    \b
    Examples:
      jobqueuectl skip-next nightly-backup
      jobqueuectl skip-next --undo nightly-backup
    """
    answer = ask(paths.control, "SkipNext", job=job, undo=undo)
    zone = ZoneInfo(answer["timezone"])
    due, then = local(answer["due"], zone), "none as things stand"
    if answer["next"] is not None:
        then = f"{local(answer['next'], zone)} ({distance(answer['next'])})"
    if undo:
        print_line(f"{job} starts at {due} after all; its next start: {then}")
    else:
        print_line(
            f"{job} does not start at {due}; its next start: {then}; to undo: {command(f'skip-next --undo {job}')}"
        )
