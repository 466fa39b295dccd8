"""The watched directories as an event source.

It reports accepted files' jobs, their texts for state.db, and problems.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter

from jobqueued.base.problem import Problem
from jobqueued.host.capacity import host_has
from jobqueued.host.linux import has_own_tmp
from jobqueued.host.log import Log
from jobqueued.jobdir import cron_tables, user_file_watch
from jobqueued.jobdir.acceptance import Content
from jobqueued.jobdir.scripts import Scripts
from jobqueued.jobdir.time_zones import TimeZones
from jobqueued.jobdir.user_files import UserFiles
from jobqueued.jobdir.watch import Watch
from jobqueued.jobfile.oddities import Surroundings, read_here
from jobqueued.jobfile.tree.yamltext import Steps
from jobqueued.model.events import FileGone, JobsLoaded, JobsRead
from jobqueued.model.job import Now
from jobqueued.model.source import Source, soonest
from jobqueued.settings.paths import Paths
from jobqueued.settings.settings import Settings, user_name

_has_more, _deadline = attrgetter("has_more"), attrgetter("deadline")


class Watches:
    """All watched directories, the time `zones`, and the `scripts` of cron's tables."""

    def __init__(
        self, watches: Sequence[Watch], scripts: Scripts | None = None, zones: TimeZones | None = None
    ) -> None:
        self._watches, self.scripts, self.zones = watches, scripts, zones

    def __iter__(self) -> Iterator[Watch]:
        return iter(self._watches)

    @property
    def refused(self) -> dict[str, list[Problem]]:
        """Problems of the refused files, by path."""
        return {watch.place(path): found for watch in self._watches for path, found in watch.problems.items()}

    @property
    def problems(self) -> dict[str, list[Problem]]:
        """Problems of refused and partly accepted files, by path."""
        flaws = {watch.place(path): found for watch in self._watches for path, found in watch.flaws.items()}
        return {**self.refused, **flaws}

    @property
    def stale(self) -> list[str]:
        """The refused files whose last good jobs remain in force."""
        found = ((watch, path) for watch in self._watches for path in watch.problems if watch.last_good(path))
        return sorted(watch.place(path) for watch, path in found)

    @property
    def has_more(self) -> bool:
        """True if a watch has work to do at once."""
        return any(map(_has_more, self._watches)) or (self.zones is not None and self.zones.is_asked)

    @property
    def complete(self) -> bool:
        """True if all existing jobs have been read."""
        return all(watch.complete for watch in self._watches)

    def hold_tables(self, held: bool) -> None:
        """If `held`, treat cron's tables as deleted, because another cron runs them."""
        for watch in self._watches:
            if watch.is_table:
                watch.hold(held=held)

    def settle(self) -> None:
        """Re-list all directories, and treat missing files as deleted at once."""
        for watch in self._watches:
            watch.settle()
        self._ask_for_zones()

    def rescan(self, mono: int) -> None:
        """Re-list each directory that has not been listed for a minute."""
        for watch in self._watches:
            watch.inbox.rescan(mono)
        if self.scripts is not None:
            self.read_again(self.scripts.changed())
        self._ask_for_zones()

    def zone(self) -> str:
        """Return the zone of jobs without the key `timezone`, or UTC if there is no `zones`."""
        return "UTC" if self.zones is None else self.zones.name()

    def _ask_for_zones(self) -> None:
        if self.zones is not None:
            self.zones.ask()

    def follow_zones(self, mono: int) -> list[str]:
        """Re-read all files if timezone rules changed; return the changes as readable text."""
        news = [] if self.zones is None else self.zones.news(mono)
        if news:
            for watch in self._watches:
                watch.inbox.forget_all()
        return news

    def read_again(self, paths: Iterable[str]) -> None:
        """Re-read these files."""
        for path in paths:
            for watch in self._watches:
                watch.read_again(path)


def watches_of(
    paths: Paths, config: Settings, kept: Mapping[str, bytes], users: UserFiles, *, of_cron: bool, boots: bool
) -> Watches:
    """Return a daemon's watches: for its job files, for users' job files and, with `of_cron`, for cron's tables.

    `kept` has the files' last accepted texts; `boots`: whether this may be the first start after a boot.
    """
    where = Surroundings(len(host_has()[0]), user_name(os.geteuid()), has_own_tmp())
    scripts, zones = Scripts() if of_cron else None, TimeZones(config)
    tables = () if scripts is None else cron_tables.readers(paths, config, scripts, zones.name, boots=boots)

    def read(data: bytes, path: str) -> Steps[Content]:
        return read_here(where, data, path, zones.host())

    own = user_file_watch.watch(users, config.users, zones.host, where, kept)
    first = Watch(paths.jobs, read, kept, below=paths.more_jobs), own
    return Watches([*first, *(Watch(directory, how, kept, kind) for directory, how, kind in tables)], scripts, zones)


