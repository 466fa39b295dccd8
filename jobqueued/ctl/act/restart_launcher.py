"""jobqueuectl restart-launcher: make the launcher and the daemon run the code that an update installed."""

from __future__ import annotations

import shlex
import subprocess
import sys

import click

from jobqueued.base.text import counted
from jobqueued.ctl.base.client import ask
from jobqueued.ctl.base.terminal import print_line
from jobqueued.settings.instance import Instance
from jobqueued.settings.paths import Paths


@click.command("restart-launcher")
@click.pass_obj
def restart_launcher(paths: Paths) -> None:
    """Restart the launcher and the daemon; live runs continue.

    Use this command after an update of jobqueued, Python or a library: the launcher and the daemon run their old code
    until they are restarted.  `jobqueuectl doctor` reports old code.  Live runs keep their supervisors, and no run
    starts twice.  Runs that become due during the restart start afterwards.  On a fleet host, the agent restarts too
    and keeps the host's claims.

    The command returns when the daemon answers again.  It calls the service manager, so run it as root or, with --user,
    as the instance's user.

    Exits 1 if no service manager runs the daemon; 2 if the service manager reports an error.

    \b
    Example:
      jobqueuectl restart-launcher && jobqueuectl doctor
    """
    instance = Instance.of(paths.run)
    if not instance.manager:
        raise click.ClickException(f"no service manager runs this daemon; {instance.renew}")
    sockets = ["jobqueued-launcher.socket"]
    if not instance.manager.endswith("--user"):  # a user's instance has no fleet
        sockets.append("jobqueued-fleet.socket")
    for words in (["restart", *sockets], ["start", "jobqueued.service"]):
        command = [*shlex.split(instance.manager), *words]
        if subprocess.run(command, check=False).returncode:
            click.echo(f"Error: {shlex.join(command)} failed; {instance.see_log}", err=True)
            sys.exit(2)
    status = ask(paths.control, "Status")
    print_line(f"launcher and daemon were restarted; {counted(status['running'], 'live run')} continued")
