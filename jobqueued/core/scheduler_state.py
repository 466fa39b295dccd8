"""What the scheduler knows: every job id's state, and every run before its end in exactly one place."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from jobqueued.catalog import Catalog
from jobqueued.core import lifecycle
from jobqueued.core.lifecycle import Step
from jobqueued.core.timers import Timers
from jobqueued.model import LIVE, Escalation, Job, Now, Occurrence, Run, RunId, RunState
from jobqueued.queue.admission import OUTPUT_DRAIN, Admission
from jobqueued.queue.locks import SLOT, Claims, Locks, claims_of, least_claims
from jobqueued.queue.placement import Placed, Placement
from jobqueued.queue.waiting import Terms
from jobqueued.saved import Hold, SavedJob
from jobqueued.timing.due_times import DueTimes

_PLAIN = least_claims(slots=False)


class HostLimits(NamedTuple):
    """What jobqueued.yaml and the host say: its name, `max_running` (None: no limit), how many units there are of each
    resource (CPU in thousandths of a core, memory in bytes), the numbers of its CPUs, how what waits ages.
    """

    name: str = "localhost"
    max_running: int | None = None
    resources: dict[str, int] = {}  # noqa: RUF012
    cpus: tuple[int, ...] = ()
    escalation: Escalation = Escalation()
    calm: int = 0
    """Under pressure only runs of at least this effective priority start."""


class LockClient(NamedTuple):
    """A person's command that wants or has claims; `ticket` is answered when they are granted (0: they were)."""

    claims: Claims
    asked_by: str
    ticket: int
    placed: Placed = ()


@dataclass(slots=True)
class JobState:
    """What is kept of a job id beside its definition; it outlives the job's removal.

    `later` are the runs that wait for a pause to end (monotonic, ns): before the next attempt, or after trouble of the
    system.  `skip` is the newest run if that is a skip: the next skip for the same reason joins it.  `trouble` is why
    the job can't run on this host as things stand.  `fresh`: how many of the clock's occurrences came since when
    (monotonic, ns), for the fuse.
    """

    memory: SavedJob
    due: list[RunId] = field(default_factory=list)
    waiting: set[RunId] = field(default_factory=set)
    later: dict[RunId, int] = field(default_factory=dict)
    live: set[RunId] = field(default_factory=set)
    skip: Run | None = None
    trouble: str = ""
    fresh: tuple[int, int] = (0, 0)
    fuse_blown: bool = False

    @property
    def held(self) -> int:
        """How many runs are due or waiting."""
        return len(self.due) + len(self.waiting)

    @property
    def under_way(self) -> int:
        """How many runs count against `concurrency`."""
        return len(self.waiting) + len(self.later) + len(self.live)

    @property
    def unfinished(self) -> list[RunId]:
        """All runs before their end."""
        return [*self.due, *self.waiting, *self.later, *self.live]


