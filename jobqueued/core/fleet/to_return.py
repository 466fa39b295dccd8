"""Occurrences to return: this host may have claimed them, but skipped them for a reason of its own, such as a removed
job.

Another host may run such an occurrence. The fleet may get the return only after a restart, when this host has no run of
the occurrence any more. Therefore the keys are saved together with the skip.
"""

from __future__ import annotations

from jobqueued.child.contract.documents import Record
from jobqueued.child.contract.reasons import JOB_REMOVED, Code, of_record
from jobqueued.child.fleet.lines import RETURNED
from jobqueued.core.hosts.fleet_state import unstarted
from jobqueued.core.state.scheduler_state import SchedulerState
from jobqueued.model.run import Run
from jobqueued.model.run_states import RunState

_REASONS = JOB_REMOVED | {Code.INVALID, Code.MAX_RUNS, Code.LABEL_REMOVED}
_MOST = 100
"""Maximum number of keys of a job; the oldest keys are dropped."""


def belongs_to_others(run: Run, record: Record) -> bool:
    """Return whether another host may run the occurrence of a run that ended with this record."""
    if record["state"] != RunState.SKIPPED or unstarted(run) != RETURNED:
        return False
    reason = of_record(record)
    return reason is not None and reason.code in _REASONS


def remember(state: SchedulerState, run: Run) -> None:
    """Save that the occurrence of a run must be returned."""
    known = state[run.id.job].saved.to_return
    if run.key not in known:
        state.remember(run.id.job, to_return=(*known, run.key)[-_MOST:])


def forget(state: SchedulerState, run: Run) -> None:
    """Forget the occurrence of a run, because this host is about to request it again."""
    known = state[run.id.job].saved.to_return
    if run.key in known:
        state.remember(run.id.job, to_return=tuple(key for key in known if key != run.key))
