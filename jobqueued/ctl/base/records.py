"""Records of runs: fetch, wait for and describe them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from jobqueued.base.instants import to_text
from jobqueued.base.text import duration, ended, printable
from jobqueued.child.contract.reasons import of_record
from jobqueued.control.protocol.varlink import Message
from jobqueued.ctl.base import waiting
from jobqueued.ctl.base.client import Call, DaemonUnreachable, ask
from jobqueued.ctl.base.terminal import distance, localised, print_table, styled
from jobqueued.settings.paths import Paths

if TYPE_CHECKING:
    from jobqueued.child.contract.documents import Record


def history(paths: Paths, query: Message, since: int | None = None, until: int | None = None) -> Iterator[Record]:
    """Yield the daemon's records for a query (`job`, `states`), newest first. Fetch pages when needed."""
    ends = {"since": since, "until": until}
    query = query | {name: to_text(instant) for name, instant in ends.items() if instant is not None}
    place = None
    while True:
        page = ask(paths.control, "History", **query, before=place)
        yield from page["runs"]
        if (place := page["next"]) is None:
            return


def wait_for_end(paths: Paths, run: str, meanwhile: str) -> Record:
    """Wait until a run ends, print its result on stderr, and return its record. Before its start, print why it waits.

    `meanwhile` describes what happens to the run if the daemon stops. Raises DaemonUnreachable, or Interrupted on ^C.
    """
    try:
        with Call(paths.control, "Wait", None, run=run) as call:
            waiting.await_answer(call, waiting.for_run(paths, run))
            record: Record = call.answer()["record"]
    except DaemonUnreachable as error:
        raise DaemonUnreachable(
            f"{error.message}\n{run} {meanwhile}; see its result with `jobqueuectl show {run}`"
        ) from None
    except KeyboardInterrupt:
        raise waiting.Interrupted(f"{run} {meanwhile}; see its result with `jobqueuectl show {run}`") from None
    click.echo(f"{run} {result(record)}", err=True)
    return record


def own_run() -> str | None:
    """Return the run that this program is part of, or None."""
    return os.environ.get("JOBQUEUE_RUN")


def own_span() -> str | None:
    """Return the span that this program is part of ($TRACEPARENT), or None if it is missing or invalid."""
    span = os.environ.get("TRACEPARENT", "")
    if not span:
        return None
    from jobqueued.core.records.spans import is_traceparent

    return span if is_traceparent(span) else None


def result(record: Record) -> str:
    """Format a run's end as a line: ``failed after 3.2 s: exit code 1``."""
    return printable(localised(ended(record["state"], elapsed(record) or "", of_record(record))))


def reason(record: Mapping[str, Any]) -> str | None:
    """Return the reason for the run's state; for a requested skip, include the user who requested it."""
    found, asker = record["reason"], record.get("asked_by")
    return f"{found}, asked by {asker}" if asker and record["trigger"] == "schedule" else found


def elapsed(record: Mapping[str, Any]) -> str | None:
    """Format the time from start to end, as in ``2 min 3 s``, or return None if either is missing."""
    started, ended = record["started"], record["ended"]
    if not (started and ended):
        return None
    return duration((datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds())


def exit_status(record: Mapping[str, Any]) -> str | None:
    """Format the status from wait(2), as in ``exit code 3`` or ``signal 9 (Killed)``, or return None if unknown."""
    if record["signal"] is not None:
        return f"signal {record['signal']} ({signal.strsignal(record['signal'])})"
    return None if record["exit_code"] is None else f"exit code {record['exit_code']}"


def repeats(record: Mapping[str, Any]) -> str:
    """Format the number of skips that share a record: ``12 times, ``, or "" for a single skip."""
    return f"{record['count']} times, " if record.get("count", 1) > 1 else ""


def print_runs(heading: str, name: str, records: Iterable[Mapping[str, Any]]) -> None:
    """Print one run or attempt per line. `name` is the record field that contains the name."""
    print_table(
        (heading, "STATE", "STARTED", "TOOK", "ENDED WITH", "REASON"),
        (
            (
                f"{record[name]}{' (failover)' if record.get('failover') else ''}",
                styled(record["state"]),
                distance(record["started"]),
                elapsed(record) or "-",
                exit_status(record) or "-",
                repeats(record) + localised(reason(record) or "-"),
            )
            for record in records
        ),
        keep=(heading, "STATE", "REASON", "STARTED"),
    )
