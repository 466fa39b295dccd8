"""The invariants of the scheduler's state, which hold after every event."""

from __future__ import annotations

from collections import Counter

from jobqueued.core.state.scheduler_state import SchedulerState
from jobqueued.model.job import CPU
from jobqueued.model.run_states import LIVE, RunState
from jobqueued.model.users import budget_of
from jobqueued.queue.placement import CPUS


def validate(state: SchedulerState) -> None:
    """Raise AssertionError unless every run is in exactly one place, and only live runs and clients hold claims."""
    placed = {run for job in state.jobs.values() for run in job.unfinished}
    assert set(state.runs) == placed, f"{set(state.runs) ^ placed} in no place, or of no run"
    for name, job in state.jobs.items():
        places = job.unfinished
        assert len(places) == len(set(places)), f"{name}: a run in two places: {places}"
        for place, runs in ((RunState.DUE, job.due), (RunState.WAITING, job.waiting)):
            assert all(state.runs[run].state is place for run in runs), f"{name}: {runs} not {place}"
        pausing = (RunState.WAITING, RunState.RETRYING)
        assert all(state.runs[run].state in pausing for run in job.delayed), f"{name}: {job.delayed} not delayed"
        assert all(state.runs[run].state in LIVE for run in job.live), f"{name}: {job.live} not live"
        numbers = [run.number for run in places]
        assert job.saved.last_number >= max(numbers, default=0), f"{name}: {numbers} beyond the last number"
    assert state.unfinished == Counter(budget_of(run.job) for run in state.runs), "runs of users are miscounted"
    clients = {name for name, client in state.lock_clients.items() if client.ticket and not client.question}
    waiting = {run for job in state.jobs.values() for run in job.waiting}
    assert all(state.runs[run].state in LIVE for run in state.lingering), f"{state.lingering} not live"
    assert waiting | clients == set(state.admission.waiting) | state.fleet.asked.keys()
    assert not state.fleet.asked.keys() & set(state.admission.waiting), "asked about, and in the queue"
    assert not state.changes, "changes that nobody saves"
    assert state.noted == {name for name, job in state.jobs.items() if job.saved.is_noteworthy}
    assert state.invalid_jobs == {name for name, job in state.jobs.items() if job.invalid is not None}
    assert all(name in state.catalog for name in state.submitted), "a submission without its job"
    _validate_claims(state)
    _validate_units(state)


def _validate_claims(state: SchedulerState) -> None:
    locks = state.admission.locks
    live = [run for run in state.runs.values() if run.state in LIVE]
    clients = [name for name, client in state.lock_clients.items() if not client.ticket or client.question > 0]
    elsewhere = {holder for holder in locks if isinstance(holder, str)}
    asked = state.fleet.asked.keys()
    assert set(locks) == {run.id for run in live} | set(clients) | elsewhere | asked, "claims outlive their runs"
    assert all(locks.held(run.id) == run.claims for run in live), "a live run without its claims"
    holding = (*(run.id for run in live), *asked)
    holding += tuple(run for run, _attempt in state.admission.left)
    of_users: Counter[str] = Counter(share for run in holding if (share := budget_of(run.job)))
    assert state.admission.waiting.live == of_users, "live runs of users are miscounted"
    locks.validate()


def _validate_units(state: SchedulerState) -> None:
    """Raise AssertionError unless the units in use are exactly the units assigned to runs and clients."""
    used = Counter[tuple[str, int]]()
    runs = [(run.placed, run.claims) for run in state.runs.values()]
    for placed, claims in (*runs, *((client.placed, client.claims) for client in state.lock_clients.values())):
        asked = next((claim.units for claim in claims if claim.resource == CPU), 0)
        for name, numbers in placed:
            share = asked // len(numbers) if name == CPUS else 1
            used.update({(name, number): share for number in numbers})
    for name in {CPUS, *(name for name, _ in used)}:
        for number, load in state.placement.load(name).items():
            assert load == used[name, number], f"{name} {number}: {load} in use, given to {used[name, number]}"
