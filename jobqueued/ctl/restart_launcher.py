"""jobqueuectl restart-launcher: let launcher and daemon run what an update has put on the disk."""

from __future__ import annotations

import shlex
import subprocess
import sys

import click

from jobqueued.ctl.client import ask
from jobqueued.ctl.terminal import print_line
from jobqueued.instance import Instance
from jobqueued.paths import Paths
from jobqueued.text import counted


@click.command("restart-launcher")
@click.pass_obj
def restart_launcher(paths: Paths) -> None:
    """Restart launcher and daemon; live runs go on.

    After an update of jobqueued, of Python or of a library they run what they began with; `jobqueuectl doctor` says if
    they do.  Live runs keep the supervisors that they have, and nothing is started twice.  What comes due meanwhile is
    started afterwards.  On a host of a fleet its agent is restarted, too, and keeps what the host has there.  Returns
    when the daemon answers again.

    Run it as root or, with --user, as the user of the instance: it asks the service manager.

    \b
    Example:
      jobqueuectl restart-launcher && jobqueuectl doctor
    """
    instance = Instance.of(paths.run)
    if not instance.manager:
        raise click.ClickException(f"no service manager keeps this daemon; {instance.renew}")
    sockets = ["jobqueued-launcher.socket"]
    if not instance.manager.endswith("--user"):  # a user's own instance is in no fleet
        sockets.append("jobqueued-fleet.socket")
    for words in (["restart", *sockets], ["start", "jobqueued.service"]):
        command = [*shlex.split(instance.manager), *words]
        if subprocess.run(command, check=False).returncode:
            click.echo(f"Error: {shlex.join(command)} failed; {instance.see_log}", err=True)
            sys.exit(2)
    status = ask(paths.control, "Status")
    print_line(f"launcher and daemon were restarted; {counted(status['running'], 'live run')} went on")
