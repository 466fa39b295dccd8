"""Durations: how long the runs of each job take, and how they end, drawn from those that there were.

A draw is one of the attempts that are known, all of them equally likely: so the distribution is that of the history,
whatever it looks like, and not a mean.  Each job has a stream of chance of its own, so that a change of one job leaves
the draws of all others as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from jobqueued.child.tuples import NamedTuple
from jobqueued.core.usual import SOON
from jobqueued.model import MINUTE, Job, RunState, to_instant

Chance = Callable[[str], Callable[[], float]]
"""By a name, a stream of numbers from 0 up to 1, the same for the same name."""

GUESSED = MINUTE
"""So long takes what nobody knows anything about."""


class Sample(NamedTuple):
    """One attempt: how long it took (ns), and how it ended."""

    took: int
    state: str = RunState.SUCCEEDED.value
    exit_code: int | None = 0
    signal: int | None = None


_TOLD = {RunState.SUCCEEDED.value, RunState.FAILED.value, RunState.TIMED_OUT.value, RunState.OOM_KILLED.value}
"""The ends that tell how long a run takes; what a person or the host has ended does not."""


def samples(record: Mapping[str, Any]) -> list[Sample]:
    """The attempts that a record tells of, but for the failover, which is another command."""
    found = []
    for attempt in record.get("attempts", ()):
        began, over = attempt.get("started"), attempt.get("ended")
        if began and over and attempt["state"] in _TOLD and not attempt.get("failover"):
            took = max(0, _instant(over) - _instant(began))
            found.append(Sample(took, attempt["state"], attempt.get("exit_code"), attempt.get("signal")))
    return found


def _instant(text: str) -> int:
    return to_instant(datetime.fromisoformat(text))


class Durations:
    """The samples of each job; of one that has none, the time that was `given` for such, its timeout, or a minute."""

    def __init__(self, known: Mapping[str, Sequence[Sample]], given: int | None = None) -> None:
        self.known = known
        self._given = given

    def of(self, job: Job) -> Sequence[Sample]:
        """All that a run of a job may draw; one where nothing is known.  A `timeout` ends what takes longer."""
        found: Sequence[Sample] = self.known.get(job.id) or [Sample(self._given or job.timeout or GUESSED)]
        limit = job.timeout
        if limit is None or all(sample.took <= limit for sample in found):
            return found
        over = Sample(limit, RunState.TIMED_OUT.value, None, 15)
        return [sample if sample.took <= limit else over for sample in found]


class Draws:
    """The draws of one future: of each job a stream."""

    def __init__(self, durations: Durations, chance: Chance) -> None:
        self._durations, self._chance = durations, chance
        self._streams: dict[str, tuple[Sequence[Sample], Callable[[], float]]] = {}

    def next(self, job: Job) -> Sample:
        """Draw the next attempt of a job."""
        stream = self._streams.get(job.id)
        if stream is None:
            stream = self._streams[job.id] = self._durations.of(job), self._chance(job.id)
        found, draw = stream
        return found[int(draw() * len(found))] if len(found) > 1 else found[0]

    def rest(self, job: Job, passed: int) -> Sample:
        """Draw an attempt that has taken so long (ns) already; one that took longer than any is about to end."""
        known = self._durations.of(job)
        found = [sample for sample in known if sample.took >= passed] or [Sample(passed + SOON)]
        return found[int(self._chance(f"{job.id} now")() * len(found))]
