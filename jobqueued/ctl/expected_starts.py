"""The starts of a job as they are expected, its next and those of what waits, by a simulation of all in its way."""

from __future__ import annotations

import time
from datetime import datetime

from jobqueued.control.varlink import Message
from jobqueued.ctl.client import Refused
from jobqueued.ctl.snapshot import chance, snapshot
from jobqueued.foresight.calibration import FUTURES, Expected, forecast
from jobqueued.foresight.futures import Host, play
from jobqueued.foresight.tally import Tally
from jobqueued.model import DAY, HOUR, SECOND, RunId, to_instant, to_text
from jobqueued.paths import Paths

_MORE = DAY // 4
"""Who is to start so late only is still waited for."""
_SPANS = (HOUR, DAY)
"""So long is played for what waits now, first little, as most of it starts soon."""


def expected_starts(paths: Paths, job: str, starts: list[str]) -> list[Message | None]:
    """By how many seconds each of these starts will be late, and the band of that; None: it is too far away, or most
    futures do not have it.
    """
    planned = [to_instant(datetime.fromisoformat(text)) for text in starts]
    until = time.time_ns() + DAY
    near = [start for start in planned if start < until]
    host = snapshot(paths, {}, None, only=job).host
    offset = next((it.offset for it in host.jobs if it.id == job), 0)
    if not near:
        return [None] * len(planned)
    futures = _futures(host, max(near) + _MORE)
    found = {it.due + offset: it for it in forecast(futures).get(job, ())}
    expected = [found.get(start) if start < until else None for start in planned]
    return [
        None if it is None else {
            "late": (it.middle - offset) / SECOND, "least_late": (it.low - offset) / SECOND,
            "most_late": (it.high - offset) / SECOND,
        } for it in expected
    ]  # fmt: skip


def expected_of_waiting(paths: Paths, job: str, runs: list[RunId]) -> dict[RunId, Message | None]:
    """The start that is expected of each of some runs of a job that wait for their first attempt, and its band; None:
    not within a day in most futures.  Refused: the daemon does not tell what waits.
    """
    found = snapshot(paths, {}, None, only=job)
    if found.without:
        raise Refused(found.without)
    due = {run.id: run.due for run in found.host.runs if run.id in runs and run.so_far is None}
    foreseen: dict[RunId, Message | None] = {}
    for span in _SPANS:
        expected = {it.due: it for it in forecast(_futures(found.host, found.host.begin + span)).get(job, ())}
        foreseen = {run: _band(expected.get(instant)) for run, instant in due.items()}
        if None not in foreseen.values():
            break
    return foreseen


def _futures(host: Host, until: int) -> list[Tally]:
    return play(host, until, [chance(0, number) for number in range(FUTURES)], keeps_starts=True)


def _band(it: Expected | None) -> Message | None:
    if it is None:
        return None
    return {
        "expected": to_text(it.due + it.middle), "earliest": to_text(it.due + it.low),
        "latest": to_text(it.due + it.high),
    }  # fmt: skip
