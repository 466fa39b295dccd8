"""jobqueuectl hold, drain, release: keep this host from starting runs for a while."""

from __future__ import annotations

import click

from jobqueued.base.instants import to_text
from jobqueued.base.text import printable
from jobqueued.ctl.base import hold_messages
from jobqueued.ctl.base.arguments import future_time
from jobqueued.ctl.base.client import CallRefused, DaemonUnreachable, ask
from jobqueued.ctl.base.records import history, own_run
from jobqueued.ctl.base.terminal import command, moment, print_line
from jobqueued.ctl.base.waiting import Interrupted
from jobqueued.model.run_states import LIVE
from jobqueued.settings.paths import Paths

_until = click.option(
    "--until", callback=future_time, metavar="T", help="End the hold at this time: 2h, 18:00, tomorrow."
)


@click.command()
@_until
@click.pass_obj
def hold(paths: Paths, until: int | None) -> None:
    """Put the host on hold: start nothing new until `release`.

    Live runs continue.  Runs that become due wait and age, and start in order after the hold.  A hold survives restarts
    of the daemon and of the host.

    \b
    Examples:
      jobqueuectl hold
      jobqueuectl hold --until 18:00
    """
    ends = None if until is None else to_text(until)
    ask(paths.control, "Hold", until=ends)
    print_line(f"the host is on hold{hold_messages.until(ends)}: nothing new starts; to end it: {command('release')}")


@click.command()
@_until
@click.pass_obj
def drain(paths: Paths, until: int | None) -> None:
    """Put the host on hold and wait until no run is live.

    Use `drain` before a reboot; the reboot ends this hold.  If `drain` is interrupted, the hold stays in force.  To end
    it: `jobqueuectl release`.  A run can't call `drain`, because it would wait for itself.

    Exits 1 if the hold ends while runs are live.

    \b
    Example:
      jobqueuectl drain && systemctl reboot
    """
    if own_run() is not None:
        raise click.UsageError(
            "a run can't wait until no run is live, because it is live itself; use `jobqueuectl hold`"
        )
    ask(paths.control, "Hold", until=None if until is None else to_text(until), boot=True)
    stays = f"the host stays on hold until {_end_of_drain(until)}, or `{command('release')}`"
    while live := _live_and_on_hold(paths):
        click.echo(f"waiting for {', '.join(map(printable, live))}", err=True)
        try:
            ask(paths.control, "Wait", timeout=None, run=live[0])
        except DaemonUnreachable as error:
            raise DaemonUnreachable(f"{error.message}\n{stays}") from None
        except KeyboardInterrupt:
            raise Interrupted(stays) from None
    print_line(f"no run is live; {stays}")


def _end_of_drain(until: int | None) -> str:
    return "the next boot" if until is None else f"{moment(to_text(until))} or the next boot"


def _live_and_on_hold(paths: Paths) -> list[str]:
    if ask(paths.control, "Status")["held_by"] is None:
        raise CallRefused("the hold ended while runs were still live: runs start again")
    states = [state.value for state in LIVE]
    return [record["run"] for record in history(paths, {"states": states, "limit": 50}) if record["state"] in states]


@click.command()
@click.pass_obj
def release(paths: Paths) -> None:
    """End a hold or a drain: let runs start again.

    \b
    Example:
      jobqueuectl release
    """
    ask(paths.control, "Release")
    print_line("the host is not on hold: runs start again")
