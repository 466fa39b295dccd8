"""A start of the daemon in a test, as far as its state goes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from jobqueued.core.records.host_limits import HostLimits
from jobqueued.model.run import RunId
from jobqueued.state.db.faults import CommitFailed
from jobqueued.state.db.store import Store
from jobqueued.state.takeover import Takeover
from jobqueued.state.write_batch import WriteBatch
from tests.support.records import NOW

BOOT = "this boot"


class Start:
    """A start of the daemon, as far as its state goes."""

    def __init__(self, root: Path, *found: str, commits: Callable[[], bool] | None = None, wall: int = 2 * NOW) -> None:
        (root / "state").mkdir(exist_ok=True)
        self.state, self.logs = root / "state", root / "logs"
        self.store = Store(self.state)
        self.batch = WriteBatch(self.store)
        self.takeover = Takeover(
            self.store, self.batch, self.logs, map(RunId.parse, found), commits or self.commit, BOOT, HostLimits("host")
        )
        try:
            self.takeover.carry_out(wall)
        except OSError:  # the start fails
            self.store.close()
            raise
        memories, runs = self.takeover.saved
        self.jobs = {memory.job: memory for memory in memories}
        self.runs = {str(run.id): run for run in runs}
        self.told = self.takeover.messages(self.state)

    def commit(self) -> bool:
        """As the daemon's, in short."""
        try:
            self.batch.commit()
        except CommitFailed:
            return False
        return True

    def history(self, job: str = "job") -> list[int]:
        """The numbers that have rows with a record."""
        return sorted(self.store.history(job, 1 << 30))

    def close(self) -> None:
        """Its end.  What the scheduler begins with has to be what the next one would load."""
        memories, runs = self.store.load()
        if not self.batch:
            assert (self.jobs, self.runs) == ({one.job: one for one in memories}, {str(run.id): run for run in runs})
        self.store.close()
