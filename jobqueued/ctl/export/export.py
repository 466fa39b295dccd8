"""jobqueuectl export: ended runs as OTLP spans or a Chrome trace, or jobs as a crontab."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from itertools import chain

import click

from jobqueued.base.instants import to_instant, to_text
from jobqueued.base.text import counted, printable
from jobqueued.child.contract.documents import Record
from jobqueued.ctl.base import completion
from jobqueued.ctl.base.client import DaemonUnreachable
from jobqueued.ctl.base.problems import in_a_line
from jobqueued.ctl.export import otlp, trace_events
from jobqueued.ctl.export.otlp import ExportRequest
from jobqueued.ctl.export.otlp_receiver import NotTaken, Receiver, Url, headers
from jobqueued.ctl.past.chosen_runs import ENDED, Wanted, matching, of_runs
from jobqueued.settings.paths import Paths

_STDOUT = "-"
_HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"
_MICROSECOND = 1000


def _url(_context: click.Context, _parameter: click.Parameter, text: str | None) -> Url | str | None:
    """Parse the URL of a receiver, or return `-` for stdout. Raises BadParameter."""
    if text is None or text == _STDOUT:
        return text
    try:
        return Url.parse(text)
    except ValueError as error:
        before = "; write JOBs before --otlp" if "/" not in text else ""
        raise click.BadParameter(f"no URL of a receiver; {error}{before}") from None


@click.command()
@click.argument("jobs", nargs=-1, metavar="[JOB]...", shell_complete=completion.jobs)
@click.option(
    "--otlp",
    "otlp_to",
    is_flag=False,
    flag_value=_STDOUT,
    metavar="[URL]",
    callback=_url,
    help="Send spans to URL by OTLP over HTTP.  Without URL, print them as OTLP in JSON, one request per line.",
)
@click.option(
    "--chrome-trace",
    is_flag=True,
    help="Print Trace Events in JSON for ui.perfetto.dev, speedscope.app or "
    "chrome://tracing.  Each job has its own track.",
)
@click.option(
    "--crontab",
    is_flag=True,
    help="Print the jobs, not their runs, as lines for /etc/cron.d.  Keys that "
    "cron can't express become comments, and are listed on standard error.",
)
@of_runs
@click.pass_obj
def export(
    paths: Paths,
    jobs: tuple[str, ...],
    otlp_to: Url | str | None,
    chrome_trace: bool,
    crontab: bool,
    wanted: Wanted,
) -> None:
    """Export ended runs as traces, or jobs as a crontab.

    Choose one format: --otlp, --chrome-trace or --crontab.

    With --otlp, each run is a span from its due time to its end, with spans for its wait and each attempt.  A run that
    another run caused belongs to that run's trace.  A run's spans never change, so you can resend them.  The variable
    $OTEL_EXPORTER_OTLP_HEADERS contains the headers for the receiver.

    The formats are explained in /usr/share/doc/jobqueued/metrics.md.

    Exits 1 if the receiver refused spans, or if a crontab can't express a part of a job.

    \b
    Examples:
      jobqueuectl export --otlp http://localhost:4318 --since 1h
      jobqueuectl export nightly-backup --chrome-trace >trace.json
      jobqueuectl export --crontab >crontab
    """
    if (otlp_to is not None) + chrome_trace + crontab != 1:
        raise click.UsageError("choose one format: --otlp, --chrome-trace or --crontab")
    if crontab:
        if not wanted.is_any:
            raise click.UsageError("--crontab exports jobs, not runs, so no runs can be chosen")
        _print_crontab(paths, jobs)
        return
    ended = tuple(sorted(ENDED if wanted.states is None else ENDED.intersection(wanted.states)))
    found = matching(paths, list(dict.fromkeys(jobs)), replace(wanted, states=ended))
    if chrome_trace:
        print_trace(found)
    elif isinstance(otlp_to, Url):
        _send(otlp_to, otlp.batches(_said_if_none(found)))
    else:
        _print(batch.text for batch in otlp.batches(_said_if_none(found)))


def print_trace(found: Iterator[Record]) -> None:
    """Print ended runs as Trace Events."""
    _print(trace_events.lines(_said_if_none(found)))


def _said_if_none(found: Iterator[Record]) -> Iterator[Record]:
    """Return the runs. If there are none, print a notice on stderr, because empty output could look valid."""
    first = next(found, None)
    if first is None:
        click.echo("no such runs", err=True)
        return found
    return chain([first], found)


def _print_crontab(paths: Paths, ids: tuple[str, ...]) -> None:
    """Print the jobs in the job files as a crontab. Exit with 1 if the crontab format can't express a part of a job."""
    from jobqueued.ctl.crontab.import_sources import root_groups
    from jobqueued.ctl.files.job_files import read_files
    from jobqueued.ctl.files.job_units import user_of_daemon
    from jobqueued.exchange.to_crontab import crontab_of
    from jobqueued.settings.settings import read_settings, user_name

    config, _ = read_settings(paths.config, user_of_daemon(paths), paths.more_config)
    found = read_files(paths, (paths.jobs,))
    known = {job.id: job for job in found.jobs}
    if unknown := [name for name in ids if name not in known]:
        raise click.UsageError(f"no such job in {paths.jobs}: {', '.join(unknown)}")
    chosen = [known[name] for name in ids] if ids else found.jobs
    user = user_name(user_of_daemon(paths)) or "root"
    exported = crontab_of(chosen, config.zone, user, frozenset(root_groups()))
    sys.stdout.write(exported.text)
    sys.stdout.flush()
    for problem in found.problems:
        if problem.severity == "error":
            click.echo(printable(in_a_line(problem)), err=True)
    for job, text in exported.losses:
        click.echo(printable(f"{job}: {text}"), err=True)
    if exported.left_out:
        click.echo(printable(f"not exported: {', '.join(exported.left_out)}"), err=True)
    sys.exit(2 if found.unreadable else int(bool(exported.losses)))


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _send(url: Url, batches: Iterator[ExportRequest]) -> None:
    """Send all batches. After a failure, print the number of sent runs and the option that sends the rest."""
    try:
        own = headers(os.environ.get(_HEADERS, ""))
    except ValueError as error:
        raise click.UsageError(f"${_HEADERS}: {error}") from None
    runs = spans = refused = 0
    with closing(Receiver(url, own)) as receiver:
        try:
            for batch in batches:
                try:
                    refused += receiver.take(batch)
                except NotTaken as error:
                    raise DaemonUnreachable(f"{error}{_how_to_go_on(runs, batch)}") from None
                runs, spans = runs + batch.runs, spans + batch.spans
        finally:
            if runs:
                click.echo(f"{counted(runs, 'run')} sent to {url}, {counted(spans, 'span')}", err=True)
    if refused:
        click.echo(f"{counted(refused, 'span')} were refused; see the warnings", err=True)
        sys.exit(1)


def _how_to_go_on(runs: int, batch: ExportRequest) -> str:
    """Return the option that sends the remaining, older runs, or "" if no run was sent."""
    if not runs:
        return ""
    rest = to_text(to_instant(datetime.fromisoformat(batch.newest)) + _MICROSECOND)
    return f"\nTo send the remaining runs, use the same options and --until {rest}"
