"""A host's limits: its resources for jobs."""

from __future__ import annotations

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.model.job import Escalation


class HostLimits(NamedTuple):
    """The limits of the host, measured on the host or set in jobqueued.yaml.

    `max_running` is None for no limit.  `resources`: resource → units (CPU in thousandths of a core, memory in bytes).
    `cpus`: the numbers of the host's CPUs. `escalation`: how fast the priority of waiting runs grows.
    """

    name: str = "localhost"
    max_running: int | None = None
    resources: dict[str, int] = {}  # noqa: RUF012
    cpus: tuple[int, ...] = ()
    escalation: Escalation = Escalation()
    calm: int = 0
    """Lowest effective priority that a run needs to start while the host is under pressure."""
    machine: str = ""
    """The host's ID, which differs even between hosts with the same name."""
    most_of_a_user: int | None = None
    """Maximum number of live runs of each user, for jobs that users own, or None for no limit."""
    waiting_of_a_user: int | None = None
    """Maximum number of waiting runs and submissions of each user, or None for no limit."""
    fleet: str = ""
    """The name of the host's fleet, or "" if the host is in no fleet."""
    of_fleet: dict[str, int] = {}  # noqa: RUF012
    """Fleet lock with several units → its units."""
    labels: tuple[str, ...] = ()
    """Labels of this host; fleet jobs choose hosts by labels."""
    has_slurm: bool = False
    """True if this host can submit to Slurm."""

    @property
    def units(self) -> dict[str, int]:
        """Resource, or lock with several units → its units."""
        return {**self.resources, **self.of_fleet}
