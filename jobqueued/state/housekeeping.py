"""Housekeeping: retention, missing record files, and the write-ahead log.

Some time after a job's run ended, each turn checks a few runs of this job. A row of history is deleted only under the
rules of retention, never because its record file is missing. Housekeeping rewrites a missing file as soon as the disk
has room.
"""

from __future__ import annotations

import contextlib
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from jobqueued.base.instants import DAY, MINUTE, SECOND
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.host.linux import give_back_memory
from jobqueued.host.log import Log
from jobqueued.model.events import HistoryGone
from jobqueued.model.job import Now
from jobqueued.model.run import RunId
from jobqueued.model.source import Source
from jobqueued.model.submission import is_numbered, pool_of
from jobqueued.settings.settings import Retention
from jobqueued.state import record_files
from jobqueued.state.commits import Commits
from jobqueued.state.db.faults import CommitFailed, StoreError
from jobqueued.state.disk_budget import Room
from jobqueued.state.ends import AT_ONCE, HistoryEnd, ends, of_pool, with_rows
from jobqueued.state.missing_records import MissingRecords
from jobqueued.state.retention import CheckedRuns, Eldest, RetentionTally

RUNS_A_TURN = AT_ONCE
MOST_KNOWN = 4096
"""Maximum number of jobs whose last check is remembered, so that their next check need only cover new runs."""
_COST_OF_JOB = 10
"""Cost of listing a job's files and rows, expressed as the number of run checks that take equally long."""
OF_SUBMISSIONS = 100
"""Factor by which an array, or all of a user's ended submissions together, may exceed retention's `runs`."""
_NOTHING = Retention(runs=0)
ANY = 1 << 62
"""A number that is larger than any run number."""
AGAIN = 10 * SECOND
"""Pause (ns) before the next try to write a record."""


class Limits(NamedTuple):
    """Limits of stored history: `max_use` and `of_a_user` as in Room; `keep_free`: bytes to leave free on the disk."""

    retention: Retention
    max_use: int | None = None
    keep_free: int | None = None
    of_a_user: int | None = None


