"""Housekeeping: what retention lets go, record files that are missing, and the write-ahead log.

Some runs of one job a turn, some time after there is something to do.  A row of history goes by what is known of its
run, never because a file is missing: that is written again, now or when there is room.
"""

from __future__ import annotations

import contextlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from jobqueued.child import atomic_file
from jobqueued.core.recollection import Damaged, is_ahead
from jobqueued.events import HistoryGone
from jobqueued.host.linux import give_back_memory
from jobqueued.host.log import Log
from jobqueued.model import DAY, MINUTE, SECOND, UNBOUNDED, Now, Record, RunId
from jobqueued.settings import Retention
from jobqueued.source import Source
from jobqueued.state import record_files
from jobqueued.state.commits import Commits
from jobqueued.state.faults import CommitFailed, StoreError
from jobqueued.state.formats import ENDED
from jobqueued.state.record_files import Files
from jobqueued.state.store import Store
from jobqueued.state.tally import Tally
from jobqueued.submission import is_numbered, pool_of
from jobqueued.users import share_of

RUNS_A_TURN = 50
ROWS_A_TURN = 1000
_COST_OF_JOB = 10
"""A look at a job takes as long as one at so many runs, to list its files and its rows."""
OF_SUBMISSIONS = 100
"""So many times the runs of a job are kept of all submissions of a user that are over."""
_UNSYNCED = 10 * MINUTE
"""So long a file may be in memory only: half a minute by default, longer where the disk is slow, or a laptop's."""
_NEVER = 1 << 63
AGAIN = 10 * SECOND
"""The pause before a record that could not be written is tried again."""


class End(NamedTuple):
    """A row of history in brief: when it was queued (wall), whether the scheduler may have written its record, and
    whether it was skipped.
    """

    queued: int
    by_scheduler: bool
    is_skip: bool


_WITH_ROWS = f"SELECT DISTINCT job FROM run INDEXED BY history WHERE {ENDED}"
"""By the index, without the records: of a hundred thousand runs those are 450 MB."""
_ENDS = """
SELECT number, queued, state IN ('skipped', 'lost') OR attempt > 1, state = 'skipped' FROM run
WHERE job = ? AND number < ? AND record IS NOT NULL ORDER BY number DESC LIMIT ?
"""
_OF_POOL = """
SELECT job, number, queued, state IN ('skipped', 'lost') OR attempt > 1, state = 'skipped' FROM run
WHERE (job, number) > (?, ?) AND job < ? AND record IS NOT NULL ORDER BY job, number LIMIT ?
"""


