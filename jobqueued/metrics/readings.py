"""All metrics at an instant, read in pieces, because a host may have very many jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from jobqueued.base.instants import SECOND
from jobqueued.core.scheduler import Scheduler
from jobqueued.core.with_lock.lock_clients import LockClaim
from jobqueued.metrics.counts import MOST_JOBS, Counts
from jobqueued.metrics.exposition import Told
from jobqueued.metrics.families import FAMILIES, JOB, OTHERS, Sample
from jobqueued.model.job import CORE, CPU, Job, Now
from jobqueued.model.notify import Target
from jobqueued.model.run_states import ATTENTION, LIVE, PENDING, RunState
from jobqueued.notices.notices import Notices

MOST_LOCKS = 200
"""Maximum number of locks with a separate label, in name order; the other locks share one label."""
_PIECE = 250
"""Number of jobs or samples to read at once, in about 0.3 ms."""

Figure = float | list[Sample]
Named = tuple[str, Iterable[list[Sample]]]


class Readings:
    """A reader of all counters, and of all metrics about the scheduler and the notices.

    `health` returns a mapping of family → figure, for metrics about the daemon itself.
    """

    def __init__(
        self, scheduler: Scheduler, notices: Notices, counts: Counts, health: Callable[[], Mapping[str, Figure]]
    ) -> None:
        self._scheduler, self._notices, self._counts, self._health = scheduler, notices, counts, health

    def all(self, now: Now) -> Iterator[Told]:
        """Yield every family with its samples, which are read on demand."""
        jobs = sorted(job.id for job in self._scheduler.catalog)
        labels = {job: self._counts.label(job) for job in jobs}
        for part in (
            self._daemon(),
            self._queue(labels, now),
            self._counted(),
            self._by_job(labels),
            self._locks(),
            self._resources(),
            self._incidents(),
        ):
            for name, pieces in part:
                yield FAMILIES[name], pieces

    def _daemon(self) -> Iterator[Named]:
        for name, figure in self._health().items():
            yield name, [figure] if isinstance(figure, list) else _one(figure)

    def _queue(self, labels: Mapping[str, str], now: Now) -> Iterator[Named]:
        scheduler = self._scheduler
        runs = list(scheduler.runs.values())
        states, attention = Counter(run.state for run in runs), Counter(it.kind for it in scheduler.attention(now))
        queued = [run.queued for run in runs if run.state is RunState.WAITING]
        yield "jobqueue_jobs", _one(len(labels))
        yield "jobqueue_jobs_without_label", _one(list(labels.values()).count(OTHERS))
        yield "jobqueue_attention", _each("kind", {kind: attention[kind] for kind in ATTENTION})
        yield "jobqueue_runs_unfinished", _each("state", {s: states[s] for s in RunState if s in LIVE | PENDING})
        yield "jobqueue_queue_length", _one(scheduler.queue_length)
        yield "jobqueue_queue_head_priority", _one(scheduler.head_priority(now))
        yield "jobqueue_queue_oldest_timestamp_seconds", _one(min(queued) / SECOND if queued else None)
        yield "jobqueue_start_delay_seconds", [self._counts.delays.samples()]
        yield "jobqueue_run_seconds", [self._counts.run_times.samples()]

    def _counted(self) -> Iterator[Named]:
        counts = self._counts
        for name, by_labels in (
            ("jobqueue_runs_ended", counts.ended),
            ("jobqueue_skips", counts.skipped),
            ("jobqueue_retries", counts.retried),
        ):
            labels, rows = FAMILIES[name].labels, list(by_labels.items())
            yield name, _cut(Sample("_total", dict(zip(labels, key, strict=True)), count) for key, count in rows)
        rows_of_jobs = list(counts.took.items())
        yield (
            "jobqueue_job_run_seconds",
            _cut(
                Sample(suffix, {JOB: job}, value)
                for job, figures in rows_of_jobs
                for suffix, value in zip(("_count", "_sum"), figures, strict=True)
            ),
        )

    def _by_job(self, labels: Mapping[str, str]) -> Iterator[Named]:
        for name, read in _ADDED_UP.items():
            yield name, self._of_jobs(labels, read, adds_up=True)
        for name, instant in _INSTANTS.items():
            yield name, self._of_jobs(labels, instant, adds_up=False)

    def _of_jobs(
        self, labels: Mapping[str, str], read: Callable[[Readings, Job], float | None], *, adds_up: bool
    ) -> Iterator[list[Sample]]:
        """Yield samples with the value of each job that has a value. With `adds_up`, one sample is the sum of all jobs
        without a separate label.
        """
        rest, names = 0.0, iter(labels)
        while taken := list(islice(names, _PIECE)):
            jobs = [job for name in taken if (job := self._scheduler.catalog.get(name)) is not None]
            values = [(labels[job.id], value) for job in jobs if (value := read(self, job)) is not None]
            rest += sum(value for label, value in values if label == OTHERS)
            yield [Sample("", {JOB: label}, value) for label, value in values if label != OTHERS]
        if adds_up and OTHERS in labels.values():
            yield [Sample("", {JOB: OTHERS}, rest)]

    def _is_failing(self, job: Job) -> float:
        return int(self._scheduler[job.id].saved.stats.fails_since is not None)

    def _live_runs(self, job: Job) -> float:
        return len(self._scheduler[job.id].live)

    def _pending_runs(self, job: Job) -> float:
        state = self._scheduler[job.id]
        return len(state.due) + len(state.waiting) + len(state.delayed)

    def _last_start(self, job: Job) -> float | None:
        last = self._scheduler[job.id].saved.stats.last_run
        return None if last is None else last / SECOND

    def _last_success(self, job: Job) -> float | None:
        """Return the start (s since 1970) of a job's last known success, or None. After a restart, a success is
        available only if it was the last run.
        """
        stats = self._scheduler[job.id].saved.stats
        if stats.last_state is RunState.SUCCEEDED and stats.last_run is not None:
            return stats.last_run / SECOND
        return self._counts.succeeded.get(job.id)

    def _locks(self) -> Iterator[Named]:
        claims = list(self._scheduler.lock_claims())
        names = sorted({one.claim.resource for one in claims})
        labels = {name: name if place < MOST_LOCKS else OTHERS for place, name in enumerate(names)}
        held, wanted = [one for one in claims if one.held], [one for one in claims if not one.held]
        yield "jobqueue_lock_holders", _each("lock", Counter(labels[one.claim.resource] for one in held))
        yield "jobqueue_lock_waiters", _each("lock", Counter(labels[one.claim.resource] for one in wanted))
        yield "jobqueue_lock_held_since_timestamp_seconds", _each("lock", _oldest(held, labels))
        yield "jobqueue_lock_wanted_since_timestamp_seconds", _each("lock", _oldest(wanted, labels))

    def _resources(self) -> Iterator[Named]:
        capacity = self._scheduler.limits.resources
        claimed = {name: self._scheduler.claimed(name) for name in capacity}
        for name, units in (("capacity", capacity), ("claimed", claimed)):
            amounts = {one: count / CORE if one == CPU else count for one, count in units.items()}
            yield f"jobqueue_resource_{name}", _each("resource", amounts)

    def _incidents(self) -> Iterator[Named]:
        kinds = Counter(subject.partition(" ")[0] for subject in self._notices.incidents)
        yield "jobqueue_incidents", _each("kind", kinds)
        channels = Counter(Target.parse(it.target).channel for it in self._notices.waiting())
        yield "jobqueue_notices_waiting", _each("channel", channels)
        yield "jobqueue_notice_targets_failing", _one(len(self._notices.troubles))


_ADDED_UP: Mapping[str, Callable[[Readings, Job], float | None]] = {
    "jobqueue_job_failing": Readings._is_failing,
    "jobqueue_job_live_runs": Readings._live_runs,
    "jobqueue_job_pending_runs": Readings._pending_runs,
}
_INSTANTS: Mapping[str, Callable[[Readings, Job], float | None]] = {
    "jobqueue_job_last_start_timestamp_seconds": Readings._last_start,
    "jobqueue_job_last_success_timestamp_seconds": Readings._last_success,
}


def of_usage(runs: Iterable[Mapping[str, Any]]) -> Iterator[Told]:
    """Yield the resource use of live runs (the interface's RunUsage), summed by job."""
    names = sorted({run["job"] for run in runs})
    labels = {name: name if place < MOST_JOBS else OTHERS for place, name in enumerate(names)}
    for name, key in (("cpus", "cpu"), ("memory_bytes", "memory"), ("tasks", "tasks")):
        used = dict[str, float]()
        for run in runs:
            label = labels[run["job"]]
            used[label] = used.get(label, 0) + run["now"][key]
        yield FAMILIES[f"jobqueue_job_{name}"], _each(JOB, used)


def _one(value: float | None) -> list[list[Sample]]:
    """Return the samples of a family with one value, or [] for None."""
    return [] if value is None else [[Sample("", {}, +value)]]


def _each(label: str, values: Mapping[str, float]) -> list[list[Sample]]:
    return [[Sample("", {label: str(name)}, value) for name, value in values.items()]]


def _cut(samples: Iterable[Sample]) -> Iterator[list[Sample]]:
    rest = iter(samples)
    while piece := list(islice(rest, _PIECE)):
        yield piece


def _oldest(claims: list[LockClaim], labels: Mapping[str, str]) -> dict[str, float]:
    """Return a mapping of lock → the earliest start (seconds since 1970) of these claims, if any start is recorded."""
    found = dict[str, float]()
    for one in claims:
        if one.since:
            label, since = labels[one.claim.resource], one.since / SECOND
            found[label] = min(since, found.get(label, since))
    return found
