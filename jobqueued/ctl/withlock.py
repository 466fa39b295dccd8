"""jobqueuectl with-lock: run a command of one's own while it holds a lock that jobs know."""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
from typing import NoReturn

import click

from jobqueued.ctl import names
from jobqueued.ctl.client import Call, Refused
from jobqueued.jobfile.spelling import parse_duration
from jobqueued.paths import Paths
from jobqueued.text import printable

_FOR_EVER = 1e9
"""Seconds; select(2) takes no more than some centuries."""


def _duration(_context: click.Context, _parameter: click.Parameter, text: str | None) -> float | None:
    try:
        return None if text is None else min(parse_duration(text) / 1e9, _FOR_EVER)
    except ValueError as error:
        raise click.BadParameter(f"{error}; accepted: a duration such as 30s, 5m or 2h") from None


def _refuse(reason: str) -> NoReturn:
    raise click.UsageError(reason)


@click.command("with-lock", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("-s", "--shared", is_flag=True, help="Share it with others who share it.")
@click.option(
    "-u", "--units", type=click.IntRange(1), metavar="N", help="Hold so many units of a lock that has several."
)
@click.option("-n", "--no-wait", is_flag=True, help="Exit 1 if it can't be had at once.")
@click.option("-w", "--wait", callback=_duration, metavar="D", help="Exit 1 if it can't be had in this time: 30s, 5m.")
@click.argument("lock", callback=names.lock)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND...")
@click.pass_obj
def with_lock(
    paths: Paths,
    shared: bool,
    units: int | None,
    no_wait: bool,
    wait: float | None,
    lock: str,
    command: tuple[str, ...],
) -> None:
    """Run COMMAND while it holds LOCK, a lock or resource of jobs.

    It waits in the queue like a run, ages, and is not overtaken for ever.  The lock is held until the process that
    COMMAND becomes has ended, whatever becomes of the daemon.  Exits with the status of COMMAND; 127 if there is no
    such command, 126 if it can't be executed.

    COMMAND is told which units it was given as a job is (JOBQUEUE_GPU=1), and which lock it holds (JOBQUEUE_LOCK).
    If it asks for another lock it has to say --no-wait or --wait, as two that wait for each other would do so for ever.

    In a job name the lock in its file instead.

    \b
    Examples:
      jobqueuectl with-lock database -- pg_restore dump
      jobqueuectl with-lock --no-wait --shared tape -- mt status
    """
    if "JOBQUEUE_RUN" in os.environ:
        _refuse("a run gets all its locks together, at its start: name this one in the job's `locks`.")
    program, *_ = arguments = command[command[0] == "--" :] or _refuse("no COMMAND is given.")
    if (held := os.environ.get("JOBQUEUE_LOCK")) is not None and wait is None and not no_wait:
        _refuse(f"lock {printable(held)} is held already, so to wait could be for ever: --no-wait or --wait.")
    if shared and units:
        _refuse("who shares a lock holds no units of it: either --shared or --units.")
    asked = {"lock": lock, "shared": shared, "units": units, "no_wait": no_wait}
    with Call(paths.control, "Lock", None, **asked) as call:
        if not select.select([call], [], [], wait)[0]:
            raise Refused(f"lock {printable(lock)} could not be had in time")
        os.environ.update(call.answer()["environment"], JOBQUEUE_LOCK=lock)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # which Python ignores
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(program, arguments)
    except OSError as error:
        click.echo(f"jobqueuectl: {printable(program)}: {error.strerror}", err=True)
        sys.exit(127 if error.errno == errno.ENOENT else 126)
