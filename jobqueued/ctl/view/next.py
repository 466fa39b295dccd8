"""jobqueuectl next: scheduled and simulated next starts of jobs, or next matches of a cron expression."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click

from jobqueued.base.instants import to_instant, to_text
from jobqueued.base.text import counted, duration, printable
from jobqueued.control.protocol.varlink import Message
from jobqueued.ctl.base import completion, hold_messages
from jobqueued.ctl.base.client import CallRefused, DaemonUnreachable, ask
from jobqueued.ctl.base.terminal import command, distance, json_option, local, print_json, print_line, print_table
from jobqueued.ctl.base.whole_names import ask_by_name
from jobqueued.ctl.past import offline
from jobqueued.model.job import Job
from jobqueued.settings.paths import Paths

if TYPE_CHECKING:
    from jobqueued.ctl.simulate.kept_forecast import KeptForecast

_MOST = 1000
HEADINGS = ("SCHEDULED", "IN")
EXPECTED = "EXPECTED TO START"


@click.command("next")
@click.argument("job", required=False, shell_complete=completion.jobs)
@click.option("-e", "--expression", metavar="E", help="Use this cron expression instead of a job's schedule.")
@click.option("-z", "--timezone", metavar="Z", help="Time zone for E.  [default: from jobqueued.yaml, else the host's]")
@click.option("--dst", default="cron", metavar="RULE", help="Rule for clock changes: cron, once, both, skip.  [cron]")
@click.option("--seconds", metavar="F", help="Seconds field of the schedule E, as in the key `seconds`.")
@click.option("-n", "--count", type=click.IntRange(1, _MOST), default=10, metavar="N", help="Show N times.  [10]")
@click.option("--expect", is_flag=True, help="Simulate the coming day, and show when each start is expected.")
@json_option
@click.pass_obj
def next_times(
    paths: Paths,
    job: str | None,
    expression: str | None,
    timezone: str | None,
    dst: str,
    seconds: str | None,
    count: int,
    expect: bool,
    as_json: bool,
) -> None:
    """Show when JOB, or each job, starts next.

    With JOB, the command shows the job's next starts, in the job's time zone.  Without JOB, it shows each job's next
    start, soonest first.  These are scheduled times: a run might start later because it waits for locks or limits.

    If JOB is paused, invalid or disabled, or the host is on hold, a line shows this.  If a pause has an end, the
    command shows the starts after the pause.  With --expression, it shows the starts of a job with that schedule, and
    JOB is only the id that determines the value of `H`.  While the daemon is down, the command reads the job files.

    With --expect, the command simulates the next day's waits 39 times, like `jobqueuectl simulate`.  The first figure
    is the median; 95 % of the simulated starts are between the figures in brackets.  Without --expect, the command
    shows these figures if `jobqueuectl simulate --keep` saved a forecast for these times.

    Exits 1 if there is no next start.

    \b
    Examples:
      jobqueuectl next
      jobqueuectl next nightly-backup -n 3
      jobqueuectl next --expect
      jobqueuectl next -e '0 2 * * mon-fri' -z Europe/Berlin
    """
    if expect and expression is not None:
        raise click.UsageError("--expect and --expression can't be combined")
    if expression is not None:
        zone = timezone or _own_zone(paths)
        answer = _of_expression(expression, zone, dst, seconds, job, count)
    elif timezone or seconds or dst != "cron":
        raise click.UsageError("--timezone, --seconds and --dst work only with --expression")
    elif job is None:
        _print_all(paths, count, expect=expect, as_json=as_json)
        return
    else:
        job, answer = _of_job(paths, job, count)
        if foreseen := _foreseen(paths, [(at, job) for at in answer["next"]], expect=expect):
            answer["foreseen"], answer["expected"] = foreseen
    if as_json:
        print_json(answer)
        raise SystemExit(not answer["next"])
    _print_of_job(job or "", answer, expect=expect)
    raise SystemExit(not answer["next"])


def _print_of_job(job: str, answer: Message, *, expect: bool) -> None:
    """Print a job's next starts, or why it has none."""
    hold_messages.warn_of_hold(answer)
    reason = hold_messages.obstacle(job, answer)
    if not answer["next"]:
        print_line(reason or "it has no scheduled start")
        return
    if reason:
        click.echo(printable(reason), err=True)
    zone = ZoneInfo(answer["timezone"])
    rows = [(_wall(text, zone), distance(text)) for text in answer["next"]]
    _print(rows, answer.get("expected"), None if expect else answer.get("foreseen"))


def _print_all(paths: Paths, count: int, *, expect: bool, as_json: bool) -> None:
    """Print the next start of each job, soonest first. Exit with 1 if no job has a next start."""
    starts, more = _of_all(paths, count)
    foreseen, expected = _foreseen(paths, starts, expect=expect) or (None, None)
    if as_json:
        rows: list[Message] = [{"job": name, "at": at} for at, name in starts]
        if expected is not None:
            rows = [{**row, "expected": it} for row, it in zip(rows, expected, strict=True)]
        print_json({"next": rows, "more": more, **({} if foreseen is None else {"foreseen": foreseen})})
    elif starts:
        kept = None if expect else foreseen
        _print([(local(at), distance(at)) for at, _ in starts], expected, kept, [name for _, name in starts])
        if more:
            print_line(
                f"and {counted(more, 'other job')}; all of them: {command(f'next -n {min(_MOST, count + more)}')}"
            )
    else:
        print_line("no job has a scheduled start")
    raise SystemExit(not starts)


