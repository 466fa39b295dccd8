"""Fleet jobs that are overdue: only the host that first reports a job to the fleet notifies people.

The other hosts wait a minute, because the reporting host may die before it notifies people, or may withdraw the report.
After this minute, they rely on the report if its host is still in the fleet. A host that gets no answer from the fleet
within a minute notifies people itself, because two notices are better than none.
"""

from __future__ import annotations

import json

from jobqueued.base.instants import MINUTE, SECOND
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.child.fleet.etcd.values import parsed
from jobqueued.core.state.turn import Turn
from jobqueued.model.commands import TellOverdue
from jobqueued.model.fleet import SaidOverdue
from jobqueued.model.job import Job, Scope
from jobqueued.model.saved import Expected

_LONGEST_WAIT = MINUTE
"""Time (ns) to wait for the fleet's answer or for a reconnect, and for a dead host to leave the fleet."""
_SKEW = 5 * SECOND
"""Upper limit of the difference between the clocks of two hosts (ns)."""


class OverdueReport(NamedTuple):
    """A report in the fleet that a job is overdue: the reporting host and the time of the report (wall, ns)."""

    host: str
    at: int


def parse_report(text: str) -> OverdueReport | None:
    """Parse the value of a report in the fleet; return None if the value is malformed."""
    return parsed(OverdueReport, text)


def teller(turn: Turn, job: Job, expected: Expected) -> str | None:
    """Return the host that notifies people of an overdue job. If no host is chosen yet, return None and schedule a
    later check.
    """
    state, fleet = turn.state, turn.state.fleet
    own, wall, since = state.limits.name, turn.now.wall, expected.since + expected.within
    if job.scope is not Scope.FLEET or not fleet.name:
        return own
    known = fleet.overdue.get(job.id, SaidOverdue(job.id))
    if (said := parse_report(known.text)) is not None and _is_of(said, expected, wall):
        since = said.at + _LONGEST_WAIT
        is_believed = said.host == own or (since <= wall and said.host in fleet.hosts)
        if is_believed or since > wall:
            fleet.unheard.pop(job.id, None)
        if is_believed:
            return said.host
    if fleet.unheard.get(job.id, wall) + _LONGEST_WAIT <= wall:
        del fleet.unheard[job.id]
        return own
    again = since + fleet.turn_of(own, job, "overdue")
    if again <= wall:  # always true while the fleet is down: no host has a turn
        again = fleet.unheard.setdefault(job.id, wall) + _LONGEST_WAIT
        if not fleet.down:
            turn.do(TellOverdue(job.id, json.dumps([own, wall]), known.revision))
    state.lateness.jobs.set(job.id, again)
    return None


def _is_of(said: OverdueReport, expected: Expected, wall: int) -> bool:
    """Return whether a report is about the current overdue period, because it is newer than the last success."""
    return expected.since + min(_SKEW, expected.within // 2) < said.at <= wall + _SKEW


def seen(turn: Turn, event: SaidOverdue) -> None:
    """Record a report from the fleet and recheck its job; while the fleet is down, `reachability_changed` rechecks
    the job later.
    """
    fleet = turn.state.fleet
    fleet.overdue[event.job] = event
    if not event.text:
        del fleet.overdue[event.job]
    if not fleet.down:
        fleet.unheard.pop(event.job, None)
        _look_again(turn, event.job)


def reachability_changed(turn: Turn) -> None:
    """Recheck all overdue jobs if the fleet is reachable; otherwise forget all reports."""
    fleet = turn.state.fleet
    if fleet.down:
        fleet.overdue.clear()
        return
    for name in sorted(fleet.unheard.keys() | fleet.overdue.keys()):
        _look_again(turn, name)


def _look_again(turn: Turn, name: str) -> None:
    """Schedule another check of an overdue job: now, or at this host's turn if no host has reported the job.

    If the job is not overdue, withdraw this host's report.
    """
    state, fleet, wall = turn.state, turn.state.fleet, turn.now.wall
    expected, job = state.peek(name).saved.expected, state.catalog.get(name)
    if expected is None or (not expected.told and wall < expected.since + expected.within):
        over(turn, name)
    elif not expected.told:
        wait = 0 if job is None or name in fleet.overdue else fleet.turn_of(state.limits.name, job, "overdue")
        state.lateness.jobs.set(name, wall + wait)


def over(turn: Turn, name: str) -> None:
    """Withdraw this host's report of a job that is no longer overdue, if the fleet is reachable."""
    fleet = turn.state.fleet
    known = fleet.overdue.get(name, SaidOverdue(name))
    if (said := parse_report(known.text)) is not None and said.host == turn.state.limits.name and not fleet.down:
        turn.do(TellOverdue(name, "", known.revision))
