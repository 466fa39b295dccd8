"""The fleet of a host: several hosts with the same jobs, which share what they run through an etcd."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jobqueued.child.contract.tuples import NamedTuple

FLEET = ":fleet/"
"""Prefix of the names of fleet-wide locks."""
MOST_AT_ONCE = 32
"""Maximum units of the fleet's locks for one run: one transaction claims them, and etcd allows 128 operations."""


class Grant(NamedTuple):
    """The fleet's permission for a run to start.

    `fence`: a later holder of one of its locks gets a greater number; 0: no fleet was asked. `until`: the instant
    (CLOCK_BOOTTIME, ns) from which another host may get its locks if this host is not heard from; 0: the locks stay.
    """

    fence: int = 0
    until: int = 0


NO_GRANT = Grant()


class Part(NamedTuple):
    """The wanted `units` of a lock of the fleet, `of` the existing units; `lock` begins with `FLEET`."""

    lock: str
    units: int
    of: int


class FleetUp(NamedTuple):
    """The fleet is reachable from now on, after all its claims were received; or it is not, for this `reason`.

    `known`: the last instant (wall) at which this host was in the fleet, as saved before its agent connected.
    """

    reason: str
    known: int = 0


class FleetMark(NamedTuple):
    """The last mark of the fleet that a host received (child/fleet/mark.py); `age` "": none. As an event: save it.

    `at`: the last saved instant (wall) at which the host was in the fleet; 0: none. `fleet`: its name.
    """

    age: str = ""
    number: int = 0
    at: int = 0
    fleet: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """The key `fleet` of jobqueued.yaml: the members of its `etcd` as URLs with a port, and how to connect to them.

    `name` and `timezone` decide when its jobs are due, so all its hosts need the same. A host keeps its locks for
    `lock_grace` (ns) after its last sign of life. `resources`: the units of locks that have several. `labels`: what
    this host has, and jobs may require.

    `authority`, `certificate` and `key` are PEM files, given by an absolute path or by the name of a credential of the
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
    """Event: hosts differ where all must agree, or another fleet has the same jobs; or this problem is over."""

    text: str
    is_over: bool = False


class MaySkip(NamedTuple):
    """Event: this host may skip the occurrences of a job from one UTC second to another for the fleet."""

    job: str
    first: int
    last: int


class PauseMade(NamedTuple):
    """Event: this host made a pause of all hosts, or ended one (""), as a user asked."""

    job: str
    text: str


class SaidOverdue(NamedTuple):
    """Event: a host of the fleet reported a job overdue; "": no host did, or the job no longer is.

    core/late/fleet_overdue.py has the format of `text`.
    """

    job: str
    text: str


class Returned(NamedTuple):
    """Event: a host (`store`) returned an occurrence before it ran: the first host that asks gets it.

    `store` "": the occurrence is no longer available.
    """

    job: str
    key: str
    store: str
