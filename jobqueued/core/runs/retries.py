"""Retries: whether and when another attempt follows a failed one, or the failover takes over."""

from __future__ import annotations

from math import log2

from jobqueued.base.instants import SECOND
from jobqueued.base.sha256 import sha256
from jobqueued.child.contract.documents import Record
from jobqueued.child.contract.signals import signal_name
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.core.hosts.fleet_state import hosts_before
from jobqueued.model.job import Job, OnHostLoss
from jobqueued.model.run import Run
from jobqueued.model.run_states import RunState

AT_ONCE, LEAST = 5, SECOND
"""Number of first retries without a minimum pause, and the minimum pause (ns) before later retries."""
MOST_LOST = 1
"""Maximum number of hosts lost during a run after which another host still reruns it. If more hosts were lost, the run
itself may be the cause.
"""
JITTER = 10
"""Divisor of the pause: at most this fraction of the pause is added at random, so that runs that failed together do not
retry together.
"""


class NextAttempt(NamedTuple):
    """The next attempt: the pause before it (ns), and whether it is the failover."""

    delay: int
    failover: bool


def another(job: Job, run: Run, record: Record) -> NextAttempt | None:
    """Return the attempt that follows after an attempt ended with this record, or None if no attempt follows.

    After a stop by a user or a shutdown of the host, no retry follows. A lost attempt may have done its work, so it is
    retried only if `retry_on` allows it, or on another host if `on_host_loss` allows it.
    """
    state = record["state"]
    if run.attempt == 1 and (lost := hosts_before(run.key)):
        return NextAttempt(0, failover=False) if job.on_host_loss is OnHostLoss.RERUN and lost <= MOST_LOST else None
    if run.failover or state not in (RunState.FAILED, RunState.TIMED_OUT, RunState.OOM_KILLED, RunState.LOST):
        return None
    if state == RunState.LOST and "lost" not in (job.retry_on or ()):
        return None
    if run.attempt < most_attempts(job, run) and _is_named(job, record):
        return NextAttempt(_delay(job, run), failover=False)
    return None if job.failover is None else NextAttempt(0, failover=True)


def most_attempts(job: Job, run: Run) -> int:
    """Return the maximum number of attempts of a run, not counting its failover. If a lost host started an attempt, the
    run gets one more.
    """
    return 1 + job.retries + (hosts_before(run.key) > 0)


def _is_named(job: Job, record: Record) -> bool:
    if job.retry_on is None:
        return True
    match record["state"]:
        case RunState.TIMED_OUT:
            cause = "timeout"
        case RunState.OOM_KILLED:
            cause = "oom"
        case RunState.LOST:
            cause = "lost"
        case _ if (number := record.get("signal")) is not None:
            cause = signal_name(number)
        case _:
            cause = "start" if record.get("exit_code") is None else str(record["exit_code"])
    return cause in job.retry_on


def _delay(job: Job, run: Run) -> int:
    """Return the pause (ns) before the next attempt: `retry_delay`, grown by `retry_backoff`, plus a random part.

    The random part avoids bursts of retries, which would delay other launches.
    """
    most = 2**62 if job.retry_max_delay is None else job.retry_max_delay
    growth: float = 2.0 ** min(
        62.0, log2(job.retry_backoff) * (job.retries + run.attempt - most_attempts(job, run))
    )  # a larger power would not fit in a float
    pause = min(most, round(job.retry_delay * growth))
    if run.attempt > AT_ONCE:
        pause, most = max(pause, LEAST), max(most, LEAST)
    draw = int.from_bytes(sha256(run.attempt_name.encode()).digest()[:4], "big")
    return min(most, pause + pause * draw // JITTER // 2**32)
