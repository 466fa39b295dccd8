"""Names of jobs and runs without the owner before the slash, such as ``batch`` for ``host/batch``.

This works for jobs in `jobqueuectl list`, and for ended submissions of the host and of this user.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path
from typing import TypeVar

import click

from jobqueued.base.text import printable
from jobqueued.control.protocol.varlink import Message
from jobqueued.ctl.base.client import TIMEOUT, CallRefused, DaemonUnreachable, ask, has_record, removed
from jobqueued.ctl.base.terminal import user_named

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


def ask_by_name(
    control: Path, method: str, name: str, timeout: float | None = TIMEOUT, *, kind: str = "job", **parameters: object
) -> tuple[str, Message]:
    """Call a method for the job or run with this name, as `by_whole_name`; return the whole name and the reply.

    `kind`: the parameter for the name, "job" or "run".
    """

    def act(name: str) -> tuple[str, Message]:
        return name, ask(control, method, timeout, **{kind: name}, **parameters)

    return by_whole_name(control, name, act)


def whole_name(control: Path, name: str) -> str:
    """Return the whole name of the only job or run with this name after a slash, or `name` if it has records or the
    daemon does not answer.

    Raises CallRefused if several match.
    """
    try:
        whole = "" if "/" in name or has_record(control, name) else _whole(control, name)
    except DaemonUnreachable:
        return name
    if whole:
        print_found(name, [whole])
    return whole or name


def removed_name(control: Path, name: str) -> str:
    """Return the whole name of the only overdue job in no file with this name after a slash, or `name` if none matches.

    Raises CallRefused if several match.
    """
    gone = removed(control)
    whole = "" if name in gone else _only(name, sorted(owned(escape(name), gone)))
    if whole:
        print_found(name, [whole])
    return whole or name


def ended(control: Path, name: str, number: str = "") -> list[str]:
    """Return the ended submissions with this name after a slash that the host or this user owns. `number` is a run that
    must have a record; "" means any run.
    """
    owners = filter(None, ("host", user_named(f"uid {os.getuid()}")))
    run = f"@{number}" if number else ""
    return [f"{owner}/{name}" for owner in owners if has_record(control, f"{owner}/{name}{run}")]


def _whole(control: Path, name: str) -> str:
    """Return the whole name of the only matching job or run, or "". Raises CallRefused if several match."""
    job, at, number = name.partition("@")
    if "/" in name:
        return ""
    ids = [row["id"] for row in ask(control, "List")["jobs"]]
    whole = _only(job, [] if job in ids else sorted(owned(escape(job), ids)) or ended(control, job, number))
    return f"{whole}{at}{number}" if whole else ""


def _only(job: str, found: list[str]) -> str:
    """Return the only name found for a job, or "" if none was found. Raises CallRefused if there are several."""
    if len(found) > 1:
        rest = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else f" and {found.pop()}"
        raise CallRefused(
            printable(f"no such job: {job}; did you mean {', '.join(found[:_SHOWN])}{rest}?"), "NoSuchJob"
        )
    return found[0] if found else ""
