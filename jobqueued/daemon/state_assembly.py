"""The daemon's state on disk: the history of due times, the batch for the next commit, and waiting notices."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping
from functools import partial

from jobqueued.core.scheduler import Scheduler
from jobqueued.daemon.installation import Installation
from jobqueued.jobdir.cron_tables import with_scripts
from jobqueued.jobdir.job_files import Watches
from jobqueued.model.commands import Command, SaveBoot
from jobqueued.model.run import RunId
from jobqueued.notices.notices import Notices
from jobqueued.settings.settings import user_name
from jobqueued.state.commits import Commits
from jobqueued.state.db.store import Store
from jobqueued.state.due_history import DueHistory
from jobqueued.state.takeover import PART, Takeover
from jobqueued.state.write_batch import WriteBatch


class StateAssembly:
    """The `store`, and all parts that write to it."""

    def __init__(self, installation: Installation, store: Store, scheduler: Scheduler, watches: Watches) -> None:
        paths, config, host, log = installation
        self._paths, self._log, self._scheduler, self.store = paths, log, scheduler, store
        self._unrestored: Takeover | None = None
        """The takeover whose results the scheduler has not received yet, or None if there is none."""
        self._boot: list[Command] = []
        """The command that saves that the runs of this boot are recovered, or [] before the recovery."""
        noted = partial(with_scripts, watches.scripts, config.cron.get("expand", False))
        self.due_history = DueHistory.of(store, watches.zone, noted)
        self.batch = WriteBatch(store, self.due_history.anew)
        self.commits = Commits(store, self.batch, self._everything, paths, log)
        user = user_name(os.geteuid()) or "root"
        self.notices = Notices(host, config.notify, watches.zone, scheduler.remembered_job, user)

    def take_files(self, files: Mapping[str, bytes | None]) -> None:
        """Save the texts of accepted job files with the next commit."""
        self.batch.take_files(files)
        self.due_history.take_files(files)

    def take_over(self, boot_id: str, live: Collection[RunId], progress: Callable[[], None]) -> Takeover:
        """Import history from record files if it is absent from state.db.

        `progress` is called before each large commit.
        """
        limits = self._scheduler.limits
        commit = partial(self._commit_part, progress)
        takeover = Takeover(self.store, self.batch, self._paths.logs, {*live}, commit, boot_id, limits)
        self._unrestored = takeover
        takeover.carry_out(time.time_ns())
        for trouble in takeover.messages(self._paths.state):
            self._log.say("trouble", text=trouble)
        return takeover

    def note_restored(self) -> None:
        """Restore the notices, and record that the scheduler has the takeover's results."""
        self.notices.restore(*self.store.notices())
        self._unrestored = None

    def note_recovered(self, boot_id: str) -> None:
        """Record that all of this boot's live runs were recovered, so that a new state.db contains this fact."""
        self._boot = [SaveBoot(boot_id)]

    def _commit_part(self, progress: Callable[[], None]) -> bool:
        if len(self.batch.runs) >= PART:
            progress()
        return self.commits.make()

    def _everything(self) -> list[Command]:
        """Return the commands that save the whole state in a new state.db."""
        if self._unrestored is not None:
            return self._unrestored.everything()
        return [*self._scheduler.everything(), *self.notices.everything(), *self._boot]
