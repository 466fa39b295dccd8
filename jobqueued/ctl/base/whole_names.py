"""Names of jobs and runs without the owner before the slash, such as ``batch`` for ``host/batch``.

This works only for jobs in `jobqueuectl list`, not for ended submissions.
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
"""Errors that an unknown name may cause. PermissionDenied is included, because the daemon checks rights first."""
_SHOWN = 10

Found = TypeVar("Found")


def owned(name: str, ids: Iterable[str]) -> list[str]:
    """Return the ids with a slash whose part after the slash matches a name or glob."""
    return [] if "/" in name else [one for one in ids if fnmatchcase(one.partition("/")[2], name)]


def print_found(name: str, found: Iterable[str]) -> None:
    """Print on stderr the ids that a short name stands for."""
    click.echo(printable(f"{name}: {', '.join(found)}"), err=True)


def by_whole_name(control: Path, name: str, act: Callable[[str], Found]) -> Found:
    """Act on the job or run with this name, or on the only job or run with this name after a slash.

    Raises CallRefused if none exists, or if several match; the message then names them.
    """
    try:
        return act(name)
    except CallRefused as refused:
        if refused.error not in _MISSING or not (whole := _whole(control, name)):
            raise
    print_found(name, [whole])
    return act(whole)


def _whole(control: Path, name: str) -> str:
    """Return the whole name of the only matching job or run, or "". Raises CallRefused if several match."""
    job, at, number = name.partition("@")
    ids = [row["id"] for row in ask(control, "List")["jobs"]] if "/" not in name else []
    found = [] if job in ids else sorted(owned(escape(job), ids))
    if len(found) > 1:
        rest = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else f" and {found.pop()}"
        raise CallRefused(
            printable(f"no such job: {job}; did you mean {', '.join(found[:_SHOWN])}{rest}?"), "NoSuchJob"
        )
    return f"{found[0]}{at}{number}" if found else ""
