"""Users' commands that hold locks in the queue (jobqueuectl with-lock): they wait, hold and release like runs.

A client is a process that holds its claims while it lives. The daemon reports the end of the process to the scheduler,
and finds a live process after the daemon restarts.
"""

from __future__ import annotations

from collections.abc import Iterator

from jobqueued.base.instants import HOUR
from jobqueued.base.text import counted
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.core.runs.host_hold import halt
from jobqueued.core.runs.validity import too_much_at_once
from jobqueued.core.state.holders import LockClient
from jobqueued.core.state.scheduler_state import SchedulerState
from jobqueued.core.state.turn import Turn
from jobqueued.model.commands import ForgetLockClient, GiveBack, MarkLockHolder
from jobqueued.model.events import EvictAsked, LockAsked, LockFound, LockOver
from jobqueued.model.fleet import NO_GRANT, Grant
from jobqueued.model.job import CPU, MEMORY, Claim, Job
from jobqueued.model.run import WITH_LOCK, Holder, LockClientId, Run, RunId
from jobqueued.model.run_states import Unstarted
from jobqueued.queue.locks import HOST, SLOT, Claims, of_fleet
from jobqueued.queue.placement import environment
from jobqueued.queue.waiting import Terms


def asked(turn: Turn, event: LockAsked) -> None:
    """Let a client join the queue. With `at_once`, the client is refused unless the next pass grants its claims."""
    state, now = turn.state, turn.now
    if reason := _never(state, event.claims):
        turn.refuse(event.ticket, "Refused", reason=reason)
        turn.do(ForgetLockClient(event.client))
        return
    state.lock_clients[event.client] = LockClient(
        event.claims, event.asked_by, event.ticket, (), now.wall, event.at_once
    )
    enqueue(turn, event.client)
    if event.at_once:
        state.impatient.append(event.client)


def _never(state: SchedulerState, claims: Claims) -> str:
    """Return why these claims can never be granted, or "" if they can."""
    locks = state.admission.locks
    if (claim := locks.impossible(claims)) is not None:
        return f"{claim.resource.removeprefix(':')} has {counted(locks.capacity(claim.resource), 'unit')}"
    if of_fleet(claims) and not state.fleet.name:
        return "this host is in no fleet; to join one: `fleet: {etcd: …}` in jobqueued.yaml"
    return too_much_at_once(locks.parts(of_fleet(claims)))


def enqueue(turn: Turn, name: LockClientId) -> None:
    """Put a client into the queue; the client ages from the time of its request."""
    state, now = turn.state, turn.now
    client = state.lock_clients[name]
    terms = Terms(client.claims, state.limits.escalation, None, HOUR)
    since = now.mono - max(0, now.wall - client.since)
    state.admission.waiting.add(name, terms, 0, since, client.since, state.arrival())
    state.fleet.note_wait(name, client.claims)
    state.queue_stuck = False


def refuse_impatient(turn: Turn) -> None:
    """After a pass, refuse the remaining clients that must not wait."""
    state = turn.state
    while state.impatient:
        name = state.impatient.pop()
        if name in state.admission.waiting:
            client = state.lock_clients.pop(name)
            turn.refuse(client.ticket, "Refused", reason=keeps_waiting(turn, client.claims))
            turn.do(ForgetLockClient(name))
            state.leave_queue(name)


def keeps_waiting(turn: Turn, claims: Claims) -> str:
    """Return why a client can't have these claims now."""
    state = turn.state
    if reason := halt(state):
        return reason
    if (pressed := state.pressed(turn.now.mono)) and state.limits.calm > 0:
        return f"the host is under pressure ({', '.join(pressed)})"
    if (claim := state.admission.locks.missing(claims)) is not None:
        holders = ", ".join(map(state.name_of, state.admission.locks.holders(claim.resource)))
        return f"lock {claim.resource.removeprefix(':')} is held by {holders}"
    first = next((one.holder for one in state.admission.reservations if one.touches(claims)), None)
    return (
        "other runs go first"
        if first is None
        else f"its claims are reserved for {state.name_of(first)}, which goes first"
    )


def begin(turn: Turn, name: LockClientId, grant: Grant = NO_GRANT) -> None:
    """Grant a client its claims, and save the mark of the grant before the reply."""
    state, mono = turn.state, turn.now.mono
    client = state.lock_clients[name]
    placed = state.placement.choose("spread", client.claims, mono)
    state.admission.hold(name, client.claims, None)
    state.placement.take(placed, client.claims, mono)
    state.lock_clients[name] = client._replace(ticket=0, placed=placed, since=turn.now.wall)
    turn.do(MarkLockHolder(name, client.claims, placed, client.asked_by, turn.now.wall))
    turn.say("lock_granted", guest=str(name), locks=_names(client.claims), asked_by=client.asked_by)
    fence = {"JOBQUEUE_FENCE": str(grant.fence)} if grant.fence else {}
    turn.reply(client.ticket, "", holder=str(name), environment={**environment(placed), **fence})


