"""The job directory as a source of events: jobs of accepted files, their texts for state.db, problems for people."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator, Mapping

from jobqueued.events import FileGone, JobsLoaded, JobsRead
from jobqueued.host.log import Log
from jobqueued.jobdir.acceptance import is_gone
from jobqueued.jobdir.watch import Watch
from jobqueued.model import Now
from jobqueued.source import Source


class JobFiles(Source):
    """A Watch in the loop.  `keep` takes the texts of accepted files, to be committed with what their jobs bring."""

    def __init__(self, watch: Watch, keep: Callable[[Mapping[str, bytes | None]], None], log: Log) -> None:
        self._watch, self._keep, self._log = watch, keep, log
        self._complete = True

    def descriptors(self) -> dict[int, int]:
        """Of inotify and of the table of mounts."""
        wanted = {self._watch.inbox.fileno(): select.POLLIN, self._watch.inbox.mounts: select.POLLPRI}
        return {descriptor: bits for descriptor, bits in wanted.items() if descriptor is not None}

    @property
    def deadline(self) -> int | None:
        """The time from which a file that vanished counts as gone, or to try again what could not be read."""
        return self._watch.deadline

    @property
    def has_more(self) -> bool:
        """True while there is a slice to read."""
        return self._watch.has_more

    def ready(self, descriptor: int, now: Now) -> tuple[()]:
        """Take in what the kernel tells; `turn` acts on it."""
        if descriptor == self._watch.inbox.mounts:
            self._watch.inbox.remounted()
        else:
            self._watch.inbox.drain()
        return ()

    def turn(self, now: Now) -> Iterator[JobsRead | FileGone | JobsLoaded]:
        """Read a slice."""
        if self.deadline is not None and self.deadline <= now.mono:
            self._watch.inbox.drain()  # it may have come back just now
        yield from self._watch.scan(now.mono)
        self._keep(self._watch.accepted)
        self._say_changes()
        if not self._complete and self._watch.complete:  # what is nowhere never comes
            self._complete = True
            yield JobsLoaded(True)

    def read_once(self) -> bool:
        """Take note that each file was read once; True if it is known now which jobs there are.

        If not, that is told when it is.
        """
        self._complete = self._watch.complete
        return self._complete

    def _say_changes(self) -> None:
        refused = self._watch.problems if self._watch.changes else {}
        for path, problems in self._watch.changes.items():
            for problem in problems:
                if problem.severity == "warning":
                    self._log.say("odd", text=str(problem), file=path)
                else:
                    self._log.say("problem", text=str(problem), file=path)
            if path in refused:
                self._log.say("refused", file=path, jobs=[job.id for job in self._watch.last_good(path)])
            elif not problems:
                self._log.say("mended", file=path, gone=is_gone(path))
