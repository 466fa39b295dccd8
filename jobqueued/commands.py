"""Commands: what the scheduler wants done.

Order is the promise.  All `Save…` commands of one loop turn are one durable commit, made before anything else of that
turn is done; the rest is carried out in the order given.  So an intent is on disk before its process can exist, and an
end is on disk before anybody acts on it.
"""

from __future__ import annotations

from typing import Any

from jobqueued.accounts import Account
from jobqueued.child.tuples import NamedTuple
from jobqueued.fleet import NO_GRANT, FleetMark, Grant, Part
from jobqueued.model import Claim, Job, LockClientId, Record, Run, RunId
from jobqueued.saved import Hold, Incident, Notice, Past, SavedJob


class SaveRun(NamedTuple):
    """Durably keep this state of a run; `record` comes with the end and is kept whole."""

    run: Run
    record: Record | None = None


class ForgetRun(NamedTuple):
    """Durably forget a run that never started.

    `record`: that of the skip before it, which covers its occurrence; None: another host of the fleet has that.
    """

    run: RunId
    record: Record | None


class SaveJob(NamedTuple):
    """Durably keep a job's cursor, numbers, counters and pause."""

    saved: SavedJob


class SaveBoot(NamedTuple):
    """Durably keep that this boot of the host was noticed."""

    boot: str


class SaveHold(NamedTuple):
    """Durably keep that nothing new starts on this host; None: that it does again."""

    hold: Hold | None


class SaveFleetMark(NamedTuple):
    """Save the mark of the fleet that this host knows; one without an age: there is none."""

    mark: FleetMark


class SavePast(NamedTuple):
    """Durably keep that a job was paused, the host held, or the like: for questions about that time."""

    past: Past


class SaveIncident(NamedTuple):
    """Durably keep what is wrong with a subject; None: nothing any more."""

    subject: str
    incident: Incident | None


class SaveNotice(NamedTuple):
    """Durably keep a notice that is to be sent."""

    notice: Notice


class ForgetNotice(NamedTuple):
    """Durably forget a notice: it was sent, or is given up."""

    id: int


class SaveSubmission(NamedTuple):
    """Durably keep a submission by its job's id: the `text` that defines it, and the asker's `key` ("": none)."""

    job: str
    text: str
    key: str = ""


class SaveNumber(NamedTuple):
    """Durably keep the number of the last submission in a share ("host", "alice"): it is never given again."""

    share: str
    last: int


class ForgetJob(NamedTuple):
    """Durably forget where a job stood that is nowhere any more, and its definition, if it was submitted; not its
    history.
    """

    job: str


class LookUp(NamedTuple):
    """Ask this host's databases for a user or a group; AccountKnown is the answer, which may take any time."""

    account: Account


class Launch(NamedTuple):
    """Send the attempt to the launcher.  Only after the commit that holds the run as `starting`.

    `grant` is the fleet's, where that has a say in the start.
    """

    run: Run
    job: Job
    record: Record
    grant: Grant = NO_GRANT


class Ask(NamedTuple):
    """Ask the fleet for the occurrence of a run, where that is the fleet's, and for these parts: all or nothing.

    Or for those of a person's command.  `key` with the run's job names it in the fleet.  `Granted`, `Denied` or `Taken`
    is the answer, with this `number`.  For `keep` ns a host may come to the occurrence.  `spec`: the definition by
    which it may run; "": by any.  Only after the commit that holds the run.
    """

    run: RunId | LockClientId
    key: str
    parts: tuple[Part, ...]
    number: int
    keep: int
    spec: str = ""


class AskToSkip(NamedTuple):
    """Ask the fleet for the occurrences of a job from one UTC second to another, to skip them for all hosts.

    `MaySkip` is the answer; or `Taken`, of one of them, or `Published`, of the job, after which it may be asked again.
    """

    job: str
    first: int
    last: int
    keep: int
    spec: str = ""


class Publish(NamedTuple):
    """Have the fleet go by this definition of a job, which its hash tells from others, if it went by `before` until now
    ("": by none).

    Only after the commit that holds the job's file.
    """

    job: str
    spec: str
    before: str


