"""jobqueuectl reload: read changed job files now."""

from __future__ import annotations

import sys

import click

from jobqueued.base.problem import Problem
from jobqueued.base.text import counted
from jobqueued.ctl.base.client import ask
from jobqueued.ctl.base.problems import print_problems, print_stale
from jobqueued.ctl.base.terminal import print_line
from jobqueued.settings.paths import Paths

_LONGEST_WAIT = 300.0


@click.command()
@click.pass_obj
def reload(paths: Paths) -> None:
    """Read changed job files now and report what changed.

    The daemon usually notices changes itself.  Network file systems do not report changes, so the daemon checks them
    once a minute.  `reload` returns when all files have been read and their jobs are in force.  It starts no job and
    stops no run.  The jobs of a missing file are removed at once; without `reload`, the daemon waits 5 s for the file
    to come back.

    The daemon uses changed settings in jobqueued.yaml after its next start.  `reload` reports if jobqueued.yaml changed
    or is refused.

    Exits 1 if a file is refused, or if a line of one of cron's tables has an error.  The last good jobs of a refused
    file, and the other lines of a table, remain in force.  In these cases `systemctl reload jobqueued` also fails
    (`systemctl --user reload` for a user's own instance), and the journal has these messages.

    \b
    Example:
      jobqueuectl reload && jobqueuectl list
    """
    answer = ask(paths.control, "Reload", timeout=_LONGEST_WAIT)
    changed = [(change, answer[change]) for change in ("added", "edited", "removed") if answer[change]]
    for change, jobs in changed:
        print_line(f"{change}: {', '.join(jobs)}")
    print_stale(answer["stale"])
    failed = print_problems(Problem(**problem) for problem in answer["problems"])
    print_line(f"{counted(answer['jobs'], 'job')}{'' if changed else ', no changes'}")
    sys.exit(failed)
