"""The clock itself: the one test that has to wait for a minute to begin; its daemon runs since the session began."""

from __future__ import annotations

from datetime import datetime, timedelta

from tests.support.host import Host, wait_for


def test_a_clock_job_starts_on_its_second(ticking: Host) -> None:
    """A schedule's due instant is met: the run of a minute starts in it, never before."""
    record = wait_for(lambda: ticking.record("tick@1"), 75)
    due, started = (datetime.fromisoformat(record[name]) for name in ("due", "started"))
    assert due <= started < due + timedelta(minutes=1)
    assert (record["trigger"], record["due"][17:]) == ("schedule", "00.000000Z")
