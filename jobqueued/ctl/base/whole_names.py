"""Names of jobs and runs without the part before the slash, which says whose they are: batch for host/batch.

Only jobs that `jobqueuectl list` shows are found so, not submissions that are over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path
from typing import TypeVar

import click

from jobqueued.base.text import printable
from jobqueued.ctl.base.client import CallRefused, ask

_MISSING = frozenset(("NoSuchJob", "NoSuchRun", "PermissionDenied"))
"""Errors of a name that nobody has; a user's call about a job of the host is refused before that is looked up."""
_SHOWN = 10

Found = TypeVar("Found")


def owned(name: str, ids: Iterable[str]) -> list[str]:
    """The ids of jobs of users, and of submissions, that match this name, or glob, behind the slash."""
    return [] if "/" in name else [one for one in ids if fnmatchcase(one.partition("/")[2], name)]


def print_found(name: str, found: Iterable[str]) -> None:
    """Print on stderr what was found by a name."""
    click.echo(printable(f"{name}: {', '.join(found)}"), err=True)


def by_whole_name(control: Path, name: str, act: Callable[[str], Found]) -> Found:
    """Act on a job or a run; if there is none of this name, on the only one that has it behind a slash.

    Refused: it is none, or several, which the message names.
    """
    try:
        return act(name)
    except CallRefused as refused:
        if refused.error not in _MISSING or not (whole := _whole(control, name)):
            raise
    print_found(name, [whole])
    return act(whole)


def _whole(control: Path, name: str) -> str:
    """The whole name of the only job or run that may be meant; "" if there is none.  Refused: there are several."""
    job, at, number = name.partition("@")
    ids = [row["id"] for row in ask(control, "List")["jobs"]] if "/" not in name else []
    found = [] if job in ids else sorted(owned(escape(job), ids))
    if len(found) > 1:
        rest = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else f" and {found.pop()}"
        raise CallRefused(
            printable(f"no such job: {job}; did you mean {', '.join(found[:_SHOWN])}{rest}?"), "NoSuchJob"
        )
    return f"{found[0]}{at}{number}" if found else ""
