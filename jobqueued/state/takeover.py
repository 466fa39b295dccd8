"""At a start, take over history that is in record files but not in state.db, before any decision.

History is absent from state.db if the file is missing or was set aside, if an older copy was restored, or if the file
could not be written before the daemon ended. The takeover checks the directories of jobs that changed after the last
commit:

number                        record                    result
after the last number         ended or skipped          history; counters and cursor continue after it
                              between two attempts      history, with the end of its last attempt
                              damaged, or only output   the number is used and counts as started
its row is not final          not newer than the row    the row is unchanged
                              newer than the row        the run ends as in the record
                              damaged, or only output   lost, if the row has no attempt
its row is the newest skip    covers more occurrences   the row is updated
its row is the skip before    covers more occurrences   the row is updated; the newest run, if never sent, is removed

If a run is live in this boot or has its end in a run directory, the takeover only marks the number as used, and
recovery handles the run. The takeover commits in parts, each complete in itself, so that a later start can continue
after a crash.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from jobqueued.base.filenames import file_name
from jobqueued.base.instants import SECOND
from jobqueued.base.text import counted
from jobqueued.child.contract import wire
from jobqueued.child.contract.documents import Record
from jobqueued.child.contract.reasons import Code, Reason
from jobqueued.core.records import recollection, record
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.core.records.record_checks import Damaged
from jobqueued.core.runs.skips import CLOCK, era
from jobqueued.model.commands import (
    Command,
    ForgetRun,
    SaveBoot,
    SaveHold,
    SaveIncident,
    SaveJob,
    SaveNotice,
    SaveNumber,
    SaveRun,
)
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import LIVE, PENDING, RunState
from jobqueued.model.saved import SavedJob
from jobqueued.state import record_files
from jobqueued.state.db.faults import StateFault, StoreError
from jobqueued.state.db.store import Store
from jobqueued.state.write_batch import WriteBatch

PART = 500
"""Maximum number of rows in one commit."""
_BEFORE = "SELECT number, state FROM run WHERE job = ? AND number < ? ORDER BY number DESC LIMIT 1"
SLACK = 2 * SECOND
"""Tolerance (ns) for a directory's modification time, because the kernel's file clock is coarse, and some file systems
store whole seconds.
"""


class Takeover:
    """One takeover. `found`: runs with a run directory in this boot. `commit` is a function that returns whether the
    commit succeeded.
    """

    def __init__(
        self,
        store: Store,
        batch: WriteBatch,
        logs: Path,
        found: Iterable[RunId],
        commit: Callable[[], bool],
        boot: str,
        limits: HostLimits,
    ) -> None:
        self._store, self._batch, self._logs, self._commit, self._limits = store, batch, logs, commit, limits
        self._boot = boot
        memories, runs = store.load()
        self._memories = {memory.job: memory for memory in memories}
        self._runs = {run.id: run for run in runs}
        self._unsettled, self._found = _by_job(self._runs), _by_job(found)
        self._skip: Run | None = None
        self._joined = 0
        """Number of runs of the current job that were merged into its skip."""
        incidents, notices = store.notices()
        self._beside: list[Command] = [SaveHold(store.hold()), *map(SaveNotice, notices)]
        self._beside += [SaveIncident(each.subject, each) for each in incidents]
        submissions, numbers = store.submissions()
        self._beside += [*submissions, *(SaveNumber(share, last) for share, last in numbers.items())]
        self._is_breaking = store.failure is not None and store.failure.fault is StateFault.BROKEN
        if self._is_breaking:
            self._beside += self._ends()
        meta = _meta(store)
        self._is_new, self._is_untaken = not meta, "untaken" in meta
        saved = meta.get("saved", "")
        self.saved_at = int(saved) if saved.isdecimal() and not self._is_untaken else 0
        """The instant of the last commit before the takeover (wall, ns), or 0 if any record may be newer."""
        self._has_room = True
        self._records = self._damaged = 0
        before = _recorded(meta)
        self.recorded = [run for run in self._runs_of(before) if self._may_come_again(run)]
        """Runs that were taken over, for the scheduler: the cause of such a run must not make a second run due.

        If an earlier start took over runs and was killed before the scheduler had handled their causes, these runs are
        included.
        """
        if len(self.recorded) != len(before):
            self._batch.note_recorded([run.id for run in self.recorded])
        self._jobs: set[str] = set()
        self._first_damaged = self._unreadable = ""

    @property
    def lost(self) -> bool:
        """Return whether state.db was lost, so that due runs and the causes of this boot are unknown."""
        return self._is_new and bool(self._records or self._damaged or self._unreadable or self._store.lost)

    @property
    def saved(self) -> tuple[list[SavedJob], list[Run]]:
        """The saved jobs and the runs with which the scheduler starts."""
        return list(self._memories.values()), list(self._runs.values())

    def everything(self) -> list[Command]:
        """Return the commands that save the whole state, except history and skips, in a new state.db if the current
        file breaks during the takeover.
        """
        going_on = (run for run in self._runs.values() if run.state is not RunState.SKIPPED)
        return [*map(SaveJob, self._memories.values()), *map(SaveRun, going_on), *self._beside]

    def carry_out(self, wall: int) -> None:
        """Take over all records and commit them. Raises OSError if descriptors or memory are short."""
        since = self.saved_at - SLACK
        if since > wall:  # the clock was ahead at that time, so this instant is useless
            since = 0
        try:
            for job in self._found:  # a run without a record may get one before recovery checks it
                self._look_at(job)
            for job in record_files.changed(self._logs, since):
                if job not in self._found:
                    self._look_at(job)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno in wire.SHORTAGE:  # otherwise runs could start twice
                raise
            self._unreadable = f"{self._logs}: {error.strerror}"
        except StoreError as error:
            self._unreadable = str(error)
        if self._batch or self._unreadable or not self.saved_at or self._is_breaking:
            self._save(untaken=bool(self._unreadable or (self._is_breaking and self.saved_at)))

    def messages(self, state: Path) -> list[str]:
        """Return messages about the takeover; `state` is the directory of state.db."""
        texts = []
        records, jobs = counted(self._records, "record"), counted(len(self._jobs), "job")
        came = f"{records} of {jobs} restored from {self._logs}"
        if self.lost:
            texts.append(
                f"{self._store.lost or f'{state}/state.db was missing or empty'}; {came}: history, counters and run"
                " numbers continue; waiting runs, submissions and their keys, notices, pauses, skip-next and the"
                " host's hold are lost, and missed occurrences are not made up for"
            )
        elif self._records and self._is_untaken:
            texts.append(f"{state}/state.db lacked history; {came}")
        elif self._records:
            texts.append(
                f"{state}/state.db is older than the records: a backup was restored, or the disk was full;"
                f" {came}; later pauses, skip-next, holds, notices, submissions and waiting runs are lost"
            )
        if self._damaged:
            texts.append(
                f"cannot read the records of {counted(self._damaged, 'run')} in {self._logs}"
                f" ({self._first_damaged}); their numbers count as used"
            )
        if self._unreadable:
            texts.append(
                f"{self._unreadable}; its records might be newer than state.db; to check again, restart jobqueued"
            )
        if not self._has_room:
            texts.append(f"{state} has no room for all records, so history has gaps; free space, and restart jobqueued")
        return texts

    def _ends(self) -> Iterator[SaveRun]:
        """Yield the ended runs that still have a run directory; if their rows were missing, their ends would count as
        new.
        """
        for run in (RunId(job, number) for job, numbers in self._found.items() for number in sorted(numbers)):
            with contextlib.suppress(StoreError):
                if (document := self._store.record(run)) is not None:
                    yield SaveRun(recollection.run_of(document), document)

    def _look_at(self, job: str) -> None:
        """Take over the runs of one job, number by number."""
        before = saved = self._memories.get(job) or SavedJob(job=job)
        try:
            used = record_files.listing(self._logs, job).runs
        except OSError as error:
            self._unreadable = f"{self._logs / file_name(job)}: {error.strerror}"
            return
        self._skip, self._joined = None, 0
        preceding = self._preceding(job)
        for number in self._in_question(saved, used):
            saved = self._take(saved, RunId(job, number))
            if len(self._batch.runs) >= PART:
                self._batch.take(SaveJob(saved))
                self._save(untaken=True)
        if saved != before:
            self._memories[job] = saved
            self._batch.take(SaveJob(saved))
            self._choose_skip(saved)
        elif preceding is not None:
            del self._runs[preceding]

    def _preceding(self, job: str) -> RunId | None:
        """Return the skip before a job's newest row, and mark the skip as unsettled; return None if there is no such
        skip.

        The newest run may have been merged into this skip after the last commit.
        """
        newest = max(self._unsettled.get(job, ()), default=0)
        if newest and self._runs[RunId(job, newest)].state is not RunState.SKIPPED:
            for number, state in self._store.query(_BEFORE, (job, newest)):
                if state == RunState.SKIPPED and (document := self._store.record(RunId(job, number))) is not None:
                    skip = recollection.run_of(document)
                    self._runs[skip.id] = skip
                    self._unsettled[job].add(number)
                    return skip.id
        return None

    def _in_question(self, saved: SavedJob, used: list[int]) -> list[int]:
        """Return the run numbers whose files may be newer than their rows, in order."""
        newest, unsettled = saved.last_number, self._unsettled.get(saved.job, set())
        if self.saved_at and saved.job in self._memories:
            settled: Container[int] = range(newest + 1)
        else:  # ended submissions exist only as rows, and a broken state.db loses its rows
            settled = set() if self._is_breaking else _numbers(self._store, saved.job)
        live = (number for number in self._found.get(saved.job, ()) if number > newest)
        return sorted({*live, *(number for number in used if number in unsettled or number not in settled)})

    def _take(self, saved: SavedJob, run: RunId) -> SavedJob:
        """Take over one run number; return the new saved state of its job."""
        if run.number in self._found.get(run.job, ()):
            before = recollection.up_to(saved, run.number - 1)
            return replace(before, last_number=max(before.last_number, run.number))
        row = self._runs.get(run)
        try:
            document = record_files.checked(self._logs, run)
        except Damaged as damage:
            if row is None:
                return self._damage(saved, run, damage)
            return self._end(saved, row, self._lost(row, damage)) if _was_never_sent(row) else saved
        if row is not None and not self._is_ahead(document, row):
            return saved
        return self._end(saved, row, document)

    def _end(self, saved: SavedJob, row: Run | None, document: Record) -> SavedJob:
        """Take over the end of a run; return the new saved state of its job."""
        final = recollection.final(document, "state.db was lost, or is older than the record")
        run = recollection.run_of(final)
        if final is not document:
            run = replace(run, attempt=run.attempt + 1)  # as for any run that ends between two attempts
        self._records += 1
        self._jobs.add(run.id.job)
        if self._has_room or row is not None:
            self._batch.take(SaveRun(run, final))
        self._runs.pop(run.id, None)
        if self._may_come_again(run):
            self.recorded.append(run)
        if run.state is RunState.SKIPPED:
            self._skip = run
        if row is None and run.id.number <= saved.last_number:
            return saved  # the run is already counted
        if row is not None and row.state is RunState.SKIPPED:
            self._let_join(row, run)
            run = replace(run, count=run.count - row.count)
        return recollection.after(saved, run, final)

    def _let_join(self, row: Run, skip: Run) -> None:
        """Forget runs that were never sent to a launcher and were merged into a skip after the skip's row was saved."""
        since, until = (it.due if it.last_due is None else it.last_due for it in (row, skip))
        for run in [RunId(row.id.job, number) for number in self._unsettled.get(row.id.job, ())]:
            it = self._runs.get(run)
            if it is None or not _was_never_sent(it) or it.trigger != CLOCK.trigger or era(it.key) != era(row.key):
                continue
            if since < it.due <= until:
                del self._runs[run]
                self._batch.take(ForgetRun(run, None))
                self._joined += 1

    def _may_come_again(self, run: Run) -> bool:
        """Return whether the scheduler may receive a run's cause a second time, because the cause is this boot or
        another run's end.
        """
        kind, cause = run.key[:1], run.key[1:]
        if kind == "b":
            return cause == self._boot
        ends = [cause] if kind in ("j", "d") else []
        return any(map(self._may_end, [*ends, *(run.triggered_by or {}).get("ends", ())]))

    def _may_end(self, name: str) -> bool:
        """Return whether the scheduler may receive a run's end a second time."""
        with contextlib.suppress(ValueError):
            run = RunId.parse(name)
            return run in self._runs or run.number in self._found.get(run.job, ())
        return False

    def _runs_of(self, names: Iterable[str]) -> Iterator[Run]:
        """Yield the runs with these names that have history."""
        for name in names:
            with contextlib.suppress(ValueError, StoreError):
                if (document := self._store.record(RunId.parse(name))) is not None:
                    yield recollection.run_of(document)

    def _is_ahead(self, document: Record, row: Run) -> bool:
        """Return whether a record is newer than its row. If the row belongs to a live attempt with a run directory,
        recovery handles the end.
        """
        skips, last = document["state"] == RunState.SKIPPED, recollection.last_attempt(document)
        if row.state is RunState.SKIPPED:
            return skips and document.get("count", 1) > row.count
        if row.state in LIVE and last == row.attempt:
            return not recollection.is_final(document)
        return skips or last >= max(row.attempt, 1)

    def _lost(self, row: Run, damage: Damaged) -> Record:
        reason = Reason(Code.RECORD_UNREADABLE, why=str(damage))
        lost = replace(row, state=RunState.LOST, attempt=1, reason=reason)
        return record.lost(lost, None, self._limits, None, record_files.found_output(self._logs, row.id))

    def _damage(self, saved: SavedJob, run: RunId, damage: Damaged) -> SavedJob:
        if run.number > saved.last_number:
            self._damaged += 1
            self._first_damaged = self._first_damaged or f"{run}: {damage}"
        return recollection.up_to(saved, run.number)

    def _choose_skip(self, saved: SavedJob) -> None:
        """Keep a job's skip only if it is the newest run, not counting runs that were merged into it; the next skip can
        then be added to it.
        """
        newest = saved.last_number - self._joined
        for run in [RunId(saved.job, number) for number in self._unsettled.get(saved.job, ())]:
            if run in self._runs and self._runs[run].state is RunState.SKIPPED and run.number != newest:
                del self._runs[run]
        if self._skip is not None and self._skip.id.number == newest:
            self._runs[self._skip.id] = self._skip

    def _save(self, *, untaken: bool) -> None:
        """Commit the collected changes. If the disk has no room, rows of history wait for a later start, and everything
        else remains in memory.
        """
        if self.lost:
            self._batch.take(SaveBoot(self._boot))
        self._batch.note_untaken(some=untaken or not self._has_room)
        if self.recorded:
            self._batch.note_recorded([run.id for run in self.recorded])
        if self._has_room and not self._commit():
            self._has_room = False
            self._batch.note_untaken(some=True)
            for run in [run for run in self._batch.runs if run.number not in self._unsettled.get(run.job, ())]:
                self._batch.drop(run)


def _meta(store: Store) -> dict[str, str]:
    """Return all committed facts about the host, or {} if no commit was ever made."""
    return dict(store.query("SELECT name, value FROM meta"))


def _recorded(meta: dict[str, str]) -> list[str]:
    """Return the names of runs that an earlier start took over and whose causes the scheduler may receive a second
    time.
    """
    with contextlib.suppress(ValueError):
        names = json.loads(meta.get("recorded", "[]"))
        return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
    return []


def _numbers(store: Store, job: str) -> set[int]:
    """Return the numbers of a job's runs that have a row."""
    return {number for (number,) in store.query("SELECT number FROM run WHERE job = ?", (job,))}


def _by_job(runs: Iterable[RunId]) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for job, number in runs:
        found.setdefault(job, set()).add(number)
    return found


def _was_never_sent(row: Run) -> bool:
    """Return whether, according to its row, a run was never sent to the launcher and therefore has no files."""
    return row.state in PENDING and row.attempt == 0
