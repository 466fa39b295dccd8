"""jobqueuectl audit: check that each due time has exactly one record, with code independent of the scheduler."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict

import click

from jobqueued.audit.comparison import Comparison, DueFinding, JobComparison
from jobqueued.audit.timeline import Timeline
from jobqueued.base.instants import to_text
from jobqueued.base.text import counted, printable
from jobqueued.ctl.base import completion
from jobqueued.ctl.base.arguments import check_period, past_time
from jobqueued.ctl.base.client import CallRefused
from jobqueued.ctl.base.terminal import json_option, local, print_json, print_line, print_table
from jobqueued.ctl.files.job_units import user_of_daemon
from jobqueued.ctl.past import due_changes
from jobqueued.model.run import RunId
from jobqueued.settings.paths import Paths
from jobqueued.settings.settings import read_settings

_WORDS = {"hole": "no record", "double": "two records"}


@click.command()
@click.argument("jobs", nargs=-1, metavar="[JOB]...", shell_complete=completion.jobs)
@click.option("--since", callback=past_time, metavar="T", help="Audit due times since T: 2h, today, 2026-11-24.")
@click.option("--until", callback=past_time, metavar="T", help="Audit due times until T.")
@json_option
@click.pass_obj
def audit(paths: Paths, jobs: tuple[str, ...], since: int | None, until: int | None, as_json: bool) -> None:
    """Check that each due time has exactly one record.

    Each due time must have exactly one record: a run's or a skip's.  The command lists due times with no record or two
    records, with the likely cause.  For each job, it then shows the number of due times and the instant from which they
    can be audited.

    The due times are computed from the job files' history in state.db, and not from the scheduler's decisions.  Only
    scheduled starts are audited.  Fleet jobs are not audited, because other hosts run them too.

    While the daemon is down, the command reads files, and the audit ends when the daemon last saved its state.  Only
    root and the daemon's own user can run `audit`, because job files may contain secrets.

    Exits 1 if a due time has no record or two records.

    \b
    Examples:
      jobqueuectl audit --since yesterday
      jobqueuectl audit nightly-backup --json
    """
    check_period(since, until)
    sources = due_changes.known(due_changes.sources(paths, with_all=not jobs and since is None))
    config = read_settings(paths.config, user_of_daemon(paths), paths.more_config)[0]
    end = sources.until if until is None else min(sources.until, until)
    timeline = Timeline(due_changes.reader(paths))
    for change in sources.changes:
        timeline.take(change)
    spans = timeline.spans(end)
    if unknown := sorted(set(jobs) - spans.keys()):
        raise CallRefused(f"no recorded schedule made {printable(', '.join(unknown))} due; see: jobqueuectl list")
    kept = config.retention.runs
    verdicts = [
        Comparison(job, spans[job], sources.covers(job, since or 0), kept, timeline.downs).verdict(since or 0, end)
        for job in sorted(jobs or spans)
    ]
    if not any(verdict.since < end for verdict in verdicts):
        if since is not None and since >= sources.until:
            raise CallRefused(f"there is no data yet after {local(to_text(sources.until))}")
        if until is not None:
            raise CallRefused(f"there is no data before {local(to_text(end))}: all files and records are newer")
    if as_json:
        print_json(_document(verdicts, end, sources.is_up, sorted(timeline.unreadable)))
    else:
        _print(verdicts, end, sources.is_up, sorted(timeline.unreadable))
    if any(verdict.findings for verdict in verdicts):
        sys.exit(1)


def _document(verdicts: Sequence[JobComparison], end: int, is_up: bool, unreadable: Sequence[str]) -> dict[str, object]:
    return {
        "until": to_text(end),
        "daemon": is_up,
        "unreadable": unreadable,
        "due": sum(verdict.due for verdict in verdicts),
        "findings": [_finding(verdict.job, found) for verdict in verdicts for found in verdict.findings],
        "jobs": [
            {"job": v.job, "since": to_text(v.since), "not_earlier": v.before or None, "due": v.due} for v in verdicts
        ],
    }


def _finding(job: str, found: DueFinding) -> dict[str, object]:
    runs = [str(RunId(job, number)) for number in found.runs]
    first, last = to_text(found.first), to_text(found.last)
    return {"job": job, **asdict(found), "first": first, "last": last, "runs": runs}


def _print(verdicts: Sequence[JobComparison], end: int, is_up: bool, unreadable: Sequence[str]) -> None:
    wrong = [(verdict.job, found) for verdict in verdicts for found in verdict.findings]
    for name in unreadable:
        print_line(f"{name}: this version can't read an old text of the file; due times from that time are unknown")
    if not is_up:
        print_line("The daemon does not answer: the audit ends at the time when the daemon last saved its state.")
    due = counted(sum(verdict.due for verdict in verdicts), "due time")
    if wrong:
        print_table(
            ("JOB", "WHAT", "DUE", "TO", "COUNT", "LIKELY CAUSE"),
            (
                (job, _WORDS[f.what], local(to_text(f.first)), local(to_text(f.last)), str(f.count), f.cause)
                for job, f in wrong
            ),
            keep=("JOB", "WHAT", "DUE", "LIKELY CAUSE"),
        )
        print_line(f"{due} until {local(to_text(end))}; without exactly one record: {sum(f.count for _, f in wrong)}")
    elif any(verdict.due for verdict in verdicts):
        print_line(f"{due} until {local(to_text(end))}, each with exactly one record")
    else:
        print_line(f"no recorded schedule was due until {local(to_text(end))}")
    print_table(
        ("JOB", "DUE TIMES", "SINCE", "WHY NOT EARLIER"),
        ((v.job, str(v.due), local(to_text(v.since)), v.before or "-") for v in verdicts),
        keep=("JOB", "SINCE"),
    )
