"""Commands: the scheduler's decisions for the daemon to carry out.

The order is a promise. All `Save…` commands of one loop turn are one durable commit, made before anything else of that
turn is done; the rest is carried out in the order given. So an intent is on disk before its process can exist, and an
end is on disk before anything acts on it.
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
    """Save this state of a run; `record` comes with the end, and is saved complete."""

    run: Run
    record: Record | None = None


class ForgetRun(NamedTuple):
    """Delete a run that never started.

    `record`: that of the skip before it, which covers its occurrence; None: another host of the fleet has it.
    """

    run: RunId
    record: Record | None


class SaveJob(NamedTuple):
    """Save a job's cursor, numbers, counters and pause."""

    saved: SavedJob


class SaveBoot(NamedTuple):
    """Save that this boot of the host was noticed."""

    boot: str


class SaveHold(NamedTuple):
    """Save that no new run starts on this host, or with None that runs start again."""

    hold: Hold | None


class SaveFleetMark(NamedTuple):
    """Save the last mark of the fleet that this host received; a mark with `age` "" means none."""

    mark: FleetMark


class SavePast(NamedTuple):
    """Save that a job was paused, the host held, or the like: for later questions about that time."""

    past: Past


class SaveIncident(NamedTuple):
    """Save the problem of a subject; None: it has none now."""

    subject: str
    incident: Incident | None


class SaveNotice(NamedTuple):
    """Save a notice that is to be sent."""

    notice: Notice


class ForgetNotice(NamedTuple):
    """Delete a notice that was sent or given up."""

    id: int


class SaveSubmission(NamedTuple):
    """Save a submission by its job's id: its definition as `text`, and the asker's `key` ("": none)."""

    job: str
    text: str
    key: str = ""


class SaveNumber(NamedTuple):
    """Save the number of the last submission in a share ("host", "alice"), so that it is never used again."""

    share: str
    last: int


class ForgetJob(NamedTuple):
    """Delete the saved state of a job that exists nowhere, and its definition if submitted; not its history."""

    job: str


class LookUp(NamedTuple):
    """Ask this host's databases for a user or a group. The answer is AccountKnown, after any time."""

    account: Account


class Launch(NamedTuple):
    """Send the attempt to the launcher. Only after the commit that has the run as `starting`.

    `grant` is the fleet's, if the fleet had to agree to the start.
    """

    run: Run
    job: Job
    record: Record
    grant: Grant = NO_GRANT


class Ask(NamedTuple):
    """Ask the fleet for the occurrence of a run, if it is the fleet's, and for these parts: all or nothing.

    Or for the parts that a with-lock command wants. `key` with the run's job is its name in the fleet. The answer is
    `Granted`, `Denied` or `Taken` with this `number`. For `keep` ns a host may still ask for the occurrence. `spec`:
    the definition that the run requires; "": any. Only after the commit that has the run.
    """

    run: RunId | LockClientId
    key: str
    parts: tuple[Part, ...]
    number: int
    keep: int
    spec: str = ""


class AskToSkip(NamedTuple):
    """Ask the fleet for the occurrences of a job from one UTC second to another, to skip them for all hosts.

    The answer is `MaySkip`, or `Taken` for one of them, or `Published` for the job; after the latter two the host may
    ask again.
    """

    job: str
    first: int
    last: int
    keep: int
    spec: str = ""


class Publish(NamedTuple):
    """Make this definition of a job, named by its hash, the fleet's, if the fleet's was `before` ("": none).

    Only after the commit that has the job's file.
    """

    job: str
    spec: str
    before: str


class Accept(NamedTuple):
    """Accept the fleet's present state as the truth, though the fleet lost a part of it."""


class GiveBack(NamedTuple):
    """Return all claims of a run to the fleet; with a `state` the run ended so, and its occurrence is over.

    Only after the commit that has this.
    """

    job: str
    key: str
    state: str = ""


class Pause(NamedTuple):
    """Pause a job on all hosts of the fleet, or resume it ("").

    `before`: only if its pause was this; "": in any case, and a caller waits for the answer.
    """

    job: str
    text: str
    before: str = ""


class TellOverdue(NamedTuple):
    """Report to the fleet that a job is overdue ("": no longer), if the fleet's last report is `before` ("": none)."""

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
    """Order the attempt's supervisor to end it. Only after the commit that has the run as `stopping`."""

    run: RunId
    attempt: int
    reason: str


class NoteWhole(NamedTuple):
    """Mark the directory of all R's as not emptied since now.

    Only after the commit that has the runs whose start is in doubt because the directory was emptied before.
    """


class RemoveMarks(NamedTuple):
    """Remove R, the attempt's directory. Only after the commit that has its end, and once its record is a file.

    `again`: the attempt never started and is sent again under the same name, so its R is empty and is removed at once.
    `known`: its end was saved before, so no supervisor has just written that file.
    """

    run: RunId
    attempt: int
    again: bool = False
    known: bool = False


class WriteRecord(NamedTuple):
    """Write the record file of a run that no supervisor wrote (skipped, lost). After the commit."""

    record: Record


class Say(NamedTuple):
    """Write one line to the log. `event` is of `journal.VOCABULARY`."""

    event: str
    fields: dict[str, Any]


class MarkLockHolder(NamedTuple):
    """Mark that a with-lock command holds these claims, and which units it got.

    Before the reply: after a restart, the mark is found again.
    """

    client: LockClientId
    claims: tuple[Claim, ...]
    placed: tuple[tuple[str, tuple[int, ...]], ...]
    asked_by: str
    since: int = 0


class ForgetLockClient(NamedTuple):
    """Forget a with-lock command and its mark: it neither has nor wants claims."""

    client: LockClientId


class LookAfter(NamedTuple):
    """Check, some time after the commit, whether anything is to be kept of a job that left its file and never ran."""

    job: str


class EndedElsewhere(NamedTuple):
    """Handle the end of a run on another host of the fleet (`core.recollection.end_of`).

    Only one host notifies people of a job's problem.
    """

    job: str
    state: str


class Reply(NamedTuple):
    """Answer the caller with this ticket: `error` names the varlink error; without one, `value` is the reply.

    `asked`: the act that must survive a restart, in words; "": state.db is not involved.
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
"""Everything that must survive: one durable commit a turn."""

FleetCommand = Ask | AskToSkip | GiveBack | Publish | Accept | Announce | Stand | Pause | TellOverdue
"""Commands to the fleet."""

Command = (
    Save | LookUp | FleetCommand | Launch | Stop | NoteWhole | RemoveMarks | WriteRecord | Say | MarkLockHolder
    | ForgetLockClient | LookAfter | EndedElsewhere | Reply
)  # fmt: skip
