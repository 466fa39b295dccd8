"""Chooses the runner, the supervisor's only interface to the command, which runs on this host or on Slurm."""

from __future__ import annotations

from jobqueued.child.attempt.local_runner import Local
from jobqueued.child.attempt.slurm_runner import Slurm
from jobqueued.child.contract.documents import LaunchSpec
from jobqueued.child.report.marks import Marks

Runner = Local | Slurm


def runner_of(order: LaunchSpec, home: int, marks: Marks) -> Runner:
    """Return the runner for a launch spec. `home`: see cgroup.prepare."""
    there = order.get("slurm")
    return Slurm(order, there, marks) if there else Local(order, home, marks.name)
