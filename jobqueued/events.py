"""Events: everything that can make the scheduler decide something."""

from __future__ import annotations

from typing import Any

from jobqueued.accounts import Account
from jobqueued.child.documents import Output
from jobqueued.child.tuples import NamedTuple
from jobqueued.fleet import FleetMark, FleetTrouble, FleetUp, Grant, MaySkip, PauseMade, Returned, SaidOverdue
from jobqueued.model import Claim, Job, LockClientId, Record, Run, RunId, TriggeredBy
from jobqueued.run_states import Unstarted
from jobqueued.saved import Hold
from jobqueued.submission import Resized


class JobsRead(NamedTuple):
    """A job file was accepted: its jobs replace its earlier ones.  `place`: its path, if not in the first directory."""

    file: str
    jobs: tuple[Job, ...]
    place: str = ""


class FileGone(NamedTuple):
    """A job file has vanished for good; its jobs are removed."""

    file: str


class JobsLoaded(NamedTuple):
    """Every job file has been read once since the start, and every live attempt was found again.
    `complete` False: some were refused, or are away, their jobs unknown.  `boot`: the id of this boot, if it is new.
    """

    complete: bool
    boot: str | None = None


class Reloaded(NamedTuple):
    """A person asked for a reload, and every file that had changed was read; or the host has other users or groups."""


class AccountKnown(NamedTuple):
    """The host's databases have answered: `trouble` is why jobs can't run as a user or group, "" where they can."""

    account: Account
    trouble: str


class Woke(NamedTuple):
    """The time that `next_wakeup` named has come (or may have come: the scheduler looks at `now`)."""


class ClockStepped(NamedTuple):
    """The wall clock was set by `step` nanoseconds (negative: backward); `now` is after the step."""

    step: int


class Slept(NamedTuple):
    """The host was suspended for `duration` ns, in which no duration grows: nothing aged, nothing is nearer."""

    duration: int


class RunStarted(NamedTuple):
    """The attempt's process exists."""

    run: RunId
    attempt: int
    pid: int
    started: int


class RunStopping(NamedTuple):
    """The attempt's supervisor began to end it: its time is up, its command left processes behind, or it was asked."""

    run: RunId
    attempt: int
    reason: str


class RunEnded(NamedTuple):
    """The attempt ended and left its record: exit status, rusage and output are exact."""

    run: RunId
    attempt: int
    record: Record


class RunLost(NamedTuple):
    """It may have run, but whoever watched it is gone; `wait_status`, `output`, `telemetry` None: nobody knows."""

    run: RunId
    attempt: int
    reason: str
    wait_status: int | None = None
    output: Output | None = None
    telemetry: dict[str, Any] | None = None


class RunLingers(NamedTuple):
    """Whoever watched it is gone, and something may live: `reason` says what, and the remedy.  RunLost may follow."""

    run: RunId
    attempt: int
    reason: str


class RunsEmptied(NamedTuple):
    """The directory of all R's is that of a new boot, or was emptied: an attempt without R may have started."""


class NeverStarted(NamedTuple):
    """The attempt was sent but certainly never started; `reason` says for people why, "" where nothing was wrong."""

    run: RunId
    attempt: int
    reason: str = ""
    cause: Unstarted = Unstarted.NO_FAULT


class Granted(NamedTuple):
    """The fleet has granted what `Ask` has asked for by this number."""

    run: RunId | LockClientId
    number: int
    grant: Grant


class Denied(NamedTuple):
    """The fleet has not, as others have some of the claims; who has, was told before (`Held`)."""

    run: RunId | LockClientId
    number: int


class FleetPaused(NamedTuple):
    """The fleet has a job paused by now (core/pauses.py has the text); "": it has not."""

    job: str
    text: str


class Taken(NamedTuple):
    """An occurrence is not this host's: another runs it, or it is over, and has ended so; "": nobody knows."""

    job: str
    key: str
    state: str = ""


class HostLost(NamedTuple):
    """An occurrence may be asked for by this key, as the `host` that had it is gone, and had not ended it."""

    job: str
    key: str
    host: str


class Held(NamedTuple):
    """A holder on another host, or one whose turn it is, has these claims of the fleet by now; (): none."""

    holder: str
    claims: tuple[Claim, ...]


class Published(NamedTuple):
    """The fleet goes by this definition of a job by now (`Publish`); "": by none yet."""

    job: str
    spec: str


class HostSeen(NamedTuple):
    """A host of the fleet has a session, with these labels; `store` tells who it is, "": it has none any more."""

    name: str
    store: str
    labels: tuple[str, ...] = ()
    is_held: bool = False


class Ours(NamedTuple):
    """By what the fleet knows this host has an occurrence that is not over, or claims, in this name."""

    job: str
    key: str


AttemptOver = RunEnded | RunLost | NeverStarted
"""What an attempt comes to."""


class Found(NamedTuple):
    """An attempt has an R, and its run's row is older or was never made: the commit before its launch was lost.

    `sent` is the run as it was sent, by its launch spec (R/spec); None: that does not tell."""

    run: RunId
    attempt: int
    sent: Run | None


class Recorded(NamedTuple):
    """A record tells of a run that no commit told of, while what has made it due may be told again."""

    run: Run


class RunAsked(NamedTuple):
    """A person wants a job to run now, maybe once more (`again`, a run of it that has ended).

    `key` was drawn by the asker's side; the answer goes to `ticket`.  `triggered_by` is what the run is told beside.
    """

    ticket: int
    job: str
    asked_by: str
    key: str
    again: RunId | None = None
    triggered_by: TriggeredBy | None = None


