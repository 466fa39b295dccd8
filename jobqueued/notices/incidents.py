"""Incidents: people are notified of a problem, its changes and its end, and reminded while it lasts.

An incident has one subject, such as ``run backup``, and lasts from the first failure to the next success. A failure of
another kind is a change of the same incident. `happenings` has the subjects and kinds.
"""

from __future__ import annotations

from collections.abc import Mapping

from jobqueued.model.notify import Target
from jobqueued.model.saved import Incident
from jobqueued.notices.happenings import Happening


def with_happening(
    known: Incident | None, happening: Happening, wishes: Mapping[Target, int | None], wall: int
) -> tuple[Incident, dict[Target, str]]:
    """Update the incident with a new happening; return it, and the targets to notify now, each with its event.

    `wishes`: target to notify of this event → pause (ns) between two reminders, or None for no reminders.
    """
    run = happening.run or ""
    if known is None:
        told = dict.fromkeys(wishes, happening.event)
        begun = Incident(happening.subject, happening.kind, wall, 1, run, _marks({}, told, wall))
        return begun, told
    before = {} if known.kind != happening.kind else dict(known.told)
    told = {
        target: "reminder" if str(target) in before else happening.event
        for target, remind in wishes.items()
        if _is_due(before.get(str(target)), remind, wall)
    }
    marks = _marks(dict(known.told), told, wall)
    is_elsewhere = known.elsewhere and not told
    return known._replace(kind=happening.kind, times=known.times + 1, told=marks, elsewhere=is_elsewhere), told


def with_happening_elsewhere(
    known: Incident | None, happening: Happening, wishes: Mapping[Target, int | None], wall: int
) -> Incident:
    """Return the incident after a happening on another host of the fleet; that host notifies people itself."""
    if known is not None and known.kind == happening.kind:
        return known._replace(times=known.times + 1)
    marks = _marks(dict(known.told) if known else {}, dict.fromkeys(wishes, happening.event), wall)
    since, times = (known.since, known.times + 1) if known else (wall, 1)
    return Incident(happening.subject, happening.kind, since, times, known.first_run if known else "", marks, True)


def _is_due(told: int | None, remind: int | None, wall: int) -> bool:
    """Return whether a target is due for a notice.

    A last notice with a future time, from when the clock was ahead, causes no delay.
    """
    return told is None or (remind is not None and not told <= wall < told + remind)


def _marks(before: Mapping[str, int], told: Mapping[Target, str], wall: int) -> tuple[tuple[str, int], ...]:
    return tuple({**before, **{str(target): wall for target in told}}.items())


def notified_targets(incident: Incident) -> list[Target]:
    """Return the targets that were notified of an incident and therefore must be notified of its end."""
    return [Target.parse(text) for text, _ in incident.told]
