"""The daemon's runs: the launcher, the fleet, the files of ended runs, and notices."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Container, Iterator
from functools import partial

from jobqueued.control.calls.lock_processes import LockProcesses
from jobqueued.control.protocol.replies import Reply
from jobqueued.core.scheduler import Scheduler
from jobqueued.daemon.acts import Acts
from jobqueued.daemon.installation import Installation
from jobqueued.daemon.loop import read_clocks
from jobqueued.daemon.run_files import RunDirectories, RunFiles
from jobqueued.daemon.state_assembly import StateAssembly
from jobqueued.host.psi import PressureTriggers
from jobqueued.model.events import Event
from jobqueued.model.run import RunId
from jobqueued.runs.fleet_link import AGENT, FleetLink
from jobqueued.runs.heartbeat import HeartbeatSender
from jobqueued.runs.launch_spec import shortfall
from jobqueued.runs.launcher_link import LauncherLink
from jobqueued.runs.launcher_news import LauncherNews
from jobqueued.runs.notice_sender import NoticeSender
from jobqueued.state.db.faults import StoreError
from jobqueued.state.housekeeping import Housekeeping, Limits


class RunAssembly:
    """The launcher's `link`, and all parts that follow and end runs.

    `stands_still` returns why no run starts, or "" if runs start.
    """

    def __init__(
        self,
        installation: Installation,
        link: LauncherLink,
        scheduler: Scheduler,
        state: StateAssembly,
        stands_still: Callable[[], str],
        reply: Reply,
    ) -> None:
        paths, config, host, self._log = installation
        self._scheduler, self._batch, self.link = scheduler, state.batch, link
        self.pressure = PressureTriggers({name: part for name, part in config.pressure.items() if name != "below"})
        self.lock_processes = LockProcesses(paths.run / "with-lock")
        self.news = LauncherNews(link, partial(self.recover, same_boot=True), self._log)
        notifier, users = config.notifier if os.geteuid() == 0 else None, link.accounts.users
        self.notices = NoticeSender(state.notices, link, notifier, config.mail, read_clocks, users)
        self.heartbeat = HeartbeatSender(config.heartbeat, link, notifier, stands_still, self._log, read_clocks)
        own, commits = AGENT if link.is_own else None, state.commits
        self.fleet = FleetLink(paths.run / "fleet", config.fleet, host, commits.of_fleet, scheduler.askable, own)
        self._directories = RunDirectories(state.batch, link.marks, paths.logs, self._log)
        limits = Limits(config.retention, config.max_use, config.keep_free, config.users.logs)
        self.housekeeping = Housekeeping(
            commits, paths.logs, limits, self._spared, self._log, self._directories.filed, scheduler.is_nowhere
        )
        self.files = RunFiles(paths.logs, self._directories, self.housekeeping)
        self.acts = Acts(commits, link, self._log, self.files, self.lock_processes, self.fleet, reply)

    def recover(self, *, same_boot: bool) -> Iterator[Event]:
        """Yield the verdicts on all attempts that may be live."""
        yield from self.link.recover(self._scheduler.runs, self._is_final, same_boot=same_boot)
        for flaw in self.link.marks.flaws():
            self._log.say("trouble", text=flaw)

    def shortfall(self) -> tuple[list[str], list[str]]:
        """Return two lists of messages: about limits that can't be enforced on this host, and about jobs that therefore
        don't start.
        """
        return shortfall(self._scheduler.catalog.limited(), self.link.controllers)

    def close(self) -> None:
        """Close the connections to the launcher and the fleet."""
        self.link.close()
        self.fleet.close()

    def _spared(self) -> Container[RunId]:
        runs, left = self._scheduler.runs, self._scheduler.left
        return self._directories.spared({*runs, *left} if left else runs)

    def _is_final(self, run: RunId) -> bool:
        """Return whether a run's end is saved.

        If the saved state can't be read, return False, so that the end is handled once more.
        """
        with contextlib.suppress(StoreError):
            return run not in self._scheduler.runs and self._batch.record(run) is not None
        return False
