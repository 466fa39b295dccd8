"""The scheduler: decides who runs when.  No clock, no I/O: events in, commands out, time is an argument.

commands = scheduler.handle(event, now)     # what happened
commands += scheduler.admit(now)            # once a turn: who starts
wake_at = scheduler.next_wakeup(now)        # nothing to do before that instant
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from heapq import heappop, heappush
from typing import Any, NamedTuple

from jobqueued import catchup, events, lifecycle, record
from jobqueued.book import Book, JobState
from jobqueued.catalog import Catalog
from jobqueued.commands import Command, Launch, RemoveMarks, Reply, SaveJob, SaveRun, Say, WriteRecord
from jobqueued.lifecycle import Step
from jobqueued.model import (
    HOUR,
    LIVE,
    SECOND,
    UNSTARTED,
    CatchUp,
    Job,
    JobMemory,
    JobStats,
    Now,
    Occurrence,
    Record,
    Run,
    RunId,
    RunState,
)  # fmt: skip

LAUNCHES_A_TURN = 64
JOBS_A_TURN = 64
DUES_A_TURN = 1000
STEP_LIMIT = 3 * HOUR
HELD_FROM_CLOCK, HELD_FROM_OTHERS = 1, 100
BACKOFF_MAX = 60 * SECOND


class _Cause(NamedTuple):
    """What made an occurrence: its trigger, and the person behind it, if any."""

    trigger: str = "schedule"
    asked_by: str | None = None


_CLOCK = _Cause()


class Scheduler:
    """All decisions about one host's jobs.  `validate` states the invariants that hold after every event."""

    def __init__(self, *, max_running: int | None = None, host: str = "localhost") -> None:
        self._book = Book(max_running)
        self.host = host
        self._clock: list[tuple[int, int, str]] = []
        self._timers: list[tuple[int, RunId]] = []
        self._deciders: dict[type, Callable[[Any, Now], Iterator[Command]]] = {
            events.JobsRead: self._jobs_read,
            events.FileGone: self._file_gone,
            events.JobsLoaded: self._jobs_loaded,
            events.Woke: self._woke,
            events.ClockStepped: self._clock_stepped,
            events.RunStarted: self._run_started,
            events.RunEnded: self._run_ended,
            events.RunLost: self._run_lost,
            events.NeverStarted: self._never_started,
            events.Found: self._found,
            events.RunAsked: self._run_asked,
        }

    @property
    def catalog(self) -> Catalog:
        """The jobs."""
        return self._book.catalog

    @property
    def runs(self) -> dict[RunId, Run]:
        """Every run before its end."""
        return self._book.runs

    def __getitem__(self, job: str) -> JobState:
        """Where a job stands."""
        return self._book[job]

    def restore(self, memories: Iterable[JobMemory], runs: Iterable[Run]) -> None:
        """Take over what an earlier scheduler kept, before the first event."""
        self._book.restore(memories, runs)

    def handle(self, event: events.Event, now: Now) -> list[Command]:
        """What is to be done about `event`; lifecycle.IllegalStep, and nothing changed, if it can't have happened."""
        return list(self._deciders[type(event)](event, now))

    def next_wakeup(self, now: Now) -> int | None:
        """The wall instant (ns) before which only an event can change anything; None: no such instant."""
        due = self._soonest()
        times = [] if due is None else [due]
        if self._timers:
            times.append(now.wall + max(0, self._timers[0][0] - now.mono))
        if not self._book.blocked and len(self._book.waiting):
            times.append(now.wall)
        return min(times, default=None)

    def explain(self, run: RunId) -> list[str]:
        """Why a run has not started, a reason a line; [] for a live one.  KeyError: no such run, or it has ended."""
        return self._book.explain(run)

    def validate(self) -> None:
        """AssertionError unless every run is in exactly one place and claims are held by live runs only."""
        self._book.validate()

    # job files

    def _jobs_read(self, event: events.JobsRead, now: Now) -> Iterator[Command]:
        change = self.catalog.replace_file(event.file, event.jobs)
        for job in change.removed:
            yield from self._job_removed(job)
        for job in (*change.added, *change.edited):
            yield from self._job_defined(job, now)
        counts = {name: len(jobs) for name, jobs in change._asdict().items() if jobs}
        if counts:
            yield Say("jobs_read", {"file": event.file, **counts})

    def _file_gone(self, event: events.FileGone, now: Now) -> Iterator[Command]:
        return self._jobs_read(events.JobsRead(event.file, ()), now)

    def _jobs_loaded(self, event: events.JobsLoaded, _now: Now) -> Iterator[Command]:
        """All files were read at start: what waits for a job that is nowhere any more never runs."""
        if event.complete:
            for run in list(self.runs.values()):
                if run.state in UNSTARTED and run.id.job not in self.catalog:
                    yield from self._skip_run(run, "job_removed")

    def _job_defined(self, job: Job, now: Now) -> Iterator[Command]:
        state = self._book[job.id]
        rhythm = job.rhythm if job.enabled else ""
        if state.memory.cursor > now.wall + STEP_LIMIT:  # the clock was far ahead, and was put right while we were down
            yield Say("clock_was_ahead", {"job": job.id, "seconds": (state.memory.cursor - now.wall) / SECOND})
            state.memory = replace(state.memory, cursor=now.wall, era=state.memory.era + 1)
            yield SaveJob(state.memory)
        if state.memory.rhythm != rhythm or not state.memory.cursor:
            state.memory = replace(state.memory, rhythm=rhythm, cursor=now.wall)
            yield SaveJob(state.memory)
        self._set_clock(job, state)
        for run in state.waiting:
            self._book.enqueue(self.runs[run])
        self._book.promote(job.id)

    def _job_removed(self, job: Job) -> Iterator[Command]:
        state = self._book[job.id]
        state.next_due = None
        state.memory = replace(state.memory, rhythm="")
        yield SaveJob(state.memory)
        for run in [*state.due, *state.waiting]:
            yield from self._skip_run(self.runs[run], "job_removed", job)

    # the clock

    def _set_clock(self, job: Job, state: JobState) -> None:
        state.next_due = job.next_after(state.memory.cursor) if job.enabled else None
        if state.next_due is not None:
            heappush(self._clock, (state.next_due, -job.priority, job.id))

    def _soonest(self) -> int | None:
        """The next due time of any job; entries of jobs that have another one by now are dropped on the way."""
        while self._clock and self._book[self._clock[0][2]].next_due != self._clock[0][0]:
            heappop(self._clock)
        return self._clock[0][0] if self._clock else None

    def _woke(self, _event: events.Woke, now: Now) -> Iterator[Command]:
        ready: list[tuple[int, int, str]] = []
        while (due := self._soonest()) is not None and due <= now.wall and len(ready) < JOBS_A_TURN:
            ready.append(heappop(self._clock))
        for instant, _, name in ready:
            if self._book[name].next_due == instant:
                yield from self._come_due(self.catalog[name], now)
        while self._timers and self._timers[0][0] <= now.mono:
            heappop(self._timers)
            self._book.blocked = False

    def _come_due(self, job: Job, now: Now) -> Iterator[Command]:
        """Every instant from the cursor to now becomes a run or a skip, and the cursor moves past them."""
        state = self._book[job.id]
        dues: list[int] = []
        due = state.next_due
        while due is not None and due <= now.wall and len(dues) < DUES_A_TURN:
            dues.append(due)
            due = job.next_after(due)
        state.memory = replace(state.memory, cursor=dues[-1])
        self._set_clock(job, state)
        todo = catchup.sort_out(job, dues, now.wall, complete=due is None or due > now.wall)
        era = state.memory.era
        if todo.missed:
            yield from self._skip(job, [Occurrence.clock(job.id, era, missed) for missed in todo.missed], "missed", now)
        limit = HELD_FROM_OTHERS if job.catch_up is CatchUp.ALL else HELD_FROM_CLOCK
        for instant in todo.run:
            yield from self._new(job, Occurrence.clock(job.id, era, instant), limit, now, _CLOCK)

    def _clock_stepped(self, event: events.ClockStepped, now: Now) -> Iterator[Command]:
        """Steps up to 3 h are gaps like any other (backward: the cursor stays).  A larger one is a correction."""
        yield Say("clock_stepped", {"seconds": event.step / SECOND})
        if abs(event.step) <= STEP_LIMIT:
            return
        for job in self.catalog:
            state = self._book[job.id]
            first = state.next_due
            era = state.memory.era + (event.step < 0)
            state.memory = replace(state.memory, cursor=now.wall, era=era)
            yield SaveJob(state.memory)
            if first is not None and first <= now.wall:
                yield from self._skip(job, [Occurrence.clock(job.id, era, first)], "clock", now)
            self._set_clock(job, state)

    # runs before their start

    def _run_asked(self, event: events.RunAsked, now: Now) -> Iterator[Command]:
        job = self.catalog.get(event.job)
        if job is None:
            yield Reply(event.ticket, {"job": event.job}, "NoSuchJob")
            return
        occurrence = Occurrence(job.id, event.key, now.wall)
        made = list(self._new(job, occurrence, HELD_FROM_OTHERS, now, _Cause("manual", event.asked_by)))
        yield from made
        run = next(command.run for command in reversed(made) if isinstance(command, SaveRun))
        if run.state is RunState.SKIPPED:
            yield Reply(event.ticket, {"reason": f"{run.id} was skipped: {run.reason}"}, "Refused")
        else:
            yield Reply(event.ticket, {"run": str(run.id)})

    def _new(self, job: Job, occurrence: Occurrence, limit: int, now: Now, cause: _Cause) -> Iterator[Command]:
        """A run for the occurrence, or a skip where the job holds its limit of runs that have not started."""
        if self._book[job.id].held >= (limit if job.max_waiting is None else job.max_waiting):
            yield from self._skip(job, [occurrence], "queue_full", now, cause)
            return
        run = self._book.number(occurrence, now.wall, *cause)
        self._book.put_due(run)
        self._book.promote(job.id)
        yield SaveRun(self.runs[run.id])
        yield SaveJob(self._book[job.id].memory)

    def _skip(
        self, job: Job, occurrences: list[Occurrence], reason: str, now: Now, cause: _Cause = _CLOCK
    ) -> Iterator[Command]:
        """Occurrences that never become runs; consecutive ones for one reason share a record."""
        state, last = self._book[job.id], occurrences[-1].due
        run = state.skip
        if run is not None and run.reason == reason:
            run = replace(run, last_due=last, count=run.count + len(occurrences))
        else:
            run = self._book.number(occurrences[0], now.wall, *cause)
            skipped = lifecycle.after(run.state, Step.SKIP)
            run = replace(run, state=skipped, reason=reason, last_due=last, count=len(occurrences))
        state.skip = run
        yield from self._skipped(run, job, len(occurrences))

    def _skip_run(self, run: Run, reason: str, job: Job | None = None) -> Iterator[Command]:
        """A run that was due or waiting and will not start."""
        skipped = self._book.step(run, Step.SKIP, reason=reason)
        self._book.drop(run.id)
        yield from self._skipped(skipped, job, 1)

    def _skipped(self, run: Run, job: Job | None, count: int) -> Iterator[Command]:
        state = self._book[run.id.job]
        stats = state.memory.stats
        state.memory = replace(state.memory, stats=replace(stats, skipped=stats.skipped + count))
        document = record.skipped(run, job, self.host)
        yield SaveRun(run, document)
        yield SaveJob(state.memory)
        yield WriteRecord(document)
        last = run.due if run.last_due is None else run.last_due
        yield Say("run_skipped", {"run": str(run.id), "reason": run.reason, "due": last, "count": run.count})

    def admit(self, now: Now) -> list[Command]:
        """Start those whose turn it is, in their order, as far as claims can be granted; at most 64 a turn.

        Where claims are scarce, all that are due join the queue before the first is chosen.
        """
        due = self._soonest()
        if self._book.is_limited and due is not None and due <= now.wall:
            return []
        commands: list[Command] = []
        later: list[Run] = []
        launched = 0
        while launched < LAUNCHES_A_TURN and (first := self._book.waiting.first()) and self._book.missing() is None:
            run = self.runs[first]
            if run.not_before > now.mono:
                self._book.waiting.remove(first)
                later.append(run)
                continue
            commands += self._start(run)
            launched += 1
        for run in later:
            self._book.enqueue(run)
        self._book.blocked = launched < LAUNCHES_A_TURN
        return commands

    def _start(self, run: Run) -> list[Command]:
        job = self.catalog[run.id.job]
        self._book.admit(run)
        started = self._book.step(run, Step.ADMIT, attempt=max(1, run.attempt))
        return [SaveRun(started), Launch(started, job, record.begin(started, job, self.host))]

    # runs from their start to their end

    def _live(self, run: RunId, attempt: int) -> Run | None:
        """The run that news of an attempt is about; None: that attempt is not live (any more)."""
        found = self.runs.get(run)
        return found if found is not None and found.attempt == attempt and found.state in LIVE else None

    def _run_started(self, event: events.RunStarted, _now: Now) -> Iterator[Command]:
        run = self._live(event.run, event.attempt)
        if run is None:
            return
        known = run.state is RunState.RUNNING
        run = self._book.step(run, Step.START, pid=event.pid, started=event.started)
        if not known:
            yield SaveRun(run)
            yield Say("run_started", {"run": str(run.id), "pid": run.pid, "late": max(0, event.started - run.due)})

    def _run_ended(self, event: events.RunEnded, now: Now) -> Iterator[Command]:
        run = self._live(event.run, event.attempt)
        if run is not None:
            yield from self._end(run, event.record, now)
        yield RemoveMarks(event.run, event.attempt)

    def _run_lost(self, event: events.RunLost, now: Now) -> Iterator[Command]:
        run = self._live(event.run, event.attempt)
        if run is not None:
            lost = replace(run, state=lifecycle.after(run.state, Step.LOSE), reason=event.reason)
            document = record.lost(lost, self.catalog.get(run.id.job), self.host, event.wait_status)
            yield from self._end(run, document, now)
            yield WriteRecord(document)
        yield RemoveMarks(event.run, event.attempt)

    def _end(self, run: Run, document: Record, now: Now) -> Iterator[Command]:
        step = lifecycle.ENDS[document["state"]]
        ended = self._book.step(run, step, reason=document["reason"], pid=document["pid"])
        self._book.release(run.id)
        self._book.drop(run.id)
        state = self._book[run.id.job]
        state.memory = replace(state.memory, stats=_counted(state.memory.stats, ended, now))
        yield SaveRun(ended, document)
        yield SaveJob(state.memory)
        yield Say("run_ended", {"record": document})
        self._book.promote(run.id.job)

    def _never_started(self, event: events.NeverStarted, now: Now) -> Iterator[Command]:
        """The same attempt again: at once if nothing was wrong, else with a pause that doubles up to a minute."""
        run = self._live(event.run, event.attempt)
        yield RemoveMarks(event.run, event.attempt, again=True)
        if run is None:
            return
        pause = min(BACKOFF_MAX, SECOND << min(run.failures, 6)) if event.reason else 0
        failures = run.failures + 1 if event.reason else run.failures
        back = self._book.step(
            run, Step.RETURN, not_before=now.mono + pause if pause else 0, failures=failures, pid=None
        )
        self._book.release(run.id)
        self._book.enqueue(back)
        if pause:
            heappush(self._timers, (back.not_before, run.id))
            yield Say("run_returned", {"run": str(run.id), "reason": event.reason, "again_in": pause / SECOND})
        yield SaveRun(back)
        if run.id.job not in self.catalog:
            yield from self._skip_run(back, "job_removed")

    def _found(self, event: events.Found, _now: Now) -> Iterator[Command]:
        """An attempt whose commit was never made: it counts as if it had been, its number and occurrence are used."""
        if event.run in self.runs:
            return
        state = self._book[event.run.job]
        memory = state.memory
        clock = event.key.startswith(f"c{memory.era}.")
        state.memory = replace(
            memory, last_number=max(memory.last_number, event.run.number),
            cursor=max(memory.cursor, event.due) if clock else memory.cursor,
        )  # fmt: skip
        run = Run(
            id=event.run, key=event.key, due=event.due, queued=event.queued, arrival=self._book.arrival(),
            trigger=event.trigger, asked_by=event.asked_by, state=RunState.STARTING, attempt=event.attempt,
        )  # fmt: skip
        self._book.put_live(run)
        job = self.catalog.get(run.id.job)
        if job is not None:
            self._set_clock(job, state)
        yield SaveRun(run)
        yield SaveJob(state.memory)


def _counted(stats: JobStats, run: Run, now: Now) -> JobStats:
    succeeded = run.state is RunState.SUCCEEDED
    return replace(
        stats, started=stats.started + 1, succeeded=stats.succeeded + succeeded, failed=stats.failed + (not succeeded),
        last_run=run.started if run.started is not None else now.wall, last_state=run.state,
    )  # fmt: skip
