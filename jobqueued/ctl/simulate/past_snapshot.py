"""A snapshot of the host at a past instant, from records. Forecasts from such a snapshot can be compared with the real
runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from jobqueued.base.replace import changed
from jobqueued.child.contract.documents import Record
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.core.records.recollection import began, over, run_of
from jobqueued.core.records.record_checks import Damaged
from jobqueued.core.records.usual import RECENT
from jobqueued.ctl.simulate.snapshot import host_of_files
from jobqueued.foresight.durations import Durations, DurationSample, samples
from jobqueued.foresight.futures import HostSnapshot
from jobqueued.model.job import Job
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import RunState
from jobqueued.model.saved import JobStats, SavedJob
from jobqueued.queue.admission import OUTPUT_DRAIN
from jobqueued.settings.paths import Paths
from jobqueued.state import record_files


def back_then(paths: Paths, at: int, default: int | None) -> HostSnapshot:
    """Return the host at an instant, with its live and waiting runs and the durations known at that time.

    The jobs are the current jobs. `default` is the duration (ns) for jobs without a known duration.
    """
    jobs, limits, _ = host_of_files(paths)
    known: dict[str, list[DurationSample]] = {}
    saved, runs = list[SavedJob](), list[Run]()
    for job in jobs:
        newest, ended = 0, 0
        of_job = known.setdefault(job.id, [])
        for record in _before(paths.logs, job, at):
            newest = newest or record["number"]
            if (run := _as_it_was(record, job, at, limits)) is not None:
                runs.append(run)
            elif ended < RECENT:
                of_run = samples(record)
                ended += bool(of_run)
                of_job += of_run
            else:
                break
        stats = JobStats(started=newest if job.max_runs is not None else 0)
        saved.append(
            SavedJob(
                job=job.id, rhythm=job.rhythm, cursor=at - job.offset, last_number=newest, owner=job.owner, stats=stats
            )
        )
    runs.sort(key=lambda run: (run.queued, run.id))
    return HostSnapshot(
        begin=at, jobs=jobs, limits=limits, durations=Durations(known, default), saved=tuple(saved), runs=tuple(runs)
    )


def _before(logs: Path, job: Job, at: int) -> Iterator[Record]:
    """Yield a job's records with a queueing time up to the instant `at`, newest first."""
    for number in reversed(record_files.numbers(logs, job.id)):
        with suppress(Damaged):
            record = record_files.checked(logs, RunId(job.id, number))
            if run_of(record).queued <= at:
                yield record


def _as_it_was(record: Record, job: Job, at: int, limits: HostLimits) -> Run | None:
    """Return the run in its state at the instant `at`, or None if the run had ended or never started."""
    first, last = began(record), over(record)
    if first is None or last is None or last <= at:
        return None
    run = changed(run_of(record), reason=None, last_due=None, count=1)
    if first > at:
        return changed(run, state=RunState.WAITING, pid=None, started=None, attempt=0, since=run.queued)
    ends_by = None if job.timeout is None else first + job.timeout + job.kill_grace + OUTPUT_DRAIN
    return changed(run, state=RunState.RUNNING, started=first, attempt=1, claims=limits.claims_of(job), ends_by=ends_by)