def _print(
    rows: list[tuple[str, str]], expected: list[Message | None] | None, kept: str | None, jobs: list[str] | None = None
) -> None:
    """Print scheduled starts and, if given, their expected lateness, the jobs, and the forecast's age (`kept`)."""
    columns = dict(zip(HEADINGS, zip(*rows, strict=True), strict=True))
    if expected is not None:
        columns[EXPECTED] = tuple(map(lateness, expected))
    if jobs is not None:
        columns["JOB"] = tuple(jobs)
    print_table(tuple(columns), zip(*columns.values(), strict=True))
    if kept is not None:
        print_line(f"the forecast was made {distance(kept)}; for a new forecast: {command('next --expect')}")


def _foreseen(paths: Paths, starts: list[tuple[str, str]], *, expect: bool) -> tuple[str, list[Message | None]] | None:
    """Return a forecast's date, and the lateness of each start (None if unknown), or None if there is no forecast.

    With `expect`, simulate instead of using the saved forecast.
    """
    planned: dict[str, list[int]] = {}
    for at, name in starts:
        planned.setdefault(name, []).append(to_instant(datetime.fromisoformat(at)))
    if expect:
        from jobqueued.ctl.simulate.expected_starts import expected_starts

        forecast: KeptForecast | None = expected_starts(paths, planned)
    else:
        forecast = _kept(paths, planned)
    if forecast is None:
        return None
    late = forecast.lateness()
    found = [late.get(name, {}).get(to_instant(datetime.fromisoformat(at))) for at, name in starts]
    return (to_text(forecast.since), found) if expect or any(found) else None


def _kept(paths: Paths, jobs: Iterable[str]) -> KeptForecast | None:
    """Return the saved forecast for some jobs, or None if it is missing, unreadable or invalid. Print a message if it
    is invalid.
    """
    if not os.access(paths.forecast, os.R_OK):
        return None
    from jobqueued.ctl.simulate.kept_forecast import read

    try:
        return read(paths.forecast, only=set(jobs))
    except CallRefused as refused:
        click.echo(refused.message, err=True)
        return None


def _of_all(paths: Paths, count: int) -> tuple[list[tuple[str, str]], int]:
    """Return the next start of each job that has one, soonest first, and the number of omitted starts."""
    try:
        answer = ask(paths.control, "List")
        hold_messages.warn_of_hold(answer)
        found = [(job["next"], job["id"]) for job in answer["jobs"] if job["next"]]
    except DaemonUnreachable as down:
        jobs = offline.jobs(paths)
        offline.explain(paths, down, "pauses, coming skips or the host's hold")
        all_ = ((_answer(job, int(invalid is None))["next"], job.id) for job, invalid in jobs if job.enabled)
        found = [(starts[0], name) for starts, name in all_ if starts]
    found.sort()
    return found[:count], max(0, len(found) - count)


def _own_zone(paths: Paths) -> str:
    from jobqueued.ctl.files.job_units import user_of_daemon
    from jobqueued.settings.settings import read_settings

    config, problems = read_settings(paths.config, user_of_daemon(paths), paths.more_config)
    if errors := [str(problem) for problem in problems if problem.severity == "error"]:
        raise CallRefused("\n".join(errors))
    return config.zone


def _wall(text: str, zone: ZoneInfo) -> str:
    return f"{datetime.fromisoformat(text).astimezone(zone):%a %Y-%m-%d %H:%M:%S %Z}"


def lateness(it: Message | None) -> str:
    """Format the expected lateness of a start, or return "-" if it is unknown."""
    if it is None:
        return "-"
    late, low, high = (_time(it[name]) for name in ("late", "least_late", "most_late"))
    return late if low == high else f"{late} ({low} … {high})"


def _time(seconds: float) -> str:
    return f"{duration(seconds)} later" if seconds >= 1 else "in time"


def _of_expression(expression: str, zone: str, dst: str, seconds: str | None, job: str | None, count: int) -> Message:
    from jobqueued.settings.settings import machine_id
    from jobqueued.timing.schedule import Schedule, ScheduleError, Seconds

    try:
        schedule = Schedule(expression, zone, job or "", dst, seed=machine_id())
        trigger = schedule if seconds is None else Seconds(schedule, seconds)
    except ScheduleError as error:
        raise CallRefused(str(error)) from None
    if job is None and schedule.is_drawn:
        raise click.UsageError("the value of `H` depends on the job; name a job: jobqueuectl next JOB -e ...")
    return _answer(Job(id=job or "x", command="", timezone=zone, triggers=(trigger,)), count)


def _of_job(paths: Paths, name: str, count: int) -> tuple[str, Message]:
    try:
        return ask_by_name(paths.control, "Next", name, count=count)
    except DaemonUnreachable as unreachable:
        job, invalid = next((found for found in offline.jobs(paths) if found[0].id == name), (None, None))
        if job is None:
            place = printable(str(paths.jobs))
            raise DaemonUnreachable(f"{unreachable.message}\nNo job {printable(name)} in {place} either.") from None
        offline.explain(paths, unreachable, "pauses, coming skips or the host's hold")
        return name, {**_answer(job, count if invalid is None else 0), "enabled": job.enabled, "invalid": invalid}


def _answer(job: Job, count: int) -> Message:
    starts = job.next_starts(time.time_ns(), count) if job.enabled and count else []
    return {"timezone": job.timezone, "next": [to_text(start) for start in starts]}
