"""The life of a run: one table, (state, step) → next state. Any other step is a bug in the caller and changes
nothing.
"""

from __future__ import annotations

from enum import StrEnum

from jobqueued.model.run_states import LIVE, PENDING, RunState


class RunStep(StrEnum):
    """The steps of a run."""

    QUEUE = "queue"
    KEEP_BACK = "keep_back"
    ADMIT = "admit"
    FIND = "find"
    START = "start"
    STOP = "stop"
    RETURN = "return"
    RETRY = "retry"
    SKIP = "skip"
    SUCCEED = "succeed"
    FAIL = "fail"
    TIME_OUT = "time_out"
    KILL = "kill"
    OOM_KILL = "oom_kill"
    LOSE = "lose"


class IllegalRunStep(Exception):
    """A step that the table does not allow."""


_S = RunState

TABLE: dict[tuple[RunState, RunStep], RunState] = {
    (_S.DUE, RunStep.QUEUE): _S.WAITING,  # its job is below its `concurrency`, and the dependencies are met
    (_S.DUE, RunStep.SKIP): _S.SKIPPED,
    (_S.WAITING, RunStep.KEEP_BACK): _S.DUE,  # its job was paused
    (_S.RETRYING, RunStep.QUEUE): _S.WAITING,  # the delay is over
    (_S.RETRYING, RunStep.KEEP_BACK): _S.DUE,
    (_S.WAITING, RunStep.SKIP): _S.SKIPPED,
    (_S.WAITING, RunStep.ADMIT): _S.STARTING,  # all claims granted; committed before the launch
    # a run directory shows an attempt that was not committed
    **{(state, RunStep.FIND): _S.STARTING for state in _S if state in LIVE | PENDING},
    (_S.STARTING, RunStep.RETURN): _S.WAITING,  # it certainly never started, through no fault of the job
    (_S.STOPPING, RunStep.RETURN): _S.WAITING,
    (_S.STARTING, RunStep.START): _S.RUNNING,
    (_S.RUNNING, RunStep.START): _S.RUNNING,  # found again by a new scheduler
    (_S.STOPPING, RunStep.START): _S.STOPPING,  # it was stopped before its start was reported
    (_S.STARTING, RunStep.STOP): _S.STOPPING,
    (_S.RUNNING, RunStep.STOP): _S.STOPPING,
    (_S.STOPPING, RunStep.STOP): _S.STOPPING,
    # the attempt failed; another one follows
    **{(state, RunStep.RETRY): _S.RETRYING for state in (_S.STARTING, _S.RUNNING, _S.STOPPING)},
    (_S.WAITING, RunStep.RETRY): _S.RETRYING,  # its attempt was on a lost host
    **{
        (state, step): end
        for state in _S
        if state in LIVE  # an end may arrive without a report of the start
        for step, end in (
            (RunStep.SUCCEED, _S.SUCCEEDED),
            (RunStep.FAIL, _S.FAILED),
            (RunStep.TIME_OUT, _S.TIMED_OUT),
            (RunStep.KILL, _S.KILLED),
            (RunStep.OOM_KILL, _S.OOM_KILLED),
            (RunStep.LOSE, _S.LOST),
        )
    },
    **{
        (state, step): end
        for state in _S
        if state in PENDING  # given up after an attempt that failed
        for step, end in (
            (RunStep.FAIL, _S.FAILED),
            (RunStep.TIME_OUT, _S.TIMED_OUT),
            (RunStep.KILL, _S.KILLED),
            (RunStep.OOM_KILL, _S.OOM_KILLED),
            (RunStep.LOSE, _S.LOST),
        )
    },
}

ENDS: dict[str, RunStep] = {
    "succeeded": RunStep.SUCCEED,
    "failed": RunStep.FAIL,
    "timed_out": RunStep.TIME_OUT,
    "killed": RunStep.KILL,
    "oom_killed": RunStep.OOM_KILL,
    "lost": RunStep.LOSE,
}
"""State of a record → the step that leads to it."""


def after(state: RunState, step: RunStep) -> RunState:
    """Return the state that `step` leads to.

    Raises IllegalRunStep if the table does not allow the step.
    """
    try:
        return TABLE[state, step]
    except KeyError:
        raise IllegalRunStep(f"a run that is {state} can't {step}") from None
