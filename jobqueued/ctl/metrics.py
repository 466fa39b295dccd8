"""jobqueuectl metrics: figures of the daemon, its queue and its jobs, for Prometheus and its kind."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from functools import partial
from typing import Any

import click

from jobqueued.ctl.client import ask
from jobqueued.ctl.terminal import json_option, print_json
from jobqueued.metrics.exposition import Told, text
from jobqueued.metrics.families import Family, Sample
from jobqueued.paths import Paths


def _address(_context: click.Context, _parameter: click.Parameter, given: str | None) -> tuple[str, int] | None:
    """Read where to listen; a port alone is one on loopback."""
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
        raise click.BadParameter(f"{given!r}; accepted: {accepted}") from None


@click.command()
@json_option
@click.option("--usage", is_flag=True, help="Also measure what live runs use, by job; that takes 0.3 s.")
@click.option("--listen", metavar="[ADDRESS:]PORT", callback=_address, help="Serve them by HTTP, in the foreground; "
              "without ADDRESS to this host only.")  # fmt: skip
@click.pass_obj
def metrics(paths: Paths, as_json: bool, usage: bool, listen: tuple[str, int] | None) -> None:
    """Print metrics, or serve them to Prometheus.

    Whoever may read all of the daemon's answers may read them: root, operators and readers (jobqueued.yaml).  With
    --listen everybody who can connect may; there is neither TLS nor a password, so leave it on loopback, or put a
    proxy before it.  While the daemon does not answer, jobqueue_up is 0 and nothing else is told.

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
        raise click.UsageError("--json and --listen exclude each other")
    else:
        from jobqueued.ctl.metrics_server import serve

        serve(partial(_families, paths, usage=usage), *listen)


def _families(paths: Paths, *, usage: bool) -> list[Told]:
    """All families as the daemon tells them now; Unreachable, Refused."""
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
