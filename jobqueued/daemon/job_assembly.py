"""The daemon's jobs: their files, cron's tables, and the paths that jobs wait for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from jobqueued.control.calls.reload import Reload
from jobqueued.control.calls.settings_file import SettingsFile
from jobqueued.core.scheduler import Scheduler
from jobqueued.daemon.installation import Installation
from jobqueued.daemon.loop import read_clocks
from jobqueued.host.linux import has_just_booted
from jobqueued.host.other_cron import OtherCron
from jobqueued.jobdir.account_files import AccountFiles
from jobqueued.jobdir.job_files import JobFiles, Watches, watches_of
from jobqueued.jobdir.path_triggers import PathTriggers
from jobqueued.jobdir.user_files import DIRECTORY, UserFiles
from jobqueued.jobdir.user_watchers import UserWatchers
from jobqueued.model.catalog import Catalog
from jobqueued.model.events import Event
from jobqueued.model.source import Source
from jobqueued.model.users import share_of
from jobqueued.runs.launcher_link import LauncherLink
from jobqueued.state.db.store import Store


def watched(installation: Installation, store: Store) -> Watches:
    """Return the watches of all job files; the watches begin with the texts that `store` has saved."""
    paths, config, *_ = installation
    return watches_of(
        paths,
        config,
        store.files(),
        UserFiles(paths.state / DIRECTORY),
        of_cron=bool(config.cron.get("live")),
        boots=not store.is_new or has_just_booted(),
    )


class JobAssembly:
    """The event sources for changed jobs. `keep` saves accepted texts; `reloaded` is called at the end of a reload."""

    def __init__(
        self,
        installation: Installation,
        watches: Watches,
        scheduler: Scheduler,
        link: LauncherLink,
        keep: Callable[[Mapping[str, bytes | None]], None],
        reloaded: Callable[[], None],
    ) -> None:
        paths, config, _host, self._log = installation
        self.watches, self.files = watches, UserFiles(paths.state / DIRECTORY)
        self._other_cron = OtherCron(paths.host, self._cron_changed) if config.cron.get("live") else None
        self.job_files = JobFiles(watches, keep, self._log)
        self.reload = Reload(watches, SettingsFile(paths, config), scheduler.catalog, reloaded)
        self.path_triggers = PathTriggers()
        self.user_watchers = UserWatchers(link, scheduler)
        self.accounts = AccountFiles()

    @property
    def first_sources(self) -> Collection[Source]:
        """The source that must come before all others: the detection of another cron daemon."""
        return () if self._other_cron is None else (self._other_cron,)

    @property
    def runs_tables(self) -> bool:
        """True if this daemon runs cron's tables."""
        return self._other_cron is not None and not self._other_cron.words

    def read_all(self) -> Iterable[Event]:
        """Read all job files, and yield the events about them."""
        while self.job_files.has_more:
            yield from self.job_files.turn(read_clocks())

    def want_paths(self, catalog: Catalog) -> None:
        """Watch the paths that the host's jobs wait for."""
        self.path_triggers.want(name for name in catalog.awaited_names("path") if not share_of(name))

    def _cron_changed(self, is_there: bool, told: str) -> None:
        """Leave cron's tables to another cron daemon if one exists now (`is_there`); otherwise take them back.

        `told`: the message to log.
        """
        self.watches.hold_tables(is_there)
        self._log.say("trouble" if is_there else "recovered", text=told)
