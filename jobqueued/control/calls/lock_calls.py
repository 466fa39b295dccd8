"""Calls about locks: requests for locks, lists of holders, and evictions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jobqueued.control.calls.lock_processes import LockProcesses
from jobqueued.control.protocol.access import AccessRule, Rank, Whose
from jobqueued.control.protocol.declaration import method
from jobqueued.control.protocol.ownership import Asker, by_name
from jobqueued.control.protocol.varlink import VarlinkError
from jobqueued.control.views import views
from jobqueued.core.scheduler import Scheduler
from jobqueued.core.with_lock.lock_clients import LockClaim
from jobqueued.jobfile.tree.words import is_name
from jobqueued.model.events import Event, EvictAsked, LockAsked
from jobqueued.model.fleet import FLEET
from jobqueued.model.job import CPU, MEMORY, Claim
from jobqueued.model.run import LockClientId, RunId

_MOST_CLAIMS = 1000


class LockCalls:
    """Answers calls about locks; requests become events."""

    def __init__(self, scheduler: Scheduler, processes: LockProcesses, happen: Callable[[Event], None]) -> None:
        self._scheduler, self._processes, self._happen = scheduler, processes, happen

    @method("Lock", AccessRule(Rank.OPERATOR))
    def ask_for(self, asked: dict[str, Any], asker: Asker) -> None:
        """Add a process to the queue for a lock; reply when the process has the lock."""
        name, units = asked["lock"], asked.get("units") or 0
        resource, is_of_fleet = f":{name}", f":{name}".startswith(FLEET)
        if is_of_fleet:
            name = resource.removeprefix(FLEET)
        if not is_name(name) or name in (CPU, MEMORY):
            raise VarlinkError("org.varlink.service.InvalidParameter", {"parameter": "lock"})
        if units < 0 or (units and asked.get("shared")):
            raise VarlinkError("org.varlink.service.InvalidParameter", {"parameter": "units"})
        if is_of_fleet and asked.get("shared"):
            raise VarlinkError(
                "Refused", {"reason": "a fleet lock can't be shared; hold it alone, or some of its units"}
            )
        claim = Claim(resource if is_of_fleet else name, units, exclusive=not (units or asked.get("shared")))
        try:
            client = self._processes.come(asker.peer)
        except ProcessLookupError:
            raise VarlinkError(
                "Refused",
                {"reason": "the daemon can't see the calling process: it exited, or is in another PID namespace"},
            ) from None
        except OSError as error:
            reason = f"cannot watch the calling process: {error.strerror}"
            raise VarlinkError("Refused", {"reason": reason}) from None
        number = asker.ticket()
        self._processes.waits(client, number)
        self._happen(LockAsked(number, client, (claim,), asker.peer.name, bool(asked.get("no_wait"))))

    @method("Locks", AccessRule(Rank.READER, own=True))
    def list_claims(self, asked: dict[str, Any], asker: Asker) -> dict[str, Any]:
        """Return the claims of runs and processes that hold locks or wait for locks, sorted by lock.

        Callers who are not readers see only locks that their own jobs use. Another user's claim appears without its
        details.
        """
        name, own = asked.get("lock"), None if asker.sees_all else self._used_by(asker)
        claims = [
            each for each in self._scheduler.lock_claims() if name in (None, each.claim.resource.removeprefix(":"))
        ]
        claims = [each for each in claims if own is None or each.claim.resource in own]
        claims.sort(key=lambda each: (each.claim.resource, not each.held))
        known = set[str]() if name is None or claims else self._known() if own is None else own
        names = {it.removeprefix(":") for it in known}
        return {
            "claims": [self._row(each, asker) for each in claims[:_MOST_CLAIMS]],
            "more": max(0, len(claims) - _MOST_CLAIMS),
            "known": [] if name in names else sorted(names)[:_MOST_CLAIMS],
        }

    def _used_by(self, asker: Asker) -> set[str]:
        """Return the locks that the caller's jobs list, and the used locks with the caller's prefix."""
        jobs = self._scheduler.catalog.of_owner(asker.peer.owner)
        listed = {claim.resource for job in jobs for claim in job.locks}
        used = {each.claim.resource for each in self._scheduler.lock_claims()}
        return listed | {name for name in used if by_name(name, asker.peer.owner) is Whose.OWN}

    def _row(self, each: LockClaim, asker: Asker) -> dict[str, Any]:
        name = self._scheduler.name_for(each.holder, asker.owner)
        if asker.sees_all or (isinstance(each.holder, RunId) and asker.has_run(each.holder)):
            return views.lock_claim(each, *self._process_of(each))
        nobody = each._replace(asked_by=None, since=None)
        return {**views.lock_claim(nobody, None, None), "holder": name}

    def _known(self) -> set[str]:
        """Return the names of all locks in use or in jobs, and of all resources with a limit."""
        listed = {claim.resource for job in self._scheduler.catalog for claim in job.locks}
        used = {each.claim.resource for each in self._scheduler.lock_claims()}
        limits = self._scheduler.limits
        return (listed | used | limits.resources.keys() | limits.of_fleet.keys()) - {CPU, MEMORY}

    def _process_of(self, claim: LockClaim) -> tuple[int | None, str | None]:
        if isinstance(claim.holder, LockClientId):
            return self._processes.command_of(claim.holder) or (None, None)
        if isinstance(claim.holder, str):  # the run is on another host
            return None, None
        job = self._scheduler.catalog.get(claim.holder.job)
        words = None if job is None else job.command if isinstance(job.command, str) else " ".join(job.command)
        return self._scheduler.runs[claim.holder].pid, words

    @method("Evict", AccessRule(Rank.OPERATOR))
    def evict(self, asked: dict[str, Any], asker: Asker) -> None:
        """Release the locks that a process holds, and remove it from the queues of locks."""
        try:
            client = LockClientId.parse(asked["holder"])
        except ValueError:
            run = _run(asked["holder"])
            reason = f"{run} is a run and keeps its locks until it ends; to end it: jobqueuectl stop {run}"
            raise VarlinkError("Refused", {"reason": reason}) from None
        self._happen(EvictAsked(asker.ticket(), client, asker.peer.name))

    def left(self, ticket: int) -> None:
        """Release the locks of a process that left before its reply."""
        if (over := self._processes.left(ticket)) is not None:
            self._happen(over)


def _run(text: str) -> RunId:
    try:
        return RunId.parse(text)
    except ValueError:
        raise VarlinkError("org.varlink.service.InvalidParameter", {"parameter": "holder"}) from None
