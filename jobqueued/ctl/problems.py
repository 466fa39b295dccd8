"""Problems of job files, printed."""

from __future__ import annotations

from collections.abc import Iterable

from jobqueued.ctl.terminal import print_line
from jobqueued.problem import Problem


def print_problems(problems: Iterable[Problem]) -> bool:
    """Print one problem a line; whether one of them is an error."""
    failed = False
    for problem in problems:
        print_line(f"{problem}{' (warning)' if problem.severity == 'warning' else ''}", problem.severity)
        failed |= problem.severity == "error"
    return failed


def print_stale(files: Iterable[str]) -> None:
    """Print the job files that are refused and have jobs in force all the same."""
    for file in files:
        print_line(f"{file}: stale, its last good jobs stay in force", "warning")
