"""Durations: how long the runs of each job take, and how they end, drawn from the recorded runs.

Each recorded attempt is equally likely, so the draws have the distribution of the history. Each job has its own random
stream, so that a change of one job does not change the draws of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from jobqueued.base.instants import MINUTE, to_instant
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.core.records.usual import SOON
from jobqueued.model.job import Job
from jobqueued.model.run_states import RunState

Chance = Callable[[str], Callable[[], float]]
"""Function from a name to a stream of random numbers from 0 to below 1; the same name yields the same stream."""

GUESSED = MINUTE
"""Duration (ns) of a run whose job has no samples."""


class DurationSample(NamedTuple):
    """An attempt: its duration (ns) and its end."""

    took: int
    state: str = RunState.SUCCEEDED.value
    exit_code: int | None = 0
    signal: int | None = None


_TOLD = {RunState.SUCCEEDED.value, RunState.FAILED.value, RunState.TIMED_OUT.value, RunState.OOM_KILLED.value}
"""Final states of attempts whose durations are used; other ends were caused by a user or the host."""


def samples(record: Mapping[str, Any]) -> list[DurationSample]:
    """Return samples of the attempts in a record, except the failover, which runs another command."""
    found = []
    for attempt in record.get("attempts", ()):
        began, over = attempt.get("started"), attempt.get("ended")
        if began and over and attempt["state"] in _TOLD and not attempt.get("failover"):
            took = max(0, _instant(over) - _instant(began))
            found.append(DurationSample(took, attempt["state"], attempt.get("exit_code"), attempt.get("signal")))
    return found


def _instant(text: str) -> int:
    return to_instant(datetime.fromisoformat(text))


class Durations:
    """The samples of each job.

    A run whose job has no samples takes the `given` duration (ns), or else the job's timeout, or else a minute.
    """

    def __init__(self, known: Mapping[str, Sequence[DurationSample]], given: int | None = None) -> None:
        self.known = known
        self._given = given

    def of(self, job: Job) -> Sequence[DurationSample]:
        """Return all samples that a run of a job may draw; samples longer than the `timeout` end there."""
        found: Sequence[DurationSample] = self.known.get(job.id) or [
            DurationSample(self._given or job.timeout or GUESSED)
        ]
        limit = job.timeout
        if limit is None or all(sample.took <= limit for sample in found):
            return found
        over = DurationSample(limit, RunState.TIMED_OUT.value, None, 15)
        return [sample if sample.took <= limit else over for sample in found]


class Draws:
    """The random draws in one future, with a separate stream for each job."""

    def __init__(self, durations: Durations, chance: Chance) -> None:
        self._durations, self._chance = durations, chance
        self._streams: dict[str, tuple[Sequence[DurationSample], Callable[[], float]]] = {}

    def next(self, job: Job) -> DurationSample:
        """Draw a job's next attempt."""
        stream = self._streams.get(job.id)
        if stream is None:
            stream = self._streams[job.id] = self._durations.of(job), self._chance(job.id)
        found, draw = stream
        return found[int(draw() * len(found))] if len(found) > 1 else found[0]

    def rest(self, job: Job, passed: int) -> DurationSample:
        """Draw an attempt that has already run for `passed` ns.

        An attempt that has run longer than any sample will end soon.
        """
        known = self._durations.of(job)
        found = [sample for sample in known if sample.took >= passed] or [DurationSample(passed + SOON)]
        return found[int(self._chance(f"{job.id} now")() * len(found))]
