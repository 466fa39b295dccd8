"""Calls about submissions. Allowed users submit jobs that run as themselves; root's are the host's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from jobqueued.child.trust import name_of
from jobqueued.control.access import Rank, Whose
from jobqueued.control.ownership import Ownership
from jobqueued.control.peers import Access, Peer
from jobqueued.control.user_budget import UserBudget
from jobqueued.control.varlink import Method, VarlinkError
from jobqueued.core.scheduler import Scheduler
from jobqueued.core.submitted import share_in
from jobqueued.events import AwaitedOver, Event, SubmissionsKept, Submitted, WithdrawAsked
from jobqueued.jobdir.cron_tables import takes_mails
from jobqueued.jobfile import submissions
from jobqueued.jobfile.submissions import Asked, Wrong
from jobqueued.model import LIVE, Job, Now, RunId, RunState, to_text
from jobqueued.paths import Paths
from jobqueued.settings import Settings
from jobqueued.state import record_files
from jobqueued.state.faults import StoreError
from jobqueued.state.store import Store
from jobqueued.state.write_batch import WriteBatch
from jobqueued.submission import MOST_RUNS, After, Resized
from jobqueued.users import Owner, UserLimits

Ticket = Callable[[], int]
_MOST_AWAITED = 1000
_MOST_TOLD = 10_000


class SubmitCalls:
    """Accepts submissions, withdraws and lists them. `mails`: this host can send mail."""

    def __init__(
        self, scheduler: Scheduler, batch: WriteBatch, happen: Callable[[Event], None], access: Access,
        config: Settings, paths: Paths, now: Callable[[], Now], budget: UserBudget, keep: Callable[[str], str],
    ) -> None:  # fmt: skip
        """`keep` returns what it means that a request is in no commit yet."""
        self._scheduler, self._batch, self._happen = scheduler, batch, happen
        self._etc, self._logs = paths.host / "etc", paths.logs
        self._budget, self._keep, self._ownership = budget, keep, Ownership(scheduler, batch)
        self._access, self._config, self._now, self.mails = access, config, now, takes_mails(config)
        self._waiters: dict[str, list[int]] = {}
        """Job → tickets that wait for its end."""
        self.reply: Callable[[int, dict[str, Any], str | None], None]

    def of(self, peer: Peer, ticket: Ticket) -> Mapping[str, Method]:
        """Return the methods, which the table of access.py restricts."""
        return {
            "Submit": lambda p: self._submit(p["submission"], peer, ticket),
            "Withdraw": lambda p: self._withdraw(p["job"], bool(p.get("stop")), peer, ticket),
            "Resize": lambda p: self._resize(p["job"], p["runs"], peer, ticket),
            "Submissions": lambda _: self._told(peer),
            "Await": lambda p: self._await(p["job"], ticket),
        }

    def _submit(self, document: dict[str, Any], peer: Peer, ticket: Ticket) -> dict[str, Any] | None:
        owner = self._owner(peer)
        if document.get("tool") == "at" and owner is not None and not _at_allows(self._etc, owner.name):
            raise VarlinkError("NotAllowed", {"user": owner.name, "program": "at"})
        try:
            self._count(peer)
            asked = submissions.read(document, owner, self._config.users, self._config.zone, mails=self.mails)
            if owner is not None and self._is_for_at(asked.job) and _at_allows(self._etc, owner.name) is False:
                raise VarlinkError("NotAllowed", {"user": owner.name, "program": "at"})
            asker = peer.name if owner is None else owner.name
            if asked.key and (known := self._known(asked)):
                is_saved = known not in self._batch.submissions
                unsaved = None if is_saved else self._keep(f"{known}, submitted by {asker}")
                return {"job": known, "is_new": False, "unsaved": unsaved}
            job, failed = self._awaiting(asked.job)
        except Wrong as wrong:
            raise VarlinkError("Refused", {"reason": str(wrong)}) from None
        self._happen(Submitted(ticket(), job, asked.text, asker, asked.key, failed))
        return None

    def _is_for_at(self, job: Job) -> bool:
        """Return whether a user's job starts later, as a job of at(1), and jobqueued.yaml names no users."""
        return self._config.users.allow is None and job.at is not None and job.at > self._now().wall

    def _owner(self, peer: Peer) -> Owner | None:
        """Return the user as whom it runs, if that user may submit, or None for the host's jobs."""
        if self._access.rank(peer) is Rank.ROOT:
            return None
        name = _name(peer)
        if name.isdigit():
            raise VarlinkError("Refused", {"reason": f"this host has no user with the uid {name}"})
        limits = self._config.users
        allowed = limits.allow is None or _has(limits.allow, name, peer.gids)
        if not allowed or _has(limits.deny, name, peer.gids) or peer.uid == self._access.notifier:
            reason = f"{name} may not submit jobs here; see `users: {{allow, deny}}` in jobqueued.yaml"
            raise VarlinkError("Refused", {"reason": reason})
        return Owner(peer.uid, name)

    def _count(self, peer: Peer) -> None:
        """Count a call. Raises Wrong if there were too many in this minute."""
        if self._access.rank(peer) is not Rank.ROOT and self._budget.take(peer.uid, self._now().mono):
            most = self._config.users.calls
            accepted = f"at most {most} (`users: {{calls: {most}}}` in jobqueued.yaml)"
            raise Wrong(f"found too many calls within a minute; accepted: {accepted}")

    def _known(self, asked: Asked) -> str | None:
        """Return the earlier submission with this key, as long as anything of it is saved, or None. Raises Wrong."""
        share, owner = share_in(asked.job.id), asked.job.owner
        known = self._scheduler.submission_of(share, asked.key) or self._batch.submission_of(share, asked.key)
        if known and owner is not None and self._ownership.job(known, owner) is not Whose.OWN:
            raise Wrong(f"key: {asked.key} belongs to an earlier user named {owner.name}; use another key")
        return known

    def _awaiting(self, job: Job) -> tuple[Job, tuple[str, ...]]:
        """Return the job with what it must wait for, and what ended without the needed success. Raises Wrong."""
        assert job.submission is not None
        if not job.id.endswith("/") and self._has_history(job.id):
            raise Wrong(f"an earlier {job.id} has history; use another name, or none")
        if len(job.submission.after) > _MOST_AWAITED:
            raise Wrong(f"after: found {len(job.submission.after)}; accepted: at most {_MOST_AWAITED}")
        left, failed = list[After](), list[str]()
        for after in dict.fromkeys(job.submission.after):
            self._check_owner(job, after)
            if self._is_going_on(after.name):
                left.append(after)
            elif (state := self.ended(after.name)) is None:
                raise Wrong(f"after: {after.name} does not exist, or its record has expired")
            elif after.result == "success" and not state:
                left.append(after)
                failed.append(after.name)
        return replace(job, submission=job.submission._replace(after=tuple(left))), tuple(failed)

    def _has_history(self, name: str) -> bool:
        """Return whether a job has runs, in state.db or, if state.db was rewritten, only in record files."""
        return bool(self._batch.history(name, 1) or record_files.numbers(self._logs, name))

    def _check_owner(self, job: Job, after: After) -> None:
        """Raise Wrong unless the job's user owns what it waits for. Do not reveal whether another user's job exists."""
        if job.owner is None:
            return
        if "@" in after.name:
            whose = self._ownership.run(RunId.parse(after.name), job.owner)
        else:
            whose = self._ownership.job(after.name, job.owner)
        if whose is not Whose.OWN:
            raise Wrong(f"after: found {after.name}; accepted: submissions of {job.owner.name}")

    def _is_going_on(self, name: str) -> bool:
        if "@" not in name:
            return self._scheduler.is_submitted(name)
        return RunId.parse(name) in self._scheduler.runs

    def ended(self, name: str) -> bool | None:
        """Return whether an ended run or submission succeeded, or None if it is unknown."""
        if "@" in name:
            record = self._batch.record(RunId.parse(name))
            states = [] if record is None else [record["state"]]
        else:
            states = self._batch.states(name)
        return all(state == RunState.SUCCEEDED for state in states) if states else None

    def _withdraw(self, name: str, stop: bool, peer: Peer, ticket: Ticket) -> None:
        job = self._scheduler.catalog.get(name)
        if job is None or job.submission is None:
            raise VarlinkError("NoSuchJob", {"job": name})
        self._happen(WithdrawAsked(ticket(), name, _name(peer), stop))

    def _resize(self, name: str, runs: int, peer: Peer, ticket: Ticket) -> None:
        job = self._scheduler.catalog.get(name)
        if job is None or job.submission is None:
            raise VarlinkError("NoSuchJob", {"job": name})
        if job.submission.runs == 1:
            raise VarlinkError("Refused", {"reason": f"{name} has only one run; accepted: a submission with --array"})
        if not 1 <= runs <= MOST_RUNS:
            raise VarlinkError("Refused", {"reason": f"found {runs}; accepted: a number from 1 to {MOST_RUNS}"})
        text = submissions.resized(self._scheduler.text_of(name), runs)
        self._happen(Resized(ticket(), name, runs, text, _name(peer)))

    def _await(self, name: str, ticket: Ticket) -> dict[str, Any] | None:
        """Return the end of a submission; of an unfinished one reply at its end."""
        job = self._scheduler.catalog.get(name)
        if job is not None and job.submission is not None:
            self._waiters.setdefault(name, []).append(ticket())
            return None
        return self._end(name)

    def _end(self, name: str) -> dict[str, Any]:
        """Return the numbers of its runs, and the record of the first that did not succeed, or else of the last."""
        runs, succeeded, telling = self._batch.tally(name)
        if not runs:
            raise VarlinkError("NoSuchJob", {"job": name})
        return {"runs": runs, "succeeded": succeeded, "record": self._batch.record(RunId(name, telling))}

    def left(self, ticket: int) -> None:
        """Forget a caller that left before its reply."""
        for name, tickets in list(self._waiters.items()):
            if ticket in tickets:
                tickets.remove(ticket)
            if not tickets:
                del self._waiters[name]

    def answer(self) -> None:
        """Reply to callers whose submission is over."""
        for name in [name for name in self._waiters if not self._scheduler.is_submitted(name)]:
            for ticket in self._waiters.pop(name):
                try:
                    self.reply(ticket, self._end(name), None)
                except VarlinkError as error:
                    self.reply(ticket, error.parameters, error.name)
                except StoreError as error:
                    self.reply(ticket, {"reason": str(error)}, "Refused")

    def _may_see(self, job: Job, peer: Peer) -> bool:
        return self._access.rank(peer) >= Rank.READER or _owns(job, peer)

    def _told(self, peer: Peer) -> dict[str, Any]:
        """Return the unfinished submissions of this peer, or all if the peer may see them."""
        jobs = [job for job in map(self._scheduler.catalog.get, self._scheduler.submitted) if job is not None]
        seen = [job for job in jobs if self._may_see(job, peer)]
        return {
            "submissions": [self._row(job, peer) for job in seen[:_MOST_TOLD]],
            "more": max(0, len(seen) - _MOST_TOLD),
        }

    def _row(self, job: Job, peer: Peer) -> dict[str, Any]:
        """Return the row of an unfinished submission; only its user and root get its script, which may have secrets."""
        assert job.submission is not None
        state = self._scheduler[job.id]
        start = self._scheduler.next_start(job.id)
        runs = [self._scheduler.runs[run] for run in state.unfinished]
        queued = min((run.queued for run in runs), default=state.saved.cursor)
        return {
            "job": job.id, "user": "root" if job.owner is None else job.owner.name,
            "at": None if start is None else to_text(start), "submitted": to_text(queued), "tags": list(job.tags),
            "running": sum(run.state in LIVE for run in runs), "left": job.submission.runs - state.saved.last_number,
            "waiting": sum(run.state not in LIVE for run in runs),
            "stdin": job.stdin if _owns(job, peer) or peer.uid == 0 else "",
        }  # fmt: skip


