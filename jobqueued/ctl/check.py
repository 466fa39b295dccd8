"""jobqueuectl check: find the problems of job files, and of cron's tables, before the daemon does."""

from __future__ import annotations

import json
import os
import pwd
import sys
import time
from pathlib import Path
from typing import TextIO

import click

from jobqueued.control.varlink import Message
from jobqueued.ctl import completion
from jobqueued.ctl.client import Unreachable
from jobqueued.ctl.job_files import NOTHING, Reading, read_files
from jobqueued.ctl.job_units import user_of_daemon
from jobqueued.ctl.problems import print_problems
from jobqueued.ctl.rhythms import rhythms, usual_times
from jobqueued.ctl.terminal import distance, json_option, print_json, print_line, print_table
from jobqueued.model import Job, to_text
from jobqueued.paths import Paths
from jobqueued.problem import Problem
from jobqueued.text import counted, printable
from jobqueued.users import Owner


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, readable=False), metavar="[FILE|DIR]...")
@click.option("--user", metavar="NAME", help="Check them as files of this user, by the rules for users.")
@click.option("--host", is_flag=True, help="Check them as files of the host, whoever asks.")
@click.option("--explain", metavar="CODE", shell_complete=completion.codes,
              help="Explain a finding by its code, such as JQ204, and check nothing; all: list them.")  # fmt: skip
@click.option("--format", "form", type=click.Choice(["text", "json", "sarif", "github"]),
              help="Form of the answer: for people, JSON as by --json, SARIF 2.1.0, or GitHub's.")  # fmt: skip
@click.option("--fix", is_flag=True, help="Mend what has one remedy, after showing it as a diff; then check.")
@click.option("--diff", is_flag=True, help="Show what --fix would write, and write and check nothing.")
@json_option
@click.pass_obj
def check(
    paths: Paths, files: tuple[Path, ...], user: str | None, host: bool, explain: str | None, form: str | None,
    fix: bool, diff: bool, as_json: bool,
) -> None:  # fmt: skip
    """Check job files and cron's tables, without the daemon.

    An ordinary user's files are checked by the rules for users, as jobqueuectl add does, but for those in the daemon's
    own directory, which are the host's.

    Of two files with the same id, refuses the one that the daemon refuses: the one that did not have the id before, or
    the later one by name.

    Lists their problems, each with a code in brackets that --explain explains, and the jobs that the daemon would
    accept with the next start of each.  A job that can't run on this host (it asks for more than there is, or for a
    user, group or job that does not exist) is a warning, as its file is accepted; so is what can hardly be meant:
    shell syntax in a list, a program or directory that does not exist, an `at` that is past, more CPUs than there
    are, a file without the name of a job file; and what notices need and lack: a program, a credential that its
    sender may not read or everybody may, the package apprise, the sender.

    A FILE of - is the standard input.  A FILE is checked alone, a drop-in with its file and its others.  In a DIR,
    checks the *.yaml and *.yml files with their drop-ins, as the daemon does; without arguments, checks the daemon's
    own directories, with the owners and permissions of their files, and cron's tables where jobqueued.yaml has them
    run.

    /etc/crontab, /etc/anacrontab, and files in /etc/cron.d and /var/spool/cron/crontabs are checked as the tables that
    they are.  A line with an error is an error, though it costs that line only.  A table that is elsewhere:
    jobqueuectl crontab -n FILE.  A jobqueued.yaml, and a file in jobqueued.yaml.d, is checked as the settings.

    --fix corrects misspelled keys, keys as other programs name them, and values in another spelling, where only one
    meaning is possible; and turns tabs that indent into spaces.  All other bytes, owner and mode of
    the file stay; a link is not followed.

    Exits 1 if there is an error, or a job that can't run on this host (not for other warnings), 2 if a file can't be
    read.

    \b
    Examples:
      jobqueuectl check
      jobqueuectl check new/*.yaml && cp new/*.yaml /etc/jobqueue.d/
      jobqueuectl check /etc/cron.d
      jobqueuectl check --explain JQ204
      jobqueuectl check --format github jobs/
    """
    if (host and user) or (fix and diff):
        raise click.UsageError(f"{'--host and --user' if host and user else '--fix and --diff'} exclude each other.")
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
    is_bad = bool(invalid) or any(problem.severity == "error" for problem in problems)
    sys.exit(2 if unreadable else int(is_bad))


