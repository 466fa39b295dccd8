"""A host's limits: its resources for jobs."""

from __future__ import annotations

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.model.job import Escalation, Job
from jobqueued.queue.locks import SLOT, TAG, Claims, claims_of


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
    tags: dict[str, int] = {}  # noqa: RUF012
    """Tag → maximum number of live runs of the host's jobs with this tag."""

    @property
    def units(self) -> dict[str, int]:
        """Resource, slot, tag, or lock with several units → its units."""
        slots = {} if self.max_running is None else {SLOT: self.max_running}
        return {**self.resources, **self.of_fleet, **slots, **{f"{TAG}{tag}": live for tag, live in self.tags.items()}}

    def claims_of(self, job: Job) -> Claims:
        """Return the claims that each run of a job needs on this host."""
        return claims_of(job, slots=self.max_running is not None, tags=self.tags)
