"""A day of eight jobs, as records, with all that a timeline shows: waits with their holders, bad ends, a live run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from jobqueued.base.instants import to_instant, to_text
from jobqueued.child.contract.documents import Record
from tests.support.records import a_record

BEGIN = datetime(2026, 11, 26, tzinfo=ZoneInfo("Europe/Berlin"))
NOW = BEGIN + timedelta(hours=23, minutes=55)
_AT_ONCE = 0.001
"""Minutes from the due time to the start of a run that waits for nothing."""
JOBS = """\
jobs:
  backup:      {command: /usr/local/bin/backup, locks: [database], tags: [nightly, db]}
  dump-orders: {command: dump-orders --all, locks: [database], tags: [db]}
  report:      {command: report, locks: [database], tags: [nightly]}
  new:         {command: has never run, locks: [database]}
"""
CLAIMS = {name: {"host": False, "database": True} for name in ("backup", "dump-orders", "report")}
"""The same jobs' claims."""

_DATABASE = {"resource": "database", "mode": "exclusive", "units": 0, "of": 1}


def a_day() -> list[Record]:
    """The records, newest first."""
    return sorted(_runs(), key=lambda record: record["queued"], reverse=True)


def _runs() -> Iterator[Record]:
    yield _run("backup", 61, 120, _AT_ONCE, 95, tags=["nightly", "db"], command="/usr/local/bin/backup")
    for hour in range(24):
        wait, took = {2: (95.1, 12), 3: (47.2, 11)}.get(hour, (_AT_ONCE, 6 + hour * 5 % 7))
        state, reason = ("failed", "exit code 3") if hour == 14 else ("succeeded", None)
        yield _run("dump-orders", 700 + hour, hour * 60, wait, took, state, reason=reason, tags=["db"],
                   command="dump-orders --all", waited_for=["database"] if wait > 1 else [])  # fmt: skip
    yield _run("report", 61, 190, 49, 25, tags=["nightly"], waited_for=["database"], command="report")
    for nth in range(96):
        yield _run("rotate-logs", 9000 + nth, nth * 15, _AT_ONCE, 0.4, command="rotate-logs")
    for nth in range(287):
        bad = nth in (100, 101, 102)
        yield _run("fetch-mail", 2000 + nth, nth * 5, _AT_ONCE, 1 if bad else 0.1, "timed_out" if bad else "succeeded",
                   reason="timeout after 60 s" if bad else None, command="fetch-mail")  # fmt: skip
    for nth, (took, state, reason) in enumerate(
        [
            (42, "succeeded", None),
            (18, "killed", "stopped by alice"),
            (41, "succeeded", None),
            (55, "oom_killed", "killed for its memory"),
        ]
    ):
        yield _run("build-site", 40 + nth, 300 + nth * 300, _AT_ONCE, took, state, reason=reason, tags=["web"],
                   command="make -C /srv/site")  # fmt: skip
    for nth in range(8):
        wait, took, state, reason = (
            (None, None, "skipped", "paused") if nth in (3, 4) else (_AT_ONCE, 20 + nth * 4, "succeeded", None)
        )
        yield _run("thumbnails", 300 + nth, 60 + nth * 180, wait, took, state, reason=reason, tags=["web"],
                   command="thumbnails")  # fmt: skip
    yield _run(
        "sync-mirror", 12, 1250, _AT_ONCE, None, "running", tags=["nightly"], command="rsync -a mirror::all /srv"
    )


def _run(job: str, number: int, due: float, wait: float | None, took: float | None, state: str = "succeeded",
         **fields: Any) -> Record:  # fmt: skip
    """A run that was due so many minutes after the day began."""

    def text(minute: float) -> str:
        return to_text(to_instant(BEGIN + timedelta(minutes=minute)))

    started = None if wait is None else due + wait
    ended = None if started is None or took is None else started + took
    busy = {} if ended is None else {"cpu_user": round((took or 0) * 22, 3), "memory_peak": (20 + number % 50) << 20}
    skipped = {"first_due": text(due), "last_due": text(due)} if state == "skipped" else {}
    live = {"attempts": [], "exit_code": None} if ended is None else {}
    base: Any = a_record(number, "succeeded" if state == "running" else state, job)
    return {
        **base, "state": state, "reason": None, "trigger": "schedule", "due": text(due), "queued": text(due),
        "started": None if started is None else text(started), "ended": None if ended is None else text(ended),
        "claims": [_DATABASE] if job in CLAIMS else [], **skipped, **busy, **live, **fields,
    }  # fmt: skip
