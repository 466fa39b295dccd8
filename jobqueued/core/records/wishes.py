"""A run's wishes: its job's settings for notices and pings, saved while the run is unfinished.

A job may be removed during its run, for example by a command that deletes its own crontab. People still get the notices
about this run, as they get cron's mail.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from jobqueued.child.contract.documents import Record
from jobqueued.model.job import Job
from jobqueued.model.notify import NOBODY, Notify, Ping


def wishes(job: Job) -> dict[str, Any] | None:
    """Return a job's settings for notices and pings as JSON, or None if the job has none."""
    if job.notify is NOBODY and job.ping is None:
        return None
    return {"notify": job.notify.plain(), "ping": None if job.ping is None else job.ping.plain()}


def removed_job(record: Record, wishes: dict[str, Any] | None) -> Job:
    """Return the part of a removed job that notices about its run need."""
    job = Job(id=record["job"], command="", tags=tuple(record.get("tags", ())), user=record.get("user"))
    if wishes is None:
        return job
    ping = None if wishes["ping"] is None else Ping.of(wishes["ping"])
    return replace(job, notify=Notify.of(wishes["notify"]), ping=ping)