class Accept(NamedTuple):
    """Take what the fleet has now for what has happened, though it has forgotten some of that."""


class GiveBack(NamedTuple):
    """Give back all claims of a run to the fleet; with a `state` it has ended so, and its occurrence is over.

    Only after the commit that holds that.
    """

    job: str
    key: str
    state: str = ""


class Pause(NamedTuple):
    """Have a job paused on all hosts of the fleet ("": resumed), if its pause was `before`; "": whatever it was, and
    somebody waits for that.
    """

    job: str
    text: str
    before: str = ""


class TellOverdue(NamedTuple):
    """Tell the fleet that a job is overdue ("": no more), if what it was told of that is `before` ("": nothing)."""

    job: str
    text: str
    before: str


class Stand(NamedTuple):
    """Stand in the fleet's line for a lock, at its end (`joins`), or leave it."""

    lock: str
    joins: bool


class Announce(NamedTuple):
    """Let the fleet know which labels this host has, and whether it is on hold."""

    labels: tuple[str, ...]
    is_held: bool


class Stop(NamedTuple):
    """Tell the attempt's supervisor to end it.  Only after the commit that holds the run as `stopping`."""

    run: RunId
    attempt: int
    reason: str


class NoteWhole(NamedTuple):
    """Note that nobody has emptied the directory of all R's since.  Only after the commit that holds whose starts are
    in doubt, as somebody has done so before.
    """


class RemoveMarks(NamedTuple):
    """Remove R, the attempt's directory.  Only after the commit that holds its end, and once its record is a file.

    `again`: the attempt never started and is sent again under the same name, so its R holds nothing and goes at once.
    `known`: its end was known before, so nobody has just written that file.
    """

    run: RunId
    attempt: int
    again: bool = False
    known: bool = False


class WriteRecord(NamedTuple):
    """Write the record file of a run that no supervisor wrote (skipped, lost).  After the commit."""

    record: Record


class Say(NamedTuple):
    """One line for the journal.  `event` is of `journal.VOCABULARY`."""

    event: str
    fields: dict[str, Any]


class MarkLockHolder(NamedTuple):
    """Mark that a person's command holds these claims, and which units it was given.

    Before it is told: what is marked is found again.
    """

    client: LockClientId
    claims: tuple[Claim, ...]
    placed: tuple[tuple[str, tuple[int, ...]], ...]
    asked_by: str
    since: int = 0


class ForgetLockClient(NamedTuple):
    """Forget a person's command, and its mark: it has no claims, and wants none any more."""

    client: LockClientId


class LookAfter(NamedTuple):
    """Look, some time after the commit, if anything is to be kept of a job that has left its file and never ran."""

    job: str


class EndedElsewhere(NamedTuple):
    """Take the end of a run on another host of the fleet into account (`core.recollection.end_of`): of one trouble of a
    job people are told by one host.
    """

    job: str
    state: str


class Reply(NamedTuple):
    """Answer the asker with this ticket: `error` names the varlink error, else `value` is the reply.

    `asked`: what was carried out and is to survive a restart, for people; "": state.db has nothing to do with it.
    """

    ticket: int
    value: dict[str, Any]
    error: str | None = None
    asked: str = ""


Save = (
    SaveRun | ForgetRun | SaveJob | SaveBoot | SaveHold | SaveFleetMark | SavePast | SaveIncident | SaveNotice
    | ForgetNotice | SaveSubmission | SaveNumber | ForgetJob
)  # fmt: skip
"""What has to survive: one durable commit a turn."""

FleetCommand = Ask | AskToSkip | GiveBack | Publish | Accept | Announce | Stand | Pause | TellOverdue
"""What the fleet is told."""

Command = (
    Save | LookUp | FleetCommand | Launch | Stop | NoteWhole | RemoveMarks | WriteRecord | Say | MarkLockHolder
    | ForgetLockClient | LookAfter | EndedElsewhere | Reply
)  # fmt: skip
