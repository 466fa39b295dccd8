"""jobqueuectl next: the next starts of a job by the clock, or the next matches of a cron expression."""

from __future__ import annotations

import time
from datetime import datetime
from zoneinfo import ZoneInfo

import click

from jobqueued.control.varlink import Message
from jobqueued.ctl import completion, offline, standing
from jobqueued.ctl.client import Refused, Unreachable, ask
from jobqueued.ctl.terminal import command, distance, json_option, local, print_json, print_line, print_table
from jobqueued.model import Job, to_text
from jobqueued.paths import Paths
from jobqueued.text import counted, duration, printable

_MOST = 1000
_HEADINGS = ("NEXT", "IN")


@click.command("next")
@click.argument("job", required=False, shell_complete=completion.jobs)
@click.option("-e", "--expression", metavar="E", help="Use this cron expression, not a job's schedule.")
@click.option("-z", "--timezone", metavar="Z", help="Time zone of E.  [that of jobqueued.yaml, else the host's]")
@click.option("--dst", default="cron", metavar="RULE", help="Rule for clock changes: cron, once, both, skip.  [cron]")
@click.option("--seconds", metavar="F", help="Field of seconds to go with E.")
@click.option("-n", "--count", type=click.IntRange(1, _MOST), default=10, metavar="N", help="Show N times.  [10]")
@click.option("--expect", is_flag=True, help="Show too when each of the next day is expected to start.")
@json_option
@click.pass_obj
def next_times(
    paths: Paths, job: str | None, expression: str | None, timezone: str | None, dst: str, seconds: str | None,
    count: int, expect: bool, as_json: bool,
) -> None:  # fmt: skip
    """Show when the clock starts JOB, or each job, next.

    The times of JOB are in its time zone.  Without JOB, shows the next start of each job, the soonest first.

    Tells if JOB is paused, invalid or disabled, or the host on hold.  Where a pause has an end, the starts after it are
    shown.  With --expression, shows when a job with that schedule would start; any `H` in it is drawn for the id JOB.
    While the daemon is down, the job files are read instead.  Exits 1 if there is no next time.

    With --expect, all that JOB may have to wait for is simulated, as by `jobqueuectl simulate`, by 39 draws: half of
    them start by the time that is shown, and 95 % between those in brackets.

    \b
    Examples:
      jobqueuectl next
      jobqueuectl next nightly-backup -n 3
      jobqueuectl next nightly-backup --expect
      jobqueuectl next -e '0 2 * * mon-fri' -z Europe/Berlin
    """
    if expect and (job is None or expression is not None):
        raise click.UsageError("--expect goes with a JOB, and no expression")
    if expression is not None:
        zone = timezone or _own_zone(paths)
        answer = _of_expression(expression, zone, dst, seconds, job, count)
    elif timezone or seconds or dst != "cron":
        raise click.UsageError("--timezone, --seconds and --dst go with --expression")
    elif job is None:
        _print_all(paths, count, as_json=as_json)
        return
    else:
        answer = _of_job(paths, job, count)
    if expect:
        from jobqueued.ctl.expected_starts import expected_starts

        answer["expected"] = expected_starts(paths, job or "", answer["next"])
    if as_json:
        print_json(answer)
        raise SystemExit(not answer["next"])
    standing.warn_of_hold(answer)
    reason = standing.obstacle(job or "", answer)
    if answer["next"]:
        if reason:
            click.echo(printable(reason), err=True)
        zone_info = ZoneInfo(answer["timezone"])
        rows = [(_wall(text, zone_info), distance(text)) for text in answer["next"]]
        if expect:
            rest = map(_expected, answer["expected"])
            print_table((*_HEADINGS, "EXPECTED TO START"), zip(*zip(*rows, strict=True), rest, strict=True))
        else:
            print_table(_HEADINGS, rows)
    else:
        print_line(reason or "the clock never starts it")
    raise SystemExit(not answer["next"])


def _print_all(paths: Paths, count: int, *, as_json: bool) -> None:
    """Print the next start of each job, the soonest first."""
    starts, more = _of_all(paths, count)
    if as_json:
        print_json({"next": [{"job": name, "at": at} for at, name in starts], "more": more})
    elif starts:
        print_table((*_HEADINGS, "JOB"), [(local(at), distance(at), name) for at, name in starts])
        if more:
            print_line(
                f"and {counted(more, 'other job')}; all of them: {command(f'next -n {min(_MOST, count + more)}')}"
            )
    else:
        print_line("the clock starts no job")
    raise SystemExit(not starts)


def _of_all(paths: Paths, count: int) -> tuple[list[tuple[str, str]], int]:
    """The next start of each job that has one, the soonest first, and how many are left out."""
    try:
        answer = ask(paths.control, "List")
        standing.warn_of_hold(answer)
        found = [(job["next"], job["id"]) for job in answer["jobs"] if job["next"]]
    except Unreachable as down:
        jobs = offline.jobs(paths)
        offline.explain(paths, down, "pauses, skips to come or a hold of the host")
        all_ = ((_answer(job, int(invalid is None))["next"], job.id) for job, invalid in jobs if job.enabled)
        found = [(starts[0], name) for starts, name in all_ if starts]
    found.sort()
    return found[:count], max(0, len(found) - count)


def _own_zone(paths: Paths) -> str:
    from jobqueued.settings import read_settings

    config, problems = read_settings(paths.config, more=paths.more_config)
    if problems:
        raise Refused("\n".join(map(str, problems)))
    return config.timezone


def _wall(text: str, zone: ZoneInfo) -> str:
    return f"{datetime.fromisoformat(text).astimezone(zone):%a %Y-%m-%d %H:%M:%S %Z}"


def _expected(it: Message | None) -> str:
    if it is None:
        return "-"
    late, low, high = (_time(it[name]) for name in ("late", "least_late", "most_late"))
    return late if low == high else f"{late} ({low} … {high})"


def _time(seconds: float) -> str:
    return f"{duration(seconds)} later" if seconds >= 1 else "in time"


def _of_expression(expression: str, zone: str, dst: str, seconds: str | None, job: str | None, count: int) -> Message:
    from jobqueued.settings import machine_id
    from jobqueued.timing.schedule import Schedule, ScheduleError, Seconds

    try:
        schedule = Schedule(expression, zone, job or "", dst, seed=machine_id())
        trigger = schedule if seconds is None else Seconds(schedule, seconds)
    except ScheduleError as error:
        raise Refused(str(error)) from None
    if job is None and schedule.is_drawn:
        raise click.UsageError("`H` is drawn for a job; name one: jobqueuectl next JOB -e ...")
    return _answer(Job(id=job or "x", command="", timezone=zone, triggers=(trigger,)), count)


def _of_job(paths: Paths, name: str, count: int) -> Message:
    try:
        return ask(paths.control, "Next", job=name, count=count)
    except Unreachable as unreachable:
        job, invalid = next((found for found in offline.jobs(paths) if found[0].id == name), (None, None))
        if job is None:
            place = printable(str(paths.jobs))
            raise Unreachable(f"{unreachable.message}\nNo job {printable(name)} in {place} either.") from None
        offline.explain(paths, unreachable, "pauses, skips to come or a hold of the host")
        return {**_answer(job, count if invalid is None else 0), "enabled": job.enabled, "invalid": invalid}


def _answer(job: Job, count: int) -> Message:
    starts = job.next_starts(time.time_ns(), count) if job.enabled and count else []
    return {"timezone": job.timezone, "next": [to_text(start) for start in starts]}
