"""jobqueuectl fleet: what a person decides about the fleet that the host is in."""

from __future__ import annotations

import click

from jobqueued.ctl.client import ask
from jobqueued.ctl.terminal import command, print_line
from jobqueued.paths import Paths


@click.command()
@click.argument("action", type=click.Choice(["accept"]), expose_value=False)
@click.pass_obj
def fleet(paths: Paths) -> None:
    """Go on in a fleet whose etcd was put back.

    A host leaves its fleet alone when etcd does not know any more what it has granted to this host: what was run since
    then, here or elsewhere, may run again.  Look at `jobqueuectl history` of each host first, and pause what must not.

    \b
    Example:
      jobqueuectl fleet accept
    """
    ask(paths.control, "AcceptFleet")
    print_line(f"the fleet is gone on with as it is; to see whether it can be asked: {command('status')}")
