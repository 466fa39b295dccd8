"""The fleet: several hosts with the same jobs.  One host runs each occurrence, and one host holds each lock.

For an admitted run, the host requests the run's occurrence and all its fleet claims together, and starts the run when
the fleet grants them. While the fleet is unreachable, its jobs are suspended. Due times that pass in this period are
handled like due times in any gap.
"""

from __future__ import annotations

from jobqueued.base.instants import DAY, SECOND
from jobqueued.base.replace import changed
from jobqueued.child.contract.reasons import Code, Reason
from jobqueued.child.fleet.lines import RETURNED
from jobqueued.core.attempts import attempts, host_loss
from jobqueued.core.due.clock import skip_dues
from jobqueued.core.due.occurrences import HELD_FROM_OTHERS, leave_to_others, refusal, run_of
from jobqueued.core.due.redefinition import dues
from jobqueued.core.hosts.claimed_by_others import SkippedSpan, span_of
from jobqueued.core.hosts.fleet_state import (
    FleetQuestion,
    hosts_before,
    is_begun_elsewhere,
    is_of_fleet,
    second_of,
    unstarted,
)
from jobqueued.core.hosts.memory import looks_back
from jobqueued.core.jobs import agreement, pauses
from jobqueued.core.late import expectation, fleet_overdue, lateness
from jobqueued.core.runs import verdicts
from jobqueued.core.runs.completion import give_up
from jobqueued.core.runs.eligibility import DEADLINE, watch_over
from jobqueued.core.runs.host_hold import halt
from jobqueued.core.state.scheduler_state import SchedulerState
from jobqueued.core.state.turn import Turn
from jobqueued.core.with_lock import fleet_clients
from jobqueued.model.commands import Accept, Ask, EndedElsewhere, GiveBack, SaveFleetMark
from jobqueued.model.events import Denied, FleetAccepted, Granted, Held, HostSeen, Ours, Taken
from jobqueued.model.fleet import FleetMark, FleetReachability, FleetTrouble, MaySkip, Returned
from jobqueued.model.job import Claim, Job, Occurrence, Scope
from jobqueued.model.run import WITH_LOCK, Holder, LockClientId, Run, RunId
from jobqueued.model.run_states import LIVE, PENDING, RunState
from jobqueued.queue.locks import PLACES, Locks, asks_fleet, of_fleet
from jobqueued.timing import catch_up

_ANEW = 0
"""The common number of all questions about locks that this host already holds."""
_COUNTED_AS_GONE, _FORGOTTEN = Reason(Code.COUNTED_AS_GONE), Reason(Code.FORGOTTEN_BY_FLEET)
_ELSEWHERE = Reason(Code.ON_ANOTHER_HOST)


def reachability_changed(turn: Turn, event: FleetReachability) -> None:
    """If the fleet is reachable, resume its jobs and repeat all open questions; otherwise suspend its jobs.

    Runs that wait for an answer are put back. Live runs continue.
    """
    state, fleet = turn.state, turn.state.fleet
    was_down, fleet.down = fleet.down, event.reason
    if fleet.down and not was_down:
        fleet.presence.end(turn.now)
        _save_mark(turn)
    fleet.unknown()
    fleet.verdicts.clear()
    fleet.losses.clear()
    fleet.leading.clear()
    for run in sorted(fleet.asked, reverse=True):
        state.put_back(state.runs[run], turn.now)
    if not fleet.down:  # first, because each later question contains the fleet's definition
        agreement.agree_on_all(turn)
    fleet_clients.reachability_changed(turn)
    pauses.reachability_changed(turn)
    fleet_overdue.reachability_changed(turn)
    for job in filter(asks_fleet, state.catalog):
        if fleet.down:
            for run in sorted(state[job.id].waiting, reverse=True):
                state.put_back(state.runs[run], turn.now)
        state.set_clock(job)
        state.mark_for_check(job.id)
    for left in sorted({run.id.job for run in state.runs.values() if is_of_fleet(run.key)}):
        state.mark_for_check(left)
    if fleet.down:
        fleet.forget_hosts()
        for holder in [holder for holder in state.admission.locks if isinstance(holder, str)]:
            state.admission.release(holder)
    else:
        _lock_anew(turn)
    if was_down and not fleet.down:
        turn.say("fleet_up", fleet=fleet.name)
        _give_up_forgotten(turn, fleet.presence.until(event.known, turn.now.wall))
        _save_mark(turn)
    elif fleet.down != was_down:
        turn.say("fleet_down", fleet=fleet.name, reason=fleet.down)