def _name(peer: Peer) -> str:
    """Return the caller's name, or the number of a user without one."""
    return str(peer.uid) if peer.owner is None else peer.owner.name


def kept(store: Store, limits: UserLimits, timezone: str, *, mails: bool) -> tuple[SubmissionsKept, list[str]]:
    """Return the submissions that were unfinished at the last stop, and their problems. Raises StoreError."""
    found, troubles = [], []
    saved, numbers = store.submissions()
    for it in saved:
        try:
            found.append((submissions.read_again(it.text, it.job, limits, timezone, mails=mails), it.text, it.key))
        except Wrong as wrong:
            troubles.append(f"the submission {it.job} will not run, because it can't be read: {wrong}")
    return SubmissionsKept(tuple(found), numbers), troubles


def unheard(scheduler: Scheduler, jobs: Iterable[Job], ended: Callable[[str], bool | None]) -> Iterable[AwaitedOver]:
    """Yield what submissions wait for and what ended while no scheduler was running."""
    names = dict.fromkeys(after.name for job in jobs if job.submission for after in job.submission.after)
    for name in names:
        if name in scheduler.catalog or ("@" in name and RunId.parse(name) in scheduler.runs):
            continue
        yield AwaitedOver(name, bool(ended(name)))


def _at_allows(etc: Path, name: str) -> bool | None:
    """Return whether at.allow or, if there is none, at.deny lets a user use at(1), or None if neither exists.

    An unreadable list lets no one use it.
    """
    for file, listed in (("at.allow", True), ("at.deny", False)):
        try:
            lines = (etc / file).read_text(errors="replace").splitlines()
        except FileNotFoundError:
            continue
        except OSError:
            return False
        return (name in map(str.strip, lines)) is listed
    return None


def _owns(job: Job, peer: Peer) -> bool:
    return peer.uid in (0, os.geteuid()) if job.owner is None else job.owner == peer.owner


def _has(named: Iterable[str], name: str, gids: Iterable[int]) -> bool:
    """Return whether names, with an @ for groups, include a user."""
    named = set(named)
    if name in named:
        return True
    groups = {each for each in named if each.startswith("@")}
    return bool(groups) and any(f"@{name_of(gid, '/etc/group')}" in groups for gid in gids)
