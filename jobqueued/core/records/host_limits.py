"""Limits of a host: its resources for jobs."""

from __future__ import annotations

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.model.job import Escalation


class HostLimits(NamedTuple):
    """The limits of the host, from itself and jobqueued.yaml.

    `max_running` is None for no limit.  `resources`: resource → units (CPU in thousandths of a core, memory in bytes).
    `cpus`: the numbers of its CPUs.  `escalation`: the ageing of waiting runs.
    """

    name: str = "localhost"
    max_running: int | None = None
    resources: dict[str, int] = {}  # noqa: RUF012
    cpus: tuple[int, ...] = ()
    escalation: Escalation = Escalation()
    calm: int = 0
    """Lowest effective priority of runs that start under pressure."""
    machine: str = ""
    """The ID of the host, which distinguishes hosts with the same name."""
    most_of_a_user: int | None = None
    """Maximum live runs of a user's own jobs, or None for no limit."""
    waiting_of_a_user: int | None = None
    """Maximum waiting runs and submissions of a user, or None for no limit."""
    fleet: str = ""
    """The name of the host's fleet, or "" if the host is in no fleet."""
    of_fleet: dict[str, int] = {}  # noqa: RUF012
    """Lock of the fleet → its units, if it has several."""
    labels: tuple[str, ...] = ()
    """Labels of this host; fleet jobs choose hosts by labels."""
    has_slurm: bool = False
    """True if this host can submit to Slurm."""

    @property
    def units(self) -> dict[str, int]:
        """Resource, or lock with several units → its units."""
        return {**self.resources, **self.of_fleet}
