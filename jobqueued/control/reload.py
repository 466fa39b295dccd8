"""A reload by hand, from the asking to the answer that every changed file counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jobqueued.catalog import Catalog, is_same
from jobqueued.control.settings_file import SettingsFile
from jobqueued.events import Reloaded
from jobqueued.jobdir.job_files import Watches
from jobqueued.model import Job, Now
from jobqueued.source import Source


class Reload(Source):
    """Reloads that were asked for and are not answered yet.

    Files are listed, as inotify is blind to networks and may lose track; one that is not there is gone at once.
    `complete` is called once every file was read and its jobs count.  So this comes before the job files in the list of
    sources: what they tell counts only after the turn.
    """

    def __init__(
        self, watches: Watches, settings: SettingsFile, catalog: Catalog, complete: Callable[[], None]
    ) -> None:
        self._watches, self._settings, self._catalog, self._complete = watches, settings, catalog, complete
        self._asked: dict[int, dict[str, Job]] = {}
        self._under_way = False

    def begin(self, ticket: int | None = None) -> None:
        """Somebody asks; the answer tells what changed since then."""
        self._watches.settle()
        self._under_way = True
        if ticket is not None:
            self._asked[ticket] = {job.id: job for job in self._catalog}

    @property
    def has_more(self) -> bool:
        """True if one that was asked for is complete."""
        return self._under_way and not self._watches.has_more

    def turn(self, now: Now) -> list[Reloaded]:
        """Tell that it is complete."""
        self._under_way = False
        self._complete()
        return [Reloaded()]

    def answers(self) -> list[tuple[int, dict[str, Any]]]:
        """Take the answers to all who asked, by ticket."""
        asked, self._asked = self._asked, {}
        return [(ticket, self._told(before)) for ticket, before in asked.items()]

    def _told(self, before: dict[str, Job]) -> dict[str, Any]:
        jobs = {job.id: job for job in self._catalog}
        return {
            "jobs": len(jobs),
            "added": sorted(jobs.keys() - before.keys()),
            "edited": sorted(name for name, job in jobs.items() if not is_same(before.get(name, job), job)),
            "removed": sorted(before.keys() - jobs.keys()),
            **self.refused(),
        }

    def refused(self) -> dict[str, Any]:
        """The files that could not be accepted, in the interface's terms: which are stale, and what is wrong with each.

        The settings' file is among them; that it has changed is told there too.
        """
        problems = self._watches.problems
        found = [problem for of_file in problems.values() for problem in of_file] + self._settings.problems
        return {
            "stale": self._watches.stale,
            "problems": [problem._asdict() for problem in found],
        }
