"""jobqueuectl check: find errors in job files, settings and cron's tables before the daemon reads them."""

from __future__ import annotations

import json
import os
import pwd
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TextIO

import click

from jobqueued.base.instants import to_text
from jobqueued.base.problem import Problem
from jobqueued.base.text import counted, printable
from jobqueued.control.protocol.varlink import Message
from jobqueued.ctl.base import completion
from jobqueued.ctl.base.client import DaemonUnreachable
from jobqueued.ctl.base.problems import print_problems
from jobqueued.ctl.base.terminal import distance, json_option, print_json, print_line, print_table
from jobqueued.ctl.files.job_files import NOTHING, Reading, read_files
from jobqueued.ctl.files.job_units import user_of_daemon
from jobqueued.ctl.files.rhythms import rhythms, usual_times
from jobqueued.model.job import Job
from jobqueued.model.users import Owner
from jobqueued.settings.paths import Paths


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, readable=False), metavar="[FILE|DIR]...")
@click.option("--user", metavar="NAME", help="Check the files as this user's own job files, under the rules for users.")
@click.option("--host", is_flag=True, help="Check the files as the host's files, even if you are an ordinary user.")
@click.option(
    "--explain",
    metavar="CODE",
    shell_complete=completion.codes,
    help="Explain the finding with this code, such as JQ204, or list all codes (`all`).  Checks nothing.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "sarif", "github"]),
    help="Output format: text for people, the JSON of --json, SARIF 2.1.0, or GitHub workflow commands.",
)
@click.option("--fix", is_flag=True, help="Write each unambiguous correction and show it as a diff, then check.")
@click.option("--diff", is_flag=True, help="Show the changes that --fix would write.  Writes and checks nothing.")
@json_option
@click.pass_obj
def check(
    paths: Paths,
    files: tuple[Path, ...],
    user: str | None,
    host: bool,
    explain: str | None,
    form: str | None,
    fix: bool,
    diff: bool,
    as_json: bool,
) -> None:
    """Check job files and cron's tables without the daemon.

    The command lists problems, each with a code in brackets; --explain explains the code.  It then lists the jobs that
    the daemon would accept, each with its next start.  It checks an ordinary user's files under the rules for users, as
    in `jobqueuectl add`, and files in the daemon's own directory as the host's.

    Without arguments, `check` reads the daemon's own directories, with the owners and permissions of their files, and
    cron's tables if the daemon runs them.  In a DIR, it reads the *.yaml and *.yml files with their drop-ins.  A FILE
    is checked alone; a drop-in is checked with its file and the other drop-ins.  A FILE of - means standard input.
    jobqueued.yaml and files in jobqueued.yaml.d are checked as settings.

    /etc/crontab, /etc/anacrontab, and files in /etc/cron.d and /var/spool/cron/crontabs are checked as cron's tables.
    A line with an error counts as an error, although the daemon runs the other lines.  To check a table in another
    place: jobqueuectl crontab -n FILE.

    If two files have the same id, `check` reports the file that the daemon would refuse: the file that did not have the
    id before, or else the file whose name sorts later.

    A job that can't run on this host is a warning, because the daemon accepts the file: the job requests more than the
    host has, or needs a user, group or job that does not exist.  Probable mistakes are warnings too, such as shell
    syntax in a list, a missing program or an `at` in the past.  Other warnings are notices that can't be sent, because
    the sender, a program or the package apprise is missing, and credentials that the sender can't read or any user can
    read.

    --fix corrects misspelled keys, keys named as in other programs, and values in another spelling, if only one meaning
    is possible.  It also replaces tabs in the indentation with spaces.  It changes no other bytes, and keeps the file's
    owner and mode.  Links are not followed.

    Exits 1 if there is an error, or a job that can't run on this host; other warnings do not count.  Exits 2 if a file
    can't be read.  With --diff, exits 1 if --fix would change a file.

    \b
    Examples:
      jobqueuectl check
      jobqueuectl check new/*.yaml && cp new/*.yaml /etc/jobqueue.d/
      jobqueuectl check /etc/cron.d
      jobqueuectl check --explain JQ204
      jobqueuectl check --format github jobs/
    """
    if (host and user) or (fix and diff):
        raise click.UsageError(f"{'--host and --user' if host and user else '--fix and --diff'} can't be combined.")
    form = _form(form, as_json=as_json, diff=diff, explains=explain is not None)
    if explain is not None:
        _explain(explain, form)
        return
    if diff:
        sys.exit(int(_mended(paths, files, sys.stdout, writes=False)))
    if fix:
        _mended(paths, files, sys.stdout if form == "text" else sys.stderr, writes=True)
    jobs, invalid, problems, refused, unreadable = _read(paths, files, None if host else owner_of(paths, user))
    now = time.time_ns()
    problems += rhythms(jobs, now, usual_times(paths))
    rows = [row(job, now, runs=job.enabled and job.id not in invalid) for job in jobs]
    _print(rows, problems, refused, form)
    _print_next(paths, files, problems if form == "text" and sys.stdout.isatty() else [])
    is_bad = bool(invalid) or any(problem.severity == "error" for problem in problems)
    sys.exit(2 if unreadable else int(is_bad))


