"""One forecast: what the daemon plays in short to answer `why` comes in the simulation, too, from the same queue."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from jobqueued.base.instants import HOUR, MINUTE, SECOND, to_text
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.core.records.usual import likely
from jobqueued.foresight.durations import Draws, Durations, DurationSample
from jobqueued.foresight.simulated_host import Beginning, SimulatedHost
from jobqueued.foresight.tally import Tally
from jobqueued.model.events import RunStarted
from jobqueued.model.job import Claim, Escalation, Job
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import RunState
from jobqueued.model.saved import SavedJob
from jobqueued.model.users import Owner
from tests.support.futures import chance
from tests.support.world import MIDNIGHT, job

LONG = 100 * HOUR
TELLING = (1162, 2173, 4451)
"""Of 6,000 queues these alone tell if the forecast does not know that a pass is over, earlier refusals, or promises."""


class Starts(Tally):
    """A tally that keeps the start of each run."""

    def __init__(self) -> None:
        super().__init__()
        self.began: dict[RunId, int] = {}

    def started(self, run: RunId, due: int, planned: int, start: int, *blame: Any) -> None:
        """Keep a start."""
        self.began[run] = start


def a_job(name: str, luck: random.Random) -> Job:
    """A job that wants some of what few can have, or nothing, or the whole host; at times a user's."""
    locks = [Claim(lock, exclusive=luck.random() < 0.7) for lock in ("tape", "database") if luck.random() < 0.3]
    units = (Claim("gpu", luck.randint(1, 2)),) if luck.random() < 0.4 else ()
    owner = Owner(1000, "alice") if luck.random() < 0.2 else None
    return job(
        name if owner is None else f"alice/{name}", locks=tuple(locks), resources=units, owner=owner,
        exclusive=luck.random() < 0.1, priority=luck.randint(0, 3), concurrency=99, max_waiting=99,
        escalation=luck.choice([None, Escalation(0), Escalation(luck.randint(1, 5), MINUTE)]),
        timeout=luck.choice([None, None, luck.randint(60, 3600) * SECOND]),
    )  # fmt: skip


def a_host(luck: random.Random, starts: Starts) -> SimulatedHost:
    """A host on which some runs live and others wait by now; of each job it is known how long it takes."""
    jobs = {it.id: it for it in (a_job(f"j{number}", luck) for number in range(luck.randint(3, 9)))}
    limits = HostLimits(
        resources={"gpu": 3}, max_running=luck.choice([None, 2, 4]), most_of_a_user=luck.choice([None, 1])
    )  # fmt: skip
    times = {name: f"{luck.randint(1000, 9_000_000)}" for name in jobs}
    known = {name: [DurationSample(likely(times[name], None, it.timeout) or 0)] for name, it in jobs.items()}
    waiting, numbers = list[Run](), Counter[str]()
    for arrival in range(luck.randint(4, 25)):
        name, queued = luck.choice(list(jobs)), MIDNIGHT - luck.randint(0, 9000) * SECOND
        numbers[name] += 1
        waiting.append(Run(
            id=RunId(name, numbers[name]), key=f"x{arrival}", due=queued, queued=queued, arrival=arrival,
            state=RunState.WAITING, since=queued, trigger="manual",
        ))  # fmt: skip
    saved = [SavedJob(job=name, last_number=numbers[name], took=times[name]) for name in jobs]
    beginning = Beginning(MIDNIGHT, saved, waiting)
    host = SimulatedHost(jobs.values(), limits, beginning, Draws(Durations(known), chance()), starts)
    host.play(MIDNIGHT + luck.choice([1, 1, luck.randint(1, 30_000)]) * SECOND)
    for begun in host.live:
        host.scheduler.handle(RunStarted(begun.run, 1, 1, begun.started), host.now)
    return host


def expected(host: SimulatedHost) -> dict[RunId, str | None]:
    """The start of each run that waits, as the scheduler tells when it is asked why it does."""
    waiting = [run.id for run in host.scheduler.runs.values() if run.state is RunState.WAITING]
    return {name: host.scheduler.explain(name, host.now)["expected"] for name in waiting}


@pytest.mark.parametrize("seed", [*range(60), *TELLING])
def test_why_tells_what_is_simulated(seed: int) -> None:
    """Of whatever queue, also of one that has been played on for a while: each start that `why` tells comes so."""
    starts = Starts()
    host = a_host(random.Random(seed), starts)
    told = expected(host)
    host.play(host.now.wall + LONG)
    assert {name: to_text(starts.began[name]) for name in told} == told
