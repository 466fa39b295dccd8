"""jobqueuectl stop: end runs before their time."""

from __future__ import annotations

import os
import sys
from itertools import takewhile

import click

from jobqueued.ctl.client import Refused, Unreachable, ask
from jobqueued.ctl.history import told
from jobqueued.ctl.show import verdict
from jobqueued.model import LIVE
from jobqueued.paths import Paths
from jobqueued.text import printable


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="RUN|JOB...")
@click.option("-w", "--wait", is_flag=True, help="Wait until they have ended, and tell how.")
@click.pass_obj
def stop(paths: Paths, names: tuple[str, ...], wait: bool) -> None:
    """Stop runs; of a JOB those that are live.

    A live run gets its stop signal and, after its kill_grace, SIGKILL, with all its processes.  A run that waits is
    stopped only by name, not with its JOB; it then never starts.  What is stopped is printed.

    Exits 1 if one could not be stopped, as it has ended already or nothing of the JOB is running.

    \b
    Examples:
      jobqueuectl stop nightly-backup
      jobqueuectl stop --wait nightly-backup@142 report@7
    """
    stopped, failed = [], False
    for name in names:
        try:
            for run in [name] if "@" in name else _live(paths, name):
                state = ask(paths.control, "Stop", run=run)["state"]
                click.echo(printable(f"{run} {state}"))
                stopped.append(run)
        except Refused as refused:
            refused.show()
            failed = True
    for run in stopped if wait else ():
        _await(paths, run)
    sys.exit(failed)


def _live(paths: Paths, job: str) -> list[str]:
    live = [record["run"] for record in takewhile(lambda record: record["state"] in LIVE, told(paths, {"job": job}))]
    if not live:
        raise Refused(f"nothing of {printable(job)} is running; runs that wait are stopped by name")
    return live


def _await(paths: Paths, run: str) -> None:
    if run == os.environ.get("JOBQUEUE_RUN"):
        return  # it is us, and will not see our end
    try:
        record = ask(paths.control, "Wait", timeout=None, run=run)["record"]
    except Unreachable as error:
        raise Unreachable(
            f"{error.message}\n{run} is being stopped; `jobqueuectl show {run}` tells how it ends"
        ) from None
    click.echo(f"{run} {verdict(record)}", err=True)
