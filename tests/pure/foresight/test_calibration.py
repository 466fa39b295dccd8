"""Calibration: what was foreseen is what comes, as often as it is said."""

from __future__ import annotations

import random
from array import array
from typing import Any

from jobqueued.base.instants import DAY, HOUR, MINUTE, SECOND
from jobqueued.core.records import recollection
from jobqueued.core.records.usual import RECENT
from jobqueued.foresight import calibration
from jobqueued.foresight.calibration import FUTURES, Calibration, ExpectedStart, Forecast
from jobqueued.foresight.durations import Durations, DurationSample, samples
from jobqueued.foresight.futures import HostSnapshot, play
from jobqueued.model.events import RunStarted
from jobqueued.model.job import Claim
from jobqueued.model.run_states import RunState
from tests.support.futures import a_host, chance
from tests.support.world import MIDNIGHT, World, job

LOCK = (Claim("database", exclusive=True),)
NIGHT = [
    job("backup", "0 2 * * *", locks=LOCK), job("report", "10 2 * * *", locks=LOCK, priority=1),
    job("export", "15 2 * * *", locks=LOCK), job("steady", "0 */4 * * *", locks=(Claim("tape", exclusive=True),)),
    job("behind", "1 */4 * * *", locks=(Claim("tape", exclusive=True),)), job("alone", "30 */6 * * *"),
]  # fmt: skip


class Lasting(dict[str, float]):
    """The seconds that runs take in this month, each another time: those of the tape nearly the same, others not."""

    def __init__(self, luck: random.Random) -> None:
        super().__init__()
        self._luck, self.slower = luck, 1.0

    def get(self, name: str, default: Any = None) -> Any:
        """Draw how long the next run of a job takes, `slower` than it did."""
        if name in ("steady", "behind"):
            return self.slower * (150 + self._luck.gauss(0, 0.3))
        return self.slower * self._luck.lognormvariate(6.5, 0.4)


def a_month(seed: int, slower: float = 1.0, days: int = 30) -> tuple[Forecast, dict[str, dict[int, int | None]]]:
    """Some days of a host on which the scheduler itself decides, each foreseen at its midnight by the records of the
    newest 50 runs of each job, and then lived through; what becomes `slower` all at once after the records.
    """
    seconds, foreseen = Lasting(random.Random(seed)), Forecast()
    world = World(*NIGHT, seconds=seconds)
    world.pass_time(RECENT * 86_400)
    seconds.slower = slower
    for day in range(days):
        chances = [chance(1000 * day + number) for number in range(FUTURES)]
        futures = play(_as_known(world), world.now.wall + DAY, chances, keeps_starts=True)
        for name, expected in calibration.forecast(futures).items():
            foreseen.setdefault(name, []).extend(expected)
        world.pass_time(86_400)
    began: dict[str, dict[int, int | None]] = {}
    for run, record in world.rows.values():
        if record is not None:
            began.setdefault(run.id.job, {})[run.due] = recollection.began(record)
    return foreseen, began


def _as_known(world: World) -> HostSnapshot:
    """The host as its records and its state tell of it now."""
    for run in list(world.scheduler.runs.values()):
        if run.state is RunState.STARTING:
            world.happen(RunStarted(run.id, run.attempt, 4711, world.begun[run.id, run.attempt]))
    known: dict[str, list[DurationSample]] = {job.id: [] for job in NIGHT}
    for run, record in sorted(world.rows.values(), key=lambda row: row[0].id.number):
        if record is not None:
            known[run.id.job] += samples(record)
    durations = Durations({name: found[-RECENT:] for name, found in known.items()})
    saved, runs = tuple(world.memories.values()), tuple(world.scheduler.runs.values())
    return HostSnapshot(
        begin=world.now.wall, jobs=tuple(NIGHT), limits=world.limits, durations=durations, saved=saved, runs=runs
    )  # fmt: skip


def test_a_month_comes_as_foreseen() -> None:
    """Half of the starts of which history tells come within a second of what was expected, and 95 % in their bands."""
    foreseen, began = a_month(1)
    verdict = calibration.together(foreseen, began)
    assert verdict.compared > 500
    assert verdict.steady > 400
    assert (True, True) == (verdict.is_exact, verdict.is_within)
    assert verdict.inside >= 0.95 * verdict.compared
    verdicts = calibration.compare(foreseen, began)
    assert 0 < verdicts["behind"].steady_error <= SECOND  # what waits for nobody comes as planned, by any forecast
    waits = [verdicts["report"], verdicts["export"]]
    assert all(it.is_within and it.error > MINUTE for it in waits), waits
    widths = [it.high - it.low for it in foreseen["report"]]
    assert min(widths) > MINUTE  # it is no band that holds by being empty or endless
    assert max(widths) < 2 * HOUR


def test_a_month_that_is_another() -> None:
    """Where all takes half as long again as it did, that is seen."""
    foreseen, began = a_month(2, slower=1.5, days=2)
    verdict = calibration.together(foreseen, began)
    assert (False, True) == (verdict.is_within, verdict.inside < 0.9 * verdict.compared)
    (worst, _), *_ = calibration.worst(calibration.compare(foreseen, began))
    assert worst in ("behind", "report", "export")


def test_bands() -> None:
    """The band has all of 39 futures, of more it leaves out some on each side; what starts in few is not expected."""
    host = a_host(job("a", "0 2 * * *"))
    futures = play(host, host.begin + DAY, [chance(n) for n in range(100)], keeps_starts=True)
    for late, future in enumerate(futures):
        future.of("a").dues, future.of("a").begun = array("q", [0]), array("q", [late])
    assert {"a": [ExpectedStart(0, 0, 19, 38)]} == calibration.forecast(futures[:39])
    assert {"a": [ExpectedStart(0, 1, 49, 98)]} == calibration.forecast(futures)
    for future in futures[:50]:
        future.of("a").dues, future.of("a").begun = array("q"), array("q")
    assert {} == calibration.forecast(futures)


def test_verdicts() -> None:
    """A start in time is inside, also one that the launcher delays; a skip is not; what is not known does not count."""
    foreseen = {"a": [ExpectedStart(day * DAY, 0, 0, MINUTE) for day in range(4)], "b": [ExpectedStart(0, 0, 0, 0)]}
    began = {"a": {0: SECOND // 10, DAY: DAY + 2 * MINUTE, 2 * DAY: None}}
    assert {"a": Calibration(3, 1, SECOND // 10, 0, 0)} == calibration.compare(foreseen, began)
    assert Calibration(3, 1, SECOND // 10, 0, 0) == calibration.together(foreseen, began)
    assert [True, False] == [Calibration(100, inside, 0, 0, 0).is_within for inside in (90, 89)]


def test_a_document() -> None:
    """A forecast survives as JSON, to the millisecond."""
    found = {"a": [ExpectedStart(MIDNIGHT, 0, 1_000_000, SECOND + 2_000_000)]}
    assert found == calibration.of_document(calibration.to_document(found))
