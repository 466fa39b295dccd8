"""Calibration: what was foreseen is what comes, as often as it is said."""

from __future__ import annotations

import random
from dataclasses import replace

from jobqueued.foresight import calibration
from jobqueued.foresight.calibration import FUTURES, Expected, Forecast, Verdict
from jobqueued.foresight.durations import Durations, Sample
from jobqueued.foresight.futures import Host, play
from jobqueued.model import DAY, HOUR, MINUTE, SECOND, Claim, Job
from tests.support.futures import a_host, chance
from tests.support.world import MIDNIGHT, job

LOCK = (Claim("database", exclusive=True),)
NIGHT = [
    job("backup", "0 2 * * *", locks=LOCK), job("report", "10 2 * * *", locks=LOCK, priority=1),
    job("export", "15 2 * * *", locks=LOCK), job("steady", "0 */4 * * *", locks=(Claim("tape", exclusive=True),)),
    job("behind", "1 */4 * * *", locks=(Claim("tape", exclusive=True),)), job("alone", "30 */6 * * *"),
]  # fmt: skip


def lasting(job: Job, chance: random.Random) -> Sample:
    """A run as it comes in this month: those of the tape take the same time each night, others vary by a lot."""
    if job.id in ("steady", "behind"):
        return Sample(round((150 + chance.gauss(0, 0.3)) * SECOND))
    return Sample(round(chance.lognormvariate(6.5, 0.4) * SECOND))


def a_month(seed: int, slower: float = 1.0, days: int = 30) -> tuple[Forecast, dict[str, dict[int, int | None]]]:
    """Some days, each foreseen by the 50 runs before it and then lived through; what becomes `slower` all at once."""
    luck, foreseen, began = random.Random(seed), Forecast(), dict[str, dict[int, int | None]]()
    for day in range(days):
        known = {it.id: [lasting(it, luck) for _ in range(50)] for it in NIGHT}
        host = replace(a_host(*NIGHT), begin=MIDNIGHT + day * DAY, durations=Durations(known))
        chances = [chance(1000 * day + number) for number in range(FUTURES)]
        futures = play(host, host.begin + DAY, chances, keeps_starts=True)
        for name, expected in calibration.forecast(futures).items():
            foreseen.setdefault(name, []).extend(expected)
        for name, starts in lived(host, luck, slower).items():
            began.setdefault(name, {}).update(starts)
    return foreseen, began


def lived(host: Host, luck: random.Random, slower: float) -> dict[str, dict[int, int | None]]:
    """When each run of a day has really begun: some milliseconds late."""
    comes = {it.id: [_slower(lasting(it, luck), slower) for _ in range(300)] for it in NIGHT}
    (day,) = play(
        replace(host, durations=Durations(comes)),
        host.begin + DAY,
        [chance(luck.randrange(1 << 30))],
        keeps_starts=True,
    )
    return {
        name: {due: start + luck.randrange(SECOND // 50) for due, start in it.starts} for name, it in day.jobs.items()
    }


def _slower(sample: Sample, factor: float) -> Sample:
    return sample._replace(took=round(sample.took * factor))


def test_a_month_comes_as_foreseen() -> None:
    """Half of the starts of which history tells come within a second of what was expected, and 95 % in their bands."""
    foreseen, began = a_month(1)
    verdict = calibration.together(foreseen, began)
    assert verdict.compared > 500
    assert verdict.steady > 400
    assert verdict.steady_error <= SECOND
    assert (True, True) == (verdict.is_exact, verdict.is_within)
    assert verdict.inside >= 0.95 * verdict.compared
    waits = calibration.compare({name: foreseen[name] for name in ("report", "export")}, began)
    assert all(it.is_within and it.error > MINUTE for it in waits.values()), waits
    widths = [it.high - it.low for it in foreseen["report"]]
    assert min(widths) > MINUTE  # it is no band that holds by being empty or endless
    assert max(widths) < 2 * HOUR


def test_a_month_that_is_another() -> None:
    """Where all takes half as long again as it did, that is seen."""
    foreseen, began = a_month(2, slower=1.5, days=10)
    verdict = calibration.together(foreseen, began)
    assert (False, True) == (verdict.is_within, verdict.inside < 0.9 * verdict.compared)
    (worst, _), *_ = calibration.worst(calibration.compare(foreseen, began))
    assert worst in ("behind", "report", "export")


def test_bands() -> None:
    """The band has all of 39 futures, of more it leaves out some on each side; what starts in few is not expected."""
    host = a_host(job("a", "0 2 * * *"))
    futures = play(host, host.begin + DAY, [chance(n) for n in range(100)], keeps_starts=True)
    for late, future in enumerate(futures):
        future.of("a").starts = [(0, late)]
    assert {"a": [Expected(0, 0, 19, 38)]} == calibration.forecast(futures[:39])
    assert {"a": [Expected(0, 1, 49, 98)]} == calibration.forecast(futures)
    for future in futures[:50]:
        future.of("a").starts = []
    assert {} == calibration.forecast(futures)


def test_verdicts() -> None:
    """A start in time is inside, also one that the launcher delays; a skip is not; what is not known does not count."""
    foreseen = {"a": [Expected(day * DAY, 0, 0, MINUTE) for day in range(4)], "b": [Expected(0, 0, 0, 0)]}
    began = {"a": {0: SECOND // 10, DAY: DAY + 2 * MINUTE, 2 * DAY: None}}
    assert {"a": Verdict(3, 1, SECOND // 10, 0, 0)} == calibration.compare(foreseen, began)
    assert Verdict(3, 1, SECOND // 10, 0, 0) == calibration.together(foreseen, began)
    assert [True, False] == [Verdict(100, inside, 0, 0, 0).is_within for inside in (90, 89)]


def test_a_document() -> None:
    """A forecast survives as JSON, to the millisecond."""
    found = {"a": [Expected(MIDNIGHT, 0, 1_000_000, SECOND + 2_000_000)]}
    assert found == calibration.of_document(calibration.to_document(found))
