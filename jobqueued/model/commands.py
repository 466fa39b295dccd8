"""Commands: the scheduler's decisions for the daemon to carry out.

The order is a promise. All `Save…` commands of one loop turn are one durable commit, which precedes all other commands
of the turn; the daemon executes these in the given order.  Therefore an intent is on disk before its process can exist,
and an end is on disk before any reaction to it.
"""

from __future__ import annotations

from typing import Any

from jobqueued.child.contract.documents import Record
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.model.accounts import Account
from jobqueued.model.fleet import NO_GRANT, FleetMark, Grant, Part
from jobqueued.model.job import Claim, Job
from jobqueued.model.run import LockClientId, Run, RunId
from jobqueued.model.saved import Hold, Incident, Notice, Past, SavedJob


class SaveRun(NamedTuple):
    """Save this state of a run; an ended run comes with its complete `record`."""

    run: Run
    record: Record | None = None


class ForgetRun(NamedTuple):
    """Delete a run that never started.

    `record`: the record of the preceding skip, which covers its occurrence, or None if another host of the fleet has
    it.
    """

    run: RunId
    record: Record | None


class SaveJob(NamedTuple):
    """Save a job's cursor, numbers, counters and pause."""

    saved: SavedJob


class SaveBoot(NamedTuple):
    """Save that this boot of the host was handled."""

    boot: str


class SaveHold(NamedTuple):
    """Save the hold of the host, or with None its end."""

    hold: Hold | None


class SaveFleetMark(NamedTuple):
    """Save the last mark of the fleet that this host received; a mark with `age` "" means none."""

    mark: FleetMark


class SavePast(NamedTuple):
    """Save an act, such as a pause of a job or a hold of the host, for later questions about its time."""

    past: Past


class SaveIncident(NamedTuple):
    """Save the problem of a subject; None means that the problem is over."""

    subject: str
    incident: Incident | None


class SaveNotice(NamedTuple):
    """Save a notice that is to be sent."""

    notice: Notice


class ForgetNotice(NamedTuple):
    """Delete a notice that was sent or given up."""

    id: int


class SaveSubmission(NamedTuple):
    """Save a submission under its job ID: its definition as `text`, and the user's `key`, or ""."""

    job: str
    text: str
    key: str = ""


class SaveNumber(NamedTuple):
    """Save the number of the last submission in a share ("host", "alice"), so that it is never used again."""

    share: str
    last: int


class ForgetJob(NamedTuple):
    """Delete the saved state of a job that no longer exists, and its definition if submitted, but not its history."""

    job: str


class LookUp(NamedTuple):
    """Look up a user or a group in this host's databases.  The answer is an event AccountKnown, after any time."""

    account: Account


class Launch(NamedTuple):
    """Send the attempt to the launcher, after the commit that has the run as `starting`.

    `grant`: the fleet's grant, if the run needed one.
    """

    run: Run
    job: Job
    record: Record
    grant: Grant = NO_GRANT


class Ask(NamedTuple):
    """Ask the fleet for the occurrence of a run, if it is a fleet job's, and for these parts of locks: all or nothing.

    A with-lock command asks only for parts.  The run's job and `key` are its name in the fleet.  The answer is
    `Granted` or `Denied` with this `number`, or `Taken`.  A host may still ask for the occurrence for `keep` ns.
    `spec`: the definition that the run requires, or "" for any.  Only after the commit that has the run.
    """

    run: RunId | LockClientId
    key: str
    parts: tuple[Part, ...]
    number: int
    keep: int
    spec: str = ""


class AskToSkip(NamedTuple):
    """Ask the fleet for the occurrences of a job from one UTC second to another, to skip them for all hosts.

    The answer is `MaySkip`, or `Taken` for one of the occurrences, or `Published` for the job; after `Taken` and
    `Published` the host may ask again.
    """

    job: str
    first: int
    last: int
    keep: int
    spec: str = ""


class Publish(NamedTuple):
    """Publish a job's definition, represented by its hash, if the fleet's definition is still `before`, or "" for none.

    Only after the commit that has the job's file.
    """

    job: str
    spec: str
    before: str