def _read(paths: Paths, files: tuple[Path, ...], owner: Owner | None) -> Reading:
    """The jobs and problems of files, or of all; those of settings have problems only."""
    settings = [file for file in files if _is_settings(file)]
    rest = [file for file in files if file not in settings]
    found = read_files(paths, rest, owner, looks=True) if rest or not files else NOTHING
    return found._replace(problems=[*found.problems, *(it for file in settings for it in _settings_problems(file))])


def _is_settings(file: Path) -> bool:
    return file.name == "jobqueued.yaml" or file.parent.name == "jobqueued.yaml.d"


def _settings_problems(file: Path) -> list[Problem]:
    """The problems of a file of settings; Unreachable if there is none."""
    from jobqueued.settings import read_settings

    if not file.is_file():
        raise Unreachable(f"{printable(str(file))}: no such file")
    return read_settings(file)[1]


def _form(form: str | None, *, as_json: bool, diff: bool, explains: bool) -> str:
    """The form of the answer; UsageError: there is none of what is asked for."""
    if as_json and form not in (None, "json"):
        raise click.UsageError("--json and --format exclude each other.")
    found = "json" if as_json else form or "text"
    if diff and found != "text":
        raise click.UsageError(f"--diff and {'--json' if as_json else f'--format {found}'} exclude each other.")
    if explains and found not in ("text", "json"):
        raise click.UsageError(f"--explain and --format {found} exclude each other.")
    return found


def _explain(code: str, form: str) -> None:
    from jobqueued.ctl import explain as explanations
    from jobqueued.ctl.findings import FINDINGS

    wanted = list(FINDINGS.values()) if code == explanations.ALL else [explanations.found(code)]
    if form == "json":
        print_json({"findings": [finding._asdict() for finding in wanted]})
    else:
        click.echo(explanations.listed() if code == explanations.ALL else explanations.explained(*wanted), nl=False)


def _mended(paths: Paths, files: tuple[Path, ...], out: TextIO, *, writes: bool) -> bool:
    """Show what can be mended, and write it, if that is asked for; whether there is anything."""
    from jobqueued.ctl.mends import Unwritten, mends

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


def owner_of(paths: Paths, user: str | None) -> Owner | None:
    """The user whose files they are; None: the host's.  UsageError: there is no such user."""
    if user is None and os.geteuid() in (0, user_of_daemon(paths)):
        return None
    try:
        found = pwd.getpwuid(os.geteuid()) if user is None else pwd.getpwnam(user)
    except KeyError:
        raise click.UsageError(f"this host has no user {printable(user or str(os.geteuid()))}") from None
    return Owner(found.pw_uid, found.pw_name)


def row(job: Job, now: int, *, runs: bool) -> Message:
    """A job for programs."""
    starts = job.next_starts(now, 1) if runs else []
    return {"id": job.id, "line": job.line, "next": to_text(starts[0]) if starts else None}


def _print(rows: list[Message], problems: list[Problem], refused: int, form: str) -> None:
    match form:
        case "json":
            print_json({"jobs": rows, "problems": [problem._asdict() for problem in problems], "refused": refused})
        case "sarif":
            from jobqueued.ctl import reports

            click.echo(json.dumps(reports.sarif(problems), indent=2))
        case "github":
            from jobqueued.ctl import reports

            click.echo("".join(f"{line}\n" for line in reports.github(problems)), nl=False)
        case _:
            print_problems(problems)
            if rows:
                print_table(("JOB", "NEXT"), ((row["id"], distance(row["next"])) for row in rows))
            notes = sum(problem.severity == "note" for problem in problems)
            told = f"{counted(len(rows), 'job')}, {counted(len(problems) - notes, 'problem')}"
            told += f", {counted(notes, 'note')}" if notes else ""
            print_line(f"{told}; {counted(refused, 'file')} refused with all jobs" if refused else told)