class JobFiles(Source):
    """The watches in the loop. `keep` gets the texts of accepted files, to commit them with their effects."""

    def __init__(self, watches: Watches, keep: Callable[[Mapping[str, bytes | None]], None], log: Log) -> None:
        self._watches, self._keep, self._log = watches, keep, log
        self._complete = True

    def descriptors(self) -> dict[int, int]:
        """Return the descriptors of inotify and of the mount table, for all watches."""
        scripts, zones = self._watches.scripts, self._watches.zones
        wanted = [(None if it is None else it.fileno(), select.POLLIN) for it in (scripts, zones)]
        for inbox in (watch.inbox for watch in self._watches):
            wanted += [(inbox.fileno(), select.POLLIN), (inbox.mounts, select.POLLPRI)]
        return {descriptor: bits for descriptor, bits in wanted if descriptor is not None}

    @property
    def deadline(self) -> int | None:
        """The earliest time (CLOCK_MONOTONIC, ns) for a turn, or None.

        At that time a missing file counts as deleted, a failed read is retried, or changed zones are checked.
        """
        zones = self._watches.zones
        return soonest([*map(_deadline, self._watches), None if zones is None else zones.deadline])

    @property
    def has_more(self) -> bool:
        """True while there is a slice to read."""
        return self._watches.has_more

    def ready(self, descriptor: int, now: Now) -> tuple[()]:
        """Process the kernel's notices; `turn` reads the files."""
        scripts, zones = self._watches.scripts, self._watches.zones
        if zones is not None and descriptor == zones.fileno():
            zones.drain(now.mono)
        if scripts is not None and descriptor == scripts.fileno():
            self._watches.read_again(scripts.drain())
        for inbox in (watch.inbox for watch in self._watches):
            if descriptor == inbox.mounts:
                inbox.remounted()
            elif descriptor == inbox.fileno():
                inbox.drain()
        return ()

    def turn(self, now: Now) -> Iterator[JobsRead | FileGone | JobsLoaded]:
        """Read a slice of the first watch that has one."""
        for text in self._watches.follow_zones(now.mono):
            self._log.say("time_zone", text=text)
        late = [watch for watch in self._watches if watch.deadline is not None and watch.deadline <= now.mono]
        for watch in late:
            watch.inbox.drain()  # a file may have returned just now
        for watch in [each for each in self._watches if each in late or each.has_more][:1]:
            yield from self._followed(watch.scan(now.mono))
            self._keep(watch.accepted)
            self._say_changes(watch)
        if not self._complete and self._watches.complete:  # jobs without a file will not appear again
            self._complete = True
            yield JobsLoaded(True)

    def _followed(self, events: list[JobsRead | FileGone]) -> Iterator[JobsRead | FileGone]:
        """Yield the events, and watch the zones of their jobs from now on."""
        for event in events:
            if isinstance(event, JobsRead) and self._watches.zones is not None:
                self._watches.zones.follow(job.timezone for job in event.jobs)
            yield event

    def read_once(self) -> bool:
        """End the start, after the first read of each file. Return whether all existing jobs have been read.

        If not, `turn` reports JobsLoaded later.
        """
        self._complete = self._watches.complete
        return self._complete

    def _say_changes(self, watch: Watch) -> None:
        refused = watch.problems if watch.changes else {}
        for path, problems in watch.changes.items():
            place = watch.place(path)
            for problem in problems:
                if problem.severity == "warning":
                    self._log.say("odd", text=str(problem), file=place, code=problem.code)
                else:
                    self._log.say("problem", text=str(problem), file=place, code=problem.code)
            if path in refused:
                self._log.say("refused", file=place, jobs=[job.id for job in watch.last_good(path)])
            elif wrong := [problem.line for problem in problems if problem.severity == "error"]:
                self._log.say("flawed", file=place, lines=sorted(set(wrong)))
            elif not problems:
                self._log.say("mended", file=place, gone=not os.path.lexists(place))
