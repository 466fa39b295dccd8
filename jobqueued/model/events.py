"""Events: the inputs of the scheduler."""

from __future__ import annotations

from typing import Any

from jobqueued.child.contract.documents import OutputPlaces, Record, TriggeredBy
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.model.accounts import Account
from jobqueued.model.fleet import (
    FleetMark,
    FleetReachability,
    FleetTrouble,
    Grant,
    MaySkip,
    PauseMade,
    Returned,
    SaidOverdue,
)
from jobqueued.model.job import Claim, Job
from jobqueued.model.run import LockClientId, Run, RunId
from jobqueued.model.run_states import Unstarted
from jobqueued.model.saved import Hold
from jobqueued.model.submission import Resized


class JobsRead(NamedTuple):
    """A job file was accepted; its jobs replace the file's earlier jobs. `place`: the file's path if it is not in the
    first directory, or "".
    """

    file: str
    jobs: tuple[Job, ...]
    place: str = ""


class FileGone(NamedTuple):
    """A job file was deleted for good; its jobs are removed."""

    file: str


class JobsLoaded(NamedTuple):
    """Every job file was read, and every live attempt was found.

    `complete` is False if jobs are unknown because some files were refused or unreachable.  `boot`: the ID of this boot
    if it is new, or None.
    """

    complete: bool
    boot: str | None = None


class Reloaded(NamedTuple):
    """A user requested a reload, and every changed file was read; or the host's users or groups changed."""


class AccountKnown(NamedTuple):
    """The host's databases answered: `trouble` is why jobs can't run as a user or group, or "" if they can."""

    account: Account
    trouble: str


class Woke(NamedTuple):
    """The time that `next_wakeup` returned has passed or may have passed; the scheduler checks `now`."""


class ClockStepped(NamedTuple):
    """The wall clock was set forward by `step` ns, or backward if `step` is negative; `now` is after the step."""

    step: int


class Slept(NamedTuple):
    """The host was suspended for `duration` ns. This time counts for nothing: no run aged, and no timeout came
    nearer.
    """

    duration: int


class RunStarted(NamedTuple):
    """The attempt's process exists."""

    run: RunId
    attempt: int
    pid: int
    started: int


class RunStopping(NamedTuple):
    """The supervisor is stopping the attempt, because its time is up, because processes were left behind, or because a
    user requested the stop.
    """

    run: RunId
    attempt: int
    reason: str


class RunEnded(NamedTuple):
    """The attempt ended and left its record: exit status, rusage and output are exact."""

    run: RunId
    attempt: int
    record: Record


class RunLost(NamedTuple):
    """The attempt may have run, but its supervisor exited.  `wait_status`, `output` and `telemetry` are None if
    unknown.
    """

    run: RunId
    attempt: int
    reason: str
    wait_status: int | None = None
    output: OutputPlaces | None = None
    telemetry: dict[str, Any] | None = None


class RunLingers(NamedTuple):
    """The attempt's supervisor exited, but a process of the attempt may be alive; `reason` includes the remedy. RunLost
    may follow.
    """

    run: RunId
    attempt: int
    reason: str


class LeftBehind(NamedTuple):
    """A user's attempt ended, but processes that it left and its supervisor are alive; with `over`, they exited.

    `output`: bytes of the run's output, with `over`.
    """

    run: RunId
    attempt: int
    over: bool = False
    output: int = 0


class RunsEmptied(NamedTuple):
    """The directory of all R was emptied or is new since a boot, so an attempt without an R may have started."""


class NeverStarted(NamedTuple):
    """The attempt was sent but certainly never started; `reason` is the error for people, or "" if no error
    occurred.
    """

    run: RunId
    attempt: int
    reason: str = ""
    cause: Unstarted = Unstarted.NO_FAULT


class Granted(NamedTuple):
    """The fleet granted the `Ask` request with this number."""

    run: RunId | LockClientId
    number: int
    grant: Grant


class Denied(NamedTuple):
    """The fleet denied the request, because other hosts hold some of the claims; an earlier `Held` named these hosts'
    runs.
    """

    run: RunId | LockClientId
    number: int


class FleetPaused(NamedTuple):
    """The fleet's pause of a job changed to `text` (in the format of core/jobs/pauses.py), or ended (`text` is "")."""

    job: str
    text: str


class Taken(NamedTuple):
    """An occurrence is not available to this host: it ended in this `state`, or another host runs it (`state` is
    "").
    """

    job: str
    key: str
    state: str = ""


class HostLost(NamedTuple):
    """This host may request an occurrence under this key, because the `host` that had the occurrence failed before the
    end.
    """

    job: str
    key: str
    host: str


class Held(NamedTuple):
    """A run on another host, or the next run in the fleet's queue, now has these claims of the fleet; () means none."""

    holder: str
    claims: tuple[Claim, ...]


class Published(NamedTuple):
    """The fleet now uses this definition of a job (see `Publish`); "" means that it has none yet.

    `revision`: the revision that wrote the definition, or 0 without a definition.
    """

    job: str
    spec: str = ""
    revision: int = 0


class HostSeen(NamedTuple):
    """A host of the fleet has a session and these labels. `store` identifies the host's state; "" means that the
    session ended.
    """

    name: str
    store: str
    labels: tuple[str, ...] = ()
    is_held: bool = False


