"""jobqueuectl fleet: list the hosts of the fleet, or accept its restored state."""

from __future__ import annotations

import click

from jobqueued.base.text import printable
from jobqueued.control.protocol.varlink import Message
from jobqueued.ctl.base.client import CallRefused, ask
from jobqueued.ctl.base.terminal import command, json_option, print_json, print_line, print_table
from jobqueued.settings.paths import Paths


@click.command()
@click.argument("action", type=click.Choice(["hosts", "accept"]))
@json_option
@click.pass_obj
def fleet(paths: Paths, action: str, as_json: bool) -> None:
    """List the hosts of the fleet, or accept its restored state.

    `hosts` lists the hosts that have a session with the fleet now, with their names in the fleet and their labels.  A
    host that is down or cut off from etcd leaves the list after ten seconds.  HELD marks a host on hold, which leaves
    new occurrences to the other hosts.  Exits 1 if the fleet is unreachable.

    Use `accept` after etcd was restored from a backup.  A host that saw writes newer than the backup makes no claims
    until you accept the restored state on that host.  Occurrences that ran after the backup may run again, so look at
    `jobqueuectl history` of each host first.  If a job must not run again, do this on each host:
    `hold`, then `fleet accept`.  Then pause the job, and `release` each host.

    \b
    Examples:
      jobqueuectl fleet hosts
      jobqueuectl fleet accept
    """
    if action == "hosts":
        _list_hosts(paths, as_json=as_json)
        return
    if as_json:
        raise click.UsageError("--json works only with `hosts`")
    ask(paths.control, "AcceptFleet")
    print_line(f"this host accepted etcd's state; to see whether the fleet is available: {command('status')}")


def _list_hosts(paths: Paths, *, as_json: bool) -> None:
    answer = ask(paths.control, "Fleet")
    if as_json:
        print_json(answer)
        raise SystemExit(not answer["hosts"])
    known(answer)
    rows = ((it["host"], it["host"] == answer["host"], it["held"], ",".join(it["labels"])) for it in answer["about"])
    print_table(
        ("HOST", "HERE", "HELD", "LABELS"),
        ((host, "yes" if here else "-", "yes" if held else "-", labels or "-") for host, here, held, labels in rows),
    )


def known(answer: Message) -> list[str]:
    """Return the fleet's hosts from a reply of the method Fleet.

    Raises CallRefused if the host is in no fleet, or if the fleet is unreachable.
    """
    if answer["fleet"] is None:
        raise CallRefused("this host is in no fleet; to join one: `fleet` in jobqueued.yaml")
    if answer["down"] is not None:
        raise CallRefused(printable(f"the fleet is unavailable: {answer['down']}"))
    hosts: list[str] = answer["hosts"]
    return hosts
