"""A history that a benchmark asks about: records of runs that have ended, as a supervisor writes them."""

from __future__ import annotations

import random
from pathlib import Path

from jobqueued.base.instants import SECOND, to_text
from jobqueued.child.contract import wire
from jobqueued.child.contract.documents import NO_OUTPUT, UNKNOWN_OF_ATTEMPT, Record, with_attempt
from jobqueued.core.records import record
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import RunState


def keep(logs: Path, job: str, dues: list[int], chance: random.Random) -> None:
    """Write the records of runs of a job that were due then; each took 2 to 60 s."""
    (logs / job).mkdir(parents=True)
    for number, due in enumerate(dues, 1):
        document = _ended(RunId(job, number), due, round(chance.uniform(2, 60) * SECOND))
        (logs / job / f"{number}.json").write_bytes(wire.encode(document))  # not to wait for the disk each time


def _ended(name: RunId, due: int, took: int) -> Record:
    run = Run(
        id=name, key=f"c0.{due // SECOND}", due=due, queued=due, arrival=name.number, attempt=1,
        trigger="schedule", state=RunState.SUCCEEDED,
    )  # fmt: skip
    return {
        **with_attempt(record.begin(run, None, HostLimits("host")), {
            **UNKNOWN_OF_ATTEMPT, "attempt": 1, "state": "succeeded", "reason": None, "pid": 4, "exit_code": 0,
            "started": to_text(due), "ended": to_text(due + took), "output": {**NO_OUTPUT, "offset": 0},
        }), "state": "succeeded",
    }  # fmt: skip