def _read(paths: Paths, files: tuple[Path, ...], owner: Owner | None) -> Reading:
    """Return the jobs and problems in the files, or in all files if no file is given. Settings have no jobs."""
    settings = [file for file in files if _is_settings(file)]
    rest = [file for file in files if file not in settings]
    found = read_files(paths, rest, owner, looks=True) if rest or not files else NOTHING
    return found._replace(problems=[*found.problems, *(it for file in settings for it in _settings_problems(file))])


def _is_settings(file: Path) -> bool:
    return file.name == "jobqueued.yaml" or file.parent.name == "jobqueued.yaml.d"


def _settings_problems(file: Path) -> list[Problem]:
    """Return the problems in a settings file. Raises DaemonUnreachable if the file is missing."""
    from jobqueued.settings.settings import read_settings

    if not file.is_file():
        raise DaemonUnreachable(f"{printable(str(file))}: no such file")
    return read_settings(file)[1]


def _form(form: str | None, *, as_json: bool, diff: bool, explains: bool) -> str:
    """Return the output format. Raises UsageError if options conflict."""
    if as_json and form not in (None, "json"):
        raise click.UsageError("--json and --format can't be combined.")
    found = "json" if as_json else form or "text"
    if diff and found != "text":
        raise click.UsageError(f"--diff and {'--json' if as_json else f'--format {found}'} can't be combined.")
    if explains and found not in ("text", "json"):
        raise click.UsageError(f"--explain and --format {found} can't be combined.")
    return found


def _explain(code: str, form: str) -> None:
    from jobqueued.ctl.base.findings import FINDINGS
    from jobqueued.ctl.files import explain as explanations

    wanted = list(FINDINGS.values()) if code == explanations.ALL else [explanations.found(code)]
    if form == "json":
        print_json({"findings": [finding._asdict() for finding in wanted]})
    else:
        click.echo(explanations.listed() if code == explanations.ALL else explanations.explained(*wanted), nl=False)


def _mended(paths: Paths, files: tuple[Path, ...], out: TextIO, *, writes: bool) -> bool:
    """Print the possible fixes, and apply them if `writes`. Return whether any fix is possible."""
    from jobqueued.ctl.files.fixes import Unwritten, mends

    found = list(mends(paths, files))
    for mend in found:
        click.echo(mend.diff(), out, nl=False)
        try:
            if writes:
                mend.write()
        except (OSError, Unwritten) as error:
            why = error.strerror if isinstance(error, OSError) else error
            click.echo(f"{printable(mend.path)}: not changed: {why}", err=True)
    return bool(found)


def _print_next(paths: Paths, files: tuple[Path, ...], problems: list[Problem]) -> None:
    """Print the commands that help with these problems."""
    if not problems:
        return
    from jobqueued.ctl.files.fixes import mends

    click.echo(f"to explain a code: jobqueuectl check --explain {problems[0].code}")
    if any(mends(paths, files)):
        click.echo("to correct each error that has only one correction: add --fix")


def owner_of(paths: Paths, user: str | None) -> Owner | None:
    """Return the user who owns the checked files, or None for the host.

    Raises UsageError if the user does not exist.
    """
    if user is None and os.geteuid() in (0, user_of_daemon(paths)):
        return None
    try:
        found = pwd.getpwuid(os.geteuid()) if user is None else pwd.getpwnam(user)
    except KeyError:
        raise click.UsageError(f"this host has no user {printable(user or str(os.geteuid()))}") from None
    return Owner(found.pw_uid, found.pw_name)


def row(job: Job, now: int, *, runs: bool) -> Message:
    """Return a job's row as JSON."""
    starts = job.next_starts(now, 1) if runs else []
    return {"id": job.id, "line": job.line, "next": to_text(starts[0]) if starts else None}


def _print(rows: list[Message], problems: list[Problem], refused: int, form: str) -> None:
    match form:
        case "json":
            print_json({"jobs": rows, "problems": [problem._asdict() for problem in problems], "refused": refused})
        case "sarif":
            from jobqueued.ctl.files import reports

            click.echo(json.dumps(reports.sarif(problems), indent=2))
        case "github":
            from jobqueued.ctl.files import reports

            click.echo("".join(f"{line}\n" for line in reports.github(problems)), nl=False)
        case _:
            print_problems(problems)
            if rows:
                print_table(("JOB", "NEXT"), ((row["id"], distance(row["next"])) for row in rows))
            counts = Counter(problem.severity for problem in problems)
            of_each = [counted(counts[it], it) for it in ("error", "warning", "note") if it in counts]
            told = ", ".join([counted(len(rows), "job"), *(of_each or ["0 problems"])])
            print_line(f"{told}; {counted(refused, 'file')} refused with all jobs" if refused else told)
