"""Calendar events beside systemd itself, where it is installed."""

from __future__ import annotations

import re
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from jobqueued.exchange.calendar_event import cron_time
from jobqueued.timing.schedule import Schedule, Seconds
from tests.support.calendar_events import SAYABLE


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("event", SAYABLE)
@pytest.mark.parametrize("start", ["2026-10-24 20:00:00", "2027-03-27 20:00:00"])
def test_systemd_itself_has_the_same_due_times(event: str, start: str) -> None:
    """Around both changes of the clock: what is skipped it skips, and what comes twice it takes once."""
    command = ["systemd-analyze", "calendar", "--iterations=40", f"--base-time={start}", event]
    done = subprocess.run(
        command, env={"TZ": "Europe/Berlin", "LC_ALL": "C"}, capture_output=True, text=True, check=True
    )
    told = re.findall(r"\(in UTC\): \w{3} (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", done.stdout)
    time = cron_time(event)
    schedule = Seconds(Schedule(time.schedule, "Europe/Berlin", dst="skip"), time.seconds)
    instant, ours = datetime.fromisoformat(start).replace(tzinfo=UTC) - timedelta(hours=2 if "-10-" in start else 1), []
    for _ in told:
        instant = schedule.after(instant) or instant
        ours.append(f"{instant:%Y-%m-%d %H:%M:%S}")
    assert (40, told) == (len(told), ours)
