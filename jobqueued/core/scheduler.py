"""The scheduler decides which run starts when. It reads no clock and does no I/O: events go in, commands come out, and
time is an argument.

    commands = scheduler.handle(event, now)     # an event happened
    commands += scheduler.admit(now)            # once a turn: start runs
    wake_at = scheduler.next_wakeup(now)        # before this instant, only an event can change anything
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from jobqueued.core.attempts import attempts, host_loss
from jobqueued.core.due import clock, occurrences
from jobqueued.core.explain import attention, why
from jobqueued.core.fleet import fleet
from jobqueued.core.fleet.fleet_policy import FleetPolicy
from jobqueued.core.hosts.fleet_state import FleetState
from jobqueued.core.jobs import agreement, jobs, pauses, submissions
from jobqueued.core.late import expectation, fleet_overdue, lateness
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.core.runs import completion, eligibility, host_hold, validity, verdicts
from jobqueued.core.state import invariants
from jobqueued.core.state.job_state import JobState
from jobqueued.core.state.other_hosts import OtherHosts
from jobqueued.core.state.scheduler_state import SchedulerState
from jobqueued.core.state.timers import HostTimer
from jobqueued.core.state.turn import Turn
from jobqueued.core.with_lock import fleet_clients, lock_clients
from jobqueued.core.with_lock.lock_clients import LockClaim
from jobqueued.model import events
from jobqueued.model.accounts import Account, accounts
from jobqueued.model.catalog import Catalog
from jobqueued.model.commands import Command, Save
from jobqueued.model.fleet import FleetMark, FleetReachability, FleetTrouble, MaySkip, PauseMade, Returned, SaidOverdue
from jobqueued.model.job import Job, Now
from jobqueued.model.run import Holder, LockClientId, Run, RunId
from jobqueued.model.saved import Hold, SavedJob
from jobqueued.model.submission import Resized
from jobqueued.model.users import Owner
from jobqueued.queue.locks import least_claims

LAUNCHES_A_TURN = 64
STEPS_A_TURN = 500
_PLAIN = least_claims(slots=False)


def _order_matters(state: SchedulerState) -> bool:
    """Return whether the order of admission matters, because waiting runs may compete."""
    scarce = (bool(terms.share) or terms.claims != _PLAIN for terms in state.admission.waiting.all_terms())
    return state.limits.max_running is not None or any(scarce)


def _under_pressure(turn: Turn, event: events.UnderPressure) -> None:
    """Record that work waits too long on this host, and set a timer for the end of this pressure."""
    turn.state.pressure[event.name] = event.until
    turn.state.timers.after(event.until, HostTimer.PRESSURE)


def _woke(turn: Turn, _event: events.Woke) -> None:
    clock.woke(turn)
    lateness.look(turn, STEPS_A_TURN)
    expectation.look(turn, STEPS_A_TURN)
    for subject in turn.state.timers.due(turn.now, STEPS_A_TURN):
        match subject:
            case RunId():
                eligibility.look_at_run(turn, subject)
            case HostTimer.PRESSURE:
                turn.state.queue_stuck = False
            case HostTimer.HOLD:
                host_hold.look(turn)
            case str():
                turn.state.mark_for_check(subject)
                pauses.look(turn, subject)
                verdicts.look(turn, subject)
                host_loss.look(turn, subject)


def _loaded(turn: Turn, event: events.JobsLoaded) -> None:
    jobs.loaded(turn, event)
    submissions.loaded(turn)


_DECIDERS: dict[type, Callable[[Turn, Any], None]] = {
    events.JobsRead: jobs.read,
    events.FileGone: lambda turn, event: jobs.read(turn, events.JobsRead(event.file, ())),
    events.JobsLoaded: _loaded,
    events.Reloaded: lambda turn, _event: jobs.reloaded(turn),
    events.AccountKnown: jobs.account_known,
    events.PauseAsked: pauses.asked,
    events.SkipAsked: jobs.skip_asked,
    events.ForgetAsked: expectation.forget_asked,
    events.HoldAsked: host_hold.asked,
    events.RunAsked: occurrences.asked,
    events.Submitted: submissions.asked,
    events.SubmissionsKept: submissions.kept,
    events.AwaitedOver: submissions.awaited_over,
    events.WithdrawAsked: submissions.withdraw_asked,
    Resized: submissions.resized,
    events.HistoryGone: jobs.history_gone,
    events.Emitted: occurrences.emitted,
    events.PathAppeared: occurrences.appeared,
    events.ClockStepped: clock.clock_stepped,
    events.Slept: clock.slept,
    events.UnderPressure: _under_pressure,
    events.StateUnsaved: host_hold.unsaved,
    events.Woke: _woke,
    events.RunStarted: attempts.started,
    events.RunStopping: attempts.stops,
    events.RunEnded: attempts.ended,
    events.RunLost: attempts.lost,
    events.RunLingers: attempts.lingers,
    events.LeftBehind: attempts.left_behind,
    events.RunsEmptied: attempts.runs_emptied,
    events.NeverStarted: attempts.never_started,
    FleetReachability: fleet.reachability_changed,
    events.Granted: fleet.granted,
    events.Denied: fleet.denied,
    events.Taken: fleet.taken,
    FleetMark: fleet.marked,
    FleetTrouble: fleet.troubled,
    MaySkip: fleet.may_skip,
    Returned: fleet.returned,
    events.HostLost: host_loss.lost,
    events.Held: fleet.held,
    events.FleetPaused: pauses.paused,
    PauseMade: pauses.made,
    SaidOverdue: fleet_overdue.seen,
    events.Ours: fleet.ours,
    events.Published: agreement.published,
    events.HostSeen: fleet.host_seen,
    events.FleetAccepted: fleet.accepted,
    events.Found: attempts.found,
    events.Recorded: attempts.recorded,
    events.StopAsked: completion.stop_asked,
    events.RetryAsked: eligibility.retry_asked,
    events.LostAsked: attempts.lost_asked,
    events.LockAsked: lock_clients.asked,
    events.LockFound: lock_clients.found,
    events.LockOver: lock_clients.over,
    events.EvictAsked: lock_clients.evict_asked,
}


class Scheduler:
    """All decisions about one host's jobs. `validate` checks invariants that must hold after every event."""

    def __init__(self, limits: HostLimits | None = None) -> None:
        limits = limits or HostLimits()
        fleet = FleetState(limits.fleet, limits.labels)
        self._state = SchedulerState(limits, fleet, FleetPolicy(fleet) if fleet.name else OtherHosts())

    @property
    def live(self) -> list[Run]:
        """The live runs, which hold their claims."""
        return [self.runs[holder] for holder in self._state.admission.locks if isinstance(holder, RunId)]

    @property
    def limits(self) -> HostLimits:
        """The name and the resources of this host."""
        return self._state.limits

    @property
    def catalog(self) -> Catalog:
        """The jobs."""
        return self._state.catalog

    @property
    def runs(self) -> Mapping[RunId, Run]:
        """All unfinished runs."""
        return self._state.runs

    @property
    def left(self) -> set[RunId]:
        """Users' runs whose attempts ended, but whose left processes and supervisors are alive."""
        return {run for run, _attempt in self._state.admission.left}

    @property
    def hold(self) -> Hold | None:
        """The host's hold, or None."""
        return self._state.hold

    @property
    def fleet(self) -> FleetState:
        """The fleet as this host sees it."""
        return self._state.fleet

    @property
    def unsaved(self) -> str:
        """The reason why the state can't be saved and therefore no run starts, or "" if it can be saved."""
        return self._state.unsaved

    def __getitem__(self, job: str) -> JobState:
        """Return the state of a job ID; an unknown ID has an empty state."""
        return self._state.peek(job)

    def owner_of(self, job: str) -> Owner | None:
        """Return the current or last owner of this job ID, or None if the host owns the job or the ID is unknown."""
        state = self._state.jobs.get(job)
        return None if state is None else state.saved.owner

    def next_start(self, job: str) -> int | None:
        """Return when (wall, ns) the clock starts a job next, or None if never."""
        return self._state.due_times.next(job)

    def soonest(self) -> tuple[int, str] | None:
        """Return the soonest scheduled start (wall, ns) of all jobs, with its job, or None if no start is scheduled."""
        return self._state.due_times.first()

    def soonest_starts(self, limit: int) -> Iterator[tuple[int, str]]:
        """Yield the soonest scheduled starts (wall, ns) with their jobs, in order; stop after `limit` steps of the
        search.
        """
        return self._state.due_times.in_order(limit)

    def invalid(self, job: Job) -> str:
        """Return the reason, outside the job's file, why a job can't run, or "" if no such reason is known."""
        return self._state.invalid(job)

    def unknown_account(self, job: Job) -> Account | None:
        """Return a user or group of the job that was never looked up on this host, or None if all have been."""
        return next((account for account in accounts(job) if account not in self._state.accounts), None)

    def may_have_jobs(self, owner: Owner) -> bool:
        """Return whether this user exists and may have jobs; return False if this is unknown."""
        return self._state.accounts.get(Account("owner", owner.name, owner.uid)) == ""

    def lingers(self, run: RunId) -> str:
        """Return a description of the surviving processes of a run whose supervisor exited, or "" for any other run."""
        return self._state.lingering.get(run, "")

    def needs(self, kind: str, job: str) -> bool:
        """Return whether a job's problem lasts: for the kind `late`, whether a run is late; for another kind, whether
        the job is overdue.
        """
        saved = self[job].saved
        return bool(saved.late) if kind == "late" else saved.is_overdue

    def remembered_job(self, name: str) -> Job | None:
        """Return the job with this ID, or the saved part of an expected job that is in no file, or None if neither
        exists.
        """
        departed = self._state.submitted.departed.get(name)
        return self.catalog.get(name) or departed or expectation.wishes_of(self._state, name)

    def remembered_jobs(self) -> list[Job]:
        """Return all jobs, including the saved parts of expected jobs that are in no file."""
        kept = [job for name in self._state.noted if name not in self.catalog and (job := self.remembered_job(name))]
        return [*self.catalog, *kept]

    def submission_of(self, share: str, key: str) -> str | None:
        """Return the unfinished submission that a user made with this key, or None if no such submission exists."""
        return self._state.submitted.of_key(share, key)

    @property
    def submitted(self) -> Iterator[str]:
        """The IDs of all unfinished submissions, in order of arrival."""
        return iter(self._state.submitted)

    def is_submitted(self, job: str) -> bool:
        """Return whether a job is an unfinished submission."""
        return job in self._state.submitted

    def text_of(self, job: str) -> str:
        """Return the text of an unfinished submission."""
        return self._state.submitted.text(job)

    def is_nowhere(self, job: str) -> bool:
        """Return whether this ID certainly has neither a job nor an unfinished run."""
        known = self._state.jobs.get(job)
        return self._state.complete and job not in self.catalog and not (known and known.unfinished)

    def is_completed(self, job: Job) -> bool:
        """Return whether all `max_runs` of a job have started."""
        return self._state.is_completed(job)

    def restore(self, saved: Iterable[SavedJob], runs: Iterable[Run], now: Now, hold: Hold | None = None) -> None:
        """Restore the state that an earlier scheduler saved.  Must be called before the first event."""
        known = list(saved)
        self._state.restore(known, runs, hold, now)
        lateness.restored(self._state)
        for job in known:
            expectation.await_success(self._state, job)

    def handle(self, event: events.Event, now: Now) -> list[Command]:
        """Handle an event and return the commands. Raises lifecycle.IllegalRunStep if the event is impossible in a
        run's state.
        """
        turn = Turn(self._state, now)
        _DECIDERS[type(event)](turn, event)
        return turn.finish()

    def settle(self, now: Now) -> list[Command]:
        """Decide the consequences of a turn's events before the turn is committed. `admit` includes this step."""
        turn = Turn(self._state, now)
        self._work_off(turn)
        return turn.finish()

    def admit(self, now: Now) -> list[Command]:
        """Start runs in the order of the queue while their claims can be granted, at most 64 in a turn.

        If claims are scarce, all due runs join the queue before the scheduler chooses the first.
        """
        turn, state = Turn(self._state, now), self._state
        self._work_off(turn)
        due, look_at = state.due_times.soonest(), state.admission.look_at
        state.queue_stuck = state.queue_stuck and (look_at is None or look_at > now.mono)
        if not (_order_matters(state) and due is not None and due <= now.wall):
            halted = bool(host_hold.halt(state))
            if not halted and not state.queue_stuck:
                self._pass(turn)
            if halted or state.queue_stuck:
                lock_clients.refuse_impatient(turn)
        # last, because a started run no longer waits for a lock
        for move in state.fleet.take_moves(is_held=state.hold is not None) if state.fleet.name else ():
            turn.do(move)
        return turn.finish()

    def _work_off(self, turn: Turn) -> None:
        """Handle all ends in the agenda, so that their consequences are part of the same commit, and up to STEPS_A_TURN
        other items.
        """
        state, agenda = self._state, self._state.agenda
        if not state.loaded:
            return
        state.submitted.departed.clear()
        state.submitted.over.clear()
        validity.judge(turn)
        for _ in range(STEPS_A_TURN):
            while (ended := agenda.take_ended()) is not None:
                occurrences.follow(turn, *ended)
            if (over := agenda.take_over()) is not None:
                submissions.follow(turn, over)
            elif (name := agenda.take_stirred()) is not None:
                eligibility.promote(turn, name)
                submissions.go_on(turn, name)
            else:
                return
        while (ended := agenda.take_ended()) is not None:
            occurrences.follow(turn, *ended)

    def _pass(self, turn: Turn) -> None:
        """Make one pass over the queue, and admit the runs and clients whose claims can be granted."""
        state, mono, granted = self._state, turn.now.mono, 0
        least = state.limits.calm if state.pressed(mono) else None
        for holder in state.admission.choose(mono, LAUNCHES_A_TURN, least):
            if isinstance(holder, LockClientId):
                fleet_clients.grant(turn, holder)
            elif isinstance(holder, RunId):
                attempts.launch(turn, state.runs[holder])
            granted += 1
        state.queue_stuck = granted < LAUNCHES_A_TURN
        drains = state.admission.drains
        began = turn.now.wall - (0 if drains.since is None else mono - drains.since)
        for holder, since in (*((one, began) for one in drains.new), *((one, 0) for one in drains.over)):
            if isinstance(holder, RunId) and (run := state.runs.get(holder)) is not None and run.drains_since != since:
                state.change(run, drains_since=since)
        for waiting, holders in state.admission.lapses:
            turn.say("held_up", run=state.name_of(waiting), holders=list(map(state.name_of, holders)))

    def next_wakeup(self, now: Now) -> int | None:
        """Return the next wall instant (ns) when anything can change without an event, or None if only events can
        change anything.
        """
        state = self._state
        times = [state.due_times.soonest(), state.timers.soonest(now), state.lateness.soonest(now)]
        if state.loaded and state.agenda:
            times.append(now.wall)
        if len(state.admission.waiting) and not host_hold.halt(state):
            look_at = state.admission.look_at
            times.append(now.wall if not state.queue_stuck else None)
            times.append(None if look_at is None else now.wall + max(0, look_at - now.mono))
        return min([time for time in times if time is not None], default=None)

    def everything(self) -> list[Save]:
        """Return the commands that save the whole state except the history."""
        return self._state.all_saves()

    def attention(self, now: Now) -> Iterator[attention.Attention]:
        """Yield the jobs and runs that need a user's attention: invalid, failing, late or paused."""
        return attention.of(self._state, now)

    @property
    def queue_length(self) -> int:
        """The number of runs and clients that wait for their claims."""
        return len(self._state.admission.waiting)

    def head_priority(self, now: Now) -> float | None:
        """Return the highest effective priority in the queue, or None if the queue is empty."""
        return self._state.admission.waiting.highest(now.mono)

    def rest_of(self, job: Job) -> str:
        """Return why the fleet lets no run of a job start here now, or "" if runs may start."""
        return self._state.fleet.rest_of(job)

    def is_outdated(self, job: Job) -> bool:
        """Return whether the fleet has a newer definition of a job that would run on this host."""
        return self._state.fleet.is_outdated(job)

    def askable(self) -> dict[str, int]:
        """Return fleet job → first UTC second whose occurrence may be requested (fleet.askable)."""
        return fleet.askable(self._state)

    def claimed(self, resource: str) -> int:
        """Return the number of units of a resource that are in use."""
        return self._state.admission.locks.used(resource)

    def lock_claims(self) -> Iterator[LockClaim]:
        """Yield the locks that are held or awaited."""
        return lock_clients.claims(self._state)

    def explain(self, run: RunId, now: Now, asker: Owner | None = None) -> dict[str, Any]:
        """Explain why a run has not started (why.explain).  Raises KeyError if no such unfinished run exists."""
        return why.explain(self._state, run, now, asker)

    def explain_pending(self, job: str, limit: int, now: Now, asker: Owner | None = None) -> list[dict[str, Any]]:
        """Explain why the first pending runs of a job have not started."""
        return why.explain_pending(self._state, job, limit, now, asker)

    def lacks(self, run: RunId) -> str | Holder:
        """Return the first obstacle of a run in the queue (why.lacked)."""
        return why.lacked(self._state, run)

    def holders(self, resource: str) -> list[Holder]:
        """Return all holders of a resource."""
        return self._state.admission.locks.holders(resource)

    def name_for(self, holder: Holder, asker: Owner | None) -> str:
        """Return the name of a holder as `asker` may see it; None means a user who may see everything."""
        return self._state.name_for(holder, asker)

    def validate(self) -> None:
        """Raise AssertionError unless every run is in exactly one place, and only live runs and clients hold claims."""
        invariants.validate(self._state)
