"""The owner of the job, run or event that a call names. The owner and the caller's rank determine whether the call is
allowed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jobqueued.child.contract.documents import Record
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.control.protocol.access import AccessRule, Rank, Whose
from jobqueued.control.protocol.peers import Peer
from jobqueued.control.protocol.varlink import VarlinkError
from jobqueued.core.records.record import owner_of
from jobqueued.core.scheduler import Scheduler
from jobqueued.model.job import Now
from jobqueued.model.run import RunId
from jobqueued.model.users import Owner, share_of
from jobqueued.state.write_batch import WriteBatch


class Ownership:
    """Finds a job's owner in its file or, if it is in no file, in its saved state and its newest record."""

    def __init__(self, scheduler: Scheduler, batch: WriteBatch) -> None:
        self._scheduler, self._batch = scheduler, batch

    def job(self, name: str, user: Owner | None) -> Whose:
        """Return the owner of a job ID, relative to a user. Raises StoreError.

        An ID without a job or a record counts as the user's own if only this user could use it.
        """
        if (whose := by_name(name, user)) is not Whose.OWN:
            return whose
        owner = self._scheduler.owner_of(name)
        if owner is None:
            newest = self._batch.history(name, 1)
            owner = owner_of(newest[0]) if newest else user
        return Whose.OWN if owner == user else Whose.ANOTHERS

    def run(self, run: RunId, user: Owner | None) -> Whose:
        """Return a run's owner, even if another user now owns its job. Raises StoreError."""
        if (whose := by_name(run.job, user)) is not Whose.OWN:
            return whose
        live = self._scheduler.runs.get(run)
        record = self._batch.record(run) if live is None else None
        owner = live.owner if live is not None else user if record is None else owner_of(record)
        return Whose.OWN if owner == user else Whose.ANOTHERS

    def named(self, parameters: dict[str, Any], names: str, user: Owner | None) -> Whose:
        """Return the owner of the job, run or event that a call names in the parameters `names`. Raises StoreError."""
        for name in names.split():
            if name not in parameters:
                continue
            try:
                return _LOOKS[name](self, parameters[name], user)
            except ValueError:  # not the name of a run
                break
        return Whose.NOBODYS


_LOOKS: dict[str, Callable[[Ownership, str, Owner | None], Whose]] = {
    "job": Ownership.job,
    "run": lambda self, text, user: self.run(RunId.parse(text), user),
    "event": lambda _self, name, user: by_name(name, user),
}


def by_name(name: str, user: Owner | None) -> Whose:
    """Return the owner that the prefix of a job's, event's or lock's name shows."""
    share = share_of(name)
    if not share:
        return Whose.HOST
    return Whose.OWN if user is not None and share == user.share else Whose.ANOTHERS


def refusal(rule: AccessRule, parameters: dict[str, Any], whose: Whose) -> VarlinkError:
    """Return the error for a refused caller; it does not reveal whether another user's job or run exists."""
    if rule.reason:
        return VarlinkError("Refused", {"reason": rule.reason})
    if whose is Whose.ANOTHERS:
        for name, error in (("job", "NoSuchJob"), ("run", "NoSuchRun")):
            if name in parameters:
                return VarlinkError(error, {name: parameters[name]})
    return VarlinkError("PermissionDenied", {"needs": rule.rank.name.lower()})


class Asker(NamedTuple):
    """A caller. `ticket` returns a number for a reply that comes later; `clocks` reads both clocks."""

    peer: Peer
    ticket: Callable[[], int]
    rank: Rank
    ownership: Ownership
    clocks: Callable[[], Now]

    @property
    def now(self) -> Now:
        """The time."""
        return self.clocks()

    @property
    def sees_all(self) -> bool:
        """True if the caller sees everything; False if the caller sees only their own jobs and the public part of the
        host's jobs.
        """
        return self.rank >= Rank.READER

    @property
    def owner(self) -> Owner | None:
        """The user whose jobs and runs the reply is about, or None if the reply is about everything."""
        return None if self.sees_all else self.peer.owner or NO_USER

    def has(self, record: Record) -> bool:
        """Return whether the caller may see a record."""
        return self.sees_all or (self.peer.owner is not None and owner_of(record) == self.peer.owner)

    def has_run(self, run: RunId) -> bool:
        """Return whether the caller may see a run, live or ended. Raises StoreError."""
        return self.sees_all or self.ownership.run(run, self.peer.owner) is Whose.OWN


NO_USER = Owner(-1, "")
"""A user without jobs."""
