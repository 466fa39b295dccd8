"""Another attempt: whether a run that failed is tried again, when, and when its failover takes over."""

from __future__ import annotations

from math import log2

from jobqueued.child.signals import signal_name
from jobqueued.child.tuples import NamedTuple
from jobqueued.core.fleet_state import hosts_before
from jobqueued.model import SECOND, Job, OnHostLoss, Record, Run, RunState
from jobqueued.sha256 import sha256

AT_ONCE, LEAST = 5, SECOND
"""So many retries come as soon as the job wishes, later ones after this pause at least."""
MOST_LOST = 1
"""So many hosts may have been lost with a run of which another host still begins one: it may be what has ended them."""
JITTER = 10
"""The pause is longer by up to a tenth, so that what failed together does not come back together."""


class Again(NamedTuple):
    """The next attempt: after how long (ns), and whether it is the failover."""

    delay: int
    failover: bool


def another(job: Job, run: Run, record: Record) -> Again | None:
    """Decide what follows an attempt that ended with this record; None: it was the last.

    A person's stop, and the host's going down, are the end of a run, not failures of it.  What was lost may have done
    its work, and is tried again only where `retry_on` says so; with another host, where `on_host_loss` does.
    """
    state = record["state"]
    if run.attempt == 1 and (lost := hosts_before(run.key)):
        return Again(0, failover=False) if job.on_host_loss is OnHostLoss.RERUN and lost <= MOST_LOST else None
    if run.failover or state not in (RunState.FAILED, RunState.TIMED_OUT, RunState.OOM_KILLED, RunState.LOST):
        return None
    if state == RunState.LOST and "lost" not in (job.retry_on or ()):
        return None
    if run.attempt < most_attempts(job, run) and _is_named(job, record):
        return Again(_delay(job, run), failover=False)
    return None if job.failover is None else Again(0, failover=True)


def most_attempts(job: Job, run: Run) -> int:
    """The attempts that a run may have, but for the failover; one that was lost with its host is none of its own."""
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
    """The pause before the next attempt: `retry_delay`, longer each time by `retry_backoff`, and a little by chance.

    Of many, a burst would keep the launcher from others.
    """
    most = 2**62 if job.retry_max_delay is None else job.retry_max_delay
    growth: float = 2.0 ** min(
        62.0, log2(job.retry_backoff) * (job.retries + run.attempt - most_attempts(job, run))
    )  # a power of it could be no float any more
    pause = min(most, round(job.retry_delay * growth))
    if run.attempt > AT_ONCE:
        pause, most = max(pause, LEAST), max(most, LEAST)
    draw = int.from_bytes(sha256(run.attempt_name.encode()).digest()[:4], "big")
    return min(most, pause + pause * draw // JITTER // 2**32)
