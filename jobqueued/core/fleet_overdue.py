"""Jobs of the fleet that are overdue: the host of which the fleet has heard so first tells people, the others do not.

It is taken at its word a minute later, as it may have died before it could tell, or may not mean it any more.  A host
that gets no answer in that time tells by itself: better twice than never.
"""

from __future__ import annotations

import json

from jobqueued.child.fleet.values import parsed
from jobqueued.child.tuples import NamedTuple
from jobqueued.commands import TellOverdue
from jobqueued.core.turn import Turn
from jobqueued.fleet import SaidOverdue
from jobqueued.model import MINUTE, SECOND, Job, Scope
from jobqueued.saved import Expected

_PATIENCE = MINUTE
"""The time (ns) in which the fleet answers, or can be asked again, and a host that has died is known to be gone."""
_SKEW = 5 * SECOND
"""The time (ns) that the clocks of two hosts may differ by, and more."""


class Told(NamedTuple):
    """A job is overdue as all hosts know it: which of them has told, and when (wall, ns)."""

    host: str
    at: int


def told(text: str) -> Told | None:
    """Read what the fleet has; None: no host has made that."""
    return parsed(Told, text)


def teller(turn: Turn, job: Job, expected: Expected) -> str | None:
    """The host that tells people of a job that is overdue by now; None: it is not known yet, and looked at again."""
    state, fleet = turn.state, turn.state.fleet
    own, wall, since = state.limits.name, turn.now.wall, expected.since + expected.within
    if job.scope is not Scope.FLEET or not fleet.name:
        return own
    known = fleet.overdue.get(job.id, "")
    if (said := told(known)) is not None and _is_of(said, expected, wall):
        since = said.at + _PATIENCE
        is_believed = said.host == own or (since <= wall and said.host in fleet.hosts)
        if is_believed or since > wall:
            fleet.unheard.pop(job.id, None)
        if is_believed:
            return said.host
    if fleet.unheard.get(job.id, wall) + _PATIENCE <= wall:
        del fleet.unheard[job.id]
        return own
    again = since + fleet.turn_of(own, job, "overdue")
    if again <= wall:  # as it is where the fleet is down: there is no turn of others then
        again = fleet.unheard.setdefault(job.id, wall) + _PATIENCE
        if not fleet.down:
            turn.do(TellOverdue(job.id, json.dumps([own, wall]), known))
    state.patience.jobs.set(job.id, again)
    return None


def _is_of(said: Told, expected: Expected, wall: int) -> bool:
    """Tell whether it was said of what a job is overdue with now: not before the success since which it is."""
    return expected.since + min(_SKEW, expected.within // 2) < said.at <= wall + _SKEW


def seen(turn: Turn, event: SaidOverdue) -> None:
    """Note what the fleet was told, and look at the job again; as all is read anew, once that is done."""
    fleet = turn.state.fleet
    fleet.overdue[event.job] = event.text
    if not event.text:
        del fleet.overdue[event.job]
    if not fleet.down:
        fleet.unheard.pop(event.job, None)
        _look_again(turn, event.job)


def up(turn: Turn) -> None:
    """Look at all jobs again, as the fleet can be asked; or know nothing of them, as it can't."""
    fleet = turn.state.fleet
    if fleet.down:
        fleet.overdue.clear()
        return
    for name in sorted(fleet.unheard.keys() | fleet.overdue.keys()):
        _look_again(turn, name)


def _look_again(turn: Turn, name: str) -> None:
    """Look at a job that is overdue and of which nobody was told, in the turn of this host; take back what this host
    has said of one that is not.
    """
    state, fleet, wall = turn.state, turn.state.fleet, turn.now.wall
    expected, job = state.standing(name).saved.expected, state.catalog.get(name)
    if expected is None or (not expected.told and wall < expected.since + expected.within):
        over(turn, name)
    elif not expected.told:
        wait = 0 if job is None or name in fleet.overdue else fleet.turn_of(state.limits.name, job, "overdue")
        state.patience.jobs.set(name, wall + wait)


def over(turn: Turn, name: str) -> None:
    """Let the fleet know that a job is not overdue any more, if it was this host that has told so; once it can."""
    fleet = turn.state.fleet
    known = fleet.overdue.get(name, "")
    if (said := told(known)) is not None and said.host == turn.state.limits.name and not fleet.down:
        turn.do(TellOverdue(name, "", known))
