"""jobqueuectl metrics: print metrics of the daemon, its queue and its jobs, or serve them to Prometheus."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from functools import partial
from typing import Any

import click

from jobqueued.ctl.base.client import ask
from jobqueued.ctl.base.terminal import json_option, print_json
from jobqueued.metrics.exposition import Told, text
from jobqueued.metrics.families import Family, Sample
from jobqueued.settings.paths import Paths


def _address(_context: click.Context, _parameter: click.Parameter, given: str | None) -> tuple[str, int] | None:
    """Parse the address to listen on; a port without an address means loopback. Raises BadParameter."""
    import ipaddress

    if given is None:
        return None
    host, _, port = given.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    try:
        if not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
            raise ValueError
        return str(ipaddress.ip_address(host)), int(port)
    except ValueError:
        accepted = "a port such as 9753, or an address with one: 192.0.2.7:9753, [::]:9753"
        raise click.BadParameter(f"{given!r}; expected {accepted}") from None


@click.command()
@json_option
@click.option("--usage", is_flag=True, help="Also measure the usage of live runs, by job.  This takes 0.3 s.")
@click.option(
    "--listen",
    metavar="[ADDRESS:]PORT",
    callback=_address,
    help="Serve the metrics by HTTP, in the foreground.  Without ADDRESS, only this host can connect.",
)
@click.pass_obj
def metrics(paths: Paths, as_json: bool, usage: bool, listen: tuple[str, int] | None) -> None:
    """Print metrics, or serve them to Prometheus.

    Only root, operators and readers (jobqueued.yaml) can read metrics.  With --listen, any user who can connect can
    read them, without TLS or a password.  Listen on loopback only, or put a proxy in front of the port.

    With --listen, jobqueue_up is 0 while the daemon does not answer, and all other metrics are missing.

    The metrics are explained in /usr/share/doc/jobqueued/metrics.md.

    \b
    Examples:
      jobqueuectl metrics
      jobqueuectl metrics --listen 9753
    """
    if listen is None:
        told = _families(paths, usage=usage)
        if as_json:
            print_json({"families": [{**_described(family), "samples": _samples(pieces)} for family, pieces in told]})
        else:
            sys.stdout.writelines(text(told))
    elif as_json:
        raise click.UsageError("--json and --listen can't be combined")
    else:
        from jobqueued.ctl.export.metrics_server import serve

        serve(partial(_families, paths, usage=usage), *listen)


def _families(paths: Paths, *, usage: bool) -> list[Told]:
    """Return all metric families from the daemon. Raises DaemonUnreachable or CallRefused."""
    families = ask(paths.control, "Metrics")["families"]
    told: list[Told] = [
        (Family(each["name"], each["kind"], each["help"]), [[Sample(**sample) for sample in each["samples"]]])
        for each in families
    ]
    if usage:
        from jobqueued.metrics.readings import of_usage

        told += of_usage(ask(paths.control, "Usage")["runs"])
    return told


def _described(family: Family) -> dict[str, str]:
    return {"name": family.name, "kind": family.kind, "help": family.help}


def _samples(pieces: Iterable[list[Sample]]) -> list[dict[str, Any]]:
    return [sample._asdict() for piece in pieces for sample in piece]
