"""Commands: the scheduler's decisions for the daemon to carry out.

The order is guaranteed. All `Save…` commands of one loop turn form one durable commit, which precedes all other
commands of the turn. The daemon executes the other commands in the given order.  Therefore an intent is on disk before
its process can exist, and an end is on disk before any reaction to it.
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
    """Save this state of a run; for an ended run, also save its complete `record`."""

    run: Run
    record: Record | None = None


class ForgetRun(NamedTuple):
    """Delete a run that never started.

    `record`: the record of the preceding skip, which covers the run's occurrence, or None if another host of the fleet
    has the occurrence.
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
    """Save the host's hold; None means that the hold has ended."""

    hold: Hold | None


class SaveFleetMark(NamedTuple):
    """Save the last fleet mark that this host received; if its `age` is "", the host has no mark."""

    mark: FleetMark


class SavePast(NamedTuple):
    """Save a change, such as a job's pause or the host's hold, to answer later questions about the past."""

    past: Past


class SaveIncident(NamedTuple):
    """Save the problem of a subject; None means that the problem is over."""

    subject: str
    incident: Incident | None


class SaveNotice(NamedTuple):
    """Save a notice to send later."""

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
    """Delete the saved state of a job that no longer exists, and a submission's definition, but not the history."""

    job: str


class LookUp(NamedTuple):
    """Look up a user or a group in this host's databases. The answer is an event AccountKnown, which may come much
    later.
    """

    account: Account


class Launch(NamedTuple):
    """Send an attempt to the launcher, after the commit that saves its run as `starting`.

    `grant`: the fleet's grant, if the run needed one.
    """

    run: Run
    job: Job
    record: Record
    grant: Grant = NO_GRANT


class Ask(NamedTuple):
    """Request these parts of locks from the fleet and, for a fleet job's run, the occurrence: all or nothing.

    A with-lock command requests only parts of locks. The run's job and `key` are its name in the fleet. The answer is
    `Granted` or `Denied` with this `number`, or `Taken`. `keep`: how long (ns) hosts may still request the occurrence.
    `spec`: the definition that the run requires, or "" for any. The daemon sends the request only after the commit that
    saves the run.
    """

    run: RunId | LockClientId
    key: str
    parts: tuple[Part, ...]
    number: int
    keep: int
    spec: str = ""


class AskToSkip(NamedTuple):
    """Ask the fleet whether this host may skip, for all hosts, a job's occurrences from one UTC second to another.

    The answer is `MaySkip`, or `Taken` for one of the occurrences, or `Published` for the job. After `Taken` or
    `Published`, the host may retry.
    """

    job: str
    first: int
    last: int
    keep: int
    spec: str = ""


class Publish(NamedTuple):
    """Publish a job's definition (its hash) if the fleet's definition still has this `revision`; 0 means that the fleet
    has none.

    The daemon publishes only after the commit that saves the job's file.
    """

    job: str
    spec: str
    revision: int


class Accept(NamedTuple):
    """Accept the fleet's current state as the truth, although the fleet has lost a part of its state."""


class GiveBack(NamedTuple):
    """Return all of a run's claims to the fleet; a `state` means that the run ended in this state, and its occurrence
    is over.

    The daemon returns the claims only after the commit that saves their end.
    """

    job: str
    key: str
    state: str = ""


class Pause(NamedTuple):
    """Set a job's pause on all hosts of the fleet to `text`; "" resumes the job.

    `before`: the pause that the fleet must still have. If `before` is "", any pause is replaced, and a caller waits for
    the answer.
    """

    job: str
    text: str
    before: str = ""


class TellOverdue(NamedTuple):
    """Report to the fleet that a job is overdue, if the last report still has this `revision` (0 means no report); if
    `text` is "", the job is no longer overdue.
    """

    job: str
    text: str
    revision: int


class Stand(NamedTuple):
    """Join the fleet's queue for a lock at the end (if `joins` is true), or leave the queue."""

    lock: str
    joins: bool


class Announce(NamedTuple):
    """Publish in the fleet which labels this host has, and whether it is on hold."""

    labels: tuple[str, ...]
    is_held: bool


class Stop(NamedTuple):
    """Order a supervisor to stop its attempt, after the commit that saves the run as `stopping`."""

    run: RunId
    attempt: int
    reason: str


class NoteWhole(NamedTuple):
    """Mark the directory of all R as complete, so that an R that is absent from now on was never written.

    The directory was emptied earlier. Therefore the daemon writes this mark only after the commit that saves the runs
    with a doubtful start.
    """


class RemoveMarks(NamedTuple):
    """Remove R, an attempt's directory, after the commit that saves the attempt's end, and once the record file exists.

    `again`: the attempt never started and will be re-sent under the same name, so its R is empty and is removed at
    once. `known`: the end was saved in an earlier turn, so no supervisor has just written the record file.
    """

    run: RunId
    attempt: int
    again: bool = False
    known: bool = False


class WriteRecord(NamedTuple):
    """Write, after the commit, a record file that no supervisor wrote, such as the record of a skipped or lost run."""

    record: Record


class Say(NamedTuple):
    """Write one line to the log.  `event` is one of `messages.VOCABULARY`.

    `removed`: for the end of a run whose job was removed, the part of the job that notices need.
    """

    event: str
    fields: dict[str, Any]
    removed: Job | None = None


class MarkLockHolder(NamedTuple):
    """Write a mark that a with-lock command holds these claims and units.

    The mark is written before the reply, so that a restarted daemon finds the claims.
    """

    client: LockClientId
    claims: tuple[Claim, ...]
    placed: tuple[tuple[str, tuple[int, ...]], ...]
    asked_by: str
    since: int = 0


class ForgetLockClient(NamedTuple):
    """Forget a with-lock command that no longer holds or awaits claims, and remove its mark."""

    client: LockClientId


class LookAfter(NamedTuple):
    """Check a job's history, some time after the commit: the job was removed from its file and never ran, or processes
    that a run had left behind exited. `output`: bytes of this run's output.
    """

    job: str
    output: int = 0


class EndedElsewhere(NamedTuple):
    """Handle the end of a run on another host of the fleet. `state` has the format of
    `core.records.recollection.end_of`.

    This host needs the end, because only one host notifies people of a job's problem.
    """

    job: str
    state: str


class Reply(NamedTuple):
    """Answer the caller with this ticket: `value` is the reply or, if `error` names a varlink error, its parameters.

    `asked`: a description of the request whose effect must survive a restart, or "" if state.db is not involved.
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

RunCommand = Launch | Stop | NoteWhole | RemoveMarks | WriteRecord | LookAfter | EndedElsewhere
"""Commands about runs, their processes and their files."""

Command = Save | LookUp | FleetCommand | RunCommand | Say | MarkLockHolder | ForgetLockClient | Reply