def _give_up_forgotten(turn: Turn, was_there: int) -> None:
    """Give up runs of occurrences that another host may have run during this host's absence and that the fleet may have
    forgotten.

    `was_there`: when this host was last in the fleet (wall; 0 if unknown).
    """
    state = turn.state
    for run in [run for run in state.runs.values() if run.state in PENDING and is_of_fleet(run.key)]:
        job = state.catalog.get(run.id.job)
        if job is None or hosts_before(run.key):
            continue
        begun = max(state.fleet.presence.may_have_begun(run.due + job.offset), was_there)
        if begun + state.fleet.remembers(job, run.due) < turn.now.wall:
            give_up(turn, run, _FORGOTTEN)


def _lock_anew(turn: Turn) -> None:
    """Re-request the locks that this host holds, because the fleet may have freed them during a long absence."""
    for run in list(turn.state.runs.values()):
        if run.state in LIVE and (wanted := of_fleet(run.claims)):
            job = turn.state.catalog.get(run.id.job)
            parts = turn.state.admission.locks.parts(wanted)
            turn.do(Ask(run.id, run.key, parts, _ANEW, DAY if job is None else looks_back(job)))
    fleet_clients.lock_anew(turn, _ANEW)


def granted(turn: Turn, event: Granted) -> None:
    """Handle a grant from the fleet: launch the run that this host requested it for."""
    if isinstance(event.run, LockClientId):
        fleet_clients.granted(turn, event.run, event)
        return
    found = _answered(turn, event)
    if found is None:
        return
    run, asked = found
    if is_begun_elsewhere(run):
        host_loss.end_as_lost(turn, run)
        return
    if is_halted := bool(halt(turn.state)):
        turn.state.enqueue(run, turn.now)
    if is_halted or attempts.is_kept_back(turn, run):
        turn.do(GiveBack(run.id.job, run.key, unstarted(run)))
    else:
        for leave in turn.state.fleet.had_turn(asked.claims):
            turn.do(leave)
        attempts.begin(turn, run, asked.priority, asked.waited_for, event.grant)


def marked(turn: Turn, mark: FleetMark) -> None:
    """Save the fleet's new mark before any run starts that the fleet granted after this mark."""
    turn.state.fleet.presence.mark = mark
    _save_mark(turn)


def _save_mark(turn: Turn) -> None:
    presence, is_there = turn.state.fleet.presence, not turn.state.fleet.down
    if presence.mark.age:
        turn.do(SaveFleetMark(presence.saved(turn.now.wall, is_there=is_there)))


def troubled(turn: Turn, trouble: FleetTrouble) -> None:
    """Log a problem with another host or the fleet, or the problem's end."""
    turn.say("recovered" if trouble.is_over else "trouble", text=trouble.text)


def accepted(turn: Turn, event: FleetAccepted) -> None:
    """At a user's request, accept the fleet's state although the fleet has forgotten some occurrences."""
    fleet = turn.state.fleet
    if not fleet.name:
        turn.refuse(
            event.ticket,
            "Refused",
            reason="this host is in no fleet; to join one: `fleet: {etcd: …}` in jobqueued.yaml",
        )
        return
    fleet.presence.mark = FleetMark()
    turn.do(SaveFleetMark(FleetMark()))
    turn.do(Accept())
    turn.say("fleet_accepted", fleet=fleet.name, asked_by=event.asked_by)
    turn.reply(event.ticket, f"the acceptance of {fleet.name} by {event.asked_by}")


def denied(turn: Turn, event: Denied) -> None:
    """Let a run wait because other hosts hold its claims; if the holder is unknown, retry in 1 s."""
    state, now = turn.state, turn.now
    if event.number == _ANEW:
        _lose_lock(turn, event.run)
    if isinstance(event.run, LockClientId):
        fleet_clients.denied(turn, event.run, event)
        return
    if (found := _answered(turn, event)) is None:
        return
    run, _ = found
    if state.admission.locks.missing(state.terms(state.catalog[run.id.job]).claims) is not None:
        state.enqueue(run, now)
    else:
        state.delay(changed(run, not_before=now.wall + SECOND, reason=Reason(Code.FLEET_TOOK_OTHER)), now)


def _lose_lock(turn: Turn, name: Holder) -> None:
    """Log that a run or a client continues without a lock that another host now holds."""
    locks = turn.state.admission.locks
    for claim in of_fleet(locks.held(name)) if name in locks else ():
        if not claim.exclusive and locks.used(claim.resource) <= locks.capacity(claim.resource):
            continue
        for holder in (each for each in locks.holders(claim.resource) if isinstance(each, str)):
            turn.say("lock_lost", run=turn.state.name_of(name), lock=claim.resource.removeprefix(":"), holder=holder)


