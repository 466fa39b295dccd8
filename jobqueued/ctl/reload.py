"""jobqueuectl reload: have changed job files read, and hear what became of them."""

from __future__ import annotations

import sys

import click

from jobqueued.ctl.client import ask
from jobqueued.ctl.terminal import print_line
from jobqueued.model import Problem
from jobqueued.paths import Paths

_PATIENCE = 300.0


@click.command()
@click.pass_obj
def reload(paths: Paths) -> None:
    """Have every changed job file read now, and tell what changed.

    The daemon sees changes by itself, save on file systems that do not tell it (networks), which it lists each minute.
    This waits until every file was read and its jobs count.  It fires no job and stops no run.

    Exits 1 if a file is refused; its last good jobs go on.

    \b
    Example:
      jobqueuectl reload && jobqueuectl list
    """
    answer = ask(paths.control, "Reload", timeout=_PATIENCE)
    changed = [(what, answer[what]) for what in ("added", "edited", "removed") if answer[what]]
    for what, names in changed:
        print_line(f"{what}: {', '.join(names)}")
    for file in answer["stale"]:
        print_line(f"{file}: stale, its last good jobs go on", "warning")
    problems = [Problem(**problem) for problem in answer["problems"]]
    for problem in problems:
        print_line(str(problem), problem.severity)
    count = answer["jobs"]
    print_line(
        f"{count} job{'s' * (count != 1)}{'' if changed else ', none of which changed since they were last read'}"
    )
    sys.exit(any(problem.severity == "error" for problem in problems))
