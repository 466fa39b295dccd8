"""The end of a run on Slurm: what Slurm says, and what the wrapper wrote down, is one of our ends."""

from __future__ import annotations

from typing import Any

import pytest

from jobqueued.child.slurm.ends import FINAL, GONE, WAITING, SlurmEnd, SqueueJob, is_over_memory, verdict

LIMITS = {"memory": "100 MiB", "timeout": "90 s"}
KILLED_BY_STEPD = b"slurmstepd-n2: error: Exceeded job memory limit\n"


def judged(
    state: str, status: int | None = None, said: bytes = b"", *, begun: bool = True, reason: str = "None", **end: Any
) -> SlurmEnd:
    wrote = {"status": status, **end} if status is not None else None
    return verdict(SqueueJob(7, state, "n1", reason), wrote, said, LIMITS, has_begun=begun)


def killed(state: str, reason: str, status: int | None = None) -> SlurmEnd:
    return SlurmEnd((state, reason), status)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (judged("COMPLETED", 0), SlurmEnd(None, 0)),
        (judged("FAILED", 3 << 8), SlurmEnd(None, 3 << 8)),
        (judged("FAILED", 11), SlurmEnd(None, 11)),
        (judged("NODE_FAIL", 3 << 8), SlurmEnd(None, 3 << 8)),
        (judged(GONE, 0), SlurmEnd(None, 0)),
        (judged("FAILED", 127 << 8, failed=["exec", 2, "/no/such"]), SlurmEnd(None, None, ("exec", 2, "/no/such"))),
        (judged("TIMEOUT", 0), killed("timed_out", "timeout after 90 s (Slurm job 7 on n1: TIMEOUT)", 0)),
        (judged("TIMEOUT"), killed("timed_out", "timeout after 90 s (Slurm job 7 on n1: TIMEOUT)")),
        (judged("CANCELLED", 15), killed("killed", "cancelled in Slurm (Slurm job 7 on n1: CANCELLED)", 15)),
        (judged("CANCELLED", 143 << 8),
            killed("killed", "cancelled in Slurm (Slurm job 7 on n1: CANCELLED)", 143 << 8)),
        (judged("NODE_FAIL", 15), killed("lost", "its node failed (Slurm job 7 on n1: NODE_FAIL)")),
        (judged("CANCELLED"), killed("killed", "cancelled in Slurm (Slurm job 7 on n1: CANCELLED)")),
        (judged("CANCELLED", 5 << 8), SlurmEnd(None, 5 << 8)),
        (judged("PREEMPTED"), killed("killed", "preempted in Slurm (Slurm job 7 on n1: PREEMPTED)")),
        (judged("NODE_FAIL"), killed("lost", "its node failed (Slurm job 7 on n1: NODE_FAIL)")),
        (judged(GONE), killed("lost", "Slurm no longer has it (Slurm job 7 on n1: GONE)")),
        (judged("OUT_OF_MEMORY", 9),
            killed("oom_killed", "out of memory: its limit is 100 MiB (Slurm job 7 on n1: OUT_OF_MEMORY)", 9)),
        (judged("OUT_OF_MEMORY", 137 << 8),
            killed("oom_killed", "out of memory: its limit is 100 MiB (Slurm job 7 on n1: OUT_OF_MEMORY)", 137 << 8)),
        (judged("OUT_OF_MEMORY", 0), SlurmEnd(None, 0)),
        (judged("FAILED", None, KILLED_BY_STEPD, reason="RaisedSignal:9(Killed)"),
            killed("oom_killed", "out of memory: its limit is 100 MiB (Slurm job 7 on n1: FAILED)")),
        (judged("FAILED", None, b"no python3\n", begun=False, reason="NonZeroExitCode"),
            SlurmEnd(None, None, ("slurm", 0, "Slurm job 7 on n1: FAILED: NonZeroExitCode; no python3"))),
        (judged("FAILED", None, b"\x1b[2J\n"),
            killed("lost", "its wrapper reported no end (Slurm job 7 on n1: FAILED: \\x1b[2J)")),
    ],
)  # fmt: skip
def test_each_end_of_slurm_is_one_of_ours(found: SlurmEnd, expected: SlurmEnd) -> None:
    """How the command ended counts where that is known; else, and where Slurm ended it, what Slurm says."""
    assert expected == found


@pytest.mark.parametrize("state", sorted(FINAL | {GONE}))
def test_every_final_state_has_a_verdict(state: str) -> None:
    """None is without an end, whether anything else is known or not."""
    for found in (judged(state), judged(state, 0), judged(state, begun=False)):
        assert found.cause or found.failed or found.status is not None


def test_states_are_of_one_kind() -> None:
    """What waits is not over."""
    assert set() == FINAL & WAITING


def test_memory_that_was_too_much_for_a_part_of_it() -> None:
    """A command that ends by itself, though Slurm killed a process of it, is told so, and is no end for that."""
    assert is_over_memory(SqueueJob(7, "OUT_OF_MEMORY"), b"")
    assert not is_over_memory(SqueueJob(7, "FAILED"), b"out of luck")
