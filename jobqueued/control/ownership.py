"""The owner of the job, the run or the event that a call names: it decides beside the rank of who asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jobqueued.child.tuples import NamedTuple
from jobqueued.control.access import Rule, Whose
from jobqueued.control.peers import Peer
from jobqueued.control.varlink import VarlinkError
from jobqueued.core.record import owner_of
from jobqueued.core.scheduler import Scheduler
from jobqueued.model import Record, RunId
from jobqueued.state.write_batch import WriteBatch
from jobqueued.users import Owner, share_of


class Ownership:
    """By the job as it is; once that is in no file, by what is saved of it, and by its newest record."""

    def __init__(self, scheduler: Scheduler, batch: WriteBatch) -> None:
        self._scheduler, self._batch = scheduler, batch

    def job(self, name: str, user: Owner | None) -> Whose:
        """That of a job id, to a user; StoreError.  What nobody has and would be the user's is the user's."""
        if (whose := by_name(name, user)) is not Whose.OWN:
            return whose
        owner = self._scheduler.owner_of(name)
        if owner is None:
            newest = self._batch.history(name, 1)
            owner = owner_of(newest[0]) if newest else user
        return Whose.OWN if owner == user else Whose.ANOTHERS

    def run(self, run: RunId, user: Owner | None) -> Whose:
        """That of a run, whoever has its job by now; StoreError."""
        if (whose := by_name(run.job, user)) is not Whose.OWN:
            return whose
        live = self._scheduler.runs.get(run)
        record = self._batch.record(run) if live is None else None
        owner = live.owner if live is not None else user if record is None else owner_of(record)
        return Whose.OWN if owner == user else Whose.ANOTHERS

    def named(self, parameters: dict[str, Any], names: str, user: Owner | None) -> Whose:
        """That of what a call names by one of these parameters; StoreError."""
        for name in names.split():
            if name not in parameters:
                continue
            try:
                return _LOOKS[name](self, parameters[name], user)
            except ValueError:  # no name of a run
                break
        return Whose.NOBODYS


_LOOKS: dict[str, Callable[[Ownership, str, Owner | None], Whose]] = {
    "job": Ownership.job,
    "run": lambda self, text, user: self.run(RunId.parse(text), user),
    "event": lambda _self, name, user: by_name(name, user),
}


def by_name(name: str, user: Owner | None) -> Whose:
    """The owner that the name of a job, an event or a lock tells."""
    share = share_of(name)
    if not share:
        return Whose.HOST
    return Whose.OWN if user is not None and share == user.share else Whose.ANOTHERS


def refusal(rule: Rule, parameters: dict[str, Any], whose: Whose) -> VarlinkError:
    """The answer to who may not have this: of another user's it is not even told whether it is there."""
    if rule.reason:
        return VarlinkError("Refused", {"reason": rule.reason})
    if whose is Whose.ANOTHERS:
        for name, error in (("job", "NoSuchJob"), ("run", "NoSuchRun")):
            if name in parameters:
                return VarlinkError(error, {name: parameters[name]})
    return VarlinkError("PermissionDenied")


class Asker(NamedTuple):
    """A caller: `sees_all` is told of everything, others of the host's what is for everybody, and of their own jobs."""

    peer: Peer
    ticket: Callable[[], int]
    sees_all: bool
    ownership: Ownership

    @property
    def owner(self) -> Owner | None:
        """The user whose own the answer is about; None: it is about all."""
        return None if self.sees_all else self.peer.owner or NO_USER

    def has(self, record: Record) -> bool:
        """Tell whether a record is one that who asks may have."""
        return self.sees_all or (self.peer.owner is not None and owner_of(record) == self.peer.owner)

    def has_run(self, run: RunId) -> bool:
        """Tell whether a run before its end, or its record, is one that who asks may have; StoreError."""
        return self.sees_all or self.ownership.run(run, self.peer.owner) is Whose.OWN


NO_USER = Owner(-1, "")
"""One who has no jobs."""
