"""jobqueuectl watch: print the lines of the daemon's log when they are written, for users and programs."""

from __future__ import annotations

import select
import sys
from datetime import datetime
from typing import Any

import click

from jobqueued.base.text import counted
from jobqueued.ctl.base import completion
from jobqueued.ctl.base.client import DaemonUnreachable, ReplyStream, ask, warn_of_own_only
from jobqueued.ctl.base.terminal import json_option, print_json_line, print_line
from jobqueued.host.messages import VOCABULARY
from jobqueued.settings.instance import Instance
from jobqueued.settings.paths import Paths

_STYLES = {"warning": "yellow", "error": "red", "critical": "bold red"}


@click.command()
@click.argument("jobs", nargs=-1, metavar="[JOB]...", shell_complete=completion.jobs)
@click.option(
    "-e",
    "--event",
    "events",
    type=click.Choice(list(VOCABULARY)),
    multiple=True,
    metavar="EVENT",
    help="Print only lines of this event, such as run_ended.  May be repeated.",
)
@click.option("-n", "--lines", type=click.IntRange(1), metavar="N", help="Exit after N lines.")
@json_option
@click.pass_obj
def watch(paths: Paths, jobs: tuple[str, ...], events: tuple[str, ...], lines: int | None, as_json: bool) -> None:
    """Print the lines of the daemon's log as they are written.

    The command prints new lines about the JOBs, or all new lines.  Use the daemon's log for older lines.  jobqueued(8)
    lists the events.  The daemon saves each change before it writes the line about the change.

    With --json, each line is a JSON object; the line about the end of an attempt or a run includes the whole record.
    The first object is {"event": "watching"}: every later event is printed.  If events arrive faster than `watch` reads
    them, {"event": "missed"} contains the number of omitted lines.

    Exits with status 2 when the daemon ends, and 130 on ^C.

    \b
    Examples:
      jobqueuectl watch --event run_ended nightly-backup
      jobqueuectl watch --json | jq -r 'select(.event == "run_ended") | .run, .state'
    """
    for job in jobs:
        ask(paths.control, "Describe", job=job, runs=0)
    if not jobs:
        warn_of_own_only(paths.control)
    with ReplyStream(paths.control, "Watch", events=events, jobs=jobs) as stream:
        _copy(stream, lines, print_json_line if as_json else _print, Instance.of(paths.run))


def _copy(stream: ReplyStream, most: int | None, show: Any, instance: Instance) -> None:
    """Print at most `most` lines (None means no limit). Raises DaemonUnreachable when the daemon ends."""
    stream.answer()
    show({"event": "watching"})
    count = 0
    while most is None or count < most:
        if not _comes(stream):
            return
        answer = stream.answer()
        if answer["missed"]:
            show({"event": "missed", "missed": answer["missed"], "see": instance.see_log})
        for line in answer["events"][: None if most is None else most - count]:
            count += 1
            show(line)


def _comes(stream: ReplyStream) -> bool:
    """Wait for a reply; return False if the reader of stdout exited. Raises DaemonUnreachable."""
    poll = select.poll()
    poll.register(stream, select.POLLIN)
    poll.register(sys.stdout, 0)
    try:
        while not stream.is_answered():
            if any(descriptor == sys.stdout.fileno() for descriptor, _bits in poll.poll()):
                return False
    except DaemonUnreachable as error:
        raise DaemonUnreachable("the daemon closed the connection", error.remedy) from None
    return True


def _print(line: dict[str, Any]) -> None:
    match line["event"]:
        case "watching":
            pass
        case "missed":
            click.echo(f"Warning: {counted(line['missed'], 'line')} missed; {line['see']}", err=True)
        case _:
            at = datetime.fromisoformat(line["at"]).astimezone()
            print_line(f"{at:%H:%M:%S} {line['message']}", _STYLES.get(line["level"], ""))
