"""A store with its batch and its commits, and a log that keeps its lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jobqueued.host.log import Log
from jobqueued.model.commands import Command, SaveBoot, SaveHold, SaveJob, SaveRun
from jobqueued.model.run_states import RunState
from jobqueued.model.saved import SavedJob
from jobqueued.settings.paths import Paths
from jobqueued.state.commits import Commits
from jobqueued.state.db.store import Store
from jobqueued.state.write_batch import WriteBatch
from tests.support.states import a_run


class Heard(Log):
    """A log that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def say(self, event: str, **fields: Any) -> None:
        self.lines.append((event, fields["text"]))


class Saving:
    """A store with a batch and its commits; what memory has is two jobs, a run, and no hold."""

    def __init__(self, root: Path) -> None:
        self.paths, self.log = Paths.under(root), Heard()
        self.paths.state.mkdir(exist_ok=True)
        self.store = Store(self.paths.state)
        self.batch = WriteBatch(self.store)
        self.commits = Commits(self.store, self.batch, self.everything, self.paths, self.log)
        self.run = a_run(1, state=RunState.RUNNING, attempt=1)

    def everything(self) -> list[Command]:
        jobs = [SaveJob(SavedJob(job=name, cursor=7, last_number=1)) for name in ("job", "other")]
        return [*jobs, SaveRun(self.run), SaveHold(None), SaveBoot("boot")]

    def begin(self) -> None:
        """Save all that memory has, and a file."""
        self.take()
        self.batch.take_files({"a.yaml": b"jobs: {}"})
        assert self.commits.make()
        assert [] == self.commits.begun()

    def take(self, *more: Command) -> None:
        """Let the next commit have all that memory has, and these."""
        for command in (*self.everything(), *more):
            self.batch.take(command)

    def wait(self) -> None:
        """Let the time pass in which nothing is tried again."""
        self.commits._tried_at = 0