class Housekeeping(Source):
    """The checks of jobs with runs that may be beyond retention, or with missing records.

    `live` returns the runs to leave untouched, such as live runs. `filed` is called with each run whose record was
    written or removed. `is_nowhere` returns whether a job certainly does not exist.
    """

    def __init__(
        self,
        commits: Commits,
        logs: Path,
        limits: Limits,
        live: Callable[[], Container[RunId]],
        log: Log,
        filed: Callable[[RunId], None],
        is_nowhere: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._is_nowhere, self._room = is_nowhere, Room(limits.max_use, limits.of_a_user)
        self._gone: list[str] = []
        """Jobs whose remaining history was deleted since the last turn."""
        self._keep_free, self._missing = limits.keep_free, MissingRecords(commits.store, logs, log, filed)
        self._store, self._logs, self._retention, self._live = commits.store, logs, limits.retention, live
        self._commits, self._filed = commits, filed
        self._known: dict[str, CheckedRuns] = {}
        """Job → the runs that remained after its last check."""
        self._jobs = OrderedDict[str, None]()
        """Jobs to check, in order of arrival, so that none waits forever."""
        self._uncompared: set[str] = set()
        """Jobs whose record files may be older than their rows."""
        self._only_missing: set[str] = set()
        """Jobs that must be checked only because records are missing."""
        self._again: set[str] = set()
        """Jobs to recheck later, because records could not be written now."""
        self._going_on: Iterator[int] = iter(())
        """The current check, which continues in each turn and yields numbers of checked runs."""
        self._at: int | None = None
        self._try_again_at = 0
        self._all_at = 0

    def begin(self, now: Now, went_down: int | None = None) -> None:
        """Schedule a check of every job at the start. `went_down`: when (wall) the host went down, or None if it did
        not.
        """
        self._missing.begin(went_down)
        found = in_history = set[str]()
        with contextlib.suppress(StoreError):
            found = set(self._store.jobs())
            in_history = with_rows(self._store)
        found = found | in_history | set(record_files.jobs(self._logs))
        self._jobs = OrderedDict.fromkeys(self._pool(job) if job in in_history else job for job in sorted(found))
        self._uncompared = found | self._jobs.keys()
        self._going_on = self._missing.find()
        self._at, self._all_at = now.mono, now.mono + DAY

    def _pool(self, job: str) -> str:
        """Return the name under which a job is checked; a user's ended submissions are checked together as
        ``alice/``.
        """
        return pool_of(job) if is_numbered(job) and self._is_nowhere(job) else job

    def note(self, job: str, now: Now, output: int = 0) -> None:
        """Schedule a check because a run of this job ended and left `output` (bytes), or because this job no longer
        exists.
        """
        self._jobs[self._pool(job)] = None
        self._room.note_output(job, output)
        soon = now.mono if self._room.is_check_urgent else now.mono + MINUTE
        self._at = soon if self._at is None else min(self._at, soon)

    def miss(self, run: RunId, error: OSError, now: Now) -> None:
        """Remember that this run's record could not be written, to retry the write as soon as possible."""
        if not self._missing.note(run):
            self._jobs[run.job] = None
            self._only_missing.add(run.job)
            self._uncompared.add(run.job)
        self._missing.say(run, error)
        soon = now.mono + AGAIN
        self._at = soon if self._at is None else min(self._at, soon)

    @property
    def kept(self) -> int:
        """The total size (bytes) of all stored runs that were checked."""
        return self._room.total

    @property
    def troubles(self) -> list[str]:
        """Descriptions of records that can't be written, and of a disk without room for output."""
        return list(filter(None, (self._missing.trouble, record_files.shortage(self._logs, self._keep_free))))

    @property
    def deadline(self) -> int | None:
        """The time (monotonic, ns) of the next check, or None during the start."""
        return self._at

    def turn(self, now: Now) -> Iterable[HistoryGone]:
        """Check some runs of a few jobs; after the last job, move the write-ahead log into state.db."""
        self._look(now)
        gone, self._gone = self._gone, []
        return map(HistoryGone, gone)

    def _look(self, now: Now) -> None:
        looked = 0
        if now.mono >= self._try_again_at:
            self._missing.try_again()
            self._try_again_at = now.mono + AGAIN
        try:
            while looked < RUNS_A_TURN:
                if some := self._write_missing() or next(self._going_on, 0):
                    looked += some
                elif not self._commits.degraded and (job := self._next_job() or self._room.largest()) is not None:
                    self._going_on = self._look_at_pool(job, now) if job.endswith("/") else self._look_at(job, now)
                    looked += _COST_OF_JOB
                else:
                    break
            else:
                return
        except CommitFailed as error:
            self._commits.degrade(error)
        self._finish(now)

    def _write_missing(self) -> int:
        """Write some missing records, unless commits fail too; return how many were checked."""
        return 0 if self._commits.degraded else self._missing.write_some(self._live)

    def _next_job(self) -> str | None:
        """Return the next job to check, or None if none is left. If the disk has no room, defer jobs that only need
        missing records written.
        """
        while self._jobs:
            job, _ = self._jobs.popitem(last=False)
            if not (self._missing.has_no_room and job in self._only_missing):
                return job
            self._again.add(job)
        return None

    def _finish(self, now: Now) -> None:
        """Set the time of the next check."""
        if not (self._jobs or self._again or self._missing):
            self._missing.recover()
        self._jobs |= dict.fromkeys(sorted(self._again))
        self._uncompared |= self._again
        self._only_missing, self._again = self._again | (self._only_missing & self._jobs.keys()), set()
        if now.mono >= self._all_at:  # records of jobs that no longer run also become too old
            self._jobs |= dict.fromkeys(map(self._pool, self._room))
            self._known.clear()
            self._all_at = now.mono + DAY
        self._room.note_checked()
        pause = AGAIN if self._missing or self._only_missing else MINUTE
        self._at = now.mono + pause if self._jobs or self._missing else self._all_at
        self._store.tidy()
        give_back_memory()

    def _look_at(self, job: str, now: Now) -> Iterator[int]:
        """Check a job's runs, newest first; check only new runs if they suffice. Yield numbers of checked runs."""
        known, is_nowhere = self._known.pop(job, None), self._is_nowhere(job)
        keeps = self._room.keeps_newest(job)
        if (
            known is not None
            and keeps
            and not is_nowhere
            and job not in self._uncompared
            and (looked := self._look_at_new(job, known, now))
        ):
            yield looked
            return
        try:
            found = record_files.listing(self._logs, job)
        except OSError:  # the job's files are unknown, so nothing is removed
            self._again.add(job)
            return
        self._remove_unfinished(job, found.unfinished)
        compares = job in self._uncompared
        self._uncompared.discard(job)
        tally, before = RetentionTally(self._retention_of(job), now.wall, keeps_one=not is_nowhere and keeps), ANY
        while True:
            try:
                rows = ends(self._store, job, before)
            except StoreError:
                return
            until = bisect_left(found.runs, before)
            numbers = sorted({*rows, *found.runs[max(0, until - RUNS_A_TURN) : until]}, reverse=True)[:RUNS_A_TURN]
            if not numbers:
                self._learn(job, tally.kept, None if is_nowhere else tally.checked())
                if is_nowhere and not tally.kept:
                    self._see_off([job])
                return
            tally.newest = tally.newest or numbers[0]
            self._let_go(self._care_for(job, {it: rows.get(it) for it in numbers}, tally, compares=compares))
            before = numbers[-1]
            yield len(numbers)

    def _look_at_new(self, job: str, known: CheckedRuns, now: Now) -> int:
        """Check the runs that are new since the last check, and remove the oldest runs that are therefore beyond
        retention.

        Return the number of new and removed runs, or 0 if all runs must be checked.
        """
        retention = self._retention_of(job)
        if retention.runs < 1 or (known.latest is None and known.oldest < now.wall - retention.age):
            return 0
        try:
            found = record_files.listing(self._logs, job)
            place = bisect_right(found.runs, known.newest)
            old = [number for number in found.runs[:place] if number not in known.open]
            rows = ends(self._store, job, ANY, min(known.open, default=known.newest + 1) - 1)
            came = {*found.runs[place:], *known.open.intersection(found.runs), *filter(known.is_new, rows)}
            new = sorted(came, reverse=True)
            if not known.covers(old, found) or found.unfinished or max(len(rows), len(new)) >= RUNS_A_TURN:
                return 0
            newest = max([known.newest, *new])
            tally = RetentionTally(retention, now.wall, newest=newest, keeps_one=newest in came)
            gone = self._care_for(job, {number: rows.get(number) for number in new}, tally, compares=False)
            self._let_go(gone)
            eldest = Eldest(retention, now.wall, known, tally)
            oldest = None if gone else self._too_old(job, [number for number in old if number != newest], eldest)
        except (OSError, StoreError):
            return 0
        if oldest is None or (oldest and new and max(oldest) > new[-1]):
            return 0
        nothing = RetentionTally(_NOTHING, now.wall, keeps_one=False)
        gone = self._care_for(job, oldest, nothing, compares=False)
        self._let_go(gone)
        if len(gone) < len(oldest):
            return 0
        left = known.without(nothing, eldest.oldest)
        self._learn(job, tally.kept + left.bytes, tally.checked(left))
        return len(new) + len(oldest) or 1

    def _too_old(self, job: str, numbers: list[int], eldest: Eldest) -> dict[int, HistoryEnd | None] | None:
        """Return the oldest runs to remove, with their rows, or None if more runs may have to be removed.

        Raises OSError or StoreError.
        """
        some, found = numbers[: 0 if eldest.all_stay else RUNS_A_TURN // 2], dict[int, HistoryEnd | None]()
        rows = ends(self._store, job, some[-1] + 1) if some else {}
        for number in some:
            end = rows.get(number)
            if eldest.goes(record_files.files(self._logs, RunId(job, number)), is_skip=end is not None and end.is_skip):
                found[number] = end
            if eldest.all_stay:
                break
        return found if eldest.all_stay and len(rows) < RUNS_A_TURN else None

    def _learn(self, job: str, kept: int, checked: CheckedRuns | None) -> None:
        """Remember the runs of a job that remain after a check; `kept` is their size (bytes)."""
        self._room.note(job, kept)
        if checked is not None:
            self._known[job] = checked
            if len(self._known) > MOST_KNOWN:
                del self._known[next(iter(self._known))]

    def _retention_of(self, job: str) -> Retention:
        """Return a job's current retention.

        An unfinished array, or all of a user's ended submissions together, may keep as many runs as OF_SUBMISSIONS
        jobs.
        """
        runs = self._retention.runs * (OF_SUBMISSIONS if job.endswith("/") or is_numbered(job) else 1)
        return replace(self._retention, runs=runs, bytes=self._room.bound(job, self._retention.bytes))

    def _look_at_pool(self, pool: str, now: Now) -> Iterator[int]:
        """Check a user's ended submissions, newest runs first. Yield numbers of checked runs."""
        compares = pool in self._uncompared
        self._uncompared.discard(pool)
        found = list[tuple[int, RunId, HistoryEnd]]()
        with contextlib.suppress(StoreError):
            for some in of_pool(self._store, pool):
                found += [row for row in some if self._pool(row[1].job) == pool]
                yield RUNS_A_TURN
        found.sort(reverse=True)
        tally = RetentionTally(self._retention_of(pool), now.wall, keeps_one=False)
        for place in range(0, len(found), RUNS_A_TURN):
            gone = list[RunId]()
            for _, run, end in found[place : place + RUNS_A_TURN]:
                self._room.forget(run.job)
                gone += self._care_for(run.job, {run.number: end}, tally, compares=compares)
            self._let_go(gone)
            self._see_off(dict.fromkeys(run.job for run in gone))
            yield RUNS_A_TURN
        self._room.note(pool, tally.kept)
        if not tally.kept:
            self._room.forget(pool)

    def _let_go(self, gone: list[RunId]) -> None:
        """Delete the rows of runs whose files were removed, except runs that still have a run directory."""
        for run in gone:
            self._filed(run)
        spared = self._live() if gone else ()
        if over := [run for run in gone if run not in spared]:
            self._store.forget(over)

    def _see_off(self, jobs: Iterable[str]) -> None:
        """Remove the empty directories of these jobs, which no longer exist, and forget the jobs."""
        over = [job for job in jobs if self._is_nowhere(job) and record_files.remove_directory(self._logs, job)]
        if over:
            self._store.forget_keys(over)
            self._gone += over
        for job in over:
            self._room.forget(job)

    def _care_for(
        self, job: str, found: Mapping[int, HistoryEnd | None], tally: RetentionTally, *, compares: bool
    ) -> list[RunId]:
        """Remove the files of runs beyond retention, and restore missing records of all other runs; return the runs
        whose rows must be deleted.
        """
        live, gone = self._live(), list[RunId]()
        for number, end in found.items():
            run = RunId(job, number)
            try:
                files = record_files.files(self._logs, run)
            except OSError:  # keep a run that can't be checked
                tally.differs()
                continue
            changed = max(files.modified, 0 if files.record or end is None else end.queued)
            is_live, is_skip = run in live, end is not None and end.is_skip
            exceeds = tally.exceeds(changed, files, is_skip=is_skip) and not is_live
            if exceeds and self._remove(run):
                gone.append(run)
                continue
            tally.keep(number, files, is_skip=is_skip, is_open=is_live)
            differs = end is not None and (not files.record or (compares and self._missing.may_differ(end, files)))
            if exceeds or (differs and not is_live):
                tally.differs()
            if differs and not (exceeds or is_live or self._missing.write(run, files) or self._missing.note(run)):
                self._again.add(job)
        return gone

    def _remove(self, run: RunId) -> bool:
        """Remove the files of a run; return False if they can't be removed."""
        try:
            record_files.remove(self._logs, run)
        except OSError:
            return False
        return True

    def _remove_unfinished(self, job: str, numbers: list[int]) -> None:
        """Remove the partial records that a crash left, but not a live run's record, which may still be written."""
        live = self._live()
        for run in (RunId(job, number) for number in numbers):
            if run not in live:
                with contextlib.suppress(OSError):
                    record_files.remove_unfinished(self._logs, run)
