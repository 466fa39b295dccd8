"""The start of a process inside its limits: its cgroup is made, capped, and the process is in it from the beginning."""

from __future__ import annotations

from jobqueued.child import spawn
from jobqueued.child.caps import Caps
from jobqueued.child.cgroup import Cgroup
from jobqueued.child.documents import LaunchSpec
from jobqueued.child.identity import StartFailed
from jobqueued.child.spawn import Started


def start(order: LaunchSpec, cgroup: Cgroup, caps: Caps, output: int) -> Started:
    """Start what is ordered, with `output` (a descriptor) as stdout and stderr; StartFailed."""
    step = "cgroup"
    try:
        cgroup.make()
        caps.apply()
        step = "start"
        return spawn.spawn(order, output, cgroup)
    except OSError as error:
        raise StartFailed(step, error.errno or 0, str(error.strerror)) from None