class Submitted(NamedTuple):
    """Somebody hands in a job to run once: ``alice/`` where it is to have a number, else ``alice/name``.

    `text` defines it for the next start; `key` is the asker's, "" for none.  The answer goes to `ticket`.
    `failed`: what it is to run after the success of, and has ended without one.
    """

    ticket: int
    job: Job
    text: str
    asked_by: str
    key: str = ""
    failed: tuple[str, ...] = ()


class SubmissionsKept(NamedTuple):
    """The submissions that were not over at the last end, with text and key, and the last numbers by user."""

    kept: tuple[tuple[Job, str, str], ...]
    numbers: dict[str, int]


class AwaitedOver(NamedTuple):
    """The end of a run, or of a submission, that another awaits, as its history has it."""

    name: str
    succeeded: bool


class HistoryGone(NamedTuple):
    """Nothing is left of what a job has done, of one that was nowhere any more when that was seen."""

    job: str


class WithdrawAsked(NamedTuple):
    """Somebody wants nothing more of a submission to start, or it to `stop`; the answer goes to `ticket`."""

    ticket: int
    job: str
    asked_by: str
    stop: bool = False


class Emitted(NamedTuple):
    """A person says that something has happened (`on: {event: …}`), of which runs are told `triggered_by`."""

    ticket: int
    event: str
    asked_by: str
    key: str
    triggered_by: TriggeredBy | None = None


class StopAsked(NamedTuple):
    """A person wants a run to end, or not to start; the answer goes to `ticket`."""

    ticket: int
    run: RunId
    asked_by: str


class RetryAsked(NamedTuple):
    """A person wants the next attempt of a run now, not after its delay; the answer goes to `ticket`."""

    ticket: int
    run: RunId
    asked_by: str


class LostAsked(NamedTuple):
    """A person says that nothing lives of a run that lingers; `over`: what it comes to; the answer goes to `ticket`."""

    ticket: int
    over: AttemptOver


class PathAppeared(NamedTuple):
    """A file of `on: {path: …}` has appeared at `instant` (wall), maybe others with it; `key` as of RunAsked."""

    path: str
    instant: int
    key: str
    file: str


class PauseAsked(NamedTuple):
    """A person wants a job to be paused, maybe until an instant (wall), or resumed; the answer goes to `ticket`."""

    ticket: int
    job: str
    asked_by: str
    pause: bool
    until: int | None = None


class SkipAsked(NamedTuple):
    """A person wants a clock's next occurrence skipped, or the last that was to be so not to be; answer to `ticket`."""

    ticket: int
    job: str
    asked_by: str
    undo: bool = False


class ForgetAsked(NamedTuple):
    """A person expects nothing more (`Job.expect`) of a job that is in no file; the answer goes to `ticket`."""

    ticket: int
    job: str
    asked_by: str


class HoldAsked(NamedTuple):
    """A person puts the host on hold, or releases it (None); the answer goes to `ticket`."""

    ticket: int
    asked_by: str
    hold: Hold | None


class FleetAccepted(NamedTuple):
    """A person takes what the fleet knows now for what has happened; the answer goes to `ticket`."""

    ticket: int
    asked_by: str


class UnderPressure(NamedTuple):
    """Work waits too long for `name` (cpu, memory or io) on this host, and until then (monotonic, ns) at least."""

    name: str
    until: int


class StateUnsaved(NamedTuple):
    """A start could not save its state: nothing new starts, for this reason.  "": it is saved now."""

    reason: str


class LockAsked(NamedTuple):
    """A person's command wants to hold locks as long as it lives; `at_once`: or not at all.  The answer to `ticket`."""

    ticket: int
    client: LockClientId
    claims: tuple[Claim, ...]
    asked_by: str
    at_once: bool = False


class LockFound(NamedTuple):
    """A command that was granted its locks by an earlier scheduler lives on."""

    client: LockClientId
    claims: tuple[Claim, ...]
    placed: tuple[tuple[str, tuple[int, ...]], ...]
    asked_by: str
    since: int = 0


class LockOver(NamedTuple):
    """A command that wanted or had locks has ended, or asks no more."""

    client: LockClientId


class EvictAsked(NamedTuple):
    """A person takes away what a command wants or has.  The answer to `ticket`."""

    ticket: int
    client: LockClientId
    asked_by: str


Event = (
    JobsRead
    | FileGone
    | JobsLoaded
    | Reloaded
    | AccountKnown
    | Woke
    | ClockStepped
    | Slept
    | RunStarted
    | RunStopping
    | RunEnded
    | RunLost
    | RunLingers
    | RunsEmptied
    | NeverStarted
    | FleetUp
    | Granted
    | Denied
    | Taken
    | MaySkip
    | FleetMark
    | FleetTrouble
    | Returned
    | SaidOverdue
    | HostLost
    | Held
    | Ours
    | FleetPaused
    | PauseMade
    | Published
    | HostSeen
    | Found
    | Recorded
    | RunAsked
    | Submitted
    | SubmissionsKept
    | AwaitedOver
    | WithdrawAsked
    | Resized
    | HistoryGone
    | StopAsked
    | RetryAsked
    | LostAsked
    | PauseAsked
    | SkipAsked
    | ForgetAsked
    | HoldAsked
    | FleetAccepted
    | Emitted
    | PathAppeared
    | LockAsked
    | LockFound
    | LockOver
    | EvictAsked
    | UnderPressure
    | StateUnsaved
)
