"""jobqueuectl emit: emit an event, so that all jobs that wait for it become due."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from jobqueued.core.records import event_data
from jobqueued.ctl.base.arguments import name
from jobqueued.ctl.base.client import ask
from jobqueued.ctl.base.records import own_span
from jobqueued.settings.paths import Paths

_MOST = 1 << 20
"""Maximum number of bytes to read from a file, including blanks."""


def _read(text: str) -> dict[str, Any]:
    """Parse an event's data from the text, a file or the standard input. Raises UsageError."""
    try:
        data = json.loads(_text(text), object_pairs_hook=_object, parse_constant=_constant)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise click.UsageError(f"--data: {where}: {error.msg}; expected {event_data.ACCEPTED}") from None
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"--data: {error}; expected {event_data.ACCEPTED}") from None
    if flaw := event_data.flaw(data):
        raise click.UsageError(f"--data: {flaw}")
    return dict(data)


def _text(text: str) -> str:
    """Return the content of FILE for "@FILE", the standard input for "-", or the text.

    Raises ValueError or UsageError.
    """
    if text != "-" and not text.startswith("@"):
        return text
    try:
        if text == "-":
            data = sys.stdin.buffer.read(_MOST + 1)
        else:
            with open(text[1:], "rb") as file:
                data = file.read(_MOST + 1)
    except OSError as error:
        raise click.UsageError(f"--data: cannot read {text.removeprefix('@')}: {error.strerror}") from None
    if len(data) > _MOST:
        raise ValueError(f"found more than {_MOST:,} bytes")
    return data.decode()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"found the key {next(json.dumps(key) for key in keys if keys.count(key) > 1)} twice")
    return found


def _constant(word: str) -> None:
    raise ValueError(f"found {word}, which is not JSON")


@click.command()
@click.argument("event", callback=name)
@click.option(
    "-d",
    "--data",
    metavar="JSON",
    help="Pass this JSON object of at most 16 KiB to the runs.  @FILE reads it from a file, - from standard input.",
)
@click.pass_obj
def emit(paths: Paths, event: str, data: str | None) -> None:
    """Emit EVENT and queue a run of each job that waits for it.

    The runs of all jobs with `on: {event: EVENT}` are queued and printed.  If no job waits for EVENT, a warning is
    printed on standard error, and the exit status is 0.

    With --data, each run finds the data in the variable JOBQUEUE_TRIGGER_DATA, on one line.  Do not pass secrets: any
    user who can read a run's record can read its data.

    \b
    Examples:
      jobqueuectl emit deployed
      jobqueuectl emit deployed --data '{"version": "1.10"}'
      curl -s https://ci.example.org/latest | jobqueuectl emit deployed --data -
    """
    given = None if data is None else _read(data)
    answer = ask(paths.control, "Emit", event=event, data=given, traceparent=own_span())
    for run in answer["runs"]:
        click.echo(run)
    if not answer["runs"] and answer["disabled"]:
        click.echo(f"all jobs that wait for the event {event} are disabled: {', '.join(answer['disabled'])}", err=True)
    elif not answer["runs"]:
        guess = f"; did you mean {answer['nearest']}?" if answer["nearest"] else ""
        click.echo(f"no job waits for the event {event}{guess}", err=True)
