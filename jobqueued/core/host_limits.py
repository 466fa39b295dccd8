"""Limits of a host: what it has for its jobs."""

from __future__ import annotations

from jobqueued.child.tuples import NamedTuple
from jobqueued.model import Escalation


class HostLimits(NamedTuple):
    """The limits of the host, by itself and jobqueued.yaml: its name, `max_running` (None: no limit), the units of
    each resource (CPU in thousandths of a core, memory in bytes), the numbers of its CPUs, how what waits ages.
    """

    name: str = "localhost"
    max_running: int | None = None
    resources: dict[str, int] = {}  # noqa: RUF012
    cpus: tuple[int, ...] = ()
    escalation: Escalation = Escalation()
    calm: int = 0
    """Under pressure only runs of at least this effective priority start."""
    machine: str = ""
    """The id of the host, by which others of the same name are told apart."""
    most_of_a_user: int | None = None
    """So many runs of a user's own jobs may be live."""
    waiting_of_a_user: int | None = None
    """So many runs and submissions of a user may wait."""
    fleet: str = ""
    """The name of the fleet that the host is in; "": of none."""
    of_fleet: dict[str, int] = {}  # noqa: RUF012
    """The units of each lock of the fleet that has several."""
    labels: tuple[str, ...] = ()
    """What this host has by which jobs of the fleet choose hosts."""
    has_slurm: bool = False
    """True if it can submit to Slurm."""
