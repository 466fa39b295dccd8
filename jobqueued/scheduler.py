"""The scheduler: decides who runs when.  No clock, no I/O: events in, commands out, time is an argument.

commands = scheduler.handle(event, now)     # what happened
commands += scheduler.admit(now)            # once a turn: who starts
wake_at = scheduler.next_wakeup(now)        # nothing to do before that instant
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from heapq import heappop, heappush
from typing import Any

from jobqueued import definitions, dues, events, lifecycle, record, stops
from jobqueued.book import Book, JobState
from jobqueued.catalog import Catalog
from jobqueued.commands import Command, Launch, RemoveMarks, SaveJob, SaveRun, Say, Stop, WriteRecord
from jobqueued.lifecycle import Step
from jobqueued.model import LIVE, SECOND, Job, JobMemory, JobStats, Now, Record, Run, RunId, RunState
from jobqueued.skips import CLOCK, skip_run

LAUNCHES_A_TURN = 64
BACKOFF_MAX = 60 * SECOND


class Scheduler:
    """All decisions about one host's jobs.  `validate` states the invariants that hold after every event."""

    def __init__(self, *, max_running: int | None = None, host: str = "localhost") -> None:
        book = self._book = Book(max_running, host)
        self._timers: list[tuple[int, RunId]] = []
        self._deciders: dict[type, Callable[[Any, Now], Iterator[Command]]] = {
            events.JobsRead: lambda event, now: definitions.read(book, event, now),
            events.FileGone: lambda event, now: definitions.read(book, events.JobsRead(event.file, ()), now),
            events.JobsLoaded: lambda event, now: definitions.loaded(book, event, now),
            events.Reloaded: lambda _event, _now: definitions.reloaded(book),
            events.UserKnown: lambda event, _now: definitions.user_known(book, event),
            events.PauseAsked: lambda event, now: definitions.paused(book, event, now),
            events.RunAsked: lambda event, now: dues.asked(book, event, now),
            events.ClockStepped: lambda event, now: dues.clock_stepped(book, event, now),
            events.Woke: self._woke,
            events.RunStarted: self._run_started,
            events.RunStopping: self._run_stopping,
            events.StopAsked: lambda event, _now: stops.asked(book, event),
            events.RunEnded: self._run_ended,
            events.RunLost: self._run_lost,
            events.NeverStarted: self._never_started,
            events.Found: self._found,
        }

    @property
    def host(self) -> str:
        """The host's name, for records."""
        return self._book.host

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

    def next_start(self, job: str) -> int | None:
        """The wall instant (ns) at which the clock starts a job next; None: never."""
        return self._book.clock.next(job)

    def soonest(self) -> tuple[int, str] | None:
        """The soonest start (wall, ns) of all jobs by the clock, and whose it is; None: there is none."""
        return self._book.clock.first()

    def invalid(self, job: Job) -> str:
        """Why a job can't run, whatever its file says; "" if nothing is known."""
        return self._book.invalid(job)

    def restore(self, memories: Iterable[JobMemory], runs: Iterable[Run]) -> None:
        """Take over what an earlier scheduler kept, before the first event."""
        self._book.restore(memories, runs)

    def handle(self, event: events.Event, now: Now) -> list[Command]:
        """What is to be done about `event`; lifecycle.IllegalStep, and nothing changed, if it can't have happened."""
        return list(self._deciders[type(event)](event, now))

    def next_wakeup(self, now: Now) -> int | None:
        """The wall instant (ns) before which only an event can change anything; None: no such instant."""
        due = self._book.clock.soonest()
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

    def _woke(self, _event: events.Woke, now: Now) -> Iterator[Command]:
        yield from dues.woke(self._book, now)
        while self._timers and self._timers[0][0] <= now.mono:
            heappop(self._timers)
            self._book.blocked = False

    def admit(self, now: Now) -> list[Command]:
        """Start those whose turn it is, in their order, as far as claims can be granted; at most 64 a turn.

        Where claims are scarce, all that are due join the queue before the first is chosen.
        """
        due = self._book.clock.soonest()
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
        return [SaveRun(started), Launch(started, job, record.begin(started, job, self._book.host))]

    # runs from their start to their end

    def _live(self, run: RunId, attempt: int) -> Run | None:
        """The run that news of an attempt is about; None: that attempt is not live (any more)."""
        found = self.runs.get(run)
        return found if found is not None and found.attempt == attempt and found.state in LIVE else None

    def _run_started(self, event: events.RunStarted, _now: Now) -> Iterator[Command]:
        run = self._live(event.run, event.attempt)
        if run is None:
            return
        known = run.pid is not None
        run = self._book.step(run, Step.START, pid=event.pid, started=event.started)
        if not known:
            yield SaveRun(run)
            yield Say(
                "run_started", {"run": str(run.id), "pid": run.pid, "late": max(0, event.started - self._planned(run))}
            )
        if run.state is RunState.STOPPING:  # its supervisor may not have been there to be told
            yield Stop(run.id, run.attempt, run.reason or "")

    def _run_stopping(self, event: events.RunStopping, _now: Now) -> Iterator[Command]:
        run = self._live(event.run, event.attempt)
        if run is not None and run.state is not RunState.STOPPING:
            yield from stops.stopping(self._book, run, event.reason)

    def _planned(self, run: Run) -> int:
        """When it should have started: for the clock's runs `spread` comes on top."""
        job = self.catalog.get(run.id.job)
        return run.due + (job.offset if job is not None and run.trigger == CLOCK.trigger else 0)

    def _run_ended(self, event: events.RunEnded, now: Now) -> Iterator[Command]:
        run = self._live(event.run, event.attempt)
        if run is not None:
            yield from self._end(run, event.record, now)
        yield RemoveMarks(event.run, event.attempt)

    def _run_lost(self, event: events.RunLost, now: Now) -> Iterator[Command]:
        run = self._live(event.run, event.attempt)
        if run is not None:
            lost = replace(run, state=lifecycle.after(run.state, Step.LOSE), reason=event.reason)
            job = self.catalog.get(run.id.job)
            document = record.lost(lost, job, self.host, event.wait_status, event.output)
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
        job = self.catalog.get(run.id.job)
        if job is not None and self._book.holds(job):
            back = self._book.hold(back)
        if pause:
            heappush(self._timers, (back.not_before, run.id))
            yield Say("run_returned", {"run": str(run.id), "reason": event.reason, "again_in": pause / SECOND})
        yield SaveRun(back)
        if run.state is RunState.STOPPING:
            yield from stops.stopped_before_its_start(self._book, back, run.reason or "")
        elif run.id.job not in self.catalog:
            yield from skip_run(self._book, back, "job_removed")

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
            self._book.clock.set(job, state.memory.cursor)
        yield SaveRun(run)
        yield SaveJob(state.memory)


def _counted(stats: JobStats, run: Run, now: Now) -> JobStats:
    succeeded = run.state is RunState.SUCCEEDED
    return replace(
        stats, started=stats.started + 1, succeeded=stats.succeeded + succeeded, failed=stats.failed + (not succeeded),
        last_run=run.started if run.started is not None else now.wall, last_state=run.state,
    )  # fmt: skip
