"""People's own commands that take part in the locks (jobqueuectl with-lock): they wait, hold and give back as runs do.

A guest is a process, and holds its claims as long as it lives; the shell tells when that is over, and finds the guests
again after a restart.
"""

from __future__ import annotations

from collections.abc import Iterator

from jobqueued.commands import Command, MarkLockHolder, Reply, Say
from jobqueued.core.scheduler_state import LockClient, SchedulerState
from jobqueued.events import LockAsked, LockFound, LockOver
from jobqueued.model import HOUR, Now, RunId
from jobqueued.queue.locks import Claims
from jobqueued.queue.placement import environment
from jobqueued.queue.waiting import Terms


def asked(book: SchedulerState, event: LockAsked, now: Now) -> Iterator[Command]:
    """A guest joins the queue; one that will not wait leaves it unless it is granted its claims in the next turn."""
    locks = book.admission.locks
    if (claim := locks.impossible(event.claims)) is not None:
        there = f"there {'is 1' if locks.capacity(claim.resource) == 1 else f'are {locks.capacity(claim.resource)}'}"
        yield Reply(event.ticket, {"reason": f"of {claim.resource} {there}"}, "Refused")
        return
    book.guests[event.guest] = LockClient(event.claims, event.asked_by, event.ticket)
    terms = Terms(event.claims, book.limits.escalation, None, HOUR)
    book.admission.waiting.add(event.guest, terms, 0, now.mono, now.wall, book.arrival())
    if event.at_once:
        book.hasty.append(event.guest)
    book.blocked = False


def refused(book: SchedulerState, now: Now) -> Iterator[Command]:
    """After a turn: who would not wait leaves the queue, and what was kept for it goes to others."""
    while book.hasty:
        guest = book.hasty.pop()
        if guest in book.admission.waiting:
            known = book.guests.pop(guest)
            yield Reply(known.ticket, {"reason": _keeps_waiting(book, known.claims, now)}, "Refused")
            _leave(book, guest)


def _leave(book: SchedulerState, guest: RunId) -> None:
    book.admission.waiting.remove(guest)
    book.admission.refusals.pop(guest, None)
    book.blocked = False


def _keeps_waiting(book: SchedulerState, claims: Claims, now: Now) -> str:
    if book.hold is not None:
        return f"nothing new starts on this host: held by {book.hold.asked_by}"
    if (pressed := book.pressed(now.mono)) and book.limits.calm > 0:
        return f"work waits for {', '.join(pressed)} on this host"
    if (claim := book.admission.locks.missing(claims)) is not None:
        holders = ", ".join(map(book.called, book.admission.locks.holders(claim.resource)))
        return f"lock {claim.resource} is held by {holders}"
    first = next((one.run for one in book.admission.reservations if one.touches(claims)), None)
    return "others go first" if first is None else f"it is kept for {book.called(first)}, which goes first"


def granted(book: SchedulerState, guest: RunId, now: Now) -> Iterator[Command]:
    """It has its claims: that is marked before it is told."""
    known = book.guests[guest]
    _leave(book, guest)
    placed = book.placement.choose("spread", known.claims, now.mono)
    book.admission.hold(guest, known.claims, None)
    book.placement.take(placed, known.claims, now.mono)
    book.guests[guest] = known._replace(ticket=0, placed=placed)
    yield MarkLockHolder(guest, known.claims, placed, known.asked_by)
    yield Say("lock_granted", {"guest": str(guest), "locks": _names(known.claims), "asked_by": known.asked_by})
    yield Reply(known.ticket, {"holder": str(guest), "environment": environment(placed)})


def found(book: SchedulerState, event: LockFound, now: Now) -> Iterator[Command]:
    """One that was granted its claims by an earlier scheduler lives on: before anything is admitted it has them
    again."""
    book.guests[event.guest] = LockClient(event.claims, event.asked_by, 0, event.placed)
    book.admission.hold(event.guest, event.claims, None, found=True)
    book.placement.take(event.placed, event.claims, now.mono)
    return iter(())


def over(book: SchedulerState, event: LockOver, now: Now) -> Iterator[Command]:
    """Its process has ended, whether it had its claims yet or not."""
    known = book.guests.pop(event.guest, None)
    if known is None:
        return
    _leave(book, event.guest)
    if event.guest in book.admission.locks:
        book.admission.release(event.guest)
        book.placement.give_back(known.placed, known.claims, now.mono)
        yield Say(
            "lock_released", {"guest": str(event.guest), "locks": _names(known.claims), "asked_by": known.asked_by}
        )


def _names(claims: Claims) -> list[str]:
    return [claim.resource for claim in claims]
