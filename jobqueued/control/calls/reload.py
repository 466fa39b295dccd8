"""A reload, requested with SIGHUP or the method Reload. It ends when every changed file is in force.

During a reload, another request makes the daemon relist all files; both requests end together. A host's hold or drain
remains.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jobqueued.control.calls.settings_file import SettingsFile
from jobqueued.control.protocol.access import AccessRule, Rank
from jobqueued.control.protocol.declaration import method
from jobqueued.control.protocol.ownership import Asker
from jobqueued.jobdir.job_files import Watches
from jobqueued.model.catalog import Catalog, is_same
from jobqueued.model.events import Reloaded
from jobqueued.model.job import Job, Now
from jobqueued.model.source import Source


class Reload(Source):
    """The reload under way, and the requests that wait for its end.

    A reload lists all files, because inotify does not see changes on network file systems and may lose events; a
    missing file counts as deleted at once. `complete` is called when every file was read and its jobs are in force.
    This source must come before the job files, because their events take effect only after the turn.
    """

    def __init__(
        self, watches: Watches, settings: SettingsFile, catalog: Catalog, complete: Callable[[], None]
    ) -> None:
        self._watches, self._settings, self._catalog, self._complete = watches, settings, catalog, complete
        self._asked: dict[int, dict[str, Job]] = {}
        self._under_way = False

    def begin(self, ticket: int | None = None) -> None:
        """Start a reload; during a reload, only relist all files. The reply to `ticket` will have all later changes."""
        self._watches.settle()
        self._under_way = True
        if ticket is not None:
            self._asked[ticket] = {job.id: job for job in self._catalog}

    @method("Reload", AccessRule(Rank.OPERATOR))
    def reload(self, asked: dict[str, Any], asker: Asker) -> None:
        """Start a reload, and reply when it is complete."""
        self.begin(asker.ticket())

    @property
    def has_more(self) -> bool:
        """Return whether `turn` must report that a reload is complete."""
        return self._under_way and not self._watches.has_more

    def turn(self, now: Now) -> list[Reloaded]:
        """Report that the reload is complete."""
        self._under_way = False
        self._complete()
        return [Reloaded()]

    def answers(self) -> list[tuple[int, dict[str, Any]]]:
        """Return the replies by ticket, and forget them."""
        asked, self._asked = self._asked, {}
        return [(ticket, self._changes(before)) for ticket, before in asked.items()]

    def _changes(self, before: dict[str, Job]) -> dict[str, Any]:
        jobs = {job.id: job for job in self._catalog}
        return {
            "jobs": len(jobs),
            "added": sorted(jobs.keys() - before.keys()),
            "edited": sorted(name for name, job in jobs.items() if not is_same(before.get(name, job), job)),
            "removed": sorted(before.keys() - jobs.keys()),
            **self.refused(),
        }

    def refused(self) -> dict[str, Any]:
        """Return the refused files whose last good jobs remain, and all problems, in the interface's format.

        The settings file is included if it has an error, or changed after the start.
        """
        problems = self._watches.problems
        found = [problem for of_file in problems.values() for problem in of_file] + self._settings.problems
        return {
            "stale": self._watches.stale,
            "problems": [problem._asdict() for problem in found],
        }
