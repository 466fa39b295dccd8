"""A fleet's agreement about each job: if its hosts have different definitions, the fleet uses the newest.

Each definition has a hash, its spec. A host publishes its spec if this spec differs from the one that all hosts last
agreed on. A host that still has the last agreed spec leaves the job to hosts with a newer spec.

A publication replaces the definition with the revision that the host knows. Another host may have changed the
definition since, and may have changed it back. Then the publication has no effect, even if it arrives late, and the
host decides again.

A host publishes its next definition only when the outcome of its last publication is known. The outcome is known when
the fleet reports a definition with another revision, or its whole content after a reconnect. Until the outcome is
known, the published definition counts as the fleet's. A file that changes before the outcome is known counts as newer.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from typing import Any

from jobqueued.base.sha256 import sha256
from jobqueued.core.hosts import memory
from jobqueued.core.runs import verdicts
from jobqueued.core.state.turn import Turn
from jobqueued.model.commands import Publish
from jobqueued.model.events import Published
from jobqueued.model.job import Job, Scope

_OF_THE_HOST = frozenset({"file", "line", "origin", "drop_ins", "triggers", "offset", "owner", "enabled"})
"""Fields that the spec leaves out, because they repeat other fields or differ between hosts."""


def spec_of(job: Job) -> str:
    """Return the spec of a job: 16 hex digits, a hash of all fields that differ from their defaults."""
    said = {name: value for name, value in _plain(job).items() if name not in _OF_THE_HOST}
    return sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _usual(field: Field[Any]) -> Any:
    """Return the default of a field, or MISSING if it has none."""
    return field.default if field.default_factory is MISSING else field.default_factory()


def _plain(value: Any) -> Any:
    """Return a value as JSON without fields at their defaults, so that a new field in a later version does not change
    specs.
    """
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value):
        found = [(each.name, getattr(value, each.name), _usual(each)) for each in fields(value)]
        return {name: _plain(own) for name, own, usual in found if usual is MISSING or own != usual}
    if isinstance(value, tuple) and (names := getattr(value, "_fields", None)):
        usual = value._field_defaults  # type: ignore[attr-defined]
        return {name: _plain(own) for name, own in zip(names, value, strict=True) if own != usual.get(name, MISSING)}
    if isinstance(value, tuple | list):
        return list(map(_plain, value))
    return value


def defined(turn: Turn, job: Job) -> None:
    """Handle a new definition of a job on this host: compare its spec with the fleet's."""
    fleet = turn.state.fleet
    fleet.verdicts.pop(job.id, None)
    if job.scope is not Scope.FLEET:
        fleet.specs.pop(job.id, None)
        fleet.outdated.discard(job.id)
        return
    fleet.specs[job.id] = spec_of(job)
    if not fleet.down:
        agree(turn, job)


def published(turn: Turn, event: Published) -> None:
    """Record the fleet's current definition of a job, and compare this host's definition with it."""
    fleet = turn.state.fleet
    fleet.published[event.job] = event
    job = turn.state.catalog.get(event.job)
    if job is not None and job.id in fleet.specs and not fleet.down:
        agree(turn, job)
        verdicts.ask_anew(turn, job)


def _settle(turn: Turn, job: Job, there: str) -> None:
    """Handle the outcome of the definition that this host published last.

    If the fleet uses the published definition, it becomes the last agreed one. After that, any other definition on this
    host is newer, even if the files were changed back.
    """
    turn.state.fleet.offers.pop(job.id, None)
    saved = turn.state[job.id].saved
    if saved.offered:
        turn.state.remember(job.id, agreed=there if there == saved.offered else saved.agreed, offered="")


def agree_on_all(turn: Turn) -> None:
    """Compare the specs of all jobs with the fleet's, because the fleet has just become reachable."""
    for name in turn.state.fleet.specs:
        agree(turn, turn.state.catalog[name])


def agree(turn: Turn, job: Job) -> None:
    """Compare this host's spec of a job with the fleet's: publish it if it is newer, and record whether it is
    outdated.
    """
    state, fleet = turn.state, turn.state.fleet
    own = fleet.specs[job.id]
    _, text, revision = fleet.published.get(job.id, Published(job.id))
    there = memory.parse_definition(text).spec
    if is_settled := fleet.offers.get(job.id) != revision:
        _settle(turn, job, there)
        fleet.definitions[job.id] = text
    agreed = state[job.id].saved.agreed
    is_newer = own != agreed and bool(agreed)
    if there == own and agreed != own:
        state.remember(job.id, agreed=own)
    if is_settled and there != own and (is_newer or not there):
        fleet.offers[job.id] = revision
        fleet.definitions[job.id] = memory.next_definition(text, own, job, turn.now.wall).text
        state.remember(job.id, offered=own)
        turn.do(Publish(job.id, fleet.definitions[job.id], revision))
    is_outdated = there != own and bool(there) and not is_newer
    if is_outdated and not agreed and is_settled:  # so that a later change of the job counts as newer
        state.remember(job.id, agreed=own)
    if is_outdated == (job.id in fleet.outdated):
        return
    if is_outdated:
        fleet.outdated.add(job.id)
        turn.say("job_outdated", job=job.id, fleet=fleet.name)
    else:
        fleet.outdated.discard(job.id)
        turn.say("job_agreed", job=job.id, fleet=fleet.name)
    for run in sorted(state[job.id].waiting, reverse=True):
        state.put_back(state.runs[run], turn.now)
    state.set_clock(job)
    state.mark_for_check(job.id)
