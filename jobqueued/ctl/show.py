"""jobqueuectl show: a job with its newest runs, or one run; from the record files while the daemon is down."""

from __future__ import annotations

import json
import shlex
import signal
from collections.abc import Callable, Iterable
from datetime import datetime
from itertools import islice
from typing import Any

import click
from rich.text import Text

from jobqueued import runlog
from jobqueued.config import Paths
from jobqueued.ctl.client import Unreachable, ask
from jobqueued.ctl.terminal import (
    distance,
    json_option,
    moment,
    print_facts,
    print_json,
    print_line,
    print_table,
    printable,
    size,
    span,
    styled,
)
from jobqueued.model import Record, RunId
from jobqueued.varlink import Message

Fact = tuple[str, str | Text | None]


@click.command()
@click.argument("name", metavar="JOB|JOB@N")
@click.option("-n", "--runs", type=click.IntRange(1, 1000), default=10, show_default=True, help="That many of a JOB.")
@json_option
@click.pass_obj
def show(paths: Paths, name: str, runs: int, as_json: bool) -> None:
    """Show a job, or one of its runs.

    Of a JOB: where it stands, its definition, its newest runs.  Of a run, JOB@N: what ran, when and how long, how it
    ended, CPU and memory, the end of its output; what it uses now, while it is running.

    While the daemon is down, the record files are read instead.
    """
    run = _parsed(name) if "@" in name else None
    answer = _job(paths, name, runs) if run is None else _record(paths, run)
    if as_json:
        print_json(answer)
    elif run is None:
        _print_job(answer)
    else:
        _print_record(answer)


def verdict(record: Record) -> str:
    """How a run ended, in one line: ``failed after 3.2 s: exit code 1``."""
    took = f" after {_took(record)}" if _took(record) else ""
    reason = f": {record['reason']}" if record["reason"] else ""
    return printable(f"{record['state']}{took}{reason}")


# where it comes from


def _parsed(name: str) -> RunId:
    try:
        return RunId.parse(name)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _record(paths: Paths, run: RunId) -> Record:
    try:
        record: Record = ask(paths.control, "Show", run=str(run))["record"]
    except Unreachable as down:
        return _kept(paths, down, run.job, 1, run.number)[0]
    return record


def _job(paths: Paths, job: str, count: int) -> Message:
    try:
        return ask(paths.control, "Describe", job=job, runs=count)
    except Unreachable as down:
        return {"runs": _kept(paths, down, job, count)}


def _kept(paths: Paths, down: Unreachable, job: str, count: int, number: int | None = None) -> list[Record]:
    """A job's newest records, or the one of a number, from their files; there is at least one, and stderr says why."""
    found: list[Record] = []
    if job in runlog.jobs(paths.logs):  # so that no name leads out of the directory
        numbers = [number] if number is not None else reversed(runlog.numbers(paths.logs, job))
        records = (runlog.read(paths.logs, RunId(job, number)) for number in numbers)
        found = list(islice((record for record in records if record is not None), count))
    logs = printable(str(paths.logs))
    if not found:
        raise Unreachable(f"{down.message}\nThere is no record in {logs} either that could be read.")
    click.echo(f"{down.message}\nThis is what the records in {logs} say.", err=True)
    return found


# a job

_SHOWN_APART = frozenset({"id", "description", "enabled"})


def _print_job(answer: Message) -> None:
    if "job" in answer:
        print_facts([*_standing(answer["job"]), *_definition(answer["definition"]), *_counters(answer["stats"])])
        print_line("")
    if answer["runs"]:
        _print_runs("RUN", "run", answer["runs"])


def _standing(job: Message) -> list[Fact]:
    return [
        ("job", job["id"]),
        ("description", job["description"] or None),
        ("status", styled(job["status"])),
        ("invalid", job["invalid"]),
        ("next", moment(job["next"]) if job["enabled"] else "disabled"),
        ("defined in", f"{job['file']}:{job['line']}"),
    ]


def _definition(definition: Message) -> list[Fact]:
    found = {key: value for key, value in definition.items() if value not in (None, "", [], {})}
    return [(key.replace("_", " "), _setting(key, value)) for key, value in found.items() if key not in _SHOWN_APART]


