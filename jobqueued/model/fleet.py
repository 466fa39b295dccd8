"""The fleet: several hosts that share jobs and locks through etcd."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jobqueued.child.contract.tuples import NamedTuple

FLEET = ":fleet/"
"""Prefix of the names of fleet-wide locks."""
MOST_AT_ONCE = 32
"""Maximum number of units of fleet locks for one run. One transaction claims all of them, and etcd allows 128
operations in a transaction.
"""


class Grant(NamedTuple):
    """The fleet's permission for a run to start.

    `fence`: a number that grows with each holder of a lock, or 0 if no fleet was asked. `until`: the instant
    (CLOCK_BOOTTIME, ns) when another host may get the locks if this host remains silent, or 0 if the locks don't
    expire.
    """

    fence: int = 0
    until: int = 0


NO_GRANT = Grant()


class Part(NamedTuple):
    """The requested `units` of a fleet lock with `of` units in total; `lock` begins with `FLEET`."""

    lock: str
    units: int
    of: int


class FleetReachability(NamedTuple):
    """The fleet is reachable (`reason` is ""), and this host received all its claims; or it is unreachable.

    `known`: the last instant (wall) when this host was in the fleet, as saved before the host's agent connected.
    """

    reason: str
    known: int = 0


class FleetMark(NamedTuple):
    """The last mark of the fleet that a host received (child/fleet/mark.py); `age` is "" if the host received none.

    The event means that the mark must be saved. `at`: the last saved instant (wall) when the host was in the fleet, or
    0. `fleet`: the name of the fleet.
    """

    age: str = ""
    number: int = 0
    at: int = 0
    fleet: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """The key `fleet` of jobqueued.yaml: the members of the fleet's `etcd`, as URLs with a port, and how to connect to
    them.

    `name` and `timezone` decide when fleet jobs are due, so all hosts need the same values. A host keeps its locks for
    `lock_grace` (ns) after its last sign of life. `resources`: lock with several units → number of its units. `labels`:
    labels of this host, which jobs may require.

    `authority`, `certificate` and `key` are PEM files, given as an absolute path or as the name of a credential of the
    agent's unit, or "".
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
    """Event: a problem between hosts, such as different shared settings, or another fleet with the same jobs; or the
    problem's end.
    """

    text: str
    is_over: bool = False


class MaySkip(NamedTuple):
    """Event: this host may skip, for the whole fleet, a job's occurrences from one UTC second to another."""

    job: str
    first: int
    last: int


class PauseMade(NamedTuple):
    """Event: the fleet carried out this host's request to pause a job on all hosts, or to resume the job (`text` is
    "").
    """

    job: str
    text: str


class SaidOverdue(NamedTuple):
    """Event: a host of the fleet reported a job as overdue; if `text` is "", no such report exists now.

    core/late/fleet_overdue.py has the format of `text`. `revision`: the revision that wrote the report, or 0 without a
    report.
    """

    job: str
    text: str = ""
    revision: int = 0


class Returned(NamedTuple):
    """Event: a host gave back an occurrence that it had not run; the first host that requests the occurrence gets it.

    `store` identifies the state of the host that gave it back, or is "" if the occurrence is no longer available.
    """

    job: str
    key: str
    store: str
