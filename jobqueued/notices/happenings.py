"""Happenings that people may be notified of. Log lines are their source."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from jobqueued.base.instants import SECOND
from jobqueued.base.text import counted, duration, ended
from jobqueued.child.contract.documents import Record
from jobqueued.child.contract.reasons import Code, Reason, of_record
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.core.records.recollection import has_failover, way_of
from jobqueued.core.state.holders import ANOTHERS_RUN
from jobqueued.model.job import Job
from jobqueued.model.users import share_of


class Happening(NamedTuple):
    """One event of `notify.EVENTS`, or "over": the end of a problem.

    Only people who were notified of the problem are notified of its end.

    Happenings with the same `subject` belong to one incident while it lasts; people get another notice if the `kind`
    changes. The `subject` "" opens no incident. `closes`: the subjects whose incidents this happening ends. `removed`:
    see Say.
    """

    event: str
    summary: str
    subject: str = ""
    kind: str = ""
    closes: tuple[str, ...] = ()
    job: str | None = None
    run: str | None = None
    record: Record | None = None
    removed: Job | None = None


def of(event: str, fields: Mapping[str, Any]) -> Happening | None:
    """Return the happening that a log line reports, or None if people never get notices of this kind of line."""
    made = _MADE_OF.get(event)
    return None if made is None else made(fields)


def output_of(event: str, fields: Mapping[str, Any]) -> Happening | None:
    """Return the happening for an ended run's output, which is mailed as by cron, or None if the run has no output.

    The output's notice is sent in addition to other notices of the run's end.
    """
    if event != "run_ended" or not fields["record"]["output"]["bytes"]:
        return None
    record: Record = fields["record"]
    summary = f"{record['run']} {ended(record['state'], _took(record), of_record(record))}, with output"
    event = "output" if record["state"] == "succeeded" else "failed_output"
    return Happening(event, summary, job=record["job"], run=record["run"], record=record)


_EVENT_OF = {"timed_out": "timeout", "oom_killed": "oom", "lost": "lost", "failed": "failure"}


def ending(record: Record) -> str:
    """Describe the end of a run: ``backup@142 failed after 31 s: exit code 1``."""
    if record["state"] == "succeeded" and has_failover(record):
        why = _before_failover(record)
        return f"{record['run']} failed{f': {why}' if why else ''}; its failover has succeeded"
    return f"{record['run']} {ended(record['state'], _took(record), of_record(record))}"


def _before_failover(record: Record) -> str | None:
    before = [attempt for attempt in record["attempts"] if not attempt.get("failover")]
    return before[-1]["reason"] if before else None


def _run_ended(fields: Mapping[str, Any]) -> Happening | None:
    record: Record = fields["record"]
    job, state, subject = record["job"], record["state"], f"run {record['job']}"
    succeeded, summary = state == "succeeded", ending(record)
    if succeeded and has_failover(record):
        kind = f"failover, {_before_failover(record)}"
        return Happening("failure", summary, subject, kind, (), job, record["run"], record)
    if succeeded:
        return Happening("success", summary, closes=_over(job), job=job, run=record["run"], record=record)
    if state not in _EVENT_OF:  # a user or the host's shutdown stopped the run
        return None
    return Happening(_EVENT_OF[state], summary, subject, way_of(record), (), job, record["run"], record)


def _over(job: str) -> tuple[str, ...]:
    """Return the subjects whose incidents a success of a job ends."""
    return tuple(f"{subject} {job}" for subject in ("run", "skipped", "missed", "held_up", "fuse"))


def elsewhere(job: str, state: str) -> Happening | None:
    """Return the happening for a run's end on another host, or None if this end needs no notice.

    `state` has the fleet's format: ``failed exit code 3``.
    """
    if state == "succeeded":
        return Happening("over", f"{job} has succeeded on another host of its fleet", closes=_over(job), job=job)
    ended, _, way = state.partition(" ")
    if ended not in _EVENT_OF:
        return None
    return Happening(_EVENT_OF[ended], f"{job} has failed on another host", f"run {job}", way or ended, (), job)


def _took(record: Record) -> str:
    started, over = record["started"], record["ended"]
    if not (started and over):
        return ""
    return duration((datetime.fromisoformat(over) - datetime.fromisoformat(started)).total_seconds())


def _skipped(fields: Mapping[str, Any]) -> Happening:
    job = fields["run"].rpartition("@")[0]
    reason: Reason = fields["reason"]
    event = "missed" if reason.code is Code.MISSED else "skipped"
    more = f", {fields['count']} in a row" if fields["count"] > 1 else ""
    summary = f"{fields['run']} was skipped: {reason}{more}"
    return Happening(event, summary, f"{event} {job}", str(reason), (), job, fields["run"])


def _held_up(fields: Mapping[str, Any]) -> Happening:
    run, job = fields["run"], fields["run"].rpartition("@")[0]
    share = share_of(job)
    known = [it if not share or share_of(it) in ("", share) else ANOTHERS_RUN for it in fields["holders"]]
    summary = f"{run} is delayed: it waits for {', '.join(known)}, which may take longer than `drain`"
    return Happening("held_up", summary, f"held_up {job}", "", (), job, run)


def _fuse(fields: Mapping[str, Any]) -> Happening:
    job = fields["job"]
    summary = f"{job} was due more than 100 times in a minute; occurrences are skipped until this stops"
    return Happening("fuse", summary, f"fuse {job}", "", (), job)


def _late(fields: Mapping[str, Any]) -> Happening:
    job, run = fields["job"], fields["run"]
    return Happening("late", f"{run} is late: {fields['reason']}", f"late {job}", "", (), job, run)


def _late_over(fields: Mapping[str, Any]) -> Happening:
    job, run = fields["job"], fields["run"]
    summary = f"late run {run} ended: {ended(fields['state'], '', fields['reason'])}"
    return Happening("over", summary, closes=(f"late {job}",), job=job, run=run)


def _overdue(fields: Mapping[str, Any]) -> Happening | None:
    if "teller" in fields:  # another host of the fleet reported the problem, and also reports its end
        return None
    job = fields["job"]
    summary = f"{job} has not succeeded for {duration(fields['within'] / SECOND)}: {fields['reason']}"
    return Happening("overdue", summary, f"overdue {job}", "", (), job)


def _overdue_over(fields: Mapping[str, Any]) -> Happening:
    job = fields["job"]
    return Happening("over", f"{job} is no longer overdue: {fields['reason']}", closes=(f"overdue {job}",), job=job)


def _invalid(fields: Mapping[str, Any]) -> Happening:
    job = fields["job"]
    summary = f"{job} is invalid and will not run: {fields['reason']} ({fields['file']}:{fields['line']})"
    return Happening("config_error", summary, f"invalid {job}", fields["reason"], (), job)


def _valid(fields: Mapping[str, Any]) -> Happening:
    job = fields["job"]
    return Happening("success", f"{job} is valid again", closes=(f"invalid {job}",), job=job)


def _refused(fields: Mapping[str, Any]) -> Happening:
    file, stale = str(fields["file"]), "; its last good jobs remain in force" if fields["jobs"] else ""
    see = "jobqueuectl check" if file.endswith((".yaml", ".yml")) else "jobqueuectl status"
    return Happening("config_error", f"{file}: refused{stale}; see: {see}", f"file {file}")


def _flawed(fields: Mapping[str, Any]) -> Happening:
    file, lines = fields["file"], counted(len(fields["lines"]), "line")
    return Happening("config_error", f"{file}: {lines} can't be run; see: jobqueuectl status", f"file {file}", lines)


def _mended(fields: Mapping[str, Any]) -> Happening:
    how = "removed, with its problems" if fields.get("gone") else "accepted again"
    return Happening("success", f"{fields['file']}: {how}", closes=(f"file {fields['file']}",))


def _degraded(fields: Mapping[str, Any]) -> Happening:
    return Happening("degraded", fields["text"], "state")


def _recovered(fields: Mapping[str, Any]) -> Happening | None:
    over = fields.get("of")
    return Happening("success", fields["text"], closes=(over,)) if over else None


_MADE_OF = {
    "run_late": _late,
    "late_over": _late_over,
    "overdue": _overdue,
    "overdue_over": _overdue_over,
    "run_ended": _run_ended,
    "run_skipped": _skipped,
    "held_up": _held_up,
    "fuse": _fuse,
    "job_invalid": _invalid,
    "job_valid": _valid,
    "refused": _refused,
    "flawed": _flawed,
    "mended": _mended,
    "degraded": _degraded,
    "recovered": _recovered,
}
