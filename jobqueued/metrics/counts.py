"""Counters since the start, updated from log lines.

The number of labels is limited: `MOST_JOBS` jobs have separate labels, and all other jobs share one label.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping
from datetime import datetime
from typing import Any

from jobqueued.base.instants import SECOND
from jobqueued.child.contract import reasons
from jobqueued.metrics.families import OTHERS, Sample
from jobqueued.model.commands import Command, Say
from jobqueued.model.run_states import RunState
from jobqueued.model.submission import is_numbered, pool_of

MOST_JOBS = 1000
DELAYS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0)
RUN_TIMES = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 10800.0, 28800.0, 86400.0)
SHORT_TIMES = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
"""Upper bounds (s) of the buckets, for start delays, for run times, and for turns and commits."""


class Histogram:
    """A histogram of seconds; a bucket includes its upper bound."""

    __slots__ = ("bounds", "counts", "longest", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds, self.counts = bounds, [0] * (len(bounds) + 1)
        self.sum = self.longest = 0.0

    def add(self, seconds: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds
        self.longest = max(self.longest, seconds)

    def samples(self) -> list[Sample]:
        """Return the samples: the cumulative buckets, and the number and sum of the values."""
        found, so_far = list[Sample](), 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            so_far += count
            found.append(Sample("_bucket", {"le": "+Inf" if bound == float("inf") else str(bound)}, so_far))
        return [*found, Sample("_count", {}, so_far), Sample("_sum", {}, self.sum)]


class Counts:
    """Counters of the scheduler's decisions, by job; at most `most` jobs have a separate label."""

    def __init__(self, most: int = MOST_JOBS) -> None:
        self._most = most
        self._labels: set[str] = set()
        self.ended = Counter[tuple[str, str]]()
        """(job, state) → number of ended runs."""
        self.skipped = Counter[tuple[str, str]]()
        """(job, reason label) → number of skipped occurrences."""
        self.retried = Counter[tuple[str]]()
        self.took: dict[str, tuple[int, float]] = {}
        """Job → number of runs that started and ended, and their total duration (s)."""
        self.succeeded: dict[str, float] = {}
        """Job with a separate label → start (seconds since 1970) of its last successful run."""
        self.delays, self.run_times = Histogram(DELAYS), Histogram(RUN_TIMES)
        self._counted: Mapping[str, Callable[[Mapping[str, Any]], None]] = {
            "run_started": self._started,
            "run_ended": self._ended,
            "run_skipped": self._skipped,
            "run_retrying": self._retrying,
        }

    def about(self, commands: Iterable[Command]) -> None:
        """Update the counters from the log lines among these commands."""
        counted = self._counted
        for each in commands:
            if isinstance(each, Say) and (count := counted.get(each.event)) is not None:
                count(each.fields)

    def label(self, job: str) -> str:
        """Return a job's label: its ID while unused labels remain. All submissions of a user share one label, such as
        ``alice/``.
        """
        if is_numbered(job):
            job = pool_of(job)
        if job in self._labels:
            return job
        if len(self._labels) >= self._most:
            return OTHERS
        self._labels.add(job)
        return job

    def make_room(self, jobs: Container[str]) -> None:
        """Remove the counters of jobs that are not in `jobs`, if all labels are used."""
        if len(self._labels) < self._most or not (gone := {job for job in self._labels if job not in jobs}):
            return
        self._labels -= gone
        for by_label in (self.ended, self.skipped, self.retried):
            for key in [key for key in by_label if key[0] in gone]:
                del by_label[key]
        for job in gone:
            self.took.pop(job, None)
            self.succeeded.pop(job, None)

    def _started(self, fields: Mapping[str, Any]) -> None:
        if "late" in fields:  # only a first attempt has this field, because a later attempt does not start a run
            self.delays.add(fields["late"] / SECOND)

    def _ended(self, fields: Mapping[str, Any]) -> None:
        record = fields["record"]
        label, state = self.label(record["job"]), record["state"]
        self.ended[label, state] += 1
        if not (record["started"] and record["ended"]):
            return
        started = datetime.fromisoformat(record["started"]).timestamp()
        seconds = max(0.0, datetime.fromisoformat(record["ended"]).timestamp() - started)
        self.run_times.add(seconds)
        count, before = self.took.get(label, (0, 0.0))
        self.took[label] = count + 1, before + seconds
        if state == RunState.SUCCEEDED and label != OTHERS:
            self.succeeded[label] = started

    def _skipped(self, fields: Mapping[str, Any]) -> None:
        label = self.label(fields["run"].rpartition("@")[0])
        self.skipped[label, reasons.label(fields["reason"])] += fields["times"]

    def _retrying(self, fields: Mapping[str, Any]) -> None:
        self.retried[self.label(fields["record"]["job"]),] += 1
