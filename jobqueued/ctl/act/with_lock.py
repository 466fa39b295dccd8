"""jobqueuectl with-lock: run a command while it holds a lock or a resource of the queue."""

from __future__ import annotations

import errno
import os
import signal
import sys
from typing import NoReturn

import click

from jobqueued.base.text import printable
from jobqueued.ctl.base import arguments
from jobqueued.ctl.base.client import Call, CallRefused, ask
from jobqueued.ctl.base.records import own_run
from jobqueued.ctl.base.waiting import Interrupted, await_answer, for_lock
from jobqueued.ctl.view.locks import warn_of_slip
from jobqueued.settings.paths import Paths

_LONGEST = 1e9
"""Longest wait (s), because select(2) does not accept much longer timeouts."""


@click.command("with-lock", context_settings={"allow_interspersed_args": False})
@click.option("-s", "--shared", is_flag=True, help="Share the lock with other holders that share it.")
@click.option("-u", "--units", type=click.IntRange(1), metavar="N", help="Hold N units of a lock that has several.")
@click.option("-n", "--no-wait", is_flag=True, help="Exit 1 if the lock is not granted at once.")
@click.option(
    "-w",
    "--wait",
    callback=arguments.duration,
    metavar="D",
    help="Exit 1 if the lock is not granted within this time: 30s, 5m.",
)
@click.argument("lock", callback=arguments.lock_name)
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
    """Run COMMAND while holding LOCK or a resource.

    COMMAND waits in the queue like a run: it ages, and is not overtaken forever.  While it waits, standard error shows
    the current holders.  COMMAND holds the lock until its process ends, even if the daemon stops.

    In its environment, COMMAND finds the lock's name (JOBQUEUE_LOCK) and the numbers of its units (JOBQUEUE_GPU=1), as
    a job does.  COMMAND may run `with-lock` again for another lock only with --no-wait or --wait, because two commands
    that wait for each other would wait forever.

    A fleet lock is named fleet/NAME.  For a fleet lock, COMMAND also finds a number in JOBQUEUE_FENCE; each later
    holder gets a greater number.

    In a job, list the lock under `locks` instead.

    Exits with COMMAND's exit status; 127 if COMMAND is not found, 126 if it can't be executed.

    \b
    Examples:
      jobqueuectl with-lock database -- pg_restore dump
      jobqueuectl with-lock --no-wait --shared tape -- mt status
      jobqueuectl with-lock fleet/archive -- rotate-archive
    """
    if own_run() is not None:
        _refuse("a run gets all its locks at its start; add this lock to `locks` of the job")
    program, *_ = words = command[command[0] == "--" :] or _refuse("COMMAND is missing")
    if (held := os.environ.get("JOBQUEUE_LOCK")) is not None and wait is None and not no_wait:
        _refuse(f"this command already holds lock {printable(held)}, so it could wait forever; use --no-wait or --wait")
    if shared and units:
        _refuse("a shared lock has no units; use either --shared or --units")
    warn_of_slip(ask(paths.control, "Locks", lock=lock), lock)
    query = {"lock": lock, "shared": shared, "units": units, "no_wait": no_wait}
    try:
        with Call(paths.control, "Lock", None, **query) as call:
            if not await_answer(call, for_lock(paths, lock), wait and min(wait, _LONGEST)):
                raise CallRefused(f"lock {printable(lock)} was not granted in time")
            os.environ.update(call.answer()["environment"], JOBQUEUE_LOCK=lock)
    except KeyboardInterrupt:
        raise Interrupted(f"no longer waiting for lock {printable(lock)}; {printable(program)} was not run") from None
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores these signals
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(program, words)
    except OSError as error:
        click.echo(f"jobqueuectl: {printable(program)}: {error.strerror}", err=True)
        sys.exit(127 if error.errno == errno.ENOENT else 126)


def _refuse(reason: str) -> NoReturn:
    raise click.UsageError(reason)
