"""The end of a run on Slurm, derived from the job's state in Slurm and the wrapper's report."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any

from jobqueued.child.contract.reasons import Code, Reason
from jobqueued.child.contract.text import last_line, printable
from jobqueued.child.contract.tuples import NamedTuple

FINAL = frozenset({
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "LAUNCH_FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
    "PREEMPTED", "RECONFIG_FAIL", "REVOKED", "TIMEOUT",
})  # fmt: skip
"""The states of an ended job (squeue(1)). In other states, the job waits or runs, or its node cleans up."""
WAITING = frozenset({"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"})
GONE = "GONE"
"""Placeholder for the state of a job that Slurm no longer has (`MinJobAge` in slurm.conf(5))."""
_OVER_MEMORY = b"exceeded job memory limit"
"""slurmstepd's message when it ends a job without a cgroup limit (`JobAcctGatherParams=OverMemoryKill`)."""
_SHOWN = 300


class SqueueJob(NamedTuple):
    """A job in squeue(1)'s output. `reason`: why the job waits or failed."""

    job: int
    state: str
    node: str = ""
    reason: str = ""

    @property
    def description(self) -> str:
        """The job in words: ``Slurm job 42 on n1``."""
        return f"Slurm job {self.job}{f' on {self.node}' if self.node else ''}"


class SlurmEnd(NamedTuple):
    """The end of a run. `cause`: state and reason, or None if they follow from the wait `status` (None if unknown).

    `failed`: step, errno and detail of a command that could not start.
    """

    cause: tuple[str, Reason] | None
    status: int | None = None
    failed: tuple[str, int, str] | None = None


def is_over_memory(seen: SqueueJob, said: bytes) -> bool:
    """Return whether Slurm ended the job because it used too much memory. `said`: Slurm's messages."""
    return seen.state == "OUT_OF_MEMORY" or _OVER_MEMORY in said.lower()


def verdict(
    seen: SqueueJob, end: Mapping[str, Any] | None, said: bytes, limits: Mapping[str, Any], *, has_begun: bool
) -> SlurmEnd:
    """Return the end of a run whose job is over. `end`: the wrapper's report, or None.

    `limits`: descriptions of the job's limits.
    """
    status = None if end is None else int(end["status"])
    if end is not None and "failed" in end:
        step, number, detail = end["failed"]
        return SlurmEnd(None, None, (step, number, detail))
    if is_over_memory(seen, said) and _was_ended_by(status, signal.SIGKILL):
        return SlurmEnd(("oom_killed", _out_of_memory(seen, limits)), status)
    if seen.state in _OF_ITS_NODE and _was_ended_by(status, signal.SIGTERM, signal.SIGKILL):
        return _without_end(seen, said, has_begun=has_begun)
    if seen.state in _TOLD_TO_END and not _was_ended_by(status, signal.SIGTERM, signal.SIGKILL):
        return SlurmEnd(None, status)
    if (found := _ENDED_BY.get(seen.state)) is not None:
        state, code = found
        return SlurmEnd((state, _reason(code, seen, limit=limits.get("timeout", ""))), status)
    if status is not None:
        return SlurmEnd(None, status)
    return _without_end(seen, said, has_begun=has_begun)


def _was_ended_by(status: int | None, *numbers: int) -> bool:
    """Return whether one of these signals may have ended the command or a command of its shell."""
    return status is None or status & 0x7F in numbers or (status >> 8) - 128 in numbers


def _reason(code: Code, seen: SqueueJob, *, detail: str = "", **params: Any) -> Reason:
    """Return the reason derived from a job's state in Slurm."""
    return Reason(code, **params, job=seen.description, job_state=f"{seen.state}{f': {detail}' if detail else ''}")


def _out_of_memory(seen: SqueueJob, limits: Mapping[str, Any]) -> Reason:
    if limits.get("memory"):
        return Reason(Code.OUT_OF_MEMORY, why=f"its limit is {limits['memory']} ({seen.description}: {seen.state})")
    return _reason(Code.SLURM_OUT_OF_MEMORY, seen)


def _without_end(seen: SqueueJob, said: bytes, *, has_begun: bool) -> SlurmEnd:
    """Return the end of a run that has no report about its end."""
    if (found := _LOST_BY.get(seen.state)) is not None:
        return SlurmEnd(("lost", _reason(found, seen)))
    words = printable(last_line(said))[:_SHOWN]
    detail = "; ".join(text for text in (seen.reason if seen.reason != "None" else "", words) if text)
    if not has_begun:
        return SlurmEnd(None, None, ("slurm", 0, f"{seen.description}: {seen.state}{f': {detail}' if detail else ''}"))
    return SlurmEnd(("lost", _reason(Code.SLURM_NO_END, seen, detail=detail)))


_ENDED_BY = {
    "TIMEOUT": ("timed_out", Code.SLURM_TIMEOUT),
    "DEADLINE": ("timed_out", Code.SLURM_DEADLINE),
    "CANCELLED": ("killed", Code.SLURM_CANCELLED),
    "PREEMPTED": ("killed", Code.SLURM_PREEMPTED),
}
"""States after Slurm ended the job."""
_OF_ITS_NODE = frozenset({"NODE_FAIL", "BOOT_FAIL"})
"""States of a job whose node failed. The node may still be alive, and may have ended the processes as ordered."""
_TOLD_TO_END = frozenset({"CANCELLED", "PREEMPTED"})
"""States that send the command a signal that it may handle."""
_LOST_BY = {
    "NODE_FAIL": Code.SLURM_NODE_FAILED,
    "BOOT_FAIL": Code.SLURM_NODE_NOT_BOOTED,
    "REVOKED": Code.SLURM_REVOKED,
    GONE: Code.SLURM_FORGOT,
}
