"""What jobqueued's own reading of this machine's tables says will start, without a daemon."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from jobqueued.crontabs.jobs import CronHost
from jobqueued.jobdir.cron_tables import jobs_of_text
from jobqueued.model.job import Job
from jobqueued.timing.schedule import Schedule

CRON_D, SPOOL = Path("/etc/cron.d"), Path("/var/spool/cron/crontabs")


def jobs(zone: str) -> list[Job]:
    """The jobs of all tables."""
    tables = {"etc/crontab": Path("/etc/crontab")}
    tables |= {f"cron.d/{path.name}": path for path in CRON_D.iterdir() if not path.name.startswith(".")}
    tables |= {f"crontabs/{path.name}": path for path in SPOOL.iterdir()}
    host = CronHost(zone)
    return [job for name, path in tables.items() for job in jobs_of_text(name, path.read_bytes(), host)]


def of(job: Job) -> Schedule:
    """The schedule of a job of a table."""
    (schedule,) = job.triggers
    assert isinstance(schedule, Schedule)
    return schedule


def minutes(job: Job, begin: int, end: int) -> Iterator[int]:
    """The seconds at which a job is due: later than one and before the other."""
    schedule = of(job)
    instant = schedule.after(datetime.fromtimestamp(begin, UTC))
    while instant is not None and (second := int(instant.timestamp())) < end:
        yield second
        instant = schedule.after(instant)
