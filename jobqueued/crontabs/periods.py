"""Lines of an anacrontab.

Converts anacron's periods. Anacron waits until a period has passed; a job here has due times, and makes up for missed
ones.
"""

from __future__ import annotations

from typing import Any

from jobqueued.base.instants import DAY
from jobqueued.crontabs.run_parts import parts_of
from jobqueued.crontabs.table import TableEntry
from jobqueued.crontabs.variables import first_hour
from jobqueued.model.job import CatchUp, Claim

_HALF_PAST_SEVEN = 7 * 60 + 30
"""The time at which Debian starts anacron, in minutes after midnight."""
_DAYS = {1: "* * *", 7: "* * 0", 30: "1 * *", 31: "1 * *", 365: "1 1 *"}
"""Length of a period (days) → day fields of its cron expression, for calendar periods such as a week."""
_BY_CRONTAB = frozenset(("/etc/cron.hourly", "/etc/cron.daily", "/etc/cron.weekly", "/etc/cron.monthly"))
OF_ANACRON: dict[str, Any] = {
    "concurrency": 1,
    "catch_up": CatchUp.LATEST,
    "catch_up_window": 365 * DAY,
    "locks": (Claim("anacrontab", exclusive=True),),
}
"""Settings of each job: after host downtime, the job runs once, and no two of these jobs run at the same time."""


def is_run_by_crontab(entry: TableEntry) -> bool:
    """Return whether an entry is one of the packaged lines whose scripts /etc/crontab also runs."""
    parts = parts_of(entry.command)
    return parts is not None and parts.directory in _BY_CRONTAB


def when(entry: TableEntry) -> tuple[str, int | None]:
    """Return the cron expression for an entry's period and None, or "" and the minute of the day when the job is due
    every N days.
    """
    hour = first_hour(entry.environment)
    minutes = ((_HALF_PAST_SEVEN if hour is None else hour * 60) + entry.delay) % (24 * 60)
    if entry.days in _DAYS:
        return f"{minutes % 60} {minutes // 60} {_DAYS[entry.days]}", None
    return "", minutes