def _answered(turn: Turn, event: Granted | Denied) -> tuple[Run, FleetQuestion] | None:
    """Release the claims of the run that an answer is about; return the run and its question, or None if the question
    was withdrawn.
    """
    state = turn.state
    assert isinstance(event.run, RunId)
    asked = state.fleet.asked.get(event.run)
    if asked is None or asked.number != event.number:
        return None
    state.fleet.answered(event.run)
    state.admission.release(event.run)
    state.queue_stuck = False
    return state.runs[event.run], asked


def taken(turn: Turn, event: Taken) -> None:
    """Give up this host's run of an occurrence that another host has."""
    state = turn.state
    if event.job in state.fleet.losses:
        state.fleet.losses[event.job].pop(event.key, None)
    job = state.catalog.get(event.job)
    if job is not None and job.scope is Scope.FLEET:
        _note_elsewhere(turn, job, event)
        if event.state and state.fleet.is_newer_end(event.job, event.key) and not _is_past(state, event):
            turn.do(EndedElsewhere(event.job, event.state))
    if event.state == RunState.SUCCEEDED and expectation.is_of_fleet(state, event.job):
        at, wall = second_of(event.key) * SECOND, turn.now.wall
        if state.fleet.is_newer_success(event.job, event.key):
            known = min(wall, max(at, state.fleet.presence.ended)) if state.fleet.down else wall
            expectation.succeeded_elsewhere(turn, event.job, known)
    span = span_of(event.state, second_of(event.key))
    for run in map(state.runs.__getitem__, state.peek(event.job).unfinished):
        if run.state not in LIVE and (run.key == event.key or _covers(span, run.key)):
            _let_go(turn, run, event)


def _is_past(state: SchedulerState, event: Taken) -> bool:
    """Return whether the end of another host's run is so old that it matters only to an expectation (`askable`)."""
    is_over = second_of(event.key) <= state[event.job].saved.cursor // SECOND
    return bool(state.fleet.down) and is_over and run_of(state, event.job, event.key) is None


def _covers(span: SkippedSpan, key: str) -> bool:
    """Return whether a skip of several occurrences covers the one with this key."""
    return span.first < span.last and is_of_fleet(key) and not hosts_before(key) and span.covers(second_of(key))


