"""Print problems of job files."""

from __future__ import annotations

from collections.abc import Iterable

from jobqueued.base.problem import Problem
from jobqueued.ctl.base.terminal import print_line


def in_a_line(problem: Problem) -> str:
    """Format a problem as a line with its code, and its severity unless it is an error."""
    severity = "" if problem.severity == "error" else f" ({problem.severity})"
    return f"{problem}{severity}{in_brackets(problem)}"


def in_brackets(problem: Problem) -> str:
    """Return the code of a problem as a suffix, or "" for a problem without a code (from an older daemon)."""
    return f" [{problem.code}]" if problem.code else ""


def print_problems(problems: Iterable[Problem]) -> bool:
    """Print one problem per line; return whether any is an error."""
    failed = False
    for problem in problems:
        print_line(in_a_line(problem), problem.severity)
        failed |= problem.severity == "error"
    return failed


def print_stale(files: Iterable[str]) -> None:
    """Print the refused job files whose last good jobs remain in force."""
    for file in files:
        print_line(f"{file} is refused; its last good jobs stay in force", "warning")
