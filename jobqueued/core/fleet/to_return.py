"""Occurrences that this host may have claimed, and skipped for a reason that concerns only this host.

Such a reason is a removed job. Another host may run the occurrence, so this host returns it to the fleet. If the fleet
does not get the return, the agent reports the key again (`Ours`), maybe after a restart. At that time this host no
longer has a run with this key. Therefore the key is saved in the commit that saves the skip.
"""

from __future__ import annotations

from jobqueued.child.contract.documents import Record
from jobqueued.child.contract.reasons import REMOVALS, Code, of_record
from jobqueued.child.fleet.lines import RETURNED
from jobqueued.core.hosts.fleet_state import unstarted
from jobqueued.core.state.scheduler_state import SchedulerState
from jobqueued.model.run import Run
from jobqueued.model.run_states import RunState

_OF_THIS_HOST = REMOVALS | {Code.INVALID, Code.LABEL_REMOVED}
"""The causes that concern only this host."""
_MAX_KEYS = 1000
"""Maximum number of saved keys of a job; the keys that were saved first are dropped."""


def belongs_to_others(run: Run, record: Record) -> bool:
    """Return whether another host may run the occurrence of a run that ended with this record."""
    if record["state"] != RunState.SKIPPED or unstarted(run) != RETURNED:
        return False
    reason = of_record(record)
    return reason is not None and reason.code in _OF_THIS_HOST


def remember(state: SchedulerState, run: Run) -> None:
    """Save the key of a run whose occurrence this host must return."""
    known = state[run.id.job].saved.to_return
    if run.key not in known:
        state.remember(run.id.job, to_return=(*known, run.key)[-_MAX_KEYS:])


def forget(state: SchedulerState, run: Run) -> None:
    """Forget the key of a run, because this host requests its occurrence again and may run it."""
    known = state[run.id.job].saved.to_return
    if run.key in known:
        state.remember(run.id.job, to_return=tuple(key for key in known if key != run.key))
