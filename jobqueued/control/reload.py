"""A reload by hand, from the asking to the answer that every changed file counts; and what is told of files read."""

from __future__ import annotations

from typing import Any

from jobqueued.catalog import Catalog
from jobqueued.host.log import Log
from jobqueued.jobdir.watch import Watch
from jobqueued.model import Job


class Reload:
    """What was asked for and not answered yet.  Files are listed: inotify is blind to networks and may lose track."""

    def __init__(self, watch: Watch, catalog: Catalog) -> None:
        self._watch, self._catalog = watch, catalog
        self._asked: dict[int, dict[str, Job]] = {}
        self._under_way = False

    def begin(self, ticket: int | None = None) -> None:
        """Somebody asks; the answer tells what changed since then."""
        self._watch.relist()
        self._under_way = True
        if ticket is not None:
            self._asked[ticket] = {job.id: job for job in self._catalog}

    def is_complete(self) -> bool:
        """Whether one that was asked for is complete; true once."""
        complete = self._under_way and not self._watch.has_more
        self._under_way = self._under_way and not complete
        return complete

    def answers(self) -> list[tuple[int, dict[str, Any]]]:
        """What each who asked is told, by ticket."""
        asked, self._asked = self._asked, {}
        return [(ticket, self._told(before)) for ticket, before in asked.items()]

    def _told(self, before: dict[str, Job]) -> dict[str, Any]:
        jobs = {job.id: job for job in self._catalog}
        return {
            "jobs": len(jobs),
            "added": sorted(jobs.keys() - before.keys()),
            "edited": sorted(name for name, job in jobs.items() if before.get(name, job) != job),
            "removed": sorted(before.keys() - jobs.keys()),
            **refused(self._watch),
        }


def tell_changes(watch: Watch, journal: Log) -> None:
    """What the last scan found wrong, or mended, in files."""
    refused_files = watch.problems if watch.changes else {}
    for path, problems in watch.changes.items():
        for problem in problems:
            if problem.severity == "warning":
                journal.say("odd", text=str(problem), file=path)
            else:
                journal.say("problem", text=str(problem), file=path)
        if path in refused_files:
            journal.say("refused", file=path, jobs=[job.id for job in watch.last_good(path)])
        elif not problems:
            journal.say("mended", file=path)


def refused(watch: Watch) -> dict[str, Any]:
    """The files that could not be accepted, as the interface tells it: which are stale, and what is wrong with each."""
    problems = watch.problems
    return {
        "stale": sorted(path for path in problems if watch.last_good(path)),
        "problems": [problem._asdict() for found in problems.values() for problem in found],
    }