class Ours(NamedTuple):
    """According to the fleet, this host has an unfinished occurrence or claims under this name."""

    job: str
    key: str


AttemptOver = RunEnded | RunLost | NeverStarted
"""The possible ends of an attempt."""


class Found(NamedTuple):
    """An attempt has an R, but its run's row is older or missing, because the commit before the launch was lost.

    `sent`: the run in its launch spec (R/spec), or None if the spec is unreadable.
    """

    run: RunId
    attempt: int
    sent: Run | None


class Recorded(NamedTuple):
    """A record shows a run that no commit contains; the cause of this run may be reported a second time."""

    run: Run


class RunAsked(NamedTuple):
    """A user wants a job to run now, or wants to repeat the job's ended run `again`.

    `key`: a random key from the caller's program. The answer goes to `ticket`. `triggered_by`: details about the cause,
    for the run.
    """

    ticket: int
    job: str
    asked_by: str
    key: str
    again: RunId | None = None
    triggered_by: TriggeredBy | None = None


class Submitted(NamedTuple):
    """A user submits a job to run once; the job's ID is ``alice/name``, or ``alice/`` to get a number.

    `text` is the definition, which is saved for the next start of the daemon; `key` is the user's key, or "". The
    answer goes to `ticket`.  `failed`: awaited runs or submissions that already ended without success.
    """

    ticket: int
    job: Job
    text: str
    asked_by: str
    key: str = ""
    failed: tuple[str, ...] = ()


class SubmissionsKept(NamedTuple):
    """The unfinished submissions of the previous daemon, each with text and key, and user → last used number."""

    kept: tuple[tuple[Job, str, str], ...]
    numbers: dict[str, int]


class AwaitedOver(NamedTuple):
    """A run or submission that a submission awaits has ended, according to the history."""

    name: str
    succeeded: bool


class HistoryGone(NamedTuple):
    """A job that no longer exists has no history left."""

    job: str


class WithdrawAsked(NamedTuple):
    """A user wants no more runs of a submission to start; with `stop`, its live runs are stopped too. The answer goes
    to `ticket`.
    """

    ticket: int
    job: str
    asked_by: str
    stop: bool = False


class Emitted(NamedTuple):
    """A user reports an event (`on: {event: …}`); the runs that it triggers get `triggered_by`.  The answer goes to
    `ticket`.
    """

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
    """A user wants the next attempt of a run now instead of after the delay; the answer goes to `ticket`."""

    ticket: int
    run: RunId
    asked_by: str


class LostAsked(NamedTuple):
    """A user reports that no process of a lingering run is alive; `over` is the end of its attempt. The answer goes to
    `ticket`.
    """

    ticket: int
    over: AttemptOver


class PathAppeared(NamedTuple):
    """A file that matches `on: {path: …}` appeared at `instant` (wall), perhaps with other files; `key` as in
    RunAsked.
    """

    path: str
    instant: int
    key: str
    file: str


class PauseAsked(NamedTuple):
    """A user wants to pause a job, perhaps until an instant (wall), or to resume it; the answer goes to `ticket`."""

    ticket: int
    job: str
    asked_by: str
    pause: bool
    until: int | None = None


class SkipAsked(NamedTuple):
    """A user wants to skip a job's next scheduled occurrence, or to undo such a skip; the answer goes to `ticket`."""

    ticket: int
    job: str
    asked_by: str
    undo: bool = False


class ForgetAsked(NamedTuple):
    """A user ends the expectation (`Job.expect`) of a job that is in no file; the answer goes to `ticket`."""

    ticket: int
    job: str
    asked_by: str


class HoldAsked(NamedTuple):
    """A user puts the host on hold, or releases it (`hold` is None); the answer goes to `ticket`."""

    ticket: int
    asked_by: str
    hold: Hold | None


class FleetAccepted(NamedTuple):
    """A user accepts the fleet's current state as the truth; the answer goes to `ticket`."""

    ticket: int
    asked_by: str


class UnderPressure(NamedTuple):
    """Work waits too long for `name` (cpu, memory or io) on this host, at least until this time (monotonic, ns)."""

    name: str
    until: int


class StateUnsaved(NamedTuple):
    """The state can't be saved, for this reason, so no new run may start; "" means that the state can be saved
    again.
    """

    reason: str


class LockAsked(NamedTuple):
    """A command requests locks until it exits; with `at_once`, the command does not wait for them. The answer goes to
    `ticket`.
    """

    ticket: int
    client: LockClientId
    claims: tuple[Claim, ...]
    asked_by: str
    at_once: bool = False


class LockFound(NamedTuple):
    """A command that got its locks from an earlier scheduler is still alive."""

    client: LockClientId
    claims: tuple[Claim, ...]
    placed: tuple[tuple[str, tuple[int, ...]], ...]
    asked_by: str
    since: int = 0


class LockOver(NamedTuple):
    """A command that awaited or held locks ended or withdrew its request."""

    client: LockClientId


class EvictAsked(NamedTuple):
    """A user revokes a command's locks, or its request for locks; the answer goes to `ticket`."""

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
    | LeftBehind
    | RunsEmptied
    | NeverStarted
    | FleetReachability
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
