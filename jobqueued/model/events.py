"""Events: everything that can make the scheduler decide something."""

from __future__ import annotations

from typing import Any

from jobqueued.child.contract.documents import OutputPlaces, Record, TriggeredBy
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.model.accounts import Account
from jobqueued.model.fleet import FleetMark, FleetTrouble, FleetUp, Grant, MaySkip, PauseMade, Returned, SaidOverdue
from jobqueued.model.job import Claim, Job
from jobqueued.model.run import LockClientId, Run, RunId
from jobqueued.model.run_states import Unstarted
from jobqueued.model.saved import Hold
from jobqueued.model.submission import Resized


class JobsRead(NamedTuple):
    """A job file was accepted: its jobs replace its earlier ones. `place`: its path, if not in the first directory."""

    file: str
    jobs: tuple[Job, ...]
    place: str = ""


class FileGone(NamedTuple):
    """A job file was deleted for good; its jobs are removed."""

    file: str


class JobsLoaded(NamedTuple):
    """Every job file was read, and every live attempt was found. `complete` False: some files were refused or
    unreachable, and their jobs are unknown. `boot`: the id of this boot, if it is new.
    """

    complete: bool
    boot: str | None = None


class Reloaded(NamedTuple):
    """A user asked for a reload, and every changed file was read; or the host has other users or groups."""


class AccountKnown(NamedTuple):
    """The host's databases have answered: `trouble` is why jobs can't run as a user or group, "" if they can."""

    account: Account
    trouble: str


class Woke(NamedTuple):
    """The time that `next_wakeup` returned has come, or may have come: the scheduler checks `now`."""


class ClockStepped(NamedTuple):
    """The wall clock was set by `step` nanoseconds (negative: backward); `now` is after the step."""

    step: int


class Slept(NamedTuple):
    """The host was suspended for `duration` ns. No duration counts that time: no run aged, no timeout came nearer."""

    duration: int


class RunStarted(NamedTuple):
    """The attempt's process exists."""

    run: RunId
    attempt: int
    pid: int
    started: int


class RunStopping(NamedTuple):
    """The supervisor began to end the attempt: its time is up, processes were left behind, or a user asked."""

    run: RunId
    attempt: int
    reason: str


class RunEnded(NamedTuple):
    """The attempt ended and left its record: exit status, rusage and output are exact."""

    run: RunId
    attempt: int
    record: Record


class RunLost(NamedTuple):
    """The attempt may have run, but its supervisor exited; `wait_status`, `output` and `telemetry` None: unknown."""

    run: RunId
    attempt: int
    reason: str
    wait_status: int | None = None
    output: OutputPlaces | None = None
    telemetry: dict[str, Any] | None = None


class RunLingers(NamedTuple):
    """The attempt's supervisor exited, and a process may live; `reason` includes the remedy. RunLost may follow."""

    run: RunId
    attempt: int
    reason: str


class RunsEmptied(NamedTuple):
    """The directory of all R's is that of a new boot, or was emptied: an attempt without R may have started."""


class NeverStarted(NamedTuple):
    """The attempt was sent but certainly never started; `reason`: why, for people; "": nothing was wrong."""

    run: RunId
    attempt: int
    reason: str = ""
    cause: Unstarted = Unstarted.NO_FAULT


class Granted(NamedTuple):
    """The fleet has granted the request of `Ask` with this number."""

    run: RunId | LockClientId
    number: int
    grant: Grant


class Denied(NamedTuple):
    """The fleet denied the request, because others have some of the claims; an earlier `Held` named them."""

    run: RunId | LockClientId
    number: int


class FleetPaused(NamedTuple):
    """The fleet's pause of a job is now this (core/jobs/pauses.py has the text's format); "": it has none."""

    job: str
    text: str


class Taken(NamedTuple):
    """An occurrence is not this host's: another host runs it, or it is over and ended in this state ("": unknown)."""

    job: str
    key: str
    state: str = ""


class HostLost(NamedTuple):
    """An occurrence may be requested by this key: the `host` that had it failed before the end."""

    job: str
    key: str
    host: str


class Held(NamedTuple):
    """A holder on another host, or the next one in the queue, now has these claims of the fleet; (): none."""

    holder: str
    claims: tuple[Claim, ...]


class Published(NamedTuple):
    """The fleet now uses this definition of a job (`Publish`); "": none yet."""

    job: str
    spec: str


class HostSeen(NamedTuple):
    """A host of the fleet has a session, with these labels; `store` identifies it, "": its session ended."""

    name: str
    store: str
    labels: tuple[str, ...] = ()
    is_held: bool = False


class Ours(NamedTuple):
    """By the fleet's records this host has an unfinished occurrence, or claims, under this name."""

    job: str
    key: str


AttemptOver = RunEnded | RunLost | NeverStarted
"""The possible ends of an attempt."""


