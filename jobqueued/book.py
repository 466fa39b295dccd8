"""What the scheduler knows: every job id's state, and every run before its end in exactly one place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any

from jobqueued import lifecycle
from jobqueued.catalog import Catalog
from jobqueued.clock import Clock
from jobqueued.lifecycle import Step
from jobqueued.locks import SLOT, Claim, Locks
from jobqueued.model import LIVE, Job, JobMemory, Occurrence, Run, RunId, RunState
from jobqueued.waiting import Waiting


@dataclass(slots=True)
class JobState:
    """What is kept of a job id beside its definition; it outlives the job's removal.

    `skip` is the newest run if that is a skip: the next skip for the same reason joins it.
    """

    memory: JobMemory
    due: list[RunId] = field(default_factory=list)
    waiting: set[RunId] = field(default_factory=set)
    live: set[RunId] = field(default_factory=set)
    skip: Run | None = None

    @property
    def held(self) -> int:
        """How many runs have not started."""
        return len(self.due) + len(self.waiting)


class Book:
    """The catalog, the clock, the runs, the queue and the locks, and the moves that keep them consistent."""

    def __init__(self, max_running: int | None, host: str) -> None:
        self.host = host
        self.catalog = Catalog()
        self.clock = Clock()
        self.users: dict[str, str | None] = {}
        """What is wrong with a user of jobs: "" nothing, None: nobody knows yet."""
        self.runs: dict[RunId, Run] = {}
        self.waiting = Waiting()
        self.blocked = False
        """Nothing that waits can start before something ends or joins; so nobody needs to look."""
        self._locks = Locks({} if max_running is None else {SLOT: max_running})
        self._jobs: dict[str, JobState] = {}
        self._arrivals = 0

    def restore(self, memories: Iterable[JobMemory], runs: Iterable[Run]) -> None:
        """Take over what was kept: live runs have their claims back, unstarted ones wait for their jobs to be read."""
        for memory in memories:
            self._jobs[memory.job] = JobState(memory)
        for run in sorted(runs, key=lambda run: run.arrival):
            self._arrivals = max(self._arrivals, run.arrival)
            if run.state is RunState.SKIPPED:
                self[run.id.job].skip = run
            elif run.state in LIVE:
                self.put_live(run)
            else:
                self[run.id.job].due.append(run.id)
                self.runs[run.id] = replace(run, state=RunState.DUE)

    def __getitem__(self, job: str) -> JobState:
        """The state of a job id, heard of or not."""
        if job not in self._jobs:
            self._jobs[job] = JobState(JobMemory(job=job))
        return self._jobs[job]

    def number(self, occurrence: Occurrence, queued: int, trigger: str, asked_by: str | None) -> Run:
        """A new run with its job's next number; it is in no place yet."""
        state = self[occurrence.job]
        number = state.memory.last_number + 1
        state.memory = replace(state.memory, last_number=number)
        state.skip = None
        return Run(
            id=RunId(occurrence.job, number), key=occurrence.key, due=occurrence.due, queued=queued,
            arrival=self.arrival(), trigger=trigger, asked_by=asked_by,
        )  # fmt: skip

    def arrival(self) -> int:
        """The next place in the order of arrival."""
        self._arrivals += 1
        return self._arrivals

    def step(self, run: Run, step: Step, **changes: Any) -> Run:
        """The run after the step, kept; lifecycle.IllegalStep, and nothing changed, where the table has none."""
        stepped = replace(run, state=lifecycle.after(run.state, step), **changes)
        self.runs[run.id] = stepped
        return stepped

    def put_due(self, run: Run) -> None:
        """Behind the job's other unstarted runs, until `promote` moves it on."""
        self.runs[run.id] = run
        self[run.id.job].due.append(run.id)

    def invalid(self, job: Job) -> str:
        """Why a job can't run, whatever its file says; "" if nothing is known."""
        return (job.user and self.users.get(job.user)) or ""

    def holds(self, job: Job) -> str:
        """Why no run of a job may join the queue now; "" if it may."""
        if self[job.id].memory.paused:
            return f"job {job.id} is paused; to go on: jobqueuectl resume {job.id}"
        if job.user is None or self.users.get(job.user) == "":
            return ""
        before = f"job {job.id} was invalid ({self.invalid(job)}); " if self.invalid(job) else ""
        return f"{before}the user {job.user} is being looked up"

    def hold(self, run: Run) -> Run:
        """From the queue to the front of its job's other unstarted runs, until `promote` moves it on."""
        held = self.step(run, Step.HOLD)
        self.waiting.remove(run.id)
        self[run.id.job].waiting.discard(run.id)
        self[run.id.job].due.insert(0, run.id)
        return held

    def promote(self, name: str) -> None:
        """Runs that only their job's `concurrency` held back join the queue, unless the job is held."""
        job, state = self.catalog.get(name), self[name]
        if job is None or self.holds(job):
            return
        while state.due and len(state.live) + len(state.waiting) < job.concurrency:
            self.enqueue(self.step(self.runs[state.due.pop(0)], Step.QUEUE))

    def enqueue(self, run: Run) -> None:
        """Into the queue, at the place that its job's priority gives it (anew, if it is there already)."""
        job = self.catalog.get(run.id.job)
        self[run.id.job].waiting.add(run.id)
        self.waiting.add(run.id, job.priority if job else 0, run.due, run.arrival)
        self.blocked = False

    def put_live(self, run: Run) -> None:
        """A live run that was found: it holds its claims, even beyond today's capacity."""
        self.runs[run.id] = run
        self[run.id.job].live.add(run.id)
        self._locks.grant(run.id, self.claims(), found=True)

    def admit(self, run: Run) -> None:
        """From the queue to the live ones, with all its claims."""
        self._locks.grant(run.id, self.claims())
        self.waiting.remove(run.id)
        self[run.id.job].waiting.discard(run.id)
        self[run.id.job].live.add(run.id)

    def release(self, run: RunId) -> None:
        """A live run gives its claims back and is nowhere."""
        self[run.job].live.discard(run)
        self._locks.release(run)
        self.blocked = False

    def drop(self, run: RunId) -> None:
        """Out of the book: it has ended, or will never start."""
        state = self[run.job]
        state.waiting.discard(run)
        self.waiting.remove(run)
        if run in state.due:
            state.due.remove(run)
        del self.runs[run]

    def claims(self) -> tuple[Claim, ...]:
        """What every run needs."""
        return (Claim(SLOT),)

    @property
    def is_limited(self) -> bool:
        """Whether it can matter who is admitted first."""
        return self._locks.capacity(SLOT) is not None

    def missing(self) -> Claim | None:
        """What keeps the first of the queue from starting."""
        return self._locks.missing(self.claims())

    def explain(self, run: RunId) -> list[str]:
        """Why a run has not started, a reason a line; [] for a live one.  KeyError: no such run, or it has ended."""
        found = self.runs[run]
        if found.state is RunState.DUE:
            return [self._why_due(found)]
        if found.state is not RunState.WAITING:
            return []
        ahead = [str(other) for other in takewhile(lambda other: other != run, self.waiting)]
        missing = self.missing()
        reasons = [f"waits behind {', '.join(ahead)}"] if ahead else []
        if missing is not None:
            holders = ", ".join(str(holder) for holder in self._locks.holders(missing.resource))
            reasons.append(f"{missing.resource} {self._locks.capacity(missing.resource)} is used up by {holders}")
        if found.not_before:
            reasons.append("its last start failed by the system's fault; it is tried again after a pause")
        return reasons

    def _why_due(self, run: Run) -> str:
        job, state = self.catalog.get(run.id.job), self[run.id.job]
        if job is None:
            return f"job {run.id.job} is not defined in any file that could be read"
        if held := self.holds(job):
            return held
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
        assert {run for run in self.runs if self.runs[run].state is RunState.WAITING} == set(self.waiting)
        live = {run for run in self.runs if self.runs[run].state in LIVE}
        assert len(self._locks) == len(live), "claims outlive their runs"
        assert all(run in self._locks for run in live), "a live run without its claims"
