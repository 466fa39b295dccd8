"""The fleet that a host is in: several hosts with the same jobs, which share what they run by way of an etcd."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jobqueued.child.tuples import NamedTuple

FLEET = ":fleet/"
"""The begin of the name of what is held in the whole fleet."""
MOST_AT_ONCE = 32
"""Units of its locks that a run can have: they are claimed in one transaction, of which etcd takes no larger ones than
128 operations.
"""


class Grant(NamedTuple):
    """The right to start that a fleet has given to a run.

    `fence`: of a later holder of one of its locks it is greater; 0: no fleet was asked.  `until`: the instant
    (CLOCK_BOOTTIME, ns) from which its locks may be another's, if nothing is heard of this host; 0: they stay its own.
    """

    fence: int = 0
    until: int = 0


NO_GRANT = Grant()


class Part(NamedTuple):
    """So many `units` of a lock of the fleet, `of` those that there are; `lock` begins with `FLEET`."""

    lock: str
    units: int
    of: int


class FleetUp(NamedTuple):
    """The fleet can be asked from now on, after all its claims were received; or it can't, for this `reason`.

    `known`: the last instant (wall) at which this host was in the fleet, as saved before its agent connected.
    """

    reason: str
    known: int = 0


class FleetMark(NamedTuple):
    """The mark of the fleet that a host was told last, and remembers (child/fleet/mark.py); "": none.  As an event: it
    is to remember that.  `at`: the last instant (wall) of which is saved that the host was in the fleet; 0: none.
    `fleet`: its name.
    """

    age: str = ""
    number: int = 0
    at: int = 0
    fleet: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """The key `fleet` of jobqueued.yaml: the members of its `etcd` as URLs with a port, and how they are spoken with.

    `name` and `timezone` decide when its jobs are due, and are the same on all of its hosts.  A lock stays a host's for
    `lock_grace` (ns) after that was heard of last.  `resources`: the units of locks that have several.
    `labels`: what this host has, and jobs may want.

    `authority`, `certificate` and `key` are PEM files, by an absolute path, or by the name of a credential of the
    agent's unit; "": none.
    """

    etcd: tuple[str, ...]
    name: str = "fleet"
    timezone: str = "UTC"
    lock_grace: int = 60_000_000_000
    resources: Mapping[str, int] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    authority: str = ""
    certificate: str = ""
    key: str = ""


class FleetTrouble(NamedTuple):
    """The event that hosts differ where all have to agree, or another fleet has the same jobs; or that this is over."""

    text: str
    is_over: bool = False


class MaySkip(NamedTuple):
    """The event that the occurrences of a job from one UTC second to another are this host's, to be skipped."""

    job: str
    first: int
    last: int


class PauseMade(NamedTuple):
    """The event that this host has made a pause of all hosts, or ended one (""), as a person asked it to."""

    job: str
    text: str


class SaidOverdue(NamedTuple):
    """The event that a host of the fleet has said that a job is overdue (core/fleet_overdue.py has the text); "": none
    has, or it is so no more.
    """

    job: str
    text: str


class Returned(NamedTuple):
    """The event that a host (`store`) has given back an occurrence that it had, before it ran: whoever asks first has
    it; "": it is not to be had any more.
    """

    job: str
    key: str
    store: str