class Housekeeping(Source):
    """Jobs of which something may be let go, or is missing.

    `live` tells the runs to spare; `filed` is told of each whose record has been written, or let go.
    """

    def __init__(
        self, store: Store, logs: Path, retention: Retention, live: Callable[[], Container[RunId]], commits: Commits,
        log: Log, filed: Callable[[RunId], None], max_use: int | None = None,
        keep_free: int | None = None, is_nowhere: Callable[[str], bool] = lambda _: False,
        of_a_user: int | None = None,
    ) -> None:  # fmt: skip
        """`max_use`: the bytes that records and output of all jobs may have together, `of_a_user` those of a user;
        None: any number.  `is_nowhere` tells of a job if it is certain that there is none.
        """
        self._is_nowhere, self._of_a_user = is_nowhere, of_a_user
        self._gone: list[str] = []
        """Jobs of which nothing is left since the last turn."""
        self._keep_free, self._log_directory = keep_free, atomic_file.kept(str(logs))
        self._store, self._logs, self._retention, self._live = store, logs, retention, live
        self._commits, self._log, self._filed, self._max_use = commits, log, filed, max_use
        self._kept: dict[str, int] = {}
        """The bytes of the runs that each job keeps, when it was looked at last."""
        self._bounds: dict[str, int] = {}
        """The bytes that some jobs may keep now, as all of them have too many."""
        self._jobs: dict[str, None] = {}
        """Those to look at, in an order that is the same each time."""
        self._unsure_since = _NEVER
        """Record files that were changed since (wall) may not hold what was written."""
        self._uncompared: set[str] = set()
        """Those whose record files may be older than their rows."""
        self._missing: set[str] = set()
        """Those of the jobs that are looked at only as records are missing."""
        self._again: set[str] = set()
        """The jobs to look at another time, as records could not be written now."""
        self._no_room = False
        self._said, self._written = "", 0
        self._going_on: Iterator[int] = iter(())
        """What is left of a look at a job; it tells how many runs were looked at just now."""
        self._at: int | None = None
        self._all_at = 0

    def begin(self, now: Now, went_down: int | None = None) -> None:
        """At start: look at every job, as nobody did meanwhile; after that instant (wall) the host went down."""
        self._unsure_since = _NEVER if went_down is None else went_down - _UNSYNCED
        found = with_rows = set[str]()
        with contextlib.suppress(StoreError):
            found = set(self._store.jobs())
            with_rows = {job for (job,) in self._store.query(_WITH_ROWS)}
        found = found | with_rows | set(record_files.jobs(self._logs))
        self._jobs = dict.fromkeys(self._pool(job) if job in with_rows else job for job in sorted(found))
        self._uncompared = found | self._jobs.keys()
        self._at, self._all_at = now.mono, now.mono + DAY

    def _pool(self, job: str) -> str:
        """The name by which a job is looked at: submissions of a user that are over, together, as ``alice/``."""
        return pool_of(job) if is_numbered(job) and self._is_nowhere(job) else job

    def note(self, job: str, now: Now) -> None:
        """A run of this job has ended, or there is no such job any more."""
        self._jobs[self._pool(job)] = None
        soon = now.mono + MINUTE
        self._at = soon if self._at is None else min(self._at, soon)

    def miss(self, run: RunId, error: OSError, now: Now) -> None:
        """The record of this run could not be written, and is to be as soon as it can be."""
        self._jobs[run.job] = None
        self._missing.add(run.job)
        self._uncompared.add(run.job)
        self._say_trouble(run, error)
        soon = now.mono + AGAIN
        self._at = soon if self._at is None else min(self._at, soon)

    @property
    def kept(self) -> int:
        """The bytes of all runs that are kept, as far as they were looked at."""
        return sum(self._kept.values())

    @property
    def troubles(self) -> list[str]:
        """Tell of records that can't be written, and of a disk that has no room for output."""
        return list(filter(None, (self._said, record_files.shortage(self._logs, self._keep_free))))

    @property
    def deadline(self) -> int | None:
        """The time to look; None: the start is not over."""
        return self._at

    def turn(self, now: Now) -> Iterable[HistoryGone]:
        """Look at some runs, of few jobs; after the last job at the log."""
        self._look(now)
        gone, self._gone = self._gone, []
        return map(HistoryGone, gone)

    def _look(self, now: Now) -> None:
        looked = 0
        try:
            while looked < RUNS_A_TURN:
                if (some := next(self._going_on, None)) is not None:
                    looked += some
                elif not self._commits.degraded and (job := self._next_job() or self._largest()) is not None:
                    self._going_on = self._look_at_pool(job, now) if job.endswith("/") else self._look_at(job, now)
                    looked += _COST_OF_JOB
                else:
                    break
            else:
                return
        except CommitFailed as error:
            self._commits.degrade(error)
        self._finish(now)

    def _next_job(self) -> str | None:
        """The next job to look at; where one record could not be written just now, no other is tried."""
        while self._jobs:
            job, _ = self._jobs.popitem()
            if not (self._no_room and job in self._missing):
                return job
            self._again.add(job)
        return None

    def _largest(self) -> str | None:
        """The job that keeps most, if all together keep too much: its oldest runs go, down to what the next one keeps.

        A job that keeps more than it may has nothing more to let go.
        """
        sizes = [(size, job) for job, size in self._kept.items() if size <= self._bounds.get(job, size)]
        excess, rest = 0 if self._max_use is None else self.kept - self._max_use, sorted(sizes)
        if excess <= 0 or not rest:
            excess, rest = self._of_greedy(sizes)
        if excess <= 0 or not rest:
            self._bounds.clear()
            return None
        (size, job), (next_size, _) = rest[-1], rest[-2] if len(rest) > 1 else (0, "")
        self._bounds[job] = max(size - excess, next_size if next_size < size else 0)
        return job

    def _of_greedy(self, sizes: list[tuple[int, str]]) -> tuple[int, list[tuple[int, str]]]:
        """By how many bytes a user keeps more than a user may, and what that is in jobs with something to let go."""
        kept = Counter[str]()
        for job, size in self._kept.items():
            kept[share_of(job)] += size
        del kept[""]
        most = UNBOUNDED if self._of_a_user is None else self._of_a_user
        for share, size in kept.items():
            rest = sorted((size, job) for size, job in sizes if share_of(job) == share)
            if size > most and rest:
                return size - most, rest
        return 0, []

    def _finish(self, now: Now) -> None:
        """Rest until there is something to do, or to try again."""
        if self._said and not (self._jobs or self._again):
            text = f"{self._written} records that were missing are written"
            text = {0: "no record is missing any more", 1: "the record that was missing is written"}.get(
                self._written, text
            )
            self._log.say("recovered", text=f"{self._logs}: {text}")
            self._said, self._written = "", 0
        self._jobs |= dict.fromkeys(sorted(self._again))
        self._uncompared |= self._again
        self._missing, self._again, self._no_room = self._again | (self._missing & self._jobs.keys()), set(), False
        if now.mono >= self._all_at:  # the records of jobs that run no more grow older, too
            self._jobs |= dict.fromkeys(map(self._pool, self._kept))
            self._all_at = now.mono + DAY
        self._at = now.mono + (AGAIN if self._missing else MINUTE) if self._jobs else self._all_at
        self._store.tidy()
        give_back_memory()

    def _look_at(self, job: str, now: Now) -> Iterator[int]:
        """Look at the runs of a job, the newest first."""
        try:
            found = record_files.listing(self._logs, job)
        except OSError:  # what is there is not known, so nothing goes
            self._again.add(job)
            return
        self._remove_unfinished(job, found.unfinished)
        compares = job in self._uncompared
        self._uncompared.discard(job)
        is_nowhere = self._is_nowhere(job)
        tally, before, kept = Tally(self._retention_of(job), now.wall, keeps_one=not is_nowhere), 1 << 62, 0
        while True:
            try:
                ends = self._ends(job, before)
            except StoreError:
                return
            until = bisect_left(found.runs, before)
            numbers = sorted({*ends, *found.runs[max(0, until - RUNS_A_TURN) : until]}, reverse=True)[:RUNS_A_TURN]
            if not numbers:
                self._kept[job] = kept
                if is_nowhere and not kept:
                    self._see_off([job])
                return
            cared = {number: ends.get(number) for number in numbers}
            bytes_kept, gone = self._care_for(job, cared, tally, compares=compares)
            self._let_go(gone)
            kept, before = kept + bytes_kept, numbers[-1]
            yield len(numbers)

    def _retention_of(self, job: str) -> Retention:
        """The history that a job may keep now; that of submissions, or of an array that is not over, is many jobs'."""
        runs = self._retention.runs * (OF_SUBMISSIONS if job.endswith("/") or is_numbered(job) else 1)
        most = self._retention.bytes
        if job.endswith("/") and share_of(job) and self._of_a_user is not None:
            most = self._of_a_user
        return replace(self._retention, runs=runs, bytes=min(most, self._bounds.get(job, 1 << 62)))

    def _look_at_pool(self, pool: str, now: Now) -> Iterator[int]:
        """Look at the submissions of a user that are over, the newest first."""
        compares = pool in self._uncompared
        self._uncompared.discard(pool)
        found = list[tuple[int, RunId, End]]()
        for some in self._rows_of_pool(pool):
            found += some
            yield RUNS_A_TURN
        found.sort(reverse=True)
        tally, kept = Tally(self._retention_of(pool), now.wall, keeps_one=False), 0
        for place in range(0, len(found), RUNS_A_TURN):
            gone = list[RunId]()
            for _, run, end in found[place : place + RUNS_A_TURN]:
                self._kept.pop(run.job, None)
                bytes_kept, let_go = self._care_for(run.job, {run.number: end}, tally, compares=compares)
                kept, gone = kept + bytes_kept, gone + let_go
            self._let_go(gone)
            self._see_off(dict.fromkeys(run.job for run in gone))
            yield RUNS_A_TURN
        self._kept[pool] = kept
        if not kept:
            del self._kept[pool]

    def _rows_of_pool(self, pool: str) -> Iterator[list[tuple[int, RunId, End]]]:
        """Yield the rows of history of a pool, some at a time."""
        place = (pool, 0)
        while True:
            try:
                rows = self._store.query(_OF_POOL, (*place, f"{pool[:-1]}0", ROWS_A_TURN))
            except StoreError:
                return
            yield [
                (queued, RunId(job, number), End(queued, bool(mine), bool(is_skip)))
                for job, number, queued, mine, is_skip in rows
                if self._pool(job) == pool
            ]
            if len(rows) < ROWS_A_TURN:
                return
            place = rows[-1][:2]

    def _let_go(self, gone: list[RunId]) -> None:
        """Drop the rows of runs whose files are removed, unless their R's can't be."""
        for run in gone:
            self._filed(run)
        spared = self._live() if gone else ()
        if over := [run for run in gone if run not in spared]:
            self._store.forget(over)

    def _see_off(self, jobs: Iterable[str]) -> None:
        """Let the directories of jobs go that are nowhere any more, and what else is kept of them."""
        over = [job for job in jobs if self._is_nowhere(job) and record_files.remove_directory(self._logs, job)]
        if over:
            self._store.forget_keys(over)
            self._gone += over
        for job in over:
            self._kept.pop(job, None)

    def _ends(self, job: str, before: int) -> dict[int, End]:
        """Some rows of history of a job, the newest before a number; StoreError."""
        rows = self._store.query(_ENDS, (job, before, RUNS_A_TURN))
        return {number: End(queued, bool(mine), bool(is_skip)) for number, queued, mine, is_skip in rows}

    def _care_for(
        self, job: str, ends: Mapping[int, End | None], tally: Tally, *, compares: bool
    ) -> tuple[int, list[RunId]]:
        """Remove files of these runs, or see that their records are there; the bytes of those that stay, and the runs
        whose rows are to go.
        """
        live, gone, kept = self._live(), list[RunId](), 0
        for run, end in ((RunId(job, number), end) for number, end in ends.items()):
            with contextlib.suppress(OSError):  # what can't be looked at, or removed, stays
                files = record_files.files(self._logs, run)
                changed = max(files.modified, 0 if files.record or end is None else end.queued)
                exceeds = tally.exceeds(changed, files.bytes, is_skip=end is not None and end.is_skip)
                kept += files.bytes
                if run in live:
                    continue
                if exceeds:
                    record_files.remove(self._logs, run)
                    gone.append(run)
                    kept -= files.bytes
                elif end is not None and (not files.record or (compares and self._may_differ(end, files))):
                    self._mend(run, files)
        return kept, gone

    def _may_differ(self, end: End, files: Files) -> bool:
        """Tell whether a record file may be older than its row, or not whole."""
        return end.by_scheduler or files.modified >= self._unsure_since

    def _mend(self, run: RunId, files: Files) -> None:
        """Write the record file that is missing, or older than its row: the scheduler writes after the commit."""
        if self._no_room:
            self._again.add(run.job)
            return
        with contextlib.suppress(StoreError):
            record = self._store.record(run)
            if record is None or (files.record and not self._is_older(record)):
                return
            try:
                atomic_file.restore(*self._log_directory)
                record_files.write(self._logs, record)
                self._written += 1
                self._filed(run)
            except OSError as error:
                self._no_room = True
                self._again.add(run.job)
                self._say_trouble(run, error)

    def _is_older(self, record: Record) -> bool:
        """Tell whether the record file of a run with a row is not what that has, nor newer."""
        try:
            found = record_files.checked(self._logs, RunId(record["job"], record["number"]))
        except Damaged:
            return True
        return found != record and not is_ahead(found, record)

    def _say_trouble(self, run: RunId, error: OSError) -> None:
        if not self._said:
            rest = "until they can be written, records are kept in state.db"
            self._said = f"cannot write the record of {run}: {error.strerror}; {rest}"
            self._log.say("trouble", text=self._said)

    def _remove_unfinished(self, job: str, numbers: list[int]) -> None:
        """Remove what a death in the middle of writing a record has left; of a live run it may be in use."""
        live = self._live()
        for run in (RunId(job, number) for number in numbers):
            if run not in live:
                with contextlib.suppress(OSError):
                    record_files.remove_unfinished(self._logs, run)
