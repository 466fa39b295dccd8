"""Hosts of tests that are played forward, and streams of chance."""

from __future__ import annotations

import random
from typing import Any

from jobqueued.base.instants import HOUR, SECOND
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.foresight.durations import Chance, Durations, DurationSample
from jobqueued.foresight.futures import HostSnapshot, play
from jobqueued.foresight.tally import Tally
from jobqueued.model.job import Job
from tests.support.world import MIDNIGHT


def chance(seed: int = 0) -> Chance:
    """Streams that are the same for the same seed."""
    return lambda name: random.Random(f"{seed}/{name}").random


def took(*seconds: float) -> list[DurationSample]:
    """Runs that have succeeded after these times."""
    return [DurationSample(round(time * SECOND)) for time in seconds]


def a_host(*jobs: Job, seconds: dict[str, float | list[DurationSample]] | None = None, **limits: Any) -> HostSnapshot:
    """A host at midnight; `seconds`: how long the runs of each job take, or all that they ever did."""
    known = {job: took(it) if isinstance(it, (int, float)) else it for job, it in (seconds or {}).items()}
    return HostSnapshot(begin=MIDNIGHT, jobs=jobs, limits=HostLimits(**limits), durations=Durations(known))


def future(host: HostSnapshot, hours: float = 24, seed: int = 0, **options: Any) -> Tally:
    """The one future of a host by one draw."""
    return play(host, host.begin + round(hours * HOUR), [chance(seed)], **options)[0]
