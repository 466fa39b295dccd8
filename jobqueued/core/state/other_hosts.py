"""The questions of the scheduler about other hosts that run the same jobs, and its reports to them.

`OtherHosts` answers for a host that is alone.  Another policy derives from it and answers every question itself:
core/fleet/fleet_policy.py for a host in a fleet.
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
    """The policy about other hosts, as a host without any has it.

    `turn` is a `core.turn.Turn`, which knows the policy by way of its state, so it can't be named here.
    """

    # the clock

    def is_clock_waiting(self, job: Job) -> bool:
        """Return whether a job's clock waits: other hosts can't be asked, or have another definition of the job."""
        return False

    def hold_up(
        self, turn: Any, job: Job, found: list[int], following: int | None, since: int | None, *, at_once: bool
    ) -> bool:
        """Return whether a job's clock must wait at these due times until other hosts were asked about a skip.

        `following`: the due time after them.  `since` as in catch_up.sort_out.  `at_once`: the clock can't wait.
        """
        return False

    def keep_all(self, job: Job, cursor: int) -> bool:
        """Return whether only other hosts run a job, because this one lacks labels; its clock is at `cursor` now."""
        return bool(job.hosts)

    def sort_out(
        self, job: Job, found: list[int], wall: int, cursor: int, *, complete: bool, since: int | None
    ) -> catch_up.Sorted:
        """Sort out due times as catch_up.sort_out does, and omit those of other hosts; the clock is at `cursor` now."""
        return catch_up.sort_out(job, found, wall, complete=complete, since=since)

    def own_skips(self, job: Job, dues: list[int]) -> list[int]:
        """Return the due times, of these that will not run, that this host skips because no other host does."""
        return dues

    def clock_stepped(self, step: int, mono: int) -> None:
        """Note a step (ns) of the system clock."""

    def slept(self, duration: int, mono: int) -> None:
        """Note that the host slept for this time (ns)."""

    def shares(self, job: Job) -> bool:
        """Return whether a job's occurrences are those of other hosts, too: their keys are the same in all eras."""
        return job.scope is Scope.FLEET

    # runs that have yet to start

    def can_be_asked(self, job: Job) -> bool:
        """Return whether other hosts can be asked now, if runs of a job need their consent."""
        return True

    def has_newer(self, job: Job) -> bool:
        """Return whether other hosts have a newer definition of a job."""
        return False

    def has_begun(self, run: Run) -> bool:
        """Return whether a run stands for one that another host started."""
        return hosts_before(run.key) > 0

    def is_put_off(self, run: Run) -> bool:
        """Return whether other hosts may still ask first for the skip of a run."""
        return False

    def skip_late(self, turn: Any, job: Job, run: Run) -> bool:
        """Ask whether this host may skip a run that missed its start deadline; return False if nobody must be asked."""
        return False

    def skip_all_late(self, turn: Any, job: Job) -> None:
        """Ask about the due runs of a job that no host has started before their start deadline."""

    def end_pause(self, turn: Any, job: str) -> None:
        """End the pause of a job on all hosts, if the one that is over was for all of them."""

    # runs that are about to start, and claims

    def refusal(self, job: Job, run: Run) -> Reason | None:
        """Return why an admitted run can't ever start on this host, or None if it can."""
        return Reason(Code.NO_FLEET) if is_of_fleet(run.key) else None

    def ask(self, turn: Any, run: Run, priority: float, waited_for: list[str]) -> bool:
        """Ask other hosts for an admitted run, or put it back; return False if the run needs nobody's consent."""
        return False

    def note_wait(self, holder: Holder, claims: Claims) -> None:
        """Note the claims that a run or client in the queue waits for."""

    def leave_queue(self, holder: Holder, runs: Mapping[RunId, Run]) -> bool:
        """Note that a run or client left the queue; return whether other hosts were asked for it: it holds claims."""
        return False

    def give_back(self, run: Run, record: Record | None = None) -> None:
        """Give back what other hosts may have granted to a run; with a record the run has ended."""
