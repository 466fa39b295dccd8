"""Job pauses: a pause holds back waiting runs until the job is resumed; live runs continue.

A pause of a fleet job is valid on all hosts: the fleet stores it, and each host applies it. While the fleet is
unreachable, no pause on all hosts is accepted or ends; no fleet job starts during this time.
"""

from __future__ import annotations

import json
from itertools import islice

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.child.fleet.etcd.values import parsed
from jobqueued.core.due import clock
from jobqueued.core.hosts.fleet_state import Pausing
from jobqueued.core.runs.eligibility import resume
from jobqueued.core.runs.host_hold import UNTIL
from jobqueued.core.state.turn import Turn
from jobqueued.model.catalog import written_in
from jobqueued.model.commands import Pause, SavePast
from jobqueued.model.events import FleetPaused, PauseAsked
from jobqueued.model.fleet import PauseMade
from jobqueued.model.job import Job, Scope
from jobqueued.model.saved import Past


class FleetPause(NamedTuple):
    """A pause in the fleet: the user, the user's host, and the end (wall, ns); None means until a user resumes the
    job.
    """

    asked_by: str
    host: str
    until: int | None


def asked(turn: Turn, event: PauseAsked) -> None:
    """Pause or resume a job at a user's request."""
    job = turn.state.catalog.get(event.job)
    if job is None:
        turn.refuse(event.ticket, "NoSuchJob", job=event.job)
        return
    if _is_of_fleet(turn, job):
        _ask_fleet(turn, job, event)
        return
    if event.pause or turn.state[event.job].saved.paused:
        clock.catch_clock(turn, job)
    saved = turn.state[event.job].saved
    if event.pause and (not saved.paused or saved.paused_until != event.until):
        _pause(turn, job, event.asked_by, event.until)
    elif saved.paused and not event.pause:
        resume(turn, job.id, event.asked_by)
    _answer(turn, event, was_paused=saved.paused)


def parse_pause(text: str) -> FleetPause:
    """Parse the value of a pause in the fleet; a malformed value counts as a pause without an end."""
    return parsed(FleetPause, text) or FleetPause("somebody", "another host", None)


def _is_of_fleet(turn: Turn, job: Job) -> bool:
    """Return whether a user's pause or resumption of a job is for all hosts.

    Ending a pause that is valid only on this host does not affect other hosts.
    """
    saved = turn.state[job.id].saved
    is_own = saved.paused and not saved.shared_pause
    return job.scope is Scope.FLEET and bool(turn.state.fleet.name) and not is_own


def _ask_fleet(turn: Turn, job: Job, event: PauseAsked) -> None:
    fleet = turn.state.fleet
    if fleet.down:
        reason = f"its fleet is unreachable, so this host starts none of its runs: {fleet.down}"
        turn.refuse(event.ticket, "Refused", reason=reason)
        return
    text = json.dumps([event.asked_by, turn.state.limits.name, event.until]) if event.pause else ""
    is_heard = fleet.paused.get(job.id, "") == text  # a pause that the fleet has not reported yet can be ended too
    fleet.pausing.append(Pausing(event, text, turn.state[job.id].saved.paused, is_heard=is_heard))
    turn.do(Pause(job.id, text))


def paused(turn: Turn, event: FleetPaused) -> None:
    """Apply a pause that the fleet set for a job, or the end of the pause."""
    fleet = turn.state.fleet
    if event.text:
        fleet.paused[event.job] = event.text
    else:
        fleet.paused.pop(event.job, None)
    heard = [number for number, each in enumerate(fleet.pausing) if (each.ask.job, each.text) == event]
    asked_by = next((fleet.pausing[number].ask.asked_by for number in heard if not fleet.pausing[number].is_heard), "")
    for number in heard:
        fleet.pausing[number] = fleet.pausing[number]._replace(is_heard=True)
    job = turn.state.catalog.get(event.job)
    if job is not None and not fleet.down:
        take_over(turn, job, asked_by)
    _answer_over(turn)


def made(turn: Turn, event: PauseMade) -> None:
    """Record that the fleet carried out the first of this host's open requests for this pause or resumption."""
    pausing = turn.state.fleet.pausing
    alike = (number for number, each in enumerate(pausing) if (each.ask.job, each.text) == event and not each.is_made)
    for number in islice(alike, 1):
        pausing[number] = pausing[number]._replace(is_made=True)
    _answer_over(turn)


