"""The next starts of a job as they are expected, by a simulation of all that it may wait for."""

from __future__ import annotations

import time
from datetime import datetime

from jobqueued.control.varlink import Message
from jobqueued.ctl.snapshot import chance, snapshot
from jobqueued.foresight.calibration import FUTURES, forecast
from jobqueued.foresight.futures import play
from jobqueued.model import DAY, SECOND, to_instant
from jobqueued.paths import Paths

_MORE = DAY // 4
"""Who is to start so late only is still waited for."""


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
    futures = play(host, max(near) + _MORE, [chance(0, number) for number in range(FUTURES)], keeps_starts=True)
    found = {it.due + offset: it for it in forecast(futures).get(job, ())}
    expected = [found.get(start) if start < until else None for start in planned]
    return [
        None if it is None else {
            "late": (it.middle - offset) / SECOND, "least_late": (it.low - offset) / SECOND,
            "most_late": (it.high - offset) / SECOND,
        } for it in expected
    ]  # fmt: skip
