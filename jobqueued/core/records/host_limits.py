"""Limits of a host: what it has for its jobs."""

from __future__ import annotations

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.model.job import Escalation


class HostLimits(NamedTuple):
    """The limits of the host, from itself and jobqueued.yaml.

    `name`: its name.  `max_running`: None for no limit.  `resources`: resource → units (CPU in thousandths of a core,
    memory in bytes).  `cpus`: the numbers of its CPUs.  `escalation`: how waiting runs age.
    """

    name: str = "localhost"
    max_running: int | None = None
    resources: dict[str, int] = {}  # noqa: RUF012
    cpus: tuple[int, ...] = ()
    escalation: Escalation = Escalation()
    calm: int = 0
    """Lowest effective priority of runs that start under pressure."""
    machine: str = ""
    """The id of the host, which tells it apart from others of the same name."""
    most_of_a_user: int | None = None
    """Maximum live runs of a user's own jobs; None for no limit."""
    waiting_of_a_user: int | None = None
    """Maximum waiting runs and submissions of a user; None for no limit."""
    fleet: str = ""
    """The name of the host's fleet; "" if it is in none."""
    of_fleet: dict[str, int] = {}  # noqa: RUF012
    """Lock of the fleet → its units, if it has several."""
    labels: tuple[str, ...] = ()
    """Labels of this host, by which jobs of the fleet choose hosts."""
    has_slurm: bool = False
    """True if this host can submit to Slurm."""

    @property
    def units(self) -> dict[str, int]:
        """Resource, or lock that has several units → its units."""
        return {**self.resources, **self.of_fleet}
