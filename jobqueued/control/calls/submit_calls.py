"""The call Submit. A user's submission runs as the user, if users may submit; root's submissions belong to the host."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from jobqueued.child.contract.trust import name_of
from jobqueued.control.protocol.access import AccessRule, Rank, Whose
from jobqueued.control.protocol.at_lists import AtLists
from jobqueued.control.protocol.call_rate import CallRate
from jobqueued.control.protocol.declaration import method
from jobqueued.control.protocol.ownership import Asker, Ownership
from jobqueued.control.protocol.peers import Access
from jobqueued.control.protocol.varlink import VarlinkError
from jobqueued.core.scheduler import Scheduler
from jobqueued.core.state.submitted import share_in
from jobqueued.jobdir.cron_tables import takes_mails
from jobqueued.jobfile import submissions
from jobqueued.jobfile.submissions import ParsedSubmission, Wrong
from jobqueued.model.events import AwaitedOver, Event, SubmissionsKept, Submitted
from jobqueued.model.job import Job
from jobqueued.model.run import RunId
from jobqueued.model.run_states import RunState
from jobqueued.model.submission import After
from jobqueued.model.users import Owner, UserLimits
from jobqueued.settings.paths import Paths
from jobqueued.settings.settings import Settings
from jobqueued.state import record_files
from jobqueued.state.db.store import Store
from jobqueued.state.write_batch import WriteBatch

_MOST_AWAITED = 1000


class Submitters:
    """The users who may submit under `access`, `limits` and `at_lists`, and their number of calls in this minute."""

    def __init__(self, access: Access, limits: UserLimits, call_rate: CallRate, at_lists: AtLists) -> None:
        self._access, self._limits, self._call_rate = access, limits, call_rate
        self.at_lists = at_lists

    def owner(self, asker: Asker) -> Owner | None:
        """Return the user that the caller's submission runs as, or None for the host. Raises VarlinkError."""
        peer = asker.peer
        if asker.rank is Rank.ROOT:
            return None
        name = peer.name_or_uid
        if name.isdigit():
            raise VarlinkError("Refused", {"reason": f"this host has no user with the uid {name}"})
        limits = self._limits
        allowed = limits.allow is None or _has(limits.allow, name, peer.gids)
        if not allowed or _has(limits.deny, name, peer.gids) or peer.uid == self._access.notifier:
            reason = f"{name} may not submit jobs here; see `users: {{allow, deny}}` in jobqueued.yaml"
            raise VarlinkError("Refused", {"reason": reason})
        return Owner(peer.uid, name)

    def count(self, asker: Asker) -> None:
        """Count a call. Raises Wrong if the caller made too many calls in this minute."""
        if asker.rank is not Rank.ROOT and self._call_rate.take(asker.peer.uid, asker.now.mono):
            most = self._limits.calls
            accepted = f"at most {most} (`users: {{calls: {most}}}` in jobqueued.yaml)"
            raise Wrong(f"found too many calls within a minute; expected {accepted}")