def _setting(key: str, value: Any) -> str:
    match value:
        case _ if key in _AS:
            return _AS[key](value)
        case float():
            return span(value)
        case list():
            return ", ".join(map(str, value))
        case str():
            return value
    return json.dumps(value)


def _command(command: str | list[str]) -> str:
    return command if isinstance(command, str) else shlex.join(command)


_AS: dict[str, Callable[[Any], str]] = {"command": _command, "umask": "{:04o}".format, "output_limit": size}


def _counters(stats: Message) -> list[Fact]:
    counted = ("started", "succeeded", "failed", "skipped")
    return [
        ("last run", moment(stats["last_run"])),
        ("runs so far", ", ".join(f"{stats[name]} {name}" for name in counted)),
    ]


# runs


def _print_runs(heading: str, name: str, records: Iterable[Record]) -> None:
    """One run (or attempt) a line, called by its field `name`."""
    print_table(
        (heading, "STATE", "STARTED", "TOOK", "ENDED WITH", "REASON"),
        (
            (
                str(record[name]),
                styled(record["state"]),
                distance(record["started"]),
                _took(record) or "-",
                _end(record) or "-",
                record["reason"] or "-",
            )
            for record in records
        ),
    )


def _print_record(record: Record) -> None:
    print_facts([*_outcome(record), *_times(record), *_process(record), *_consumption(record), *_labels(record)])
    if len(record["attempts"]) > 1:
        print_line("")
        _print_runs("ATTEMPT", "attempt", record["attempts"])
    if tail := record["output"]["tail"]:
        print_line("")
        click.echo(printable(tail.removesuffix("\n"), keep="\n\t"))


def _outcome(record: Record) -> list[Fact]:
    asker = f" by {record['asked_by']}" if record["asked_by"] else ""
    return [
        ("run", record["run"]),
        ("state", styled(record["state"])),
        ("reason", record["reason"]),
        ("ended with", _end(record)),
        ("waits for", "; ".join(record.get("waits_for", [])) or None),
        ("trigger", f"{record['trigger']}{asker}"),
    ]


def _times(record: Record) -> list[Fact]:
    skips = f"{record['count']}, the last due {moment(record['last_due'])}" if record.get("count", 1) > 1 else None
    times: list[Fact] = [(name, moment(record[name])) for name in ("due", "queued", "started", "ended") if record[name]]
    return [*times, ("took", _took(record)), ("skipped in a row", skips)]


def _process(record: Record) -> list[Fact]:
    return [
        ("command", _command(record["command"]) if record["command"] else None),
        ("user", record["user"]),
        ("host", record["host"]),
        ("pid", _told("{}", record["pid"])),
        ("priority", _told("{}", record["priority"])),
    ]


def _consumption(record: Record) -> list[Fact]:
    usage, output, cpu = record.get("usage"), record["output"], record["cpu_user"]
    now = usage and f"{span(usage['cpu'])} CPU, {size(usage['memory'])}, {usage['processes']} processes"
    memory = _told("{}", record["memory_peak"], size) or _told("below {}", record["memory_peak_below"], size)
    return [
        ("CPU", None if cpu is None else f"{span(cpu)} user, {span(record['cpu_system'])} system"),
        ("memory", memory),
        ("now", now),
        ("output", f"{size(output['bytes'])} in {output['file']}" if output["file"] else None),
        ("dropped", size(output["dropped"]) if output["dropped"] else None),
    ]


def _labels(record: Record) -> list[Fact]:
    return [
        ("tags", ", ".join(record["tags"]) or None),
        ("metadata", json.dumps(record["metadata"]) if record["metadata"] else None),
    ]


def _told(text: str, value: Any, form: Callable[[Any], str] = str) -> str | None:
    return None if value is None else text.format(form(value))


def _took(record: Record) -> str | None:
    started, ended = record["started"], record["ended"]
    if not (started and ended):
        return None
    return span((datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds())


def _end(record: Record) -> str | None:
    """What wait(2) said: ``exit status 3``, ``signal 9 (Killed)``."""
    if record["signal"] is not None:
        return f"signal {record['signal']} ({signal.strsignal(record['signal'])})"
    return _told("exit status {}", record["exit_code"])
