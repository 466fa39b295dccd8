"""jobqueuectl hold, drain, release: start nothing new on this host for a while."""

from __future__ import annotations

import os

import click

from jobqueued.ctl.client import Refused, Unreachable, ask
from jobqueued.ctl.history import told
from jobqueued.ctl.moments import coming
from jobqueued.model import LIVE, to_text
from jobqueued.paths import Paths
from jobqueued.text import printable

_until = click.option(
    "--until", callback=coming, metavar="T", help="Let new runs start again then: 2h, 18:00, tomorrow."
)


@click.command()
@_until
@click.pass_obj
def hold(paths: Paths, until: int | None) -> None:
    """Start nothing new until `release`.

    Live runs go on.  What comes due waits, ages, and goes in its order afterwards; nothing is lost.  A hold outlives
    restarts of the daemon and of the host.

    \b
    Examples:
      jobqueuectl hold
      jobqueuectl hold --until 18:00
    """
    ask(paths.control, "Hold", until=until and to_text(until))


@click.command()
@_until
@click.pass_obj
def drain(paths: Paths, until: int | None) -> None:
    """Start nothing new, and return when nothing is live any more.

    It is for a reboot: a hold that ends with this boot of the host.  It stays when this command is interrupted;
    `jobqueuectl release` ends it.  Exits 1 if it has ended before all was done.

    \b
    Example:
      jobqueuectl drain && systemctl reboot
    """
    if "JOBQUEUE_RUN" in os.environ:
        raise click.UsageError("a run can't wait until no run is live. Use `jobqueuectl hold`.")
    ask(paths.control, "Hold", until=until and to_text(until), boot=True)
    while live := _live_and_held(paths):
        click.echo(f"waits for {', '.join(map(printable, live))}", err=True)
        try:
            ask(paths.control, "Wait", timeout=None, run=live[0])
        except Unreachable as error:
            raise Unreachable(f"{error.message}\nnew runs stay held until `jobqueuectl release`") from None


def _live_and_held(paths: Paths) -> list[str]:
    if ask(paths.control, "Status")["held_by"] is None:
        raise Refused("the hold has ended, and new runs start again: nothing is drained")
    states = [state.value for state in LIVE]
    return [record["run"] for record in told(paths, {"states": states, "limit": 50}) if record["state"] in states]


@click.command()
@click.pass_obj
def release(paths: Paths) -> None:
    """Let new runs start again after a hold or a drain.

    \b
    Example:
      jobqueuectl release
    """
    ask(paths.control, "Release")
