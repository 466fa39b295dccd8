"""Start a process within its limits: first make and limit its cgroup, then start the process in the cgroup."""

from __future__ import annotations

from jobqueued.child.contract import wire
from jobqueued.child.contract.documents import LaunchSpec
from jobqueued.child.processes.cgroup import Cgroup
from jobqueued.child.start import spawn
from jobqueued.child.start.caps import Caps
from jobqueued.child.start.identity import StartFailed, user_of_order
from jobqueued.child.start.spawn import StartedProcess


def start(order: LaunchSpec, cgroup: Cgroup, caps: Caps, output: int, errors: int | None = None) -> StartedProcess:
    """Start the process with these descriptors as stdout and stderr. `errors` None means stdout. Raises StartFailed."""
    step = "cgroup"
    try:
        if cgroup.is_own and cgroup.above is not None and not cgroup.above["name"]:
            cgroup.above["name"] = wire.cgroup_of_user(user_of_order(order).uid)
        cgroup.make()
        caps.apply()
        step = "start"
        return spawn.spawn(order, output, cgroup, errors)
    except OSError as error:
        raise StartFailed(step, error.errno or 0, str(error.strerror)) from None