def may_skip(turn: Turn, event: MaySkip) -> None:
    """Skip due times for all hosts, because the fleet chose this host to do so. Later due times need another answer."""
    state, fleet = turn.state, turn.state.fleet
    run = run_of(state, event.job, f"f{event.last}")
    if run is not None and (asked := fleet.answered(run.id)) is not None:
        state.admission.release(run.id)
        give_up(turn, run, asked.skip or (DEADLINE if event.first == event.last else Reason(Code.MISSED)))
    job, verdict = state.catalog.get(event.job), fleet.verdicts.pop(event.job, None)
    if job is None or verdict is None:
        return
    fleet.leading.add(job.id)
    saved = state[job.id].saved  # the grant may be of an earlier question, about more due times
    found, _ = dues(job, saved.cursor, (event.last + 1) * SECOND - 1, saved.settled)
    if skipped := [due for due in found if event.first <= due // SECOND]:
        skip_dues(turn, job, skipped, verdict.reason)
        state.remember(job.id, cursor=skipped[-1], previous=0)
    else:  # the fleet already counts these occurrences as this host's
        fleet.elsewhere.note(job.id, SkippedSpan(event.first, event.last), state[job.id].saved.cursor)
    state.set_clock(job)
    pauses.take_over(turn, job)


def _note_elsewhere(turn: Turn, job: Job, event: Taken) -> None:
    """Record another host's occurrence that the job's clock has yet to reach; repeat the question about a skip that
    overlaps the occurrence.
    """
    state, span = turn.state, span_of(event.state, second_of(event.key))
    if job.enabled:
        state.fleet.elsewhere.note(job.id, span, state[job.id].saved.cursor)
    verdict = state.fleet.verdicts.get(job.id)
    if verdict is not None and span.first <= verdict.dues[-1] // SECOND and verdict.dues[0] // SECOND <= span.last:
        state.fleet.leading.discard(job.id)
        verdicts.ask_anew(turn, job)
        pauses.take_over(turn, job)


def returned(turn: Turn, event: Returned) -> None:
    """Handle an occurrence that another host gave back: make it due on this host.

    Do nothing if the clock has yet to reach the occurrence, if it is too old, or if this host already has a run of it.
    """
    state, job = turn.state, turn.state.catalog.get(event.job)
    is_one = bool(event.store) and is_of_fleet(event.key) and not hosts_before(event.key)
    if job is None or job.scope is not Scope.FLEET or not is_one:
        return
    due, wall = second_of(event.key) * SECOND, turn.now.wall
    state.fleet.elsewhere.returned(job.id, due // SECOND)
    begin = wall - job.offset
    memory = state.fleet.memory(job, begin)
    is_old = due <= begin - max(catch_up.window_of(job, memory), catch_up.grace_of(job, memory))
    if due > state[job.id].saved.cursor or is_old or run_of(state, job.id, event.key) is not None:
        return
    refused = refusal(turn, job, HELD_FROM_OTHERS)
    may_wait = refused is None or refused.code is Code.PAUSED
    if job.enabled and not state.fleet.lacks(job) and may_wait:
        run = leave_to_others(state, job, state.number(Occurrence.fleet(job.id, due), wall), wall)
        state.put_due(run)
        state.mark_for_check(job.id)
        watch_over(turn, job, run)


def _let_go(turn: Turn, run: Run, event: Taken) -> None:
    """Give up a run whose occurrence another host has."""
    state = turn.state
    if state.fleet.answered(run.id) is not None:
        state.admission.release(run.id)
        state.queue_stuck = False
        if run.key != event.key:  # a skip covers this occurrence, and the fleet may still grant it
            state.fleet.withdraw(run, "over")
        elif not event.state:  # the event may be older than a grant: the other host may have returned the occurrence
            state.fleet.withdraw(run)
    if run.so_far is not None:
        give_up(turn, run, _COUNTED_AS_GONE if event.state == RunState.LOST else _ELSEWHERE)
        return
    state.forget(run)
    lateness.over(turn, changed(run, reason=_ELSEWHERE))
    state.mark_for_check(event.job)


def held(turn: Turn, event: Held) -> None:
    """Record the current claims of another host's run; a claim on a lock with one unit counts as exclusive."""
    admission = turn.state.admission
    if event.holder in admission.locks:
        admission.release(event.holder)
    if event.claims:
        admission.hold(event.holder, tuple(_as_held(admission.locks, claim) for claim in event.claims), None)
    turn.state.queue_stuck = False


def host_seen(turn: Turn, event: HostSeen) -> None:
    """Record that a host joined or left the fleet."""
    turn.state.fleet.note_host(event)


def askable(state: SchedulerState) -> dict[str, int]:
    """Return job → first UTC second whose occurrence may be requested from the fleet.

    For a job that is expected to succeed, this is the first second after the last success. For any other job, it is the
    second of the oldest occurrence that waits or is yet to come.
    """
    since = dict[str, int]()
    for job in filter(lambda job: job.scope is Scope.FLEET, state.catalog):
        saved = state[job.id].saved
        known = saved.cursor if saved.expected is None else min(saved.cursor, saved.expected.since)
        since[job.id] = known // SECOND + 1
    for name, it in state.jobs.items():
        if name not in state.catalog and it.saved.expected is not None and expectation.is_of_fleet(state, name):
            since[name] = it.saved.expected.since // SECOND + 1
    for run in state.runs.values():
        if run.state not in LIVE and is_of_fleet(run.key):
            second = second_of(run.key)
            since[run.id.job] = min(second, since.get(run.id.job, second))
    return since


def _as_held(locks: Locks, claim: Claim) -> Claim:
    """Return a claim in the form that another host holds: exclusive if the lock has one unit.

    A job's places are an exception, because their number may still be unknown on this host.
    """
    is_alone = locks.capacity(claim.resource) == 1 and not claim.resource.startswith(PLACES)
    return claim._replace(exclusive=True) if is_alone else claim


def ours(turn: Turn, event: Ours) -> None:
    """Give back an occurrence or lock that no run or client of this host uses now; this host can request it again."""
    if event.job == WITH_LOCK:
        fleet_clients.ours(turn, event.key)
        return
    run = run_of(turn.state, event.job, event.key)
    if run is None:
        is_for_others = event.key in turn.state.peek(event.job).saved.to_return or _is_to_come(turn, event)
        turn.do(GiveBack(event.job, event.key, RETURNED if is_for_others else "over"))
    elif run.state not in LIVE and run.id not in turn.state.fleet.asked:
        turn.do(GiveBack(event.job, event.key, unstarted(run)))


def _is_to_come(turn: Turn, event: Ours) -> bool:
    """Return whether a job's clock must reach an occurrence a second time, because its earlier move past the occurrence
    was not saved.
    """
    job = turn.state.catalog.get(event.job)
    if job is None or not is_of_fleet(event.key) or hosts_before(event.key):
        return False
    return second_of(event.key) > turn.state[event.job].saved.cursor // SECOND
