"""jobqueuectl pause, resume, skip-next, forget: pause jobs, skip a job's next run, or stop expecting its success."""

from __future__ import annotations

import sys
from zoneinfo import ZoneInfo

import click

from jobqueued.base.instants import to_text
from jobqueued.base.text import printable
from jobqueued.ctl.base import completion, hold_messages
from jobqueued.ctl.base.arguments import future_time
from jobqueued.ctl.base.client import ask
from jobqueued.ctl.base.tags import job_names, on_each, tag_option
from jobqueued.ctl.base.terminal import command, distance, local, print_line
from jobqueued.ctl.base.whole_names import ask_by_name, removed_name
from jobqueued.settings.paths import Paths


@click.command()
@click.argument("job", required=False, shell_complete=completion.jobs)
@click.option(
    "--until", callback=future_time, metavar="T", help="Resume JOB at this time: 2h, 18:00, tomorrow, 'jan 31'."
)
@tag_option("Pause all")
@click.pass_obj
def pause(paths: Paths, job: str | None, until: int | None, tags: tuple[str, ...]) -> None:
    """Pause JOB, or all jobs with a tag.

    No run of a paused job starts until the job is resumed.  Occurrences that become due during the pause are skipped,
    with a record.  Waiting runs stay queued, and live runs continue.  An occurrence at exactly the time of --until
    starts.  A pause survives restarts, edits of the job file and even the removal of the job.

    \b
    Examples:
      jobqueuectl pause nightly-backup
      jobqueuectl pause nightly-backup --until tomorrow
      jobqueuectl pause --tag nightly
    """
    if job is not None and "*" in job:
        raise click.UsageError(f"expected one job; to keep all jobs from starting: {command('hold')}")
    ends = None if until is None else to_text(until)

    def act(job: str) -> None:
        job, _ = ask_by_name(paths.control, "Pause", job, until=ends)
        print_line(f"{job} is paused{hold_messages.until(ends)}{hold_messages.resumed_by(job)}")

    sys.exit(not on_each(job_names(paths.control, job, tags), act))


@click.command()
@click.argument("job", required=False, shell_complete=completion.jobs)
@tag_option("Resume all")
@click.pass_obj
def resume(paths: Paths, job: str | None, tags: tuple[str, ...]) -> None:
    """Resume a paused JOB, or all jobs with a tag.

    Their waiting runs can start again.  Occurrences that were skipped during the pause do not run.

    \b
    Examples:
      jobqueuectl resume nightly-backup
      jobqueuectl resume --tag nightly
    """

    def act(job: str) -> None:
        job, answer = ask_by_name(paths.control, "Resume", job)
        is_resumed = f"{job} is resumed; runs that were skipped during the pause do not start"
        print_line(is_resumed if answer["was_paused"] else f"{job} was not paused")
        if reason := hold_messages.obstacle(job, answer):
            click.echo(printable(reason), err=True)

    sys.exit(not on_each(job_names(paths.control, job, tags), act))


@click.command()
@click.argument("job")
@click.pass_obj
def forget(paths: Paths, job: str) -> None:
    """Stop expecting JOB to succeed.

    A job with `expect` remains overdue after it is removed from its file, in case the removal was an accident.  Use
    `forget` if it was not.  JOB must be in no job file.

    \b
    Example:
      jobqueuectl forget nightly-backup
    """
    job, _ = ask_by_name(paths.control, "Forget", removed_name(paths.control, job))
    print_line(f"{job} is no longer expected to succeed")


@click.command("skip-next")
@click.argument("job", shell_complete=completion.jobs)
@click.option("--undo", is_flag=True, help="Cancel the latest skip.")
@click.pass_obj
def skip_next(paths: Paths, job: str, undo: bool) -> None:
    """Skip the next scheduled run of JOB.

    The command prints the skipped start and the start after it, in the time zone of JOB.  Each additional call skips
    one more start.  Each skip leaves a record with the reason `skip_next`.  `show` lists the coming skips.

    \b
    Examples:
      jobqueuectl skip-next nightly-backup
      jobqueuectl skip-next --undo nightly-backup
    """
    job, answer = ask_by_name(paths.control, "SkipNext", job, undo=undo)
    zone = ZoneInfo(answer["timezone"])
    due, then = local(answer["due"], zone), "none"
    if answer["next"] is None and ask(paths.control, "Next", job=job, count=1)["paused"]:
        then = f"none while {job} is paused"
    elif answer["next"] is not None:
        then = f"{local(answer['next'], zone)} ({distance(answer['next'])})"
    if undo:
        print_line(f"{job} starts at {due} after all; its next start: {then}")
    else:
        print_line(
            f"{job} does not start at {due}; its next start: {then}; to undo: {command(f'skip-next --undo {job}')}"
        )