class Accept(NamedTuple):
    """Accept the fleet's present state as the truth, although the fleet lost a part of it."""


class GiveBack(NamedTuple):
    """Give all claims of a run back to the fleet; with a `state`, the run ended in it, and its occurrence is over.

    Only after the commit that has the end of the claims.
    """

    job: str
    key: str
    state: str = ""


class Pause(NamedTuple):
    """Set the pause of a job on all hosts of the fleet to `text`, or resume the job with "".

    `before`: the pause that the fleet must still have, or "" for any pause; then a caller waits for the answer.
    """

    job: str
    text: str
    before: str = ""


class TellOverdue(NamedTuple):
    """Report to the fleet that a job is overdue, or with "" no longer is, if the last report is still `before`."""

    job: str
    text: str
    before: str


class Stand(NamedTuple):
    """Join the end of the fleet's queue for a lock (`joins`), or leave the queue."""

    lock: str
    joins: bool


class Announce(NamedTuple):
    """Publish in the fleet which labels this host has, and whether it is on hold."""

    labels: tuple[str, ...]
    is_held: bool


class Stop(NamedTuple):
    """Order an attempt's supervisor to stop it, after the commit that has the run as `stopping`."""

    run: RunId
    attempt: int
    reason: str


class NoteWhole(NamedTuple):
    """Mark the directory of all R as not emptied from now on.

    Only after the commit that has the runs with a doubtful start, because the directory was emptied earlier.
    """


class RemoveMarks(NamedTuple):
    """Remove R, the attempt's directory, after the commit that has its end, and once its record file exists.

    `again`: the attempt never started and is sent again under the same name, so its R is empty and is removed at once.
    `known`: the end was saved earlier, so no supervisor has just written the record file.
    """

    run: RunId
    attempt: int
    again: bool = False
    known: bool = False


class WriteRecord(NamedTuple):
    """Write the record file of a run that no supervisor wrote, such as a skipped or lost run, after the commit."""

    record: Record


class Say(NamedTuple):
    """Write one line to the log.  `event` is one of `messages.VOCABULARY`."""

    event: str
    fields: dict[str, Any]


class MarkLockHolder(NamedTuple):
    """Write a mark that a with-lock command holds these claims and units.

    The mark precedes the reply, so that the claims are found after a restart.
    """

    client: LockClientId
    claims: tuple[Claim, ...]
    placed: tuple[tuple[str, tuple[int, ...]], ...]
    asked_by: str
    since: int = 0


class ForgetLockClient(NamedTuple):
    """Forget a with-lock command and its mark: it neither holds nor awaits claims."""

    client: LockClientId


class LookAfter(NamedTuple):
    """Check, some time after the commit, whether a job that left its file and never ran has history to keep."""

    job: str


class EndedElsewhere(NamedTuple):
    """Handle the end of a run on another host of the fleet (`state` as in `core.records.recollection.end_of`).

    Only one host notifies people of a job's problem.
    """

    job: str
    state: str


class Reply(NamedTuple):
    """Answer the caller with this ticket: `error` names the varlink error; without it, `value` is the reply.

    `asked`: a description of the act that must survive a restart, or "" if state.db is not involved.
    """

    ticket: int
    value: dict[str, Any]
    error: str | None = None
    asked: str = ""


Save = (
    SaveRun
    | ForgetRun
    | SaveJob
    | SaveBoot
    | SaveHold
    | SaveFleetMark
    | SavePast
    | SaveIncident
    | SaveNotice
    | ForgetNotice
    | SaveSubmission
    | SaveNumber
    | ForgetJob
)
"""The commands that one durable commit per turn executes."""

FleetCommand = Ask | AskToSkip | GiveBack | Publish | Accept | Announce | Stand | Pause | TellOverdue
"""Commands to the fleet."""

Command = (
    Save | LookUp | FleetCommand | Launch | Stop | NoteWhole | RemoveMarks | WriteRecord | Say | MarkLockHolder
    | ForgetLockClient | LookAfter | EndedElsewhere | Reply
)  # fmt: skip
