"""jobqueuectl reload: read changed job files now."""

from __future__ import annotations

import sys

import click

from jobqueued.ctl.client import ask
from jobqueued.ctl.problems import print_problems, print_stale
from jobqueued.ctl.terminal import print_line
from jobqueued.paths import Paths
from jobqueued.problem import Problem
from jobqueued.text import counted

_PATIENCE = 300.0


@click.command()
@click.pass_obj
def reload(paths: Paths) -> None:
    """Read changed job files now and report what changed.

    The daemon notices changes by itself; on network file systems, which do not report them, it looks once a minute.
    Returns when every file has been read and its jobs are in force; the jobs of a file that is not there are removed,
    without the 5 s for which the daemon else waits for it to come back.  Starts no job and stops no run.

    Exits 1 if a file is refused, whose last good jobs stay in force, or if a line of one of cron's tables has an error,
    which costs that line only.  In these cases `systemctl reload jobqueued` fails, too (with `--user` for a user's own
    instance), and the journal has what this prints.  Settings in jobqueued.yaml count from the next start of the daemon
    on; this command says if that file has changed or is refused.

    \b
    Example:
      jobqueuectl reload && jobqueuectl list
    """
    answer = ask(paths.control, "Reload", timeout=_PATIENCE)
    changed = [(change, answer[change]) for change in ("added", "edited", "removed") if answer[change]]
    for change, jobs in changed:
        print_line(f"{change}: {', '.join(jobs)}")
    print_stale(answer["stale"])
    failed = print_problems(Problem(**problem) for problem in answer["problems"])
    print_line(f"{counted(answer['jobs'], 'job')}{'' if changed else ', no changes'}")
    sys.exit(failed)
