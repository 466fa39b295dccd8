"""Problems of job files, printed."""

from __future__ import annotations

from collections.abc import Iterable

from jobqueued.ctl.terminal import print_line
from jobqueued.problem import Problem


def in_a_line(problem: Problem) -> str:
    """A problem in a line, with its severity, unless that is error, and its code."""
    severity = "" if problem.severity == "error" else f" ({problem.severity})"
    return f"{problem}{severity}{in_brackets(problem)}"


def in_brackets(problem: Problem) -> str:
    """The code of a problem, as it stands behind one; "" of one that an older daemon tells."""
    return f" [{problem.code}]" if problem.code else ""


def print_problems(problems: Iterable[Problem]) -> bool:
    """Print one problem a line; whether one of them is an error."""
    failed = False
    for problem in problems:
        print_line(in_a_line(problem), problem.severity)
        failed |= problem.severity == "error"
    return failed


def print_stale(files: Iterable[str]) -> None:
    """Print the job files that are refused and have jobs in force all the same."""
    for file in files:
        print_line(f"{file}: stale, its last good jobs stay in force", "warning")
