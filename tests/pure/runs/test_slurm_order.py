"""The job on Slurm that an attempt is to be: what is asked of Slurm for each key of ours."""

from __future__ import annotations

from typing import Any

import pytest

from jobqueued.base.instants import MINUTE, SECOND
from jobqueued.child.contract.documents import SlurmOrder
from jobqueued.core.records import record
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.model.commands import Launch
from jobqueued.model.fleet import Grant
from jobqueued.model.job import Job
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import RunState
from jobqueued.runs.slurm_order import order_of

ALWAYS = ["--no-requeue", "--export=NIL", "--open-mode=append"]


def ordered(attempt: int = 1, **keys: Any) -> SlurmOrder:
    job = Job(id="sim", command="true", runner="slurm", **keys)
    run = Run(
        id=RunId("sim", 3), key="x", due=1_800_000_000 * SECOND, queued=0, arrival=1, attempt=attempt,
        state=RunState.STARTING,
    )  # fmt: skip
    return order_of(Launch(run, job, record.begin(run, job, HostLimits("node0")), Grant(42)), "f" * 32)


@pytest.mark.parametrize(
    ("keys", "options"),
    [
        ({}, []),
        ({"slurm": {"partition": "long", "account": "a", "qos": "q", "gres": "gpu:2"}},
            ["--partition=long", "--account=a", "--qos=q", "--gres=gpu:2"]),
        ({"slurm": {"licenses": {"matlab": 2, "x@y": 1}}}, ["--licenses=matlab:2,x@y:1"]),
        ({"priority": 10}, ["--nice=-10"]),
        ({"priority": -3}, ["--nice=3"]),
        ({"resource_limits": {"memory": (64 << 20) + 1, "cpu": 1.5}}, ["--mem=65M", "--cpus-per-task=2"]),
        ({"timeout": MINUTE}, ["--time=1"]),
        ({"timeout": MINUTE + SECOND}, ["--time=2"]),
    ],
)  # fmt: skip
def test_each_key_is_asked_for(keys: dict[str, Any], options: list[str]) -> None:
    """In Slurm's words; memory, CPUs and time are rounded up."""
    assert [*ALWAYS, *options] == ordered(**keys)["options"][2:]


def test_a_job_is_known_by_its_name_and_its_comment() -> None:
    """The name is that of the attempt, the comment of this launch of it alone, with the fence."""
    order = ordered(attempt=3)
    comment = f"node0:sim@3.3:{'f' * 32}:42"
    assert ["--job-name=sim@1800000000#3", f"--comment={comment}"] == order["options"][:2]
    assert ("sim@1800000000#3", comment, "node0:sim@3.") == (order["name"], order["comment"], order["run"])
    assert ["sim@1800000000#1", "sim@1800000000#2"] == order["earlier"]
