"""The scheduler's state, and the functions that keep it consistent.

Every unfinished run is in exactly one place of its job's `JobState`. Only live runs and clients with locks hold claims.
`invariants.validate` checks all the rules.

Only the functions here change state that must survive a restart: `keep`, `close` and the moves change runs, `remember`
changes jobs, `hold_host` and `note_boot` change the host. Each function records its change, and `take_saves` returns
the commands that save the changes, one for each run and job. Therefore no decision can forget to save a change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from jobqueued.base.intern import shared
from jobqueued.base.replace import changed
from jobqueued.child.contract.documents import Record
from jobqueued.core.hosts.fleet_state import FleetState
from jobqueued.core.records import lifecycle
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.core.records.lifecycle import RunStep
from jobqueued.core.state.agenda import Agenda
from jobqueued.core.state.changes import Changes
from jobqueued.core.state.holders import ANOTHERS_RUN, LockClient
from jobqueued.core.state.job_state import Delay, JobState, leave
from jobqueued.core.state.lateness_deadlines import LatenessDeadlines
from jobqueued.core.state.other_hosts import OtherHosts
from jobqueued.core.state.submitted import UnfinishedSubmissions
from jobqueued.core.state.timers import HostTimer, Timers
from jobqueued.model.accounts import Account, accounts
from jobqueued.model.catalog import Catalog
from jobqueued.model.commands import ForgetRun, Save, SaveBoot, SaveHold, SaveJob, SaveRun
from jobqueued.model.job import Job, Now, Occurrence
from jobqueued.model.run import Holder, LockClientId, Run, RunId
from jobqueued.model.run_states import LIVE, RunState, Unstarted
from jobqueued.model.saved import Hold, SavedJob
from jobqueued.model.users import Owner, budget_of, share_of
from jobqueued.queue import rates
from jobqueued.queue.admission import OUTPUT_DRAIN, Admission
from jobqueued.queue.locks import Locks, least_claims
from jobqueued.queue.placement import Placement
from jobqueued.queue.waiting import Terms
from jobqueued.timing.due_times import DueTimes


class SchedulerState:
    """The jobs, their runs, the queue, and the host."""

    def __init__(self, limits: HostLimits, fleet: FleetState, others: OtherHosts) -> None:
        self.limits, self.catalog = limits, Catalog()
        """The jobs that files and submissions define now; `jobs.read` and `submissions` change it."""
        self.due_times = DueTimes()
        """Job → its next scheduled start: the first due time after its cursor."""
        self.timers = Timers()
        """Instants at which to check runs, jobs or the host; an unnecessary check does no harm."""
        self.lateness = LatenessDeadlines()
        """Deadlines after which runs are late and jobs overdue.  `lateness` and `expectation` change them."""
        self.agenda = Agenda()
        """The work left for the end of the turn."""
        self.accounts: dict[Account, str] = {}
        """Jobs' user or group → its error, or "" if the account exists. An account that is not listed is being looked
        up (`account_known`).
        """
        self.invalid_jobs: set[str] = set()
        """The IDs of jobs with a `JobState.invalid`.  `validity.judge` changes it."""
        self.noted: set[str] = set()
        """The IDs of jobs whose `SavedJob.is_noteworthy` is true.  `remember` changes it."""
        self.loaded = False
        """True once every job file was read after the start.  `jobs.loaded` sets it."""
        self.complete = False
        """True once all jobs are known. False if a file that could not be read at the start may define more jobs."""
        self.admission = Admission(Locks(limits.units), limits.most_of_a_user)
        """The queue (runs in `JobState.waiting`, clients with a ticket), and all claims that are held."""
        self.placement = Placement(limits.resources, limits.cpus)
        """The numbered units that holders of claims use."""
        self.queue_stuck = False
        """True if no pass over the queue is needed, because nothing can start before a holder ends or a run joins."""
        self.lock_clients: dict[LockClientId, LockClient] = {}
        """Users' commands that wait for locks or hold locks. `lock_clients` changes it."""
        self.impatient: list[LockClientId] = []
        """The clients that leave the queue unless the next pass grants them their claims."""
        self.hold: Hold | None = None
        self.unsaved = ""
        """The reason why the state can't be saved, or "" if it can.  `host_hold.unsaved` changes it."""
        self.pressure: dict[str, int] = {}
        """Kind of pressure → the instant (monotonic, ns) when the pressure ends. `Scheduler` updates this mapping."""
        self._runs, self._terms = dict[RunId, Run](), dict[str, Terms]()
        self.runs: Mapping[RunId, Run] = MappingProxyType(self._runs)
        """All unfinished runs."""
        self.unfinished = Counter[str]()
        """A user's share (`users.budget_of`), or "" for the host's jobs → number of unfinished runs."""
        self.found: dict[str, dict[str, Run]] = {}
        """Job → key → the run of an occurrence that only run directories or records show; such an occurrence is not
        made due again.
        """
        self.lingering: dict[RunId, str] = {}
        """Live run whose supervisor exited → a description of its processes that may be alive. `attempts.lingers`
        changes it.
        """
        self.jobs: dict[str, JobState] = {}
        """Job ID → its state, including IDs of jobs that no longer exist."""
        self.submitted, self.others, self.fleet = UnfinishedSubmissions(), others, fleet
        """The unfinished submissions (`submissions` changes them), the policy about other hosts, and its state."""
        self._arrivals, self.changes = 0, Changes()

    def restore(self, saved: Iterable[SavedJob], runs: Iterable[Run], hold: Hold | None, now: Now) -> None:
        """Restore the saved state: live runs regain their claims; other runs wait until their jobs are read."""
        self.jobs.update((job.job, JobState(job)) for job in saved)
        self.noted = {name for name, state in self.jobs.items() if state.saved.is_noteworthy}
        for run in sorted(runs, key=lambda run: run.arrival):
            self._arrivals = max(self._arrivals, run.arrival)
            if run.state is RunState.SKIPPED:
                self[run.id.job].skip = run
            elif run.state in LIVE:
                self.put_live(run, now)
            elif run.state is RunState.RETRYING or (run.state is RunState.WAITING and run.not_before > now.wall):
                self.delay(run, now)
            else:  # a run that was in the queue still ages until it is checked
                self.put_due(changed(run, state=RunState.DUE))
        if hold is not None:
            self.hold_host(hold)
        self.take_saves()  # everything is already saved

    def __getitem__(self, job: str) -> JobState:
        """Return the state of a job ID; for a new ID, add a state."""
        found = self.jobs.get(job)
        return self.jobs.setdefault(job, self.peek(job)) if found is None else found

    def peek(self, job: str) -> JobState:
        """Return the state of a job ID, for reading only; an unknown ID has an empty state."""
        return self.jobs.get(job) or JobState(SavedJob(job=job))

    # state that must survive a restart

    def take_saves(self) -> list[Save]:
        """Remove and return the commands that save the changes since the last call."""
        return self.changes.take(lambda job: self.jobs[job].saved)

    def all_saves(self) -> list[Save]:
        """Return the commands that save everything, changed or not, except runs that have ended."""
        jobs = [SaveJob(state.saved) for state in self.jobs.values()]
        return [*(SaveRun(run) for run in self.runs.values()), *jobs, SaveHold(self.hold), *self.submitted.saves()]

    def remember(self, job: str, **changes: Any) -> SavedJob:
        """Change saved values of a job ID."""
        state = self[job]
        state.saved = changed(state.saved, **changes)
        self.changes.note_job(job)
        (self.noted.add if state.saved.is_noteworthy else self.noted.discard)(job)
        return state.saved

    def hand_over(self, job: str, owner: Owner | None) -> None:
        """Record the owner of a job ID; a new owner can't see the earlier owner's runs."""
        self[job].saved = self[job].saved.of(owner)
        self.remember(job)

    def keep(self, run: Run) -> Run:
        """Change or add an unfinished run."""
        if run.id not in self._runs:
            self.unfinished[budget_of(run.id.job)] += 1
        self._runs[run.id] = run
        self.changes.note_run(SaveRun(run))
        return run

    def change(self, run: Run, **changes: Any) -> Run:
        """Change fields of an unfinished run."""
        return self.keep(changed(run, **changes))

    def step(self, run: Run, step: RunStep, **changes: Any) -> Run:
        """Move a run by one step.  Raises lifecycle.IllegalRunStep, and changes nothing, if the step is not allowed."""
        return self.change(run, state=lifecycle.after(run.state, step), **changes)

    def close(self, run: Run, record: Record) -> None:
        """End a run with its record, and remove it from its place."""
        if run.id in self._runs:  # a skip that never was a run has no grant to give back
            self.others.give_back(self, run, record)
        self._let_go(run)
        self.agenda.note_over(run)
        self.changes.note_run(SaveRun(run, record))

    def forget(self, run: Run, record: Record | None = None) -> None:
        """Forget a run that never started: `record` covers it or, if None, another host has its occurrence."""
        self._let_go(run)
        if record is not None:
            self.others.give_back(self, run, record)
        self.changes.note_run(ForgetRun(run.id, record))

    def _let_go(self, run: Run) -> None:
        if run.id in self._runs:
            self._take_out(run.id)
            self.lateness.end(run.id)
            del self._runs[run.id]
            self.unfinished[budget_of(run.id.job)] -= 1

    def hold_host(self, hold: Hold | None) -> None:
        """Hold the host, so that no run starts; None releases the host."""
        self.hold = hold
        self.changes.note_host(SaveHold(hold))
        if hold is not None and hold.until is not None:
            self.timers.at(hold.until, HostTimer.HOLD)

    def note_boot(self, boot: str) -> None:
        """Save that this boot of the host was handled."""
        self.changes.note_host(SaveBoot(boot))

    def name_of(self, holder: Holder) -> str:
        """Return a holder's name for people."""
        client = self.lock_clients.get(holder) if isinstance(holder, LockClientId) else None
        return str(holder) if client is None else f"{client.asked_by}'s command (with-lock)"

    def name_for(self, holder: Holder, asker: Owner | None) -> str:
        """Return a holder's name in the form that `asker` may see; None means a user who may see everything."""
        if asker is not None and isinstance(holder, RunId) and share_of(holder.job):
            run = self.runs.get(holder)
            if run is None or run.owner != asker:
                return ANOTHERS_RUN
        return self.name_of(holder)

    def pressed(self, mono: int) -> list[str]:
        """Return the kinds of work that wait too long on this host."""
        return [name for name, until in self.pressure.items() if until > mono]

    # jobs

    def mark_for_check(self, job: str) -> None:
        """Mark the due runs of a job and of its dependents for a check."""
        self.agenda.look_at(job)
        for name in self.catalog.dependents(job):
            self.agenda.look_at(name)

    def define(self, job: Job) -> None:
        """Update the values that are derived from a job's definition."""
        self._terms.pop(job.id, None)
        self.admission.locks.give_places(job)

    def forget_job(self, name: str) -> None:
        """Forget a job that no longer exists and has no run."""
        self.admission.locks.take_places(name)
        for names in (self.invalid_jobs, self.noted):
            names.discard(name)
        for by_job in (self._terms, self.found, self.jobs):
            by_job.pop(name, None)

    def terms(self, job: Job) -> Terms:
        """Return the terms on which a job's runs wait in the queue."""
        found = self._terms.get(job.id)
        if found is None:
            bound = None if job.timeout is None else job.timeout + job.kill_grace + OUTPUT_DRAIN
            escalation = job.escalation or self.limits.escalation
            terms = Terms(self.limits.claims_of(job), escalation, bound, job.drain, budget_of(job.id))
            found = self._terms[job.id] = shared(terms)
        return found

    def set_clock(self, job: Job) -> None:
        """Set a job's clock to the first occurrence after its cursor, or to none if the job is completed."""
        saved = self[job.id].saved
        if self.is_completed(job):
            self.due_times.clear(job.id)
        else:
            self.due_times.set(job, saved.cursor, saved.settled, rests=self.others.is_clock_waiting(job))

    def is_completed(self, job: Job) -> bool:
        """Return whether all `max_runs` of a job have started."""
        return job.max_runs is not None and self._started(job) >= job.max_runs

    def is_used_up(self, job: Job) -> bool:
        """Return whether all `max_runs` of a job have started or are about to start."""
        if job.max_runs is None:
            return False
        starting = sum(not _has_started(self.runs[run]) for run in self[job.id].live)
        return self._started(job) + starting >= job.max_runs

    def _started(self, job: Job) -> int:
        state = self[job.id]
        under_way = [self.runs[run] for run in state.unfinished]
        return state.saved.stats.started + sum(_has_started(run) for run in under_way)

    def accounts_to_look_up(self, job: Job) -> Iterator[Account]:
        """Yield those of the job's user and groups whose existence on this host is unconfirmed."""
        return (account for account in accounts(job) if self.accounts.get(account) != "")

    def invalid(self, job: Job) -> str:
        """Return the reason, outside the job's file, why a job can't run, or "" if no such reason is known."""
        troubles = filter(None, map(self.accounts.get, accounts(job)))
        return invalid.text if (invalid := self[job.id].invalid) is not None else next(troubles, "")

    def unstarted_in_queue(self, job: str) -> int:
        """Return how many runs of a job are in the queue for their first attempt."""
        return sum(self.runs[run].so_far is None for run in self[job].waiting)

    def use_start(self, job: Job, run: Run, now: Now) -> None:
        """Count the start of a run's first attempt against the job's `rate`."""
        if job.rate is not None and run.so_far is None:
            self.remember(job.id, rate_use=rates.after_start(job.rate, self[job.id].saved.rate_use, now.wall))

    def return_start(self, run: Run) -> None:
        """Do not count the start of a first attempt that failed to start."""
        use = self[run.id.job].saved.rate_use
        if use.full_at and run.so_far is None:
            self.remember(run.id.job, rate_use=rates.without_start(use))

    # runs

    def number(self, occurrence: Occurrence, queued: int, **fields: Any) -> Run:
        """Create a run of an occurrence with its job's next number and these fields. The caller must put the run in a
        place.
        """
        number, job = self[occurrence.job].saved.last_number + 1, self.catalog.get(occurrence.job)
        self.remember(occurrence.job, last_number=number)
        self[occurrence.job].precede()
        return Run(
            id=RunId(occurrence.job, number),
            key=occurrence.key,
            due=occurrence.due,
            queued=queued,
            arrival=self.arrival(),
            owner=job.owner if job else None,
            **fields,
        )

    def arrival(self) -> int:
        """Return the next place in the order of arrival."""
        self._arrivals += 1
        return self._arrivals

    def put_due(self, run: Run) -> None:
        """Add a run to the end of its job's due runs."""
        self.keep(run)
        self[run.id.job].due.append(run.id)

    def put_back(self, run: Run, now: Now) -> Run:
        """Move a run to the front of its job's due runs, where it does not age."""
        back = self.step(run, RunStep.KEEP_BACK, waited=run.age(now.wall), since=0, drains_since=0)
        self._take_out(run.id)
        self[run.id.job].due.insert(0, run.id)
        return back

    def delay(self, run: Run, now: Now, cause: Unstarted | None = None) -> None:
        """Delay a run until its `not_before`, and set a timer for a check at that instant; `cause` as in Delay."""
        self.keep(run)
        self._take_out(run.id)
        until = now.mono + max(0, run.not_before - now.wall)
        self[run.id.job].delayed[run.id] = Delay(until, cause)
        self.timers.after(until, run.id)

    def enqueue(self, run: Run, now: Now) -> Run:
        """Put a run into the queue on its job's terms, or update its place in the queue; a run in the queue ages."""
        job, state = self.catalog[run.id.job], self[run.id.job]
        if not run.since:
            run = self.change(run, since=now.wall)
        if run.id in state.due:
            state.due.remove(run.id)
        state.delayed.pop(run.id, None)
        if run.id in self.admission.locks:  # already in `waiting`, with a question to other hosts
            self.leave_queue(run.id)
        state.waiting[run.id] = None
        since = now.mono - run.age(now.wall)
        if run.drains_since:
            began = now.mono - max(0, now.wall - run.drains_since)
            self.admission.drains.found(run.id, job.drain, began)
        self.admission.waiting.add(run.id, terms := self.terms(job), job.priority, since, run.due, run.arrival)
        self.others.note_wait(run.id, terms.claims)
        self.queue_stuck = False
        return run

    def put_live(self, run: Run, now: Now) -> None:
        """Move a run that was found live to the live runs; it holds its claims, even if they exceed the current
        capacity.

        A run that an older version started gets the claims that every run has.
        """
        known = self._runs.get(run.id)
        if known is not None:
            self.release(known, now) if known.state in LIVE else self._take_out(known.id)
        claims = run.claims or least_claims(slots=self.limits.max_running is not None)
        self.keep(run if run.claims else changed(run, claims=claims))
        self[run.id.job].live[run.id] = None
        ends_at = None if run.ends_by is None else now.mono + run.ends_by - now.wall
        self.admission.hold(run.id, claims, ends_at)
        self.placement.take(run.placed, claims, now.mono)

    def admit(self, run: Run, now: Now) -> Run:
        """Move a run from the queue to the live runs; grant its claims, and assign numbered units to it."""
        job = self.catalog[run.id.job]
        claims, _, bound, *_ = self.terms(job)
        placed = self.placement.choose(job.placement, claims, now.mono) if job.resources or job.locks else ()
        started = self.step(
            run,
            RunStep.ADMIT,
            attempt=max(1, run.attempt),
            claims=claims,
            placed=placed,
            reason=None,
            doubted=False,
            drains_since=0,
            ends_by=None if bound is None else now.wall + bound,
        )
        self.use_start(job, run, now)
        self.admission.hold(run.id, claims, None if bound is None else now.mono + bound)
        self.placement.take(placed, claims, now.mono)
        self._take_out(run.id)
        self[run.id.job].live[run.id] = None
        return started

    def release(self, run: Run, now: Now) -> None:
        """Release the claims of a live run, and remove it from its place."""
        leave(self[run.id.job].live, run.id)
        self.lingering.pop(run.id, None)
        self.admission.release(run.id)
        self.placement.give_back(run.placed, run.claims, now.mono)
        self.others.give_back(self, run)
        self.queue_stuck = False

    def leave_queue(self, holder: Holder) -> None:
        """Remove a run or client from the queue, or withdraw its question to other hosts; end its reservation."""
        is_asked_for = self.others.leave_queue(holder, self.runs)
        self.admission.forget(holder)
        if is_asked_for:
            self.admission.release(holder)
        self.queue_stuck = False

    def _take_out(self, run: RunId) -> None:
        """Remove a run from the place where it waits."""
        state = self[run.job]
        if run in state.waiting:
            leave(state.waiting, run)
            self.leave_queue(run)
        leave(state.delayed, run)
        if run in state.due:
            state.due.remove(run)


def _has_started(run: Run) -> bool:
    """Return whether it is certain that a run has had a process."""
    return run.pid is not None or run.so_far is not None