class SubmitCalls:
    """Accepts submissions. `keep` stores a request that no commit has saved, and returns a warning for the caller."""

    def __init__(
        self,
        scheduler: Scheduler,
        batch: WriteBatch,
        happen: Callable[[Event], None],
        config: Settings,
        paths: Paths,
        submitters: Submitters,
        keep: Callable[[str], str],
    ) -> None:
        self._scheduler, self._batch, self._happen, self._config = scheduler, batch, happen, config
        self._logs, self._mails = paths.logs, takes_mails(config)
        self._submitters, self._keep = submitters, keep

    @method("Submit", AccessRule(Rank.ROOT, own=True))
    def submit(self, asked: dict[str, Any], asker: Asker) -> dict[str, Any] | None:
        """Accept a submission, and reply later. Reply at once only if the submission was accepted before."""
        document, owner = asked["submission"], self._submitters.owner(asker)
        if document.get("tool") == "at":
            self._submitters.at_lists.check(owner)
        try:
            self._submitters.count(asker)
            found = submissions.read(document, owner, self._config.users, self._config.zone, mails=self._mails)
            self._submitters.at_lists.check_later(owner, found.job.at, asker.now.wall)
            by = asker.peer.name if owner is None else owner.name
            if found.key and (known := self._known(found, asker.ownership)):
                if not self._scheduler.is_submitted(known):
                    self._check_whole(known, found.job.as_submission.runs)
                is_saved = known not in self._batch.submissions
                unsaved = None if is_saved else self._keep(f"{known}, submitted by {by}")
                return {"job": known, "is_new": False, "unsaved": unsaved}
            job, failed = self._awaiting(found.job, asker.ownership)
        except Wrong as wrong:
            raise VarlinkError("Refused", {"reason": str(wrong)}) from None
        self._happen(Submitted(asker.ticket(), job, found.text, by, found.key, failed))
        return None

    def _known(self, asked: ParsedSubmission, ownership: Ownership) -> str | None:
        """Return the earlier submission with the same key, or None if no job or record of it is saved.

        Raises Wrong.
        """
        share, owner = share_in(asked.job.id), asked.job.owner
        known = self._scheduler.submission_of(share, asked.key) or self._batch.submission_of(share, asked.key)
        if known and owner is not None and ownership.job(known, owner) is not Whose.OWN:
            raise Wrong(f"key: {asked.key} belongs to an earlier user named {owner.name}; use another key")
        return known

    def _check_whole(self, known: str, runs: int) -> None:
        """Raise Wrong if nothing is saved about the last runs of a submission that the scheduler does not have.

        A restart lost these runs if state.db was lost, or could not be written. `runs`: number of runs in the repeated
        request; it counts only while no run has ended, because records contain the number.
        """
        records = self._batch.history(known, 1)
        runs = records[0].get("submission_runs", 1) if records else runs
        newest = [record["number"] + record.get("count", 1) - 1 for record in records]
        live = [run.number for run in self._scheduler[known].unfinished]
        if (last := max([*newest, *live], default=runs)) < runs:
            lost = f"run {runs}" if last + 1 == runs else f"runs {last + 1} to {runs}"
            why = (
                f"submission {known} has this key, but nothing is saved about its {lost}, which a restart may have lost"
            )
            raise Wrong(f"{why}; to run them: submit them with another key")

    def _awaiting(self, job: Job, ownership: Ownership) -> tuple[Job, tuple[str, ...]]:
        """Return the job with the rest of its `after`, and the names that ended without success. Raises Wrong."""
        if not job.id.endswith("/") and self._has_history(job.id):
            raise Wrong(f"an earlier {job.id} has history; use another name, or none")
        if len(job.as_submission.after) > _MOST_AWAITED:
            raise Wrong(f"after: found {len(job.as_submission.after)}; expected at most {_MOST_AWAITED}")
        left, failed = list[After](), list[str]()
        for after in dict.fromkeys(job.as_submission.after):
            _check_owner(job, after, ownership)
            if self._is_going_on(after.name):
                left.append(after)
            elif (state := has_succeeded(self._batch, after.name)) is None:
                raise Wrong(f"after: {after.name} does not exist, or its record has expired")
            elif after.result == "success" and not state:
                left.append(after)
                failed.append(after.name)
        return replace(job, submission=job.as_submission._replace(after=tuple(left))), tuple(failed)

    def _has_history(self, name: str) -> bool:
        """Return whether a job has runs in state.db, or in record files, which survive a loss of state.db."""
        return bool(self._batch.history(name, 1) or record_files.numbers(self._logs, name))

    def _is_going_on(self, name: str) -> bool:
        if "@" not in name:
            return self._scheduler.is_submitted(name)
        return RunId.parse(name) in self._scheduler.runs


def _check_owner(job: Job, after: After, ownership: Ownership) -> None:
    """Raise Wrong unless the job's user owns the run or submission in `after`.

    Do not reveal whether another user's run or submission exists.
    """
    if job.owner is None:
        return
    if "@" in after.name:
        whose = ownership.run(RunId.parse(after.name), job.owner)
    else:
        whose = ownership.job(after.name, job.owner)
    if whose is not Whose.OWN:
        raise Wrong(f"after: found {after.name}; expected submissions of {job.owner.name}")


def has_succeeded(batch: WriteBatch, name: str) -> bool | None:
    """Return whether an ended run or submission succeeded, or None if it is unknown."""
    if "@" in name:
        record = batch.record(RunId.parse(name))
        states = [] if record is None else [record["state"]]
    else:
        states = batch.states(name)
    return all(state == RunState.SUCCEEDED for state in states) if states else None


def kept(store: Store, config: Settings) -> tuple[SubmissionsKept, list[str]]:
    """Return the submissions that were unfinished at the daemon's last stop, and their problems. Raises StoreError."""
    found, troubles, mails = [], [], takes_mails(config)
    saved, numbers = store.submissions()
    for it in saved:
        try:
            found.append(
                (submissions.read_again(it.text, it.job, config.users, config.zone, mails=mails), it.text, it.key)
            )
        except Wrong as wrong:
            troubles.append(f"the submission {it.job} will not run, because it can't be read: {wrong}")
    return SubmissionsKept(tuple(found), numbers), troubles


def unheard(scheduler: Scheduler, jobs: Iterable[Job], batch: WriteBatch) -> Iterable[AwaitedOver]:
    """Yield the ends that submissions wait for and that happened while no scheduler was running."""
    names = dict.fromkeys(after.name for job in jobs if job.submission for after in job.submission.after)
    for name in names:
        if name in scheduler.catalog or ("@" in name and RunId.parse(name) in scheduler.runs):
            continue
        yield AwaitedOver(name, bool(has_succeeded(batch, name)))


def _has(named: Iterable[str], name: str, gids: Iterable[int]) -> bool:
    """Return whether these names of users, or of groups with an @, include a user."""
    named = set(named)
    if name in named:
        return True
    groups = {each for each in named if each.startswith("@")}
    return bool(groups) and any(f"@{name_of(gid, '/etc/group')}" in groups for gid in gids)
