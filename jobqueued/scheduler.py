"""The scheduler: decides who runs when.  No clock, no I/O: events in, commands out, time is an argument.

    commands = scheduler.handle(event, now)     # what happened
    commands += scheduler.admit(now)            # once a turn: who starts
    wake_at = scheduler.next_wakeup(now)        # nothing to do before that instant
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from itertools import takewhile
from typing import Any

from jobqueued import catchup, events, lifecycle, record
from jobqueued.catalog import Catalog
from jobqueued.commands import Command, Launch, RemoveMarks, Reply, SaveJob, SaveRun, Say, WriteRecord
from jobqueued.lifecycle import Step
from jobqueued.locks import SLOT, Claim, Locks
from jobqueued.model import (
    HOUR, LIVE, SECOND, UNSTARTED, CatchUp, Job, JobMemory, JobStats, Now, Occurrence, Record, Run, RunId, RunState,
)  # fmt: skip
from jobqueued.waiting import Waiting

LAUNCHES_A_TURN = 64
JOBS_A_TURN = 256
DUES_A_TURN = 1000
STEP_LIMIT = 3 * HOUR
HELD_FROM_CLOCK, HELD_FROM_OTHERS = 1, 100
BACKOFF_MAX = 60 * SECOND


@dataclass(slots=True)
class JobState:
    """What the scheduler keeps of a job id beside its definition; it outlives removal."""

    memory: JobMemory
    next_due: int | None = None
    due: list[RunId] = field(default_factory=list)
    waiting: set[RunId] = field(default_factory=set)
    live: set[RunId] = field(default_factory=set)
    skip: Run | None = None

    @property
    def held(self) -> int:
        return len(self.due) + len(self.waiting)


class Scheduler:
    """All decisions about one host's jobs.  `validate` states the invariants that hold after every event."""

    def __init__(self, *, max_running: int | None = None, host: str = "localhost") -> None:
        self.catalog = Catalog()
        self.runs: dict[RunId, Run] = {}
        self._host = host
        self._locks = Locks({} if max_running is None else {SLOT: max_running})
        self._waiting = Waiting()
        self._jobs: dict[str, JobState] = {}
        self._clock: list[tuple[int, str]] = []
        self._timers: list[tuple[int, RunId]] = []
        self._arrivals = 0
        self._blocked = False
        self._handlers: dict[type, Callable[[Any, Now], Iterator[Command]]] = {
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

    def restore(self, memories: Iterable[JobMemory], runs: Iterable[Run]) -> None:
        """Take over what an earlier scheduler kept: before the first event, live runs get their claims back."""
        for memory in memories:
            self._jobs[memory.job] = JobState(memory)
        for run in sorted(runs, key=lambda run: run.arrival):
            state = self._state(run.id.job)
            self._arrivals = max(self._arrivals, run.arrival)
            if run.state is RunState.SKIPPED:
                state.skip = run
                continue
            self.runs[run.id] = run
            if run.state in LIVE:
                state.live.add(run.id)
                self._locks.grant(run.id, self._claims(), found=True)
            else:
                state.due.append(run.id)
                self.runs[run.id] = replace(run, state=RunState.DUE)

    def handle(self, event: events.Event, now: Now) -> list[Command]:
        """What is to be done about `event`; lifecycle.IllegalStep (and nothing changed) where it can't have happened."""
        return list(self._handlers[type(event)](event, now))

    def next_wakeup(self, now: Now) -> int | None:
        """The wall instant (ns) before which only an event can change anything; None: no such instant."""
        while self._clock and self._jobs[self._clock[0][1]].next_due != self._clock[0][0]:
            heappop(self._clock)
        times = [self._clock[0][0]] if self._clock else []
        if self._timers:
            times.append(now.wall + max(0, self._timers[0][0] - now.mono))
        if not self._blocked and len(self._waiting):
            times.append(now.wall)
        return min(times, default=None)

    # job files

    def _jobs_read(self, event: events.JobsRead, now: Now) -> Iterator[Command]:
        change = self.catalog.replace_file(event.file, event.jobs)
        for job in change.removed:
            yield from self._job_removed(job, now)
        for job in (*change.added, *change.edited):
            yield from self._job_defined(job, now)
        counts = {name: len(jobs) for name, jobs in change._asdict().items() if jobs}
        if counts:
            yield Say("jobs_read", {"file": event.file, **counts})

    def _file_gone(self, event: events.FileGone, now: Now) -> Iterator[Command]:
        return self._jobs_read(events.JobsRead(event.file, ()), now)

    def _jobs_loaded(self, event: events.JobsLoaded, now: Now) -> Iterator[Command]:
        """All files were read at start: what waits for a job that is nowhere any more never runs."""
        if event.complete:
            for run in [run for run in self.runs.values() if run.state in UNSTARTED and run.id.job not in self.catalog]:
                yield from self._skip_run(run, "job_removed", now)

    def _job_defined(self, job: Job, now: Now) -> Iterator[Command]:
        state = self._state(job.id)
        rhythm = job.rhythm if job.enabled else ""
        if state.memory.rhythm != rhythm or not state.memory.cursor:
            state.memory = replace(state.memory, rhythm=rhythm, cursor=now.wall)
            yield SaveJob(state.memory)
        self._set_clock(job, state)
        for run in state.waiting:
            self._waiting.add(run, job.priority, self.runs[run].due, self.runs[run].arrival)
        self._promote(job.id)

    def _job_removed(self, job: Job, now: Now) -> Iterator[Command]:
        state = self._state(job.id)
        state.next_due = None
        state.memory = replace(state.memory, rhythm="")
        yield SaveJob(state.memory)
        for run in [*state.due, *state.waiting]:
            yield from self._skip_run(self.runs[run], "job_removed", now, job)

    def _state(self, job: str) -> JobState:
        if job not in self._jobs:
            self._jobs[job] = JobState(JobMemory(job=job))
        return self._jobs[job]

    # the clock

    def _set_clock(self, job: Job, state: JobState) -> None:
        state.next_due = job.next_after(state.memory.cursor) if job.enabled else None
        if state.next_due is not None:
            heappush(self._clock, (state.next_due, job.id))

    def _woke(self, event: events.Woke, now: Now) -> Iterator[Command]:
        ready: list[tuple[int, str]] = []
        while self._clock and self._clock[0][0] <= now.wall and len(ready) < JOBS_A_TURN:
            ready.append(heappop(self._clock))
        for due, name in ready:
            if self._jobs[name].next_due == due:
                yield from self._come_due(self.catalog[name], now)
        while self._timers and self._timers[0][0] <= now.mono:
            heappop(self._timers)
            self._blocked = False

    def _come_due(self, job: Job, now: Now) -> Iterator[Command]:
        """Every instant from the cursor to now becomes a run or a skip, and the cursor moves past them."""
        state = self._state(job.id)
        dues: list[int] = []
        due = state.next_due
        while due is not None and due <= now.wall and len(dues) < DUES_A_TURN:
            dues.append(due)
            due = job.next_after(due)
        state.memory = replace(state.memory, cursor=dues[-1])
        self._set_clock(job, state)
        todo = catchup.sort_out(job, dues, now.wall, complete=due is None or due > now.wall)
        if todo.missed:
            first = Occurrence.clock(job.id, state.memory.era, todo.missed[0])
            yield from self._skip(job, first, "missed", now, last_due=todo.missed[-1], count=len(todo.missed))
        limit = HELD_FROM_OTHERS if job.catch_up is CatchUp.ALL else HELD_FROM_CLOCK
        for instant in todo.run:
            yield from self._new(job, Occurrence.clock(job.id, state.memory.era, instant), limit, now)

    def _clock_stepped(self, event: events.ClockStepped, now: Now) -> Iterator[Command]:
        """Steps up to 3 h are gaps like any other (backward: the cursor stays).  A larger one is a correction."""
        yield Say("clock_stepped", {"seconds": event.step / SECOND})
        if abs(event.step) <= STEP_LIMIT:
            return
        for job in self.catalog:
            state = self._state(job.id)
            first = state.next_due
            era = state.memory.era + (event.step < 0)
            state.memory = replace(state.memory, cursor=now.wall, era=era)
            yield SaveJob(state.memory)
            if first is not None and first <= now.wall:
                yield from self._skip(job, Occurrence.clock(job.id, era, first), "clock", now)
            self._set_clock(job, state)

    # runs before their start

    def _run_asked(self, event: events.RunAsked, now: Now) -> Iterator[Command]:
        job = self.catalog.get(event.job)
        if job is None:
            yield Reply(event.ticket, {"job": event.job}, "NoSuchJob")
            return
        made = list(self._new(job, Occurrence(job.id, event.key, now.wall), HELD_FROM_OTHERS, now, "manual", event.asked_by))
        yield from made
        run = next(command.run for command in reversed(made) if isinstance(command, SaveRun))
        if run.state is RunState.SKIPPED:
            yield Reply(event.ticket, {"reason": f"{run.id} was skipped: {run.reason}"}, "Refused")
        else:
            yield Reply(event.ticket, {"run": str(run.id)})

    def _new(
        self, job: Job, occurrence: Occurrence, limit: int, now: Now, trigger: str = "schedule", asked_by: str | None = None
    ) -> Iterator[Command]:
        """A run for the occurrence, or a skip where the job holds its limit of runs that have not started."""
        state = self._state(job.id)
        if state.held >= (limit if job.max_waiting is None else job.max_waiting):
            yield from self._skip(job, occurrence, "queue_full", now, trigger, asked_by)
            return
        run = self._number(occurrence, now, trigger, asked_by)
        self.runs[run.id] = run
        state.due.append(run.id)
        self._promote(job.id)
        yield SaveRun(self.runs[run.id])
        yield SaveJob(state.memory)

    def _number(self, occurrence: Occurrence, now: Now, trigger: str, asked_by: str | None) -> Run:
        state = self._state(occurrence.job)
        number = state.memory.last_number + 1
        state.memory = replace(state.memory, last_number=number)
        state.skip = None
        self._arrivals += 1
        return Run(
            id=RunId(occurrence.job, number), key=occurrence.key, due=occurrence.due, queued=now.wall,
            arrival=self._arrivals, trigger=trigger, asked_by=asked_by,
        )  # fmt: skip

    def _promote(self, name: str) -> None:
        """Runs that only their job's `concurrency` held back join the queue."""
        job, state = self.catalog.get(name), self._state(name)
        while job and state.due and len(state.live) + len(state.waiting) < job.concurrency:
            run = self._step(self.runs[state.due.pop(0)], Step.QUEUE)
            state.waiting.add(run.id)
            self._waiting.add(run.id, job.priority, run.due, run.arrival)
            self._blocked = False

    def _skip(
        self, job: Job, occurrence: Occurrence, reason: str, now: Now, trigger: str = "schedule",
        asked_by: str | None = None, *, last_due: int | None = None, count: int = 1,
    ) -> Iterator[Command]:  # fmt: skip
        """Occurrences that never become runs; consecutive ones for one reason share a record."""
        state = self._state(job.id)
        run, last_due = state.skip, last_due or occurrence.due
        if run is not None and run.reason == reason:
            run = replace(run, last_due=last_due, count=run.count + count)
        else:
            run = self._number(occurrence, now, trigger, asked_by)
            skipped = lifecycle.after(run.state, Step.SKIP)
            run = replace(run, state=skipped, reason=reason, last_due=last_due, count=count)
        state.skip = run
        yield from self._skipped(run, job, count)

    def _skip_run(self, run: Run, reason: str, now: Now, job: Job | None = None) -> Iterator[Command]:
        """A run that was due or waiting and will not start."""
        ended = self._step(run, Step.SKIP, reason=reason)
        state = self._state(run.id.job)
        state.waiting.discard(run.id)
        self._waiting.remove(run.id)
        if run.id in state.due:
            state.due.remove(run.id)
        del self.runs[run.id]
        yield from self._skipped(ended, job)

    def _skipped(self, run: Run, job: Job | None, count: int = 1) -> Iterator[Command]:
        state = self._state(run.id.job)
        stats = state.memory.stats
        state.memory = replace(state.memory, stats=replace(stats, skipped=stats.skipped + count))
        document = record.skipped(run, job, self._host)
        yield SaveRun(run, document)
        yield SaveJob(state.memory)
        yield WriteRecord(document)
        yield Say("run_skipped", {"run": str(run.id), "reason": run.reason, "due": run.last_due or run.due, "count": run.count})

    # admission

    def _claims(self) -> tuple[Claim, ...]:
        return (Claim(SLOT),)

    def admit(self, now: Now) -> list[Command]:
        """Start those whose turn it is, in their order, as far as claims can be granted; at most 64 a turn."""
        commands: list[Command] = []
        later: list[RunId] = []
        self._blocked = False
        launched = 0
        while launched < LAUNCHES_A_TURN:
            first = self._waiting.first()
            if first is None or not self._may_start(first):
                self._blocked = True
                break
            self._waiting.remove(first)
            if self.runs[first].not_before > now.mono:
                later.append(first)
                continue
            commands += self._start(self.runs[first])
            launched += 1
        for name in later:
            self._requeue(self.runs[name])
        return commands

    def _may_start(self, run: RunId) -> bool:
        return self._locks.missing(self._claims()) is None

    def _start(self, run: Run) -> list[Command]:
        job, state = self.catalog[run.id.job], self._state(run.id.job)
        self._locks.grant(run.id, self._claims())
        state.waiting.discard(run.id)
        state.live.add(run.id)
        started = self._step(run, Step.ADMIT, attempt=max(1, run.attempt))
        return [SaveRun(started), Launch(started, job, record.begin(started, job, self._host))]

    def _requeue(self, run: Run) -> None:
        job = self.catalog.get(run.id.job)
        self._waiting.add(run.id, job.priority if job else 0, run.due, run.arrival)

    # runs from their start to their end

    def _live(self, event: events.RunStarted | events.RunEnded | events.RunLost | events.NeverStarted) -> Run | None:
        """The run that the event speaks of; None: that attempt is not live (any more)."""
        run = self.runs.get(event.run)
        return run if run is not None and run.attempt == event.attempt and run.state in LIVE else None

    def _run_started(self, event: events.RunStarted, now: Now) -> Iterator[Command]:
        run = self._live(event)
        if run is None:
            return
        found = run.state is RunState.RUNNING
        run = self._step(run, Step.START, pid=event.pid, started=event.started)
        if not found:
            yield SaveRun(run)
            yield Say("run_started", {"run": str(run.id), "pid": run.pid, "late": max(0, event.started - run.due)})

    def _run_ended(self, event: events.RunEnded, now: Now) -> Iterator[Command]:
        run = self._live(event)
        if run is not None:
            yield from self._end(run, event.record, now)
        yield RemoveMarks(event.run, event.attempt)

    def _run_lost(self, event: events.RunLost, now: Now) -> Iterator[Command]:
        run = self._live(event)
        if run is not None:
            lost = replace(run, state=lifecycle.after(run.state, Step.LOSE), reason=event.reason)
            document = record.lost(lost, self.catalog.get(run.id.job), self._host, event.wait_status)
            yield from self._end(run, document, now)
            yield WriteRecord(document)
        yield RemoveMarks(event.run, event.attempt)

    def _end(self, run: Run, document: Record, now: Now) -> Iterator[Command]:
        ended = self._step(run, lifecycle.ENDS[document["state"]], reason=document["reason"], pid=document["pid"])
        state = self._leave(ended)
        del self.runs[run.id]
        state.memory = replace(state.memory, stats=_counted(state.memory.stats, ended, now))
        yield SaveRun(ended, document)
        yield SaveJob(state.memory)
        yield Say("run_ended", {"record": document})
        self._promote(run.id.job)

    def _never_started(self, event: events.NeverStarted, now: Now) -> Iterator[Command]:
        """The same attempt again: at once if nothing was wrong, else with a pause that doubles up to a minute."""
        run = self._live(event)
        yield RemoveMarks(event.run, event.attempt)
        if run is None:
            return
        pause = min(BACKOFF_MAX, SECOND << min(run.failures, 6)) if event.reason else 0
        failures = run.failures + 1 if event.reason else run.failures
        back = self._step(run, Step.RETURN, not_before=now.mono + pause if pause else 0, failures=failures, pid=None)
        self._leave(back).waiting.add(run.id)
        self._requeue(back)
        self._blocked = False
        if pause:
            heappush(self._timers, (back.not_before, run.id))
            yield Say("run_returned", {"run": str(run.id), "reason": event.reason, "again_in": pause / SECOND})
        yield SaveRun(back)
        if run.id.job not in self.catalog:
            yield from self._skip_run(back, "job_removed", now)

    def _leave(self, run: Run) -> JobState:
        state = self._state(run.id.job)
        state.live.discard(run.id)
        self._locks.release(run.id)
        self._blocked = False
        return state

    def _found(self, event: events.Found, now: Now) -> Iterator[Command]:
        """An attempt whose commit was never made: it counts as if it had been, its number and occurrence are used."""
        state = self._state(event.run.job)
        memory = state.memory
        if memory.last_number >= event.run.number and event.run in self.runs:
            return
        clock = event.key.startswith(f"c{memory.era}.")
        state.memory = replace(
            memory, last_number=max(memory.last_number, event.run.number),
            cursor=max(memory.cursor, event.due) if clock else memory.cursor,
        )  # fmt: skip
        self._arrivals += 1
        run = Run(
            id=event.run, key=event.key, due=event.due, queued=event.queued, arrival=self._arrivals, trigger=event.trigger,
            asked_by=event.asked_by, state=RunState.STARTING, attempt=event.attempt,
        )  # fmt: skip
        self.runs[run.id] = run
        state.live.add(run.id)
        self._locks.grant(run.id, self._claims(), found=True)
        job = self.catalog.get(run.id.job)
        if job is not None:
            self._set_clock(job, state)
        yield SaveRun(run)
        yield SaveJob(state.memory)

    def _step(self, run: Run, step: Step, **changes: Any) -> Run:
        """The run after the step, also in the table of runs."""
        stepped = replace(run, state=lifecycle.after(run.state, step), **changes)
        self.runs[run.id] = stepped
        return stepped

    # questions

    def __getitem__(self, job: str) -> JobState:
        """What is kept of a job id; KeyError: it was never heard of."""
        return self._jobs[job]

    def explain(self, run: RunId) -> list[str]:
        """Why a run has not started, one reason a line; [] for one that is live.  KeyError: not a run before its end."""
        found = self.runs[run]
        if found.state is RunState.DUE:
            return [self._why_due(found)]
        if found.state is not RunState.WAITING:
            return []
        ahead = [str(other) for other in takewhile(lambda other: other != run, self._waiting)]
        missing = self._locks.missing(self._claims())
        reasons = [f"waits behind {', '.join(ahead)}"] if ahead else []
        if missing is not None:
            holders = ", ".join(str(holder) for holder in self._locks.holders(missing.resource))
            reasons.append(f"{missing.resource} {self._locks.capacity(missing.resource)} is used up by {holders}")
        if found.not_before:
            reasons.append("its last start failed by the system's fault; it is tried again after a pause")
        return reasons

    def _why_due(self, run: Run) -> str:
        job, state = self.catalog.get(run.id.job), self._jobs[run.id.job]
        if job is None:
            return f"job {run.id.job} is not defined in any file that could be read"
        return f"concurrency {job.concurrency} is used up by {', '.join(map(str, sorted(state.live | state.waiting)))}"

    def validate(self) -> None:
        """AssertionError unless every run is in exactly one place and claims are held by live runs only."""
        for name, state in self._jobs.items():
            places = [*state.due, *state.waiting, *state.live]
            assert len(places) == len(set(places)), f"{name}: a run in two places: {places}"
            for place, runs in ((RunState.DUE, state.due), (RunState.WAITING, state.waiting)):
                assert all(self.runs[run].state is place for run in runs), f"{name}: {runs} not {place}"
            assert all(self.runs[run].state in LIVE for run in state.live), f"{name}: {state.live} not live"
            numbers = [run.number for run in places]
            assert state.memory.last_number >= max(numbers, default=0), f"{name}: {numbers} beyond the last number"
        assert set(self.runs) == {run for s in self._jobs.values() for run in (*s.due, *s.waiting, *s.live)}
        assert {run for run in self.runs if self.runs[run].state is RunState.WAITING} == set(self._waiting)
        live = {run for run in self.runs if self.runs[run].state in LIVE}
        assert len(self._locks) == len(live), "claims outlive their runs"
        assert all(run in self._locks for run in live), "a live run without its claims"


def _counted(stats: JobStats, run: Run, now: Now) -> JobStats:
    succeeded = run.state is RunState.SUCCEEDED
    return replace(
        stats, started=stats.started + 1, succeeded=stats.succeeded + succeeded, failed=stats.failed + (not succeeded),
        last_run=run.started if run.started is not None else now.wall, last_state=run.state,
    )  # fmt: skip
