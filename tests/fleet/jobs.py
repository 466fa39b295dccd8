"""The jobs of the fleet, the same on all hosts, and the book to which they write, in the order in which it happens."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

_COMMAND = """\
host=$(tr '\\0' ' ' </proc/$PPID/cmdline); host=${{host#*{place}/}}; host=${{host%%/*}}
say() {{ read -r up _ </proc/uptime
  echo "$1 $JOBQUEUE_JOB $JOBQUEUE_DUE $host:$JOBQUEUE_RUN.$JOBQUEUE_ATTEMPT $up ${{JOBQUEUE_FENCE:-0}}" >>{book}; }}
say start; sleep {sleep}; say end
"""
_JOB = """\
  {name}:
    schedule: "{minutes} * * * *"
    seconds: "{seconds}"
    scope: {scope}
    enabled: {enabled}
    locks: [{locks}]
    catch_up: {catch_up}
    max_waiting: 1000
    timezone: UTC
    {more}
    command: |
{command}
"""


class Job(NamedTuple):
    """A job of the fleet, or of each host, and the lock that it holds in the fleet.

    `every`: the seconds from one due time to the next, which divide a minute, or are minutes that divide an hour.
    `changes`: hosts have other definitions of it at times, or people pause it, so that nobody can tell what has to run.
    """

    name: str
    every: int
    sleep: float
    is_of_fleet: bool
    lock: str = ""
    changes: bool = False
    more: str = ""
    """A further line of its definition."""
    skips: bool = False
    """What no host has started in time is skipped, so that an occurrence has run, or has the record of one host."""

    @property
    def held(self) -> list[str]:
        """All that no two runs of it hold at a time; a job of the fleet runs once in all of it."""
        return [f"lock {self.lock}"] * bool(self.lock) + [f"job {self.name}"] * self.is_of_fleet

    def text(self, book: Path, enabled: bool) -> str:
        """As a job file has it."""
        lines = _COMMAND.format(book=book, place=book.parent, sleep=self.sleep).splitlines()
        scope = "fleet" if self.is_of_fleet else "host"
        minutes, seconds = (f"*/{self.every // 60}", "0") if self.every >= 60 else ("*", f"*/{self.every}")
        more, catch_up = ("start_deadline: 6s", "none") if self.skips else (self.more, "all")
        return _JOB.format(
            name=self.name, more=more, catch_up=catch_up, minutes=minutes, seconds=seconds, scope=scope,
            enabled=str(enabled).lower(),
            locks=f"{{name: {self.lock}, scope: fleet}}" if self.lock else "",
            command="\n".join(f"      {line}" for line in lines),
        )  # fmt: skip


JOBS = (
    Job("a", 2, 0.05, True),
    Job("b", 2, 0.3, True),
    Job("c", 3, 0.01, True),
    Job("d", 5, 1, True, "tape"),
    Job("e", 30, 13, True, "disk"),
    Job("f", 10, 0.2, False, "tape"),
    Job("g", 6, 0.01, False, "disk"),
    Job("h", 5, 0.01, False),
    Job("i", 120, 16, False, "vault"),
    Job("j", 4, 0.1, True, changes=True),
    Job("k", 5, 2, False, changes=True),
    Job("l", 2, 0.05, True, skips=True),
    Job("n", 2, 0.05, True, changes=True),
)
OTHERWISE: dict[str, Job | None] = {"c": None, "j": Job("j", 3, 0.1, True), "k": Job("k", 5, 2, True)}
"""What jobs are at times on a host, by their names; None: not there."""


def file(book: Path, *, enabled: bool, otherwise: Mapping[str, Job | None] = {}) -> str:
    """The job file of a host; `otherwise`: what jobs are there by their names, where they are not as on the others."""
    found = (otherwise.get(job.name, job) for job in JOBS)
    return "jobs:\n" + "".join(job.text(book, enabled) for job in found if job is not None)


class Line(NamedTuple):
    """A line of the book: `run` is HOST:JOB@NUMBER.ATTEMPT, `up` are seconds by the clock of this machine.

    `what` is "start", "end", or "down": of that host nothing lives any more (`job` is "-").
    """

    what: str
    job: str
    due: datetime
    run: str
    up: float
    fence: int

    @property
    def host(self) -> str:
        """Where it was written."""
        return self.run.partition(":")[0]


def downfall(book: Path, host: str) -> None:
    """Write down that nothing lives on a host any more."""
    with book.open("a") as file:
        file.write(
            f"down - {datetime.now(UTC).isoformat()} {host}:-.0 {time.clock_gettime(time.CLOCK_BOOTTIME):.2f} 0\n"
        )


def read(book: Path) -> list[Line]:
    """All that the jobs wrote down, in its order."""
    words = (line.split() for line in book.read_text().splitlines())
    return [Line(what, job, datetime.fromisoformat(due), run, float(up), int(fence))
            for what, job, due, run, up, fence in words]  # fmt: skip


def dues(job: Job, begin: datetime, end: datetime) -> Iterator[datetime]:
    """The instants after `begin`, and at `end` at the latest, at which a job is due."""
    due = begin.astimezone(UTC).replace(microsecond=0)
    while (due := due + timedelta(seconds=1)) <= end:
        if int(due.timestamp()) % job.every == 0:
            yield due
