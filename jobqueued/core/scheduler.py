"""The scheduler: decides who runs when.  No clock, no I/O: events in, commands out, time is an argument.

commands = scheduler.handle(event, now)     # what happened
commands += scheduler.admit(now)            # once a turn: who starts
wake_at = scheduler.next_wakeup(now)        # nothing to do before that instant
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from jobqueued import events
from jobqueued.catalog import Catalog
from jobqueued.commands import Command, Launch, RemoveMarks, SaveJob, SaveRun, Say, Stop, WriteRecord
from jobqueued.core import completion, eligibility, jobs, lifecycle, lock_clients, occurrences, record, stops, why
from jobqueued.core.lifecycle import Step
from jobqueued.core.scheduler_state import HostLimits, JobState, SchedulerState
from jobqueued.model import LIVE, SECOND, Job, Now, Run, RunId, RunState
from jobqueued.saved import Hold, SavedJob

LAUNCHES_A_TURN = 64
STEPS_A_TURN = 500
BACKOFF_MAX = 60 * SECOND


class Scheduler:
    """All decisions about one host's jobs.  `validate` states the invariants that hold after every event."""

    def __init__(self, limits: HostLimits | None = None) -> None:
        book = self._book = SchedulerState(limits or HostLimits())
        self._deciders: dict[type, Callable[[Any, Now], Iterator[Command]]] = {
            events.JobsRead: lambda event, now: jobs.read(book, event, now),
            events.FileGone: lambda event, now: jobs.read(book, events.JobsRead(event.file, ()), now),
            events.JobsLoaded: lambda event, now: jobs.loaded(book, event, now),
            events.Reloaded: lambda _event, _now: jobs.reloaded(book),
            events.UserKnown: lambda event, now: jobs.user_known(book, event, now),
            events.PauseAsked: lambda event, now: jobs.paused(book, event, now),
            events.SkipAsked: lambda event, now: jobs.skip_next(book, event, now),
            events.HoldAsked: lambda event, _now: jobs.held(book, event),
            events.RunAsked: lambda event, now: occurrences.asked(book, event, now),
            events.Emitted: lambda event, now: occurrences.emitted(book, event, now),
            events.PathAppeared: lambda event, now: occurrences.appeared(book, event, now),
            events.ClockStepped: lambda event, now: occurrences.clock_stepped(book, event, now),
            events.UnderPressure: self._under_pressure,
            events.Slept: lambda event, _now: occurrences.slept(book, event),
            events.Woke: self._woke,
            events.RunStarted: self._run_started,
            events.RunStopping: self._run_stopping,
            events.LockAsked: lambda event, now: lock_clients.asked(book, event, now),
            events.LockFound: lambda event, now: lock_clients.found(book, event, now),
            events.LockOver: lambda event, now: lock_clients.over(book, event, now),
            events.StopAsked: lambda event, now: stops.asked(book, event, now),
            events.RunEnded: self._run_ended,
            events.RunLost: self._run_lost,
            events.NeverStarted: self._never_started,
            events.Found: self._found,
        }

    @property
    def live(self) -> list[Run]:
        """The runs that hold their claims."""
        runs = self._book.runs
        return [runs[holder] for holder in self._book.admission.locks if isinstance(holder, RunId) and holder in runs]

    @property
    def limits(self) -> HostLimits:
        """What this host is called, and what it has."""
        return self._book.limits

    @property
    def catalog(self) -> Catalog:
        """The jobs."""
        return self._book.catalog

    @property
    def runs(self) -> dict[RunId, Run]:
        """Every run before its end."""
        return self._book.runs

    @property
    def hold(self) -> Hold | None:
        """Who has asked that nothing new starts; None: nobody."""
        return self._book.hold

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

    def is_completed(self, job: Job) -> bool:
        """Whether `max_runs` of a job have started."""
        return self._book.is_completed(job)

    def restore(self, memories: Iterable[SavedJob], runs: Iterable[Run], now: Now, hold: Hold | None = None) -> None:
        """Take over what an earlier scheduler kept, before the first event."""
        self._book.restore(memories, runs, now)
        self._book.hold = hold
        if hold is not None and hold.until is not None:
            self._book.timers.at(hold.until, eligibility.HOLD)

    def handle(self, event: events.Event, now: Now) -> list[Command]:
        """What is to be done about `event`; lifecycle.IllegalStep, and nothing changed, if it can't have happened."""
        return list(self._deciders[type(event)](event, now))

    def settle(self, now: Now) -> list[Command]:
        """What follows from what has been handled, once a turn and before its commit: `admit` begins with it.

        Definitions that came together are judged together, ends make other jobs due, what was held back goes on.
        """
        book = self._book
        if not book.loaded:
            return []
        commands = list(jobs.judged(book))
        steps = 0
        while book.finished or (book.stirred and steps < STEPS_A_TURN):
            if book.finished:  # all of them: what follows from an end is committed with it
                commands += occurrences.followed(book, book.finished.pop(0), now)
                continue
            steps += 1
            name = next(iter(book.stirred))
            del book.stirred[name]
            commands += eligibility.promote(book, name, now)
        return commands

    def next_wakeup(self, now: Now) -> int | None:
        """The wall instant (ns) before which only an event can change anything; None: no such instant."""
        book = self._book
        times = [book.clock.soonest(), book.timers.soonest(now)]
        if book.loaded and (book.finished or book.stirred):
            times.append(now.wall)
        if len(book.admission.waiting) and book.hold is None:
            look_at = book.admission.look_at
            times.append(now.wall if not book.blocked else None)
            times.append(None if look_at is None else now.wall + max(0, look_at - now.mono))
        return min((time for time in times if time is not None), default=None)

    def explain(self, run: RunId, now: Now) -> dict[str, Any]:
        """Why a run has not started (why.explain).  KeyError: no such run, or it has ended."""
        return why.explain(self._book, run, now)

    def validate(self) -> None:
        """AssertionError unless every run is in exactly one place and claims are held by live runs only."""
        self._book.validate()

    def _under_pressure(self, event: events.UnderPressure, _now: Now) -> Iterator[Command]:
        """Looked at again when it is over, unless it is told again before."""
        self._book.pressure[event.name] = event.until
        self._book.timers.after(event.until, eligibility.PRESSURE)
        return iter(())

    def _woke(self, _event: events.Woke, now: Now) -> Iterator[Command]:
        yield from occurrences.woke(self._book, now)
        for whom in self._book.timers.due(now, STEPS_A_TURN):
            yield from eligibility.look(self._book, whom, now)

    def admit(self, now: Now) -> list[Command]:
        """Start those whose turn it is, in their order, as far as claims can be granted; at most 64 a turn.

        Where claims are scarce, all that are due join the queue before the first is chosen.
        """
        commands = self.settle(now)
        book, due = self._book, self._book.clock.soonest()
        look_at = book.admission.look_at
        book.blocked = book.blocked and (look_at is None or look_at > now.mono)
        if book.is_limited and due is not None and due <= now.wall:
            return commands
        if book.hold is None and not book.blocked:
            commands += self._turn(now)
        if book.hold is not None or book.blocked:
            commands += lock_clients.refused(book, now)
        return commands

    def _turn(self, now: Now) -> Iterator[Command]:
        book, launched = self._book, 0
        least = book.limits.calm if book.pressed(now.mono) else None
        for run in book.admission.turn(now.mono, LAUNCHES_A_TURN, least):
            yield from lock_clients.granted(book, run, now) if run in book.guests else self._start(self.runs[run], now)
            launched += 1
        book.blocked = launched < LAUNCHES_A_TURN
        yield from self._drained(now)

    def _drained(self, now: Now) -> Iterator[Command]:
        book, admission = self._book, self._book.admission
        for run in admission.drains.new:
            if run in self.runs:
                self.runs[run] = kept = replace(self.runs[run], drains_since=now.wall)
                yield SaveRun(kept)
        for run, holders in admission.lapses:
            yield Say("held_up", {"run": book.called(run), "holders": list(map(book.called, holders))})

    def _start(self, run: Run, now: Now) -> Iterator[Command]:
        if run.so_far is None and self._book.is_used_up(self.catalog[run.id.job]):  # until it is known what starts
            yield SaveRun(self._book.put_back(run, now))
            return
        job, admission = self.catalog[run.id.job], self._book.admission
        queued = {
            "effective_priority": round(admission.waiting.priority(run.id, now.mono), 3),
            "waited_for": list(map(self._book.told, admission.refusals.get(run.id, ()))),
        }
        started = self._book.admit(run, now)
        yield SaveRun(started)
        yield Launch(started, job, record.begin(started, job, self._book.host) | queued)

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
            yield Say("run_started", {"run": str(run.id), "pid": run.pid, **self._lateness(run, event.started)})
            self._book.stir(run.id.job)
        if run.state is RunState.STOPPING:  # its supervisor may not have been there to be told
            yield Stop(run.id, run.attempt, run.reason or "")

    def _lateness(self, run: Run, started: int) -> dict[str, Any]:
        """How late it started; of a further attempt, which one it is."""
        if run.so_far is not None:
            return {"attempt": run.attempt, "failover": run.failover}
        return {"late": max(0, started - eligibility.planned(self._book, run))}

    def _run_stopping(self, event: events.RunStopping, _now: Now) -> Iterator[Command]:
        run = self._live(event.run, event.attempt)
        if run is not None and run.state is not RunState.STOPPING:
            yield from stops.stopping(self._book, run, event.reason)

    def _run_ended(self, event: events.RunEnded, now: Now) -> Iterator[Command]:
        run = self._live(event.run, event.attempt)
        if run is not None:
            yield from completion.attempt_ended(self._book, run, event.record, now)
        yield RemoveMarks(event.run, event.attempt)

    def _run_lost(self, event: events.RunLost, now: Now) -> Iterator[Command]:
        run = self._live(event.run, event.attempt)
        if run is not None:
            lost = replace(run, state=lifecycle.after(run.state, Step.LOSE), reason=event.reason)
            job = self.catalog.get(run.id.job)
            document = record.lost(lost, job, self._book.host, event.wait_status, event.output)
            yield from completion.attempt_ended(self._book, run, document, now)
            if run.id not in self.runs:
                yield WriteRecord(document)
        yield RemoveMarks(event.run, event.attempt)

    def _never_started(self, event: events.NeverStarted, now: Now) -> Iterator[Command]:
        """The same attempt again: at once if nothing was wrong, else with a pause that doubles up to a minute."""
        run = self._live(event.run, event.attempt)
        yield RemoveMarks(event.run, event.attempt, again=True)
        if run is None:
            return
        pause, failures = self._pause(run, event.reason)
        back = self._book.step(
            run, Step.RETURN, not_before=now.wall + pause, failures=failures, pid=None, claims=(), placed=(),
            ends_by=None, reason=event.reason or run.reason,
        )  # fmt: skip
        self._book.release(run, now)
        job = self.catalog.get(run.id.job)
        if pause or job is None:
            self._book.put_later(back, now)
        else:
            back = self._book.put_back(back, now) if self._book.holds(job) else self._book.enqueue(back, now)
            eligibility.watch_over(self._book, job, back, now)
            self._book.stir(run.id.job)
        if pause and (failures != run.failures or not event.reason.startswith(events.PATH_BUSY)):
            yield Say("run_returned", {"run": str(run.id), "reason": event.reason, "again_in": pause / SECOND})
        yield SaveRun(back)
        if run.stop_asked:
            yield from completion.give_up(self._book, back, run.reason or "", now, stopped=True)
        elif run.id.job not in self.catalog and self._book.loaded:
            yield from completion.give_up(self._book, back, "job_removed", now)

    def _pause(self, run: Run, reason: str) -> tuple[int, int]:
        """How long (ns) to wait before the attempt is sent again, and how often it failed so (a busy path: once)."""
        if not reason:
            return 0, run.failures
        if reason.startswith(events.PATH_BUSY):
            return SECOND, max(run.failures, 1)
        return min(BACKOFF_MAX, SECOND << min(run.failures, 6)), run.failures + 1

    def _found(self, event: events.Found, now: Now) -> Iterator[Command]:
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
            claims=event.claims, placed=event.placed, ends_by=event.ends_by, failover=event.failover,
        )  # fmt: skip
        self._book.put_live(run, now)
        job = self.catalog.get(run.id.job)
        if job is not None:
            self._book.wind(job)
        yield SaveRun(run)
        yield SaveJob(state.memory)