def found(turn: Turn, event: LockFound) -> None:
    """Restore the claims that an earlier scheduler granted to a client, before anything is admitted."""
    state, mono = turn.state, turn.now.mono
    state.lock_clients[event.client] = LockClient(event.claims, event.asked_by, 0, event.placed, event.since)
    state.admission.hold(event.client, event.claims, None)
    state.placement.take(event.placed, event.claims, mono)


def over(turn: Turn, event: LockOver) -> None:
    """Remove a client whose process ended, whether it held its claims or waited."""
    state = turn.state
    client = state.lock_clients.pop(event.client, None)
    state.leave_queue(event.client)
    if client is None:
        return
    if client.question > 0:
        state.fleet.answered_part(of_fleet(client.claims))
        state.admission.release(event.client)
    if of_fleet(client.claims):  # an answer that did not arrive may have granted locks
        turn.do(GiveBack(WITH_LOCK, event.client.key))
    if not client.ticket:
        state.admission.release(event.client)
        state.placement.give_back(client.placed, client.claims, turn.now.mono)
        turn.say("lock_released", guest=str(event.client), locks=_names(client.claims), asked_by=client.asked_by)


def evict_asked(turn: Turn, event: EvictAsked) -> None:
    """At a user's request, remove a client's claims or its place in the queue; the client's process may continue
    without the locks.
    """
    client = turn.state.lock_clients.get(event.client)
    if client is None:
        turn.refuse(event.ticket, "Refused", reason=f"{event.client} neither holds a lock nor waits for one")
        return
    turn.say("lock_evicted", guest=str(event.client), locks=_names(client.claims), asked_by=event.asked_by)
    if client.ticket:
        turn.refuse(client.ticket, "Refused", reason=f"evicted by {event.asked_by}")
    over(turn, LockOver(event.client))
    turn.do(ForgetLockClient(event.client))
    turn.reply(event.ticket, "", locks=_names(client.claims), held=not client.ticket)


class LockClaim(NamedTuple):
    """One lock that a run or client holds (`held`) or waits for; `since` is an instant (wall), or None if unknown.

    `reason`: if no run or client holds an awaited lock, the other program that holds it, or why the lock is not
    granted.
    """

    claim: Claim
    holder: Holder
    held: bool
    since: int | None
    asked_by: str | None
    reason: str | None = None


def claims(state: SchedulerState) -> Iterator[LockClaim]:
    """Yield the held locks, in the order of the grants, then the awaited locks, in order of arrival.

    The last items are lock files that another program holds and that runs wait for.
    """
    admission = state.admission
    for holder in admission.locks:
        yield from _claims(state, holder, admission.locks.held(holder), held=True)
    for holder in admission.waiting:
        yield from _claims(state, holder, admission.waiting.terms(holder).claims, held=False)
    for job in state.catalog:
        for name, delay in state[job.id].delayed.items():
            if delay.cause is Unstarted.PATH_BUSY:
                yield from _busy(job, state.runs[name])


def _claims(state: SchedulerState, holder: Holder, claims: Claims, *, held: bool) -> Iterator[LockClaim]:
    client = state.lock_clients[holder] if isinstance(holder, LockClientId) else None
    run = state.runs[holder] if isinstance(holder, RunId) else None
    since = client.since if client is not None else None if run is None else run.started if held else run.since
    asker: LockClient | Run | None = client or run
    for claim in claims:
        if claim.resource not in (HOST, SLOT, CPU, MEMORY):
            reason = None if held else _withheld(state, holder, claims, claim)
            yield LockClaim(claim, holder, held, since or None, None if asker is None else asker.asked_by, reason)


def _withheld(state: SchedulerState, holder: Holder, claims: Claims, claim: Claim) -> str | None:
    """Return why a claim is not granted although it could be granted alone, or None if it can't be granted alone."""
    queue = state.admission
    if queue.locks.missing((claim,)) is not None:
        return None
    for promise in queue.reservations:
        if promise.holder != holder and promise.touches((claim,)):
            return f"reserved for {state.name_of(promise.holder)}"
    if (lacked := queue.locks.missing(claims)) is not None:
        return f"free; it lacks {lacked.resource.removeprefix(':')}"
    return f"free; {reason}" if (reason := halt(state)) else None


def _busy(job: Job, run: Run) -> Iterator[LockClaim]:
    params = {} if run.reason is None else run.reason.params
    holder = params.get("holder", "another program")
    for claim in job.locks:
        if claim.resource == params.get("path"):
            yield LockClaim(claim, run.id, False, run.queued, run.asked_by, f"held by {holder}")


def _names(claims: Claims) -> list[str]:
    return [claim.resource.removeprefix(":") for claim in claims]