def _answer_over(turn: Turn) -> None:
    """Reply to the users whose requests the fleet carried out and reported back."""
    fleet = turn.state.fleet
    over = [each for each in fleet.pausing if each.is_made and each.is_heard]
    fleet.pausing = [each for each in fleet.pausing if not (each.is_made and each.is_heard)]
    for each in over:
        _answer(turn, each.ask, was_paused=each.was_paused)


def take_over(turn: Turn, job: Job, asked_by: str = "") -> None:
    """Pause or resume a job on this host as in its fleet. `asked_by`: the user who just requested the change, or "".

    The function first handles the due times before now (`clock.comes_due`). If these due times must wait for the fleet,
    nothing changes, and the caller must repeat the call later.
    """
    state = turn.state
    if job.scope is not Scope.FLEET:
        return
    text, saved = state.fleet.paused.get(job.id, ""), state[job.id].saved
    until = parse_pause(text).until if text else None
    if until is not None and until <= turn.now.wall:
        turn.do(Pause(job.id, "", text))
        text = ""
    if text == saved.shared_pause or (saved.paused and not saved.shared_pause):
        return
    if not clock.comes_due(turn, job):
        return
    if not text:
        resume(turn, job.id, asked_by or "its fleet")
        return
    by = parse_pause(text)
    _pause(turn, job, by.asked_by if by.host == state.limits.name else f"{by.asked_by} on {by.host}", by.until)
    state.remember(job.id, shared_pause=text)


def look(turn: Turn, name: str) -> None:
    """Resume a job whose pause is over; for a pause on all hosts, wait until the fleet is reachable."""
    job, saved = turn.state.catalog.get(name), turn.state.peek(name).saved
    if saved.paused_until is None or saved.paused_until > turn.now.wall:
        return
    if job is not None and saved.shared_pause and job.scope is Scope.FLEET:
        if not turn.state.fleet.down:
            take_over(turn, job)
        return
    if job is not None and turn.state.fleet.rests(job):
        clock.catch_clock(turn, job)  # its clock waits: skip the due times during its pause
    resume(turn, name, UNTIL)


def reachability_changed(turn: Turn) -> None:
    """If the fleet is reachable, apply all its pauses, and repeat the requests that it has not carried out.

    Otherwise refuse all open requests.
    """
    state, fleet = turn.state, turn.state.fleet
    if not fleet.down:
        for job in state.catalog:
            take_over(turn, job)
        fleet.pausing = [each._replace(is_heard=each.is_made) for each in fleet.pausing]
        for each in fleet.pausing:
            if not each.is_made:
                turn.do(Pause(each.ask.job, each.text))
        _answer_over(turn)
        return
    fleet.paused.clear()
    asks, fleet.pausing = [each.ask for each in fleet.pausing], []
    for ask in asks:
        reason = f"its fleet became unreachable; it is unknown whether the fleet got the request: {fleet.down}"
        turn.refuse(ask.ticket, "Refused", reason=reason)


def _pause(turn: Turn, job: Job, asked_by: str, until: int | None) -> None:
    """Hold back the waiting and future runs of a job until an instant (wall, ns); None means until a user resumes the
    job.
    """
    state = turn.state
    state.remember(job.id, paused=True, paused_until=until)
    state.mark_for_check(job.id)
    for run in sorted(state[job.id].waiting, reverse=True):
        state.put_back(state.runs[run], turn.now)
    if until is not None:
        state.timers.at(until, job.id)
    turn.do(SavePast(Past(turn.now.wall, job.id, "paused", by=asked_by, until=until)))
    turn.say("job_paused", job=job.id, asked_by=asked_by, until=until)


def _answer(turn: Turn, event: PauseAsked, *, was_paused: bool) -> None:
    """Reply to a request to pause or resume a job.

    The reply to a resumption also contains whether the job is disabled or invalid.
    """
    job = turn.state.catalog.get(event.job)
    if job is None:
        turn.refuse(event.ticket, "NoSuchJob", job=event.job)
        return
    invalid = turn.state.invalid(job) or None
    condition = {"was_paused": was_paused, "enabled": job.enabled, "invalid": invalid, "file": written_in(job)}
    what = f"the {'pause' if event.pause else 'resumption'} of {job.id} by {event.asked_by}"
    turn.reply(event.ticket, what, **({} if event.pause else condition))
