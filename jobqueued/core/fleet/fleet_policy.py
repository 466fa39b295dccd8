"""A fleet host's policy: its answers to the scheduler's questions about other hosts."""

from __future__ import annotations

from collections.abc import Mapping

from jobqueued.base.instants import STEP_LIMIT
from jobqueued.child.contract.documents import Record
from jobqueued.child.contract.reasons import Code, Reason
from jobqueued.core.due.clock import is_of_pause
from jobqueued.core.fleet import to_return
from jobqueued.core.hosts.fleet_state import FleetState, SkipWish, hosts_before, is_begun_elsewhere, is_of_fleet
from jobqueued.core.hosts.memory import looks_back
from jobqueued.core.runs import verdicts
from jobqueued.core.runs.eligibility import DEADLINE, Bar, Obstacle, is_late, noted
from jobqueued.core.state.other_hosts import OtherHosts
from jobqueued.core.state.scheduler_state import SchedulerState
from jobqueued.core.state.turn import Turn
from jobqueued.model.commands import Ask, Pause
from jobqueued.model.job import Job, Scope
from jobqueued.model.run import Holder, Run, RunId
from jobqueued.queue.locks import Claims, asks_fleet, of_fleet
from jobqueued.timing import catch_up


class FleetPolicy(OtherHosts):
    """The policy of a host in this fleet."""

    def __init__(self, fleet: FleetState) -> None:
        self._fleet = fleet

    # the clock

    def is_clock_waiting(self, job: Job) -> bool:
        """Return whether a job's clock waits because the fleet is unreachable or has a newer definition of the job."""
        return self._fleet.rests(job)

    def hold_up(
        self, turn: Turn, job: Job, found: list[int], following: int | None, since: int | None, *, at_once: bool
    ) -> bool:
        """Return whether a job's clock must wait because the first of these due times must be skipped for all hosts.

        Ask the fleet about the skip once; all later due times wait for the answer too. With `at_once`, do not wait:
        return False.
        """
        if not at_once and self._awaits_verdict(turn, job, found, following, since):
            return True
        verdicts.decide_here(turn, job)
        self._fleet.leading.discard(job.id)
        return False

    def _awaits_verdict(self, turn: Turn, job: Job, found: list[int], following: int | None, since: int | None) -> bool:
        state, saved, fleet = turn.state, turn.state[job.id].saved, self._fleet
        if job.scope is not Scope.FLEET or fleet.lacks(job) or fleet.rests(job):
            return False
        if job.id in fleet.verdicts:
            return True
        if saved.paused:
            dues = [due for due in found if is_of_pause(turn, job, due)] if saved.shared_pause else []
        else:
            wall = turn.now.wall - job.offset
            complete = following is None or following > wall
            dues = self._sorted(job, found, wall, complete=complete, since=since).missed
        known = state.found.get(job.id, {})
        own = {due for due in dues if job.occurrence(saved.era, due).key in known}
        if first := fleet.elsewhere.first_free(job.id, dues, own):
            period = None if following is None else following - found[-1]
            verdicts.ask(turn, job, SkipWish(first, Reason(Code.PAUSED if saved.paused else Code.MISSED)), period)
        return bool(first)

    def _sorted(self, job: Job, found: list[int], wall: int, *, complete: bool, since: int | None) -> catch_up.Sorted:
        memory = self._fleet.memory(job, wall)
        return catch_up.sort_out(job, found, wall, complete=complete, since=since, memory=memory)

    def keep_all(self, job: Job, cursor: int) -> bool:
        """Return whether only other hosts run a job, because this host does not have its labels; if so, forget their
        occurrences up to the cursor.
        """
        if not self._fleet.lacks(job):
            return False
        self._fleet.elsewhere.pass_by(job.id, cursor)
        return True

    def sort_out(
        self, job: Job, found: list[int], wall: int, cursor: int, *, complete: bool, since: int | None
    ) -> catch_up.Sorted:
        """Sort due times within the fleet's memory, then omit the due times that other hosts have.

        Omitting due times before sorting would be wrong, because all hosts must choose the same due times to catch up
        on.
        """
        todo = self._sorted(job, found, wall, complete=complete, since=since)
        if job.scope is Scope.FLEET:
            todo = catch_up.Sorted(*(self._fleet.elsewhere.leave_out(job.id, dues) for dues in todo))
            self._fleet.elsewhere.pass_by(job.id, cursor)
        return todo

    def own_skips(self, job: Job, dues: list[int]) -> list[int]:
        """Return the due times that no other host has, or [] if hosts with a newer definition of the job skip them."""
        if job.scope is not Scope.FLEET:
            return dues
        return [] if job.id in self._fleet.outdated else self._fleet.elsewhere.leave_out(job.id, dues)

    def clock_stepped(self, step: int, mono: int) -> None:
        """Record a step of the system clock; after a correction, drop open questions about skips."""
        self._fleet.presence.stepped(step, mono)
        if abs(step) > STEP_LIMIT:
            self._fleet.verdicts.clear()

    def slept(self, duration: int, mono: int) -> None:
        """Record that the host slept."""
        self._fleet.presence.stepped(duration, mono)

    # runs that have yet to start

    def can_be_asked(self, job: Job) -> bool:
        """Return whether a job's runs need no grant from the fleet, or whether the fleet is reachable."""
        return not (self._fleet.down and asks_fleet(job))

    def has_newer(self, job: Job) -> bool:
        """Return whether the fleet has a newer definition of a job."""
        return job.id in self._fleet.outdated

    def is_put_off(self, run: Run) -> bool:
        """Return whether this host must still wait before it requests the skip of a run, because other hosts come
        first.
        """
        asked = self._fleet.asked.get(run.id)
        return asked is not None and asked.asks_at is not None

    def skip_late(self, turn: Turn, job: Job, run: Run) -> bool:
        """Request the skip of a run for all hosts. Return False, and do nothing, if the run's occurrence does not
        belong to the fleet.
        """
        if not is_of_fleet(run.key):
            return False
        verdicts.ask_of_run(turn, job, run, DEADLINE)
        return True

    def skip_all_late(self, turn: Turn, job: Job) -> None:
        """Request, for all hosts, the skip of a fleet job's due runs that missed their start deadline."""
        for run in [turn.state.runs[run] for run in turn.state[job.id].due]:
            if is_of_fleet(run.key) and is_late(turn, job, run):
                verdicts.ask_of_run(turn, job, run, DEADLINE)

    def end_pause(self, turn: Turn, job: str) -> None:
        """End a job's expired pause on all hosts, if it was a pause for all hosts."""
        if shared := turn.state[job].saved.shared_pause:
            turn.do(Pause(job, "", shared))

    # runs that are about to start, and claims

    def refusal(self, job: Job, run: Run) -> Reason | None:
        """Return a reason with a label that a fleet run requires and this host does not have, or None if no label is
        missing.
        """
        is_new = is_of_fleet(run.key) and not hosts_before(run.key)
        lacking = self._fleet.lacks(job) if is_new else ()
        return Reason(Code.LABEL_REMOVED, label=lacking[0]) if lacking else None

    def ask(self, turn: Turn, run: Run, priority: float, waited_for: list[str]) -> bool:
        """Request a run's occurrence and claims from the fleet; return False if none of them belongs to the fleet.

        If the fleet is unreachable, put the run back and return True.
        """
        state, fleet = turn.state, self._fleet
        job = state.catalog[run.id.job]
        claims, _, bound, *_ = state.terms(job)
        if is_begun_elsewhere(run):  # nothing starts before the fleet chose the host that records the loss
            claims = ()
        wanted = of_fleet(claims)
        if not (wanted or is_of_fleet(run.key)):
            return False
        if fleet.down:  # the job has left the fleet, but this run still belongs to it
            back = state.put_back(run, turn.now)
            state.change(back, waits=noted(back, turn.now.wall, Obstacle(Bar.FLEET).word))
            return True
        state.leave_queue(run.id)
        to_return.forget(state, run)
        state.admission.hold(run.id, claims, None if bound is None else turn.now.mono + bound)
        number, spec = fleet.ask(run, wanted, priority, waited_for), fleet.definition(job.id)
        turn.do(Ask(run.id, run.key, state.admission.locks.parts(wanted), number, looks_back(job), spec))
        return True

    def note_wait(self, holder: Holder, claims: Claims) -> None:
        """Record the fleet locks that a run or client waits for."""
        self._fleet.note_wait(holder, claims)

    def leave_queue(self, holder: Holder, runs: Mapping[RunId, Run]) -> bool:
        """Record that a run or client no longer waits, and withdraw its question to the fleet.

        Return whether a question was open.
        """
        self._fleet.note_wait(holder)
        if not isinstance(holder, RunId) or holder not in self._fleet.asked:
            return False
        self._fleet.withdraw(runs[holder])
        return True

    def give_back(self, state: SchedulerState, run: Run, record: Record | None = None) -> None:
        """Give back the occurrence and claims that the fleet may have granted to a run; with a record, the run has
        ended.
        """
        if record is not None and to_return.belongs_to_others(run, record):
            to_return.remember(state, run)
            self._fleet.give_back_unused(run)
        else:
            self._fleet.give_back(run, record)
