"""jobqueuectl show: a job with its newest runs, or a run. While the daemon is down, the command reads files."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from jobqueued.base.text import counted, duration, printable, size, slurm_job
from jobqueued.child.contract.documents import Record, TriggeredBy
from jobqueued.control.protocol.varlink import Message
from jobqueued.control.views.definitions import definition
from jobqueued.ctl.base import completion, hold_messages
from jobqueued.ctl.base.arguments import run_id
from jobqueued.ctl.base.client import DaemonUnreachable, ask
from jobqueued.ctl.base.records import elapsed, exit_status, print_runs, reason
from jobqueued.ctl.base.table import StyledText
from jobqueued.ctl.base.terminal import (
    json_option,
    local,
    localised,
    moment,
    print_facts,
    print_json,
    print_line,
    print_table,
    styled,
)
from jobqueued.ctl.base.whole_names import by_whole_name
from jobqueued.ctl.past import offline
from jobqueued.ctl.view.job_settings import command_line, settings
from jobqueued.model import submission
from jobqueued.settings.paths import Paths
from jobqueued.state import record_files

if TYPE_CHECKING:
    from jobqueued.ctl.files.origins import Origin

Fact = tuple[str, str | StyledText | None]


@click.command()
@click.argument("name", metavar="JOB|JOB@N", shell_complete=completion.jobs_or_runs)
@click.option(
    "-n", "--runs", type=click.IntRange(1, 1000), default=10, show_default=True, metavar="N", help="Show N runs of JOB."
)
@click.option("--origin", is_flag=True, help="Show the file and line of each key of JOB.")
@json_option
@click.pass_obj
def show(paths: Paths, name: str, runs: int, origin: bool, as_json: bool) -> None:
    """Show a job or one of its runs.

    For a JOB, the command shows its status, its definition and its newest runs.  For a run, JOB@N, it shows the run's
    command, times, result, CPU time and memory, and the end of its output; for a live run, also its current usage.

    With --origin, the table shows where each key of the JOB is set: in its job file, in the `defaults` of that file, or
    in a drop-in.  The table is made from the current files, which may differ from the definition in force.

    While the daemon is down, the answer is made from job files, records and live runs.

    Exits 1 if the job or the run does not exist.

    \b
    Examples:
      jobqueuectl show nightly-backup
      jobqueuectl show --origin nightly-backup
      jobqueuectl show nightly-backup@142 --json
    """
    is_run = "@" in name
    if origin and not is_run:
        from jobqueued.ctl.files.origins import origins_of

        _print_origins(name, origins_of(paths, name), as_json=as_json)
    elif origin:
        raise click.UsageError("--origin is about a JOB, not a run")
    elif not is_run:
        answer = by_whole_name(paths.control, name, lambda name: _job(paths, name, runs))
        print_json(answer) if as_json else _print_job(answer)
    else:
        record = by_whole_name(paths.control, name, lambda name: offline.find_record(paths, run_id(name)))
        print_json(record) if as_json else _print_record(record)


def _print_origins(job: str, found: Sequence[Origin], *, as_json: bool) -> None:
    if as_json:
        print_json({"job": job, "origins": [each._asdict() for each in found]})
    else:
        print_table(("KEY", "FROM"), ((each.key, f"{each.file}:{each.line}") for each in found))


def _job(paths: Paths, job: str, count: int) -> Message:
    try:
        return ask(paths.control, "Describe", job=job, runs=count)
    except DaemonUnreachable as down:
        defined, invalid = next((found for found in offline.jobs(paths) if found[0].id == job), (None, None))
        runs = list(islice(offline.history(paths, job), count))
        if defined is None and not runs:
            raise offline.no_record(paths, down, job) from None
        offline.explain(paths, down, "the job's counters, pauses or waiting runs")
        if defined is None:
            return {"runs": runs}
        row = offline.job_row(paths, defined, invalid, offline.live(paths), time.time_ns())
        return {"job": row, "definition": _plain(definition(defined)), "runs": runs}


def _plain(document: Message) -> Message:
    """Return the document with lists instead of tuples, as if parsed from JSON."""
    plain: Message = json.loads(json.dumps(document))
    return plain


# a job


def _print_job(answer: Message) -> None:
    if "job" in answer:
        counters = _counters(answer["stats"]) if "stats" in answer else []
        print_facts([*_status(answer["job"]), *settings(answer["definition"]), *counters])
        print_line("")
    if answer["runs"]:
        print_runs("RUN", "run", answer["runs"])


def _status(job: Message) -> list[Fact]:
    return [
        ("job", job["id"]),
        ("description", job["description"] or None),
        ("status", styled(job["status"])),
        ("progress", hold_messages.progress(job["batch"]) if job.get("batch") else None),
        ("invalid", job["invalid"]),
        (
            "paused",
            f"{hold_messages.until(job['paused_until']).strip() or 'yes'}{hold_messages.resumed_by(job['id'])}"
            if job["paused"]
            else None,
        ),
        ("late now", counted(job["late"], "run") if job["late"] else None),
        ("overdue", f"no success since {moment(job['overdue_since'])}" if job["overdue_since"] else None),
        ("next", moment(job["next"]) if job["next"] else _no_next(job)),
        ("skip-next", ", ".join(map(local, job["skips"] or [])) or None),
        ("defined in", f"{job['file']}:{job['line']}" if job["file"] != submission.FILE else "a submission"),
        ("drop-ins", ", ".join(job.get("drop_ins", ())) or None),
    ]


def _no_next(job: Message) -> str:
    return "disabled" if not job["enabled"] else "none while paused" if job["paused"] else "-"


def _counters(stats: Message) -> list[Fact]:
    ended = f"{stats['started']} ended ({stats['succeeded']} succeeded, {stats['failed']} failed)"
    return [
        ("last run", moment(stats["last_run"])),
        ("failing since", moment(stats["failing_since"]) if stats.get("failing_since") else None),
        ("runs so far", f"{ended}, {stats['skipped']} skipped"),
    ]


# runs


def _print_record(record: Record) -> None:
    print_facts([*_outcome(record), *_times(record), *_process(record), *_consumption(record), *_labels(record)])
    if len(record["attempts"]) > 1:
        print_line("")
        print_runs("ATTEMPT", "attempt", record["attempts"])
    if tail := record["output"]["tail"]:
        print_line("")
        click.echo(printable(tail.removesuffix("\n"), keep="\n\t"))


def _outcome(record: Record) -> list[Fact]:
    by = record.get("triggered_by", TriggeredBy())
    asker = f" by {localised(record['asked_by'])}" if record["asked_by"] and record["trigger"] != "schedule" else ""
    return [
        ("run", record["run"]),
        ("state", styled(record["state"])),
        ("reason", localised(reason(record) or "") or None),
        ("ended with", exit_status(record)),
        ("warning", "; ".join(record.get("warnings", [])) or None),
        ("waits for", "; ".join(record.get("waits_for", [])) or None),
        ("trigger", f"{record['trigger']}{asker}"),
        ("appeared", by.get("path")),
        ("trace", record.get("trace_id")),
        ("data", json.dumps(by["data"]) if "data" in by else None),
    ]


def _times(record: Mapping[str, Any]) -> list[Fact]:
    skips = f"{record['count']}, the last due {moment(record['last_due'])}" if record.get("count", 1) > 1 else None
    times: list[Fact] = [(name, moment(record[name])) for name in ("due", "queued", "started", "ended") if record[name]]
    return [*times, ("took", elapsed(record)), ("skipped in a row", skips)]


def _process(record: Record) -> list[Fact]:
    return [
        ("command", command_line(record["command"]) if record["command"] else None),
        ("user", record["user"]),
        ("host", record["host"]),
        ("pid", _unless_none("{}", record["pid"])),
        ("slurm", _unless_none("{}", record.get("slurm"), slurm_job)),
        ("priority", _unless_none("{}", record["priority"])),
        ("waited for", ", ".join(record.get("waited_for", [])) or None),
        ("holds", ", ".join(map(_claim, record.get("holds", []))) or None),
    ]


def _claim(claim: Mapping[str, Any]) -> str:
    """Describe a claim of a live run: ``lock database``, ``2 of gpu (0, 1)``."""
    given = f" ({', '.join(map(str, claim['given']))})" if claim["given"] else ""
    how = {"exclusive": "all of", "shared": "a share of"}.get(claim["mode"], str(claim["amount"]))
    return f"{how} {claim['resource']}{given}" if claim["mode"] != "units" else f"{claim['amount']}{given}"


def _consumption(record: Record) -> list[Fact]:
    output = record_files.whole_output(record)
    journal = output.get("journal")
    enforced = record.get("enforced") or {}
    unsent = journal["dropped"] if journal else 0
    bound = _unless_none("below {}, too small to be measured", record["memory_peak_below"], size)
    # without a cgroup, the run's usage was sampled
    by_samples = "" if record.get("tasks_peak") is not None else "at least "
    return [
        ("CPU", _cpu(record)),
        ("memory peak", _unless_none(f"{by_samples}{{}}", record["memory_peak"], size) or bound),
        ("memory mean", _unless_none("{}", record.get("memory_mean"), size)),
        ("throttled", _unless_none("for {}", record.get("throttled") or None, duration)),
        ("enforced", ", ".join(f"{key} {_HOW.get(how, how)}" for key, how in enforced.items()) or None),
        ("tasks", _unless_none("{} at most", record.get("tasks_peak"))),
        ("disks", None if record.get("io_read") is None else _disks(record)),
        ("now", _now(record.get("usage"))),
        ("output", f"{size(output['bytes'])} in {output['file']}" if output["file"] else None),
        ("dropped", size(output["dropped"]) if output["dropped"] else None),
        ("not in journal", counted(unsent, "line") if unsent else None),
    ]


_HOW = {"cgroup": "by its cgroup", "affinity": "by affinity", "no": "not", "slurm": "by Slurm"}


def _cpu(record: Mapping[str, Any]) -> str | None:
    user, system = record["cpu_user"], record["cpu_system"]
    return None if user is None else f"{duration(user)} user, {duration(system)} system"


def _now(usage: Mapping[str, Any] | None) -> str | None:
    if not usage:
        return None
    stopped = ", stopped by a signal (SIGCONT continues it)" * usage["stopped"]
    least = "at least " if usage.get("partial") else ""  # some of its processes were not measured
    tasks = counted(usage["tasks"], "task")
    return f"{least}{duration(usage['cpu_seconds'])} CPU, {size(usage['memory'])}, {tasks}{stopped}"


def _disks(record: Mapping[str, Any]) -> str:
    return f"{size(record['io_read'])} read, {size(record['io_write'])} written"


def _labels(record: Record) -> list[Fact]:
    return [
        ("tags", ", ".join(record["tags"]) or None),
        ("metadata", json.dumps(record["metadata"]) if record["metadata"] else None),
        ("telemetry", json.dumps(record["telemetry"]) if record.get("telemetry") else None),
    ]


def _unless_none(text: str, value: Any, form: Callable[[Any], str] = str) -> str | None:
    return None if value is None else text.format(form(value))
