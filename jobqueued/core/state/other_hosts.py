"""The interface between the scheduler and other hosts that run the same jobs.

`OtherHosts` is the policy of a host without a fleet. A fleet host's policy (core/fleet/fleet_policy.py) derives from
it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobqueued.child.contract.documents import Record
from jobqueued.child.contract.reasons import Code, Reason
from jobqueued.core.hosts.fleet_state import hosts_before, is_of_fleet
from jobqueued.model.job import Job, Scope
from jobqueued.model.run import Holder, Run, RunId
from jobqueued.queue.locks import Claims
from jobqueued.timing import catch_up


class OtherHosts:
    """The policy of a host without a fleet.

    `turn` is a `core.state.turn.Turn`. The annotation is Any because the module of `Turn` imports this module.
    """

    # the clock

    def is_clock_waiting(self, job: Job) -> bool:
        """Return whether a job's clock waits because other hosts are unreachable or have a newer definition."""
        return False

    def hold_up(
        self, turn: Any, job: Job, found: list[int], following: int | None, since: int | None, *, at_once: bool
    ) -> bool:
        """Return whether a job's clock must wait at these due times until other hosts answer a question about a skip.

        `following`: the next due time after these due times. `since` is the same as in catch_up.sort_out. `at_once`:
        whether the clock can't wait.
        """
        return False

    def keep_all(self, job: Job, cursor: int) -> bool:
        """Return whether only other hosts run a job, because this host does not have its labels; the job's clock is at
        `cursor` now.
        """
        return bool(job.hosts)

    def sort_out(
        self, job: Job, found: list[int], wall: int, cursor: int, *, complete: bool, since: int | None
    ) -> catch_up.Sorted:
        """Sort due times as in catch_up.sort_out, and omit other hosts' due times; the job's clock is at `cursor`
        now.
        """
        return catch_up.sort_out(job, found, wall, complete=complete, since=since)

    def own_skips(self, job: Job, dues: list[int]) -> list[int]:
        """Return the due times that this host must skip because no other host skips them; none of `dues` will run."""
        return dues

    def clock_stepped(self, step: int, mono: int) -> None:
        """Record a step (ns) of the system clock."""

    def slept(self, duration: int, mono: int) -> None:
        """Record that the host slept for this time (ns)."""

    def shares(self, job: Job) -> bool:
        """Return whether a job's occurrences belong to a whole fleet, so that their keys are the same in all eras."""
        return job.scope is Scope.FLEET

    # runs that have yet to start

    def can_be_asked(self, job: Job) -> bool:
        """Return whether a job's runs need no consent from other hosts, or whether these hosts are reachable now."""
        return True

    def has_newer(self, job: Job) -> bool:
        """Return whether other hosts have a newer definition of a job."""
        return False

    def has_begun(self, run: Run) -> bool:
        """Return whether a run stands for a run that another host started."""
        return hosts_before(run.key) > 0

    def is_put_off(self, run: Run) -> bool:
        """Return whether this host must still wait before it requests the skip of a run, because other hosts come
        first.
        """
        return False

    def skip_late(self, turn: Any, job: Job, run: Run) -> bool:
        """Ask other hosts whether this host may skip a run that missed its start deadline; return False if no consent
        is needed.
        """
        return False

    def skip_all_late(self, turn: Any, job: Job) -> None:
        """Ask other hosts whether this host may skip the due runs of a job that missed their start deadlines."""

    def end_pause(self, turn: Any, job: str) -> None:
        """End a job's expired pause on all hosts, if it was a pause for all hosts."""

    # runs that are about to start, and claims

    def refusal(self, job: Job, run: Run) -> Reason | None:
        """Return why an admitted run can never start on this host, or None if it can."""
        return Reason(Code.NO_FLEET) if is_of_fleet(run.key) else None

    def ask(self, turn: Any, run: Run, priority: float, waited_for: list[str]) -> bool:
        """Ask other hosts about an admitted run, or put it back; return False if the run needs no consent."""
        return False

    def note_wait(self, holder: Holder, claims: Claims) -> None:
        """Record the claims that a run or client in the queue waits for."""

    def leave_queue(self, holder: Holder, runs: Mapping[RunId, Run]) -> bool:
        """Record that a run or client left the queue; return whether it holds claims because a question to other hosts
        was open.
        """
        return False

    def give_back(self, state: Any, run: Run, record: Record | None = None) -> None:
        """Give back the occurrence and claims that were granted to a run; with a record, the run has ended.

        `state` is a `core.state.scheduler_state.SchedulerState`.
        """