class Found(NamedTuple):
    """An attempt has an R, but its run's row is older or missing: the commit before its launch was lost. `sent`: the
    run in its launch spec (R/spec), or None if that is unreadable.
    """

    run: RunId
    attempt: int
    sent: Run | None


class Recorded(NamedTuple):
    """A record has a run that no commit has; its trigger may be reported again."""

    run: Run


class RunAsked(NamedTuple):
    """A user wants a job to run now, or to repeat a run of it that has ended (`again`). The caller's program drew
    `key`; the answer goes to `ticket`. The run gets `triggered_by` as additional facts.
    """

    ticket: int
    job: str
    asked_by: str
    key: str
    again: RunId | None = None
    triggered_by: TriggeredBy | None = None


class Submitted(NamedTuple):
    """A user submits a job to run once: ``alice/`` to get a number, or ``alice/name``.

    `text` defines it for the next start; `key` is the user's, "" for none. The answer goes to `ticket`. `failed`: runs
    or submissions whose success it awaits, but which ended without success.
    """

    ticket: int
    job: Job
    text: str
    asked_by: str
    key: str = ""
    failed: tuple[str, ...] = ()


class SubmissionsKept(NamedTuple):
    """The unfinished submissions of the last daemon, with text and key, and the last numbers by user."""

    kept: tuple[tuple[Job, str, str], ...]
    numbers: dict[str, int]


class AwaitedOver(NamedTuple):
    """The end of a run, or of a submission, that another awaits, from its history."""

    name: str
    succeeded: bool


class HistoryGone(NamedTuple):
    """Nothing is left of a job's history; the job existed nowhere when that was noticed."""

    job: str


class WithdrawAsked(NamedTuple):
    """A user wants no further run of a submission to start; `stop`: its live runs end, too; answer to `ticket`."""

    ticket: int
    job: str
    asked_by: str
    stop: bool = False


class Emitted(NamedTuple):
    """A user reports an event (`on: {event: …}`); its runs get `triggered_by`. The answer goes to `ticket`."""

    ticket: int
    event: str
    asked_by: str
    key: str
    triggered_by: TriggeredBy | None = None


class StopAsked(NamedTuple):
    """A user wants a run to end, or not to start; the answer goes to `ticket`."""

    ticket: int
    run: RunId
    asked_by: str


class RetryAsked(NamedTuple):
    """A user wants the next attempt of a run now, not after its delay; the answer goes to `ticket`."""

    ticket: int
    run: RunId
    asked_by: str


class LostAsked(NamedTuple):
    """A user reports that no process of a lingering run lives; `over`: the attempt's end; answer to `ticket`."""

    ticket: int
    over: AttemptOver


class PathAppeared(NamedTuple):
    """A file of `on: {path: …}` appeared at `instant` (wall), perhaps with others; `key` as in RunAsked."""

    path: str
    instant: int
    key: str
    file: str


class PauseAsked(NamedTuple):
    """A user wants a job paused, perhaps until an instant (wall), or resumed; the answer goes to `ticket`."""

    ticket: int
    job: str
    asked_by: str
    pause: bool
    until: int | None = None


class SkipAsked(NamedTuple):
    """A user wants the clock's next occurrence skipped, or the last such skip undone; the answer goes to `ticket`."""

    ticket: int
    job: str
    asked_by: str
    undo: bool = False


class ForgetAsked(NamedTuple):
    """A user expects nothing more (`Job.expect`) of a job that is in no file; the answer goes to `ticket`."""

    ticket: int
    job: str
    asked_by: str


class HoldAsked(NamedTuple):
    """A user puts the host on hold, or releases it (None); the answer goes to `ticket`."""

    ticket: int
    asked_by: str
    hold: Hold | None


class FleetAccepted(NamedTuple):
    """A user accepts the fleet's present state as the truth; the answer goes to `ticket`."""

    ticket: int
    asked_by: str


class UnderPressure(NamedTuple):
    """Work waits too long for `name` (cpu, memory or io) on this host, at least until this time (monotonic, ns)."""

    name: str
    until: int


class StateUnsaved(NamedTuple):
    """A start could not save its state, so no new run starts, for this reason; "": the state is saved now."""

    reason: str


class LockAsked(NamedTuple):
    """A command wants to hold locks as long as it lives; `at_once`: now or not at all. The answer goes to `ticket`."""

    ticket: int
    client: LockClientId
    claims: tuple[Claim, ...]
    asked_by: str
    at_once: bool = False


class LockFound(NamedTuple):
    """A command that was granted its locks by an earlier scheduler still lives."""

    client: LockClientId
    claims: tuple[Claim, ...]
    placed: tuple[tuple[str, tuple[int, ...]], ...]
    asked_by: str
    since: int = 0


class LockOver(NamedTuple):
    """A command that wanted or had locks ended, or withdrew."""

    client: LockClientId


class EvictAsked(NamedTuple):
    """A user takes away the locks or the request of a command; the answer goes to `ticket`."""

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
