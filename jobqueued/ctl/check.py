"""jobqueuectl check: what is wrong with job files, before the daemon sees them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from jobqueued.catalog import Catalog
from jobqueued.config import Paths, machine_id, read_config
from jobqueued.ctl.terminal import distance, json_option, print_json, print_line, print_table, printable
from jobqueued.jobfile import read_jobs
from jobqueued.model import Job, Problem, to_text
from jobqueued.trust import is_job_file
from jobqueued.varlink import Message
from jobqueued.yamltext import MAX_BYTES


class Unreadable(click.ClickException):
    """A file that can't even be read."""

    exit_code = 2


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, readable=False), metavar="[FILE|DIR]...")
@json_option
@click.pass_obj
def check(paths: Paths, files: tuple[Path, ...], as_json: bool) -> None:
    """Check job files, without the daemon.

    Lists what is wrong with them, and the jobs that the daemon would accept, with the next time each is due.  Of a DIR
    the *.yaml and *.yml files are read, as the daemon does; without arguments, those of the daemon's own directory.

    Exits 1 if there is an error (a warning is only printed), 2 if a file can't be read.
    """
    timezone = read_config(paths.config)[0].timezone
    jobs, problems = _checked(_job_files(files or (paths.jobs,)), timezone)
    now = time.time_ns()
    rows = [_row(job, now) for job in jobs]
    if as_json:
        print_json({"jobs": rows, "problems": [problem._asdict() for problem in problems]})
    else:
        _print(rows, problems)
    sys.exit(any(problem.severity == "error" for problem in problems))


def _checked(files: Iterable[Path], timezone: str) -> tuple[list[Job], list[Problem]]:
    """The jobs of the files that the daemon would accept, read in this order, and all problems."""
    catalog = Catalog()
    problems: list[Problem] = []
    for file in files:
        name = str(file)
        jobs, found = read_jobs(_read(file), name, timezone=timezone, seed=machine_id())
        clashes = catalog.conflicts(name, jobs)
        problems += found + clashes
        if not clashes:
            catalog.replace_file(name, jobs)
    return list(catalog), problems


def _job_files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if os.path.isdir(path):  # never raises, unlike Path.is_dir
            names = sorted(filter(is_job_file, _names(path)), key=os.fsencode)
            yield from (file for file in map(path.joinpath, names) if os.path.isfile(file))
        else:
            yield path


def _names(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError as error:
        raise Unreadable(f"{printable(str(directory))}: {error.strerror}") from None


def _read(file: Path) -> bytes:
    """At most one byte more than a job file may have."""
    try:
        with file.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise Unreadable(f"{printable(str(file))}: {error.strerror}") from None


def _row(job: Job, now: int) -> Message:
    due = job.next_after(now) if job.enabled else None
    return {"id": job.id, "line": job.line, "next": None if due is None else to_text(due)}


def _print(rows: list[Message], problems: list[Problem]) -> None:
    for problem in problems:
        print_line(f"{problem}{' (warning)' if problem.severity == 'warning' else ''}", problem.severity)
    if rows:
        print_table(("JOB", "NEXT"), ((row["id"], distance(row["next"])) for row in rows))
    print_line(f"{_counted(len(rows), 'job')}, {_counted(len(problems), 'problem')}")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
