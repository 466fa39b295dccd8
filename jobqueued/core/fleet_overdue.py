"""Jobs of the fleet that are overdue: the host of which the fleet has heard so first tells people, the others do not.

A host that can't ask the fleet waits for a minute, and tells them itself then.
"""

from __future__ import annotations

import json

from jobqueued.child.tuples import NamedTuple
from jobqueued.commands import TellOverdue
from jobqueued.core.turn import Turn
from jobqueued.fleet import SaidOverdue
from jobqueued.model import MINUTE, SECOND, Scope
from jobqueued.saved import Expected

_PATIENCE = MINUTE
"""The time (ns) in which the fleet answers, or can be asked again."""
_SKEW = 5 * SECOND
"""The time (ns) that the clocks of two hosts may differ by, and more."""


class Told(NamedTuple):
    """A job is overdue as all hosts know it: which of them has told, and when (wall, ns)."""

    host: str
    at: int


def told(text: str) -> Told | None:
    """Read what the fleet has; None: no host has made that."""
    try:
        host, at = json.loads(text)
        return Told(str(host), int(at))
    except (ValueError, TypeError, RecursionError):
        return None


def teller(turn: Turn, name: str, expected: Expected) -> str | None:
    """The host that tells people of a job that is overdue by now; None: it is not known yet, and looked at again."""
    state, job = turn.state, turn.state.catalog.get(name)
    fleet, own, wall = state.fleet, state.limits.name, turn.now.wall
    if job is None or job.scope is not Scope.FLEET or not fleet.name:
        return own
    known = fleet.overdue.get(name, "")
    if fleet.down:
        if name in fleet.unheard:
            return own
        fleet.unheard.add(name)
        again = wall + _PATIENCE
    elif (said := told(known)) is not None and _is_of(said, expected):
        return said.host
    else:
        again = expected.since + expected.within + fleet.turn_of(own, job, "overdue")
        if again <= wall:
            turn.do(TellOverdue(name, json.dumps([own, wall]), known))
            again = wall + _PATIENCE
    state.patience.jobs.set(name, again)
    return None


def _is_of(said: Told, expected: Expected) -> bool:
    """Tell whether it was said of what a job is overdue with now: not before the success since which it is."""
    return said.at > expected.since + min(_SKEW, expected.within // 2)


def over(turn: Turn, name: str) -> None:
    """Let the fleet know that a job is not overdue any more, if it was this host that has told so."""
    fleet = turn.state.fleet
    known = fleet.overdue.get(name, "")
    if (said := told(known)) is not None and said.host == turn.state.limits.name and not fleet.down:
        turn.do(TellOverdue(name, "", known))


def seen(turn: Turn, event: SaidOverdue) -> None:
    """Note what the fleet was told, and look at the job again; as all is read anew, once that is done."""
    fleet = turn.state.fleet
    fleet.overdue[event.job] = event.text
    if not event.text:
        del fleet.overdue[event.job]
    if not fleet.down:
        _look_again(turn, event.job)


def up(turn: Turn) -> None:
    """Look at all jobs again, as the fleet can be asked; or know nothing of them, as it can't."""
    fleet = turn.state.fleet
    if fleet.down:
        fleet.overdue.clear()
        return
    unheard, fleet.unheard = fleet.unheard, set()
    for name in sorted(unheard):
        _look_again(turn, name)


def _look_again(turn: Turn, name: str) -> None:
    """Look at a job at once, if it is overdue and nobody was told of that."""
    expected = turn.state.standing(name).saved.expected
    if expected is not None and not expected.told:
        turn.state.patience.jobs.set(name, expected.since + expected.within)
