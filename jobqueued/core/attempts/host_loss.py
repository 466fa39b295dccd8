"""The loss of a fleet host.

Another host takes over each unfinished run of the lost host, as a run of the same occurrence whose first attempt is
lost. If the job has `on_host_loss: rerun`, a second attempt follows.
"""

from __future__ import annotations

from jobqueued.base.instants import SECOND, to_text
from jobqueued.base.replace import changed
from jobqueued.child.contract.reasons import Code, Reason
from jobqueued.core.attempts import attempts
from jobqueued.core.due.occurrences import run_of
from jobqueued.core.hosts.fleet_state import hosts_before, second_of
from jobqueued.core.records import record
from jobqueued.core.records.lifecycle import RunStep
from jobqueued.core.runs.completion import attempt_ended
from jobqueued.core.runs.eligibility import barred
from jobqueued.core.runs.host_hold import halt
from jobqueued.core.state.turn import Turn
from jobqueued.model.commands import WriteRecord
from jobqueued.model.events import HostLost
from jobqueued.model.job import Job, Occurrence, OnHostLoss, Scope
from jobqueued.model.run import Run
from jobqueued.model.run_states import RunState

_AT_ONCE = 100
"""Maximum number of lost runs that this host requests from the fleet in one turn."""


def lost(turn: Turn, event: HostLost) -> None:
    """Schedule this host's request for a lost host's occurrence, after the turns of the hosts that come first."""
    state, job = turn.state, turn.state.catalog.get(event.job)
    if job is not None and job.scope is Scope.FLEET:
        at = turn.now.mono + state.fleet.turn_of(state.limits.name, job, event.key)
        state.fleet.losses[event.job][event.key] = at, event
        state.timers.after(at, event.job)


def look(turn: Turn, name: str) -> None:
    """Request at most `_AT_ONCE` lost runs of a job if the hosts that come first have had their turn."""
    state = turn.state
    if name not in state.fleet.losses:
        return
    losses, now = state.fleet.losses[name], turn.now.mono
    over = [key for key, (at, _) in losses.items() if at <= now]
    for key in over[:_AT_ONCE]:
        _ask(turn, losses.pop(key)[1])
    if len(over) > _AT_ONCE:
        state.timers.after(now + 1, name)
    if not losses:
        del state.fleet.losses[name]


def _ask(turn: Turn, event: HostLost) -> None:
    """Request a lost run now, or as soon as this host may resume starting runs."""
    state = turn.state
    job = state.catalog.get(event.job)
    if job is None or job.scope is not Scope.FLEET or not _may_have(turn, job, event.key):
        return
    run = run_of(state, event.job, event.key)
    if run is None:
        occurrence = Occurrence(event.job, event.key, second_of(event.key) * SECOND)
        reason = Reason(Code.HOST_GONE, host=event.host)
        run = state.number(occurrence, turn.now.wall, reason=reason)
        state.put_due(run)
    if run.state is not RunState.DUE or barred(state, job) is not None or halt(state):
        state.mark_for_check(job.id)
        return
    waiting = state.enqueue(state.step(run, RunStep.QUEUE, since=turn.now.wall), turn.now)
    attempts.launch(turn, waiting)


def _may_have(turn: Turn, job: Job, key: str) -> bool:
    """Return whether this host may take over a lost run.

    Any host can record a loss, but only a host that can run the job may rerun it.
    """
    state = turn.state
    if not hosts_before(key) or second_of(key) * SECOND >= turn.now.wall:  # no host started it, even if etcd has a key
        return False
    is_able = job.enabled and not state.fleet.lacks(job) and not state.invalid(job)
    return key not in state.found.get(job.id, {}) and (is_able or job.on_host_loss is OnHostLoss.LOST)


def end_as_lost(turn: Turn, run: Run) -> None:
    """Record the loss of a run that a lost host started and that the fleet granted to this host."""
    begun = changed(run, attempt=1)
    job = turn.state.catalog.get(run.id.job)
    document = record.lost(changed(begun, state=RunState.LOST), job, turn.state.limits, None)
    document["given_up"] = to_text(turn.now.wall)
    attempt_ended(turn, begun, document)
    if run.id not in turn.state.runs:
        turn.do(WriteRecord(document))