class SchedulerState:
    """The catalog, the clock, the runs and the queue, and the moves that keep them consistent."""

    def __init__(self, limits: HostLimits) -> None:
        self.host, self.limits = limits.name, limits
        self.catalog = Catalog()
        self.clock = DueTimes()
        self.timers = Timers()
        self.users: dict[str, str | None] = {}
        """What is wrong with a user of jobs: "" nothing, None: nobody knows yet."""
        self.runs: dict[RunId, Run] = {}
        self.guests: dict[RunId, LockClient] = {}
        """By names that look like a run's, of a job that no file can define."""
        self.hasty: list[RunId] = []
        """The guests that leave unless they are granted their claims in the next turn."""
        slots = {} if limits.max_running is None else {SLOT: limits.max_running}
        self.admission = Admission(Locks({**limits.resources, **slots}))
        self.placement = Placement(limits.resources, limits.cpus)
        self.blocked = False
        """Nothing that waits can start before something ends or joins; so nobody needs to look."""
        self.stirred: dict[str, None] = {}
        """The jobs whose runs may have become free to join the queue."""
        self.finished: list[Run] = []
        """Runs that have ended, and may make other jobs due."""
        self._jobs: dict[str, JobState] = {}
        self._terms: dict[str, Terms] = {}
        self._arrivals = 0
        self.unjudged: dict[str, None] | None = None
        """The jobs of which it has to be judged whether they can run here; None: all."""
        self.troubled: set[str] = set()
        self.loaded = False
        """Whether every job file was read, so that it is known which jobs there are."""
        self.hold: Hold | None = None
        self.pressure: dict[str, int] = {}
        """Until when (monotonic, ns) there is pressure, by its name."""

    def restore(self, memories: Iterable[SavedJob], runs: Iterable[Run], now: Now) -> None:
        """Take over what was kept: live runs have their claims back, others wait for their jobs to be read."""
        for memory in memories:
            self._jobs[memory.job] = JobState(memory)
        for run in sorted(runs, key=lambda run: run.arrival):
            self._arrivals = max(self._arrivals, run.arrival)
            if run.state is RunState.SKIPPED:
                self[run.id.job].skip = run
            elif run.state in LIVE:
                self.put_live(run, now)
            elif run.state is RunState.RETRYING or (run.state is RunState.WAITING and run.not_before > now.wall):
                self.put_later(run, now)
            else:
                self[run.id.job].due.append(run.id)
                self.runs[run.id] = replace(run, state=RunState.DUE, waited=run.age(now.wall), since=0)

    def __getitem__(self, job: str) -> JobState:
        """The state of a job id, heard of or not."""
        if job not in self._jobs:
            self._jobs[job] = JobState(SavedJob(job=job))
        return self._jobs[job]

    def called(self, holder: Hashable) -> str:
        """What people call who holds something."""
        known = self.guests.get(holder) if isinstance(holder, RunId) else None
        return str(holder) if known is None else f"a command of {known.asked_by} (with-lock)"

    def told(self, obstacle: str | RunId) -> str:
        """What people call what kept a run from starting: a resource, or a run for which one was kept."""
        return obstacle.removeprefix(":") if isinstance(obstacle, str) else f"what is kept for {self.called(obstacle)}"

    def pressed(self, mono: int) -> list[str]:
        """For what work waits too long on this host."""
        return [name for name, until in self.pressure.items() if until > mono]

    def stir(self, job: str) -> None:
        """Something has changed that may have held back runs of a job, or of those that depend on it."""
        self.stirred[job] = None
        for name in self.catalog.dependents(job):
            self.stirred[name] = None

    # jobs

    def define(self, job: Job) -> None:
        """A definition is new: what follows from it is worked out anew."""
        self._terms.pop(job.id, None)

    def terms(self, job: Job) -> Terms:
        """The terms on which a job's runs wait."""
        found = self._terms.get(job.id)
        if found is None:
            bound = None if job.timeout is None else job.timeout + job.kill_grace + OUTPUT_DRAIN
            claims = claims_of(job, slots=self.limits.max_running is not None)
            escalation = job.escalation or self.limits.escalation
            found = self._terms[job.id] = Terms(claims, escalation, bound, job.drain)
        return found

    def wind(self, job: Job) -> None:
        """Set the clock to the first occurrence that is not covered; a job that is completed has none."""
        if self.is_completed(job):
            self.clock.clear(job.id)
        else:
            self.clock.set(job, self[job.id].memory.cursor)

    def is_completed(self, job: Job) -> bool:
        """Whether `max_runs` have started."""
        return job.max_runs is not None and self._started(job) >= job.max_runs

    def is_used_up(self, job: Job) -> bool:
        """Whether `max_runs` have started, or are about to."""
        if job.max_runs is None:
            return False
        starting = sum(not _has_started(self.runs[run]) for run in self[job.id].live)
        return self._started(job) + starting >= job.max_runs

    def _started(self, job: Job) -> int:
        state = self[job.id]
        under_way = [self.runs[run] for run in state.unfinished]
        return state.memory.stats.started + sum(_has_started(run) for run in under_way)

    def invalid(self, job: Job) -> str:
        """Why a job can't run, whatever its file says; "" if nothing is known."""
        return self[job.id].trouble or (job.user and self.users.get(job.user)) or ""

    def holds(self, job: Job) -> str:
        """Why no run of a job may join the queue now; "" if it may."""
        memory = self[job.id].memory
        if memory.paused:
            return f"job {job.id} is paused; to go on: jobqueuectl resume {job.id}"
        if job.user is None or self.users.get(job.user) == "":
            return ""
        before = f"job {job.id} was invalid ({self.invalid(job)}); " if self.invalid(job) else ""
        return f"{before}the user {job.user} is being looked up"

    # runs

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
        """Behind the job's other unstarted runs, until nothing holds it back."""
        self.runs[run.id] = run
        self[run.id.job].due.append(run.id)

    def put_back(self, run: Run, now: Now) -> Run:
        """Back to the front of its job's other unstarted runs, where it does not age."""
        held = self.step(run, Step.HOLD, waited=run.age(now.wall), since=0, drains_since=0)
        self._take_out(run.id)
        self[run.id.job].due.insert(0, run.id)
        return held

    def put_later(self, run: Run, now: Now) -> None:
        """It waits for the end of its pause, and is looked at then."""
        self.runs[run.id] = run
        self._take_out(run.id)
        until = self[run.id.job].later[run.id] = now.mono + max(0, run.not_before - now.wall)
        self.timers.after(until, run.id)

    def enqueue(self, run: Run, now: Now) -> Run:
        """Into the queue, at the place that its job's terms give it (anew, if it is there already); it ages."""
        job, state = self.catalog[run.id.job], self[run.id.job]
        if not run.since:
            run = self.runs[run.id] = replace(run, since=now.wall)
        if run.id in state.due:
            state.due.remove(run.id)
        state.later.pop(run.id, None)
        state.waiting.add(run.id)
        since = now.mono - run.age(now.wall)
        if run.drains_since:
            began = now.mono - max(0, now.wall - run.drains_since)
            self.admission.drains.found(run.id, job.drain, began, now.mono)
        self.admission.waiting.add(run.id, self.terms(job), job.priority, since, run.due, run.arrival)
        self.blocked = False
        return run

    def put_live(self, run: Run, now: Now) -> None:
        """A live run that was found: it holds its claims, even beyond today's capacity.

        One that an older version started claims what any run does.
        """
        claims = run.claims or least_claims(slots=self.limits.max_running is not None)
        run = self.runs[run.id] = replace(run, claims=claims)
        self[run.id.job].live.add(run.id)
        ends_at = None if run.ends_by is None else now.mono + run.ends_by - now.wall
        self.admission.hold(run.id, run.claims, ends_at, found=True)
        self.placement.take(run.placed, run.claims, now.mono)

    def admit(self, run: Run, now: Now) -> Run:
        """From the queue to the live ones, with all its claims and the units that it is given of them."""
        job = self.catalog[run.id.job]
        claims, _, bound, _ = self.terms(job)
        placed = self.placement.choose(job.placement, claims, now.mono) if job.resources or job.locks else ()
        started = self.step(
            run, Step.ADMIT, attempt=max(1, run.attempt), claims=claims, placed=placed, reason=None,
            ends_by=None if bound is None else now.wall + bound,
        )  # fmt: skip
        self.admission.hold(run.id, claims, None if bound is None else now.mono + bound)
        self.placement.take(placed, claims, now.mono)
        self._take_out(run.id)
        self[run.id.job].live.add(run.id)
        return started

    def release(self, run: Run, now: Now) -> None:
        """A live run gives its claims back and is nowhere."""
        self[run.id.job].live.discard(run.id)
        self.admission.release(run.id)
        self.placement.give_back(run.placed, run.claims, now.mono)
        self.blocked = False

    def drop(self, run: RunId) -> None:
        """Out of the book: it has ended, or will never start."""
        self._take_out(run)
        del self.runs[run]
        self.blocked = False

    def _take_out(self, run: RunId) -> None:
        """From wherever it waits."""
        state = self[run.job]
        self.admission.waiting.remove(run)
        self.admission.refusals.pop(run, None)
        state.waiting.discard(run)
        state.later.pop(run, None)
        if run in state.due:
            state.due.remove(run)

    @property
    def is_limited(self) -> bool:
        """Whether it can matter who of those that wait is admitted first."""
        if self.limits.max_running is not None:
            return True
        return any(terms.claims != _PLAIN for terms in self.admission.waiting.all_terms())

    def validate(self) -> None:
        """AssertionError unless every run is in exactly one place and claims are held by live runs only."""
        for name, state in self._jobs.items():
            places = state.unfinished
            assert len(places) == len(set(places)), f"{name}: a run in two places: {places}"
            for place, runs in ((RunState.DUE, state.due), (RunState.WAITING, state.waiting)):
                assert all(self.runs[run].state is place for run in runs), f"{name}: {runs} not {place}"
            pausing = (RunState.WAITING, RunState.RETRYING)
            assert all(self.runs[run].state in pausing for run in state.later), f"{name}: {state.later} not later"
            assert all(self.runs[run].state in LIVE for run in state.live), f"{name}: {state.live} not live"
            numbers = [run.number for run in places]
            assert state.memory.last_number >= max(numbers, default=0), f"{name}: {numbers} beyond the last number"
        assert set(self.runs) == {run for state in self._jobs.values() for run in state.unfinished}
        guests = {guest for guest, known in self.guests.items() if known.ticket}
        waiting = {run for state in self._jobs.values() for run in state.waiting}
        assert waiting | guests == set(self.admission.waiting)
        self._validate_claims()

    def _validate_claims(self) -> None:
        locks = self.admission.locks
        live = [run for run in self.runs.values() if run.state in LIVE]
        guests = [guest for guest, known in self.guests.items() if not known.ticket]
        assert set(locks) == {run.id for run in live} | set(guests), "claims outlive their runs"
        assert all(locks.held(run.id) == run.claims for run in live), "a live run without its claims"
        locks.validate()


def _has_started(run: Run) -> bool:
    """Whether it is certain that a run has had a process."""
    return run.pid is not None or run.so_far is not None
