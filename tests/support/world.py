"""A faked world for the pure core: a clock that jumps to the next thing that happens, processes, disks, crashes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from jobqueued.base.instants import DAY, SECOND, to_datetime, to_instant, to_text
from jobqueued.child.contract.documents import Record
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.core.scheduler import Scheduler
from jobqueued.core.state.submitted import share_in
from jobqueued.core.trace import Line, Recorder
from jobqueued.model import events
from jobqueued.model.accounts import Account
from jobqueued.model.commands import (
    Command,
    ForgetJob,
    ForgetLockClient,
    ForgetRun,
    Launch,
    LookAfter,
    LookUp,
    MarkLockHolder,
    RemoveMarks,
    Reply,
    Save,
    SaveBoot,
    SaveHold,
    SaveJob,
    SaveRun,
    SaveSubmission,
    Say,
    Stop,
    WriteRecord,
)
from jobqueued.model.job import UNBOUNDED, Claim, Job, Now
from jobqueued.model.run import LockClientId, Run, RunId
from jobqueued.model.saved import Hold, SavedJob
from jobqueued.model.submission import FILE, Submission
from jobqueued.model.users import Owner
from jobqueued.queue.locks import FLEET, SLOT, TAG
from jobqueued.queue.placement import CPUS, Placed
from jobqueued.runs.launcher_link import unstarted
from jobqueued.runs.run_directory import Name
from jobqueued.timing.schedule import At, Schedule
from tests.support.run_directories import RunDirectories

MIDNIGHT = to_instant(datetime(2026, 3, 2, tzinfo=UTC))


def job(id: str = "job", *schedules: str | None, **fields: Any) -> Job:
    """A job that runs `true`, with the triggers of its schedules; None is none."""
    expressions = tuple(each for each in schedules if each is not None)
    triggers = tuple(Schedule(expression, fields.get("timezone", "UTC"), id) for expression in expressions)
    return Job(id=id, **{"command": "true", "file": "jobs.yaml", **fields}, schedule=expressions, triggers=triggers)


class World:
    """One host.  `users`: what is wrong with them (or with groups), "" where it is not told; None: the test answers.

    What survives a crash: `rows`, `memories` (the disk, but for what no commit holds yet), `processes` with their
    supervisors, and `marks`."""

    note: Callable[[Line], None] | None = None
    """What gets the lines of the trace."""
    is_alive = True
    """Whether its scheduler is there."""

    def __init__(
        self,
        *jobs: Job,
        start: int = MIDNIGHT,
        seconds: dict[str, float] | None = None,
        users: dict[str, str] | None = None,
        **options: Any,
    ) -> None:
        self.now = Now(start, 10**15)
        self.seconds = {} if seconds is None else seconds
        self.limits = HostLimits(**options)
        self.ends: dict[str, list[str]] = {}
        self.begun: dict[tuple[RunId, int], int] = {}
        self.over: set[tuple[RunId, int]] = set()
        self.holding: dict[tuple[RunId, int], tuple[tuple[Claim, ...], Placed]] = {}
        self.hold: Hold | None = None
        self.marked: dict[LockClientId, MarkLockHolder] = {}
        self.lock_clients: dict[LockClientId, MarkLockHolder] = {}
        self.files: dict[str, tuple[Job, ...]] = {"jobs.yaml": jobs} if jobs else {}
        self.rows: dict[RunId, tuple[Run, Record | None]] = {}
        self.memories: dict[str, SavedJob] = {}
        self.submissions: dict[str, SaveSubmission] = {}
        self.texts: dict[str, Job] = {}
        """The jobs of submissions by their texts."""
        self.numbers: dict[str, int] = {}
        self.record_files: dict[RunId, Record] = {}
        self.full: set[str] = set()
        """Which of the disks "state", "logs" and "run" take no writes now."""
        self.kept: tuple[Any, ...] | None = None
        """While commits fail: what a crash leaves of rows, memories, boots and hold."""
        self.fell_back = 0
        """How often a scheduler has begun with that."""
        self.answers: list[events.Event] = []
        """What the launcher says at once."""
        self.processes: dict[tuple[RunId, int], int] = {}
        self.marks = RunDirectories(lambda name: self.begun[name] if name in self.processes else None)
        self.occurrences: dict[tuple[str, str, int], tuple[RunId, int]] = {}
        self.launched: list[tuple[str, int]] = []
        self.looked_after: list[str] = []
        """The jobs that were in no file any more."""
        self.stopped: list[str] = []
        self.killed: dict[tuple[RunId, int], str] = {}
        self.dying = SECOND
        self.replies: dict[int, Reply] = {}
        self.said: list[Say] = []
        self.did: list[Command] = []
        """All that was to be done in the last turn, but for what was to be saved."""
        self.looked_up: list[str] = []
        self.users = users
        self.boot_id, self.boots = "boot1", set[str]()
        self.scheduler: Scheduler
        self.boot()

    def boot(self, die_after: int | None = None) -> None:
        """Start a scheduler on what the disk has; live attempts are found again before anything is admitted.

        `die_after`: it dies in the turn that takes in what R's tell, as in `happen`, and is started again.
        """
        self.restore()
        beside = self.marks.sent_beside(self.scheduler.runs)
        self.happen(*map(events.Recorded, beside), admit=False)
        kept = [(replace(self.texts[it.text], id=it.job), it.text, it.key) for it in self.submissions.values()]
        if kept or self.numbers:
            self.happen(events.SubmissionsKept(tuple(kept), dict(self.numbers)), admit=False)
        for file, jobs in self.files.items():
            self.happen(events.JobsRead(file, jobs), admit=False)
        is_known = self.boot_id in self.boots
        found: list[events.Event] = [
            events.LockFound(mark.client, mark.claims, mark.placed, mark.asked_by, mark.since)
            for mark in self.lock_clients.values()
        ]
        found += self.marks.verdicts(self.scheduler.runs, self._is_final, same_boot=is_known)
        self.marked = dict(self.lock_clients)  # who was marked and not told is gone with its connection
        loaded = events.JobsLoaded(complete=True, boot=None if is_known else self.boot_id)
        self.happen(*found, loaded, admit=False, die_after=die_after)
        if die_after is not None:
            self.boot()
            return
        self.happen(events.Woke())

    def restore(self) -> None:
        """A new scheduler that has what the disk has, and has read no file yet."""
        if self.kept is not None:
            self.rows, self.memories, self.boots, self.hold, self.submissions = self.kept
            self.kept, self.fell_back = None, self.fell_back + 1
        self.held_back: list[RemoveMarks] = []
        self.scheduler = Scheduler(self.limits)
        self.recorder = Recorder(self.scheduler, self.note)
        self.record_files.clear()  # housekeeping writes those anew that a crash left older than their rows
        unfinished = [run for run, record in self.rows.values() if record is None]
        skips = [run for run, _ in self.rows.values() if run.state == "skipped" and self._newest(run)]
        self.recorder.restore(self.memories.values(), [*unfinished, *skips], self.now, self.hold)
        self.restored = dict(self.scheduler.runs)

    def _is_final(self, run: RunId) -> bool:
        return run in self.rows and self.rows[run][1] is not None

    def _newest(self, run: Run) -> bool:
        return run.id == max(known for known in self.rows if known.job == run.id.job)

    def happen(self, *happened: events.Event, admit: bool = True, die_after: int | None = None) -> None:
        """One turn; `die_after` n: the scheduler dies after n of the turn's acts (-1: before its commit)."""
        commands: list[Command] = []
        for event in happened:
            commands += self.recorder.handle(event, self.now)
        commands += self.recorder.over(self.now, admit=admit)
        self.scheduler.validate()
        self._carry_out(commands, die_after)
        answers, self.answers = self.answers, []
        for answer in answers if die_after is None else ():
            self.happen(answer)

    def _carry_out(self, commands: list[Command], die_after: int | None) -> None:
        if die_after == -1:
            return
        committed = self._commit(commands)
        if committed:
            held_back, self.held_back = self.held_back, []
            for command in held_back:
                self._act(command)
        self.did = acts = [command for command in commands if not isinstance(command, Save)]
        for command in acts[:die_after]:
            if isinstance(command, RemoveMarks) and not (committed or command.again):
                self.held_back.append(command)
            else:
                self._act(command)
        if die_after is None:
            self._check_saves()
            for run, record in self.record_files.items():
                row, known = self.rows[run]
                assert known in (record, None), "a record file that is older than its row"
                assert known is not None or row.so_far is not None, "a record file of a run that is not so far"

    def _commit(self, commands: list[Command]) -> bool:
        """Take what is to be saved; False: it could not be written, so a crash brings back what was `kept` before."""
        committed = "state" not in self.full
        if committed:
            self.kept = None
        elif self.kept is None:
            self.kept = dict(self.rows), dict(self.memories), set(self.boots), self.hold, dict(self.submissions)
        for command in commands:
            if isinstance(command, SaveRun):
                self.rows[command.run.id] = command.run, command.record
            elif isinstance(command, ForgetRun):
                assert self.rows.pop(command.run, (None, None))[1] is None, "an end that is forgotten"
            elif isinstance(command, SaveJob):
                self.memories[command.saved.job] = command.saved
            elif isinstance(command, SaveBoot):
                self.boots.add(command.boot)
            elif isinstance(command, SaveHold):
                self.hold = command.hold
            elif isinstance(command, SaveSubmission):
                self.submissions[command.job] = command
                share, _, number = command.job.partition("/")
                if number.isdigit():
                    self.numbers[share] = max(self.numbers.get(share, 0), int(number))
            elif isinstance(command, ForgetJob):
                self.submissions.pop(command.job, None)
                self.memories.pop(command.job, None)
        return committed

    def free(self) -> None:
        """There is room again on all disks, and what could not be committed is."""
        self.full.clear()
        self._carry_out([], None)

    def _check_saves(self) -> None:
        """The disk has all that the scheduler knows, but for runs that nobody has touched since it was read."""
        for run in self.scheduler.runs.values():
            assert run is self.restored.get(run.id) or run == self.rows[run.id][0], f"{run} is not saved"
        for name in {*self.memories, *(run.id.job for run in self.scheduler.runs.values())}:
            saved = self.scheduler[name].saved
            assert saved == self.memories.get(name, SavedJob(job=name)), f"{saved} is not saved"

    def _launch(self, command: Launch) -> None:
        run, job, record = command.run, command.job, command.record
        assert len(record["attempts"]) == run.attempt - 1, "the attempts before are not in the record"
        assert self.rows[run.id][0].state == "starting", "launched before its intent was committed"
        name = run.id, run.attempt
        assert name not in self.processes, f"{name} launched twice"
        assert name not in self.over, f"{name} launched again"
        other = self.occurrences.get((job.id, run.key, run.attempt), name)
        assert other == name or other not in {*self.processes, *self.over}, f"{name} has run as {other}"
        if name in self.marks:
            verdict = self.marks.verdict(*name)
            never = isinstance(verdict, events.NeverStarted)
            self.answers.append(unstarted(Name(*name), "its R is still there") if never else verdict)
            return
        if "run" in self.full:
            self.answers.append(unstarted(Name(*name), "Read-only file system"))
            return
        self.occurrences[job.id, run.key, run.attempt] = name
        self.marks.specs[name] = command
        self.holding[name] = run.claims, run.placed
        self.launched.append((str(run.id), self.now.wall))
        self.begun[name] = self.now.wall
        self.processes[name] = self.now.wall + round(self.seconds.get(job.id, 1) * SECOND)
        of_job = [other for other, _ in self.processes if other.job == job.id]
        assert len(of_job) <= job.concurrency, f"{of_job} are more than the concurrency of {job.id}"
        self.check_claims()

    def _act(self, command: Command) -> None:
        match command:
            case Launch():
                self._launch(command)
            case Stop(run, attempt, reason):
                assert self.rows[run][0].state == "stopping", "told to stop before the intent was committed"
                self.stopped.append(str(run))
                if (run, attempt) in self.processes:
                    self.processes[run, attempt] = min(self.processes[run, attempt], self.now.wall + self.dying)
                    self.killed.setdefault((run, attempt), str(reason))
            case RemoveMarks(run, attempt):
                assert (run, attempt) not in self.processes, "marks removed under a live attempt"
                self.marks.remove((run, attempt), possible="run" not in self.full)
            case MarkLockHolder(client):
                self.marked[client] = command
            case ForgetLockClient(client):
                self.lock_clients.pop(client, None)
                self.marked.pop(client, None)
            case WriteRecord(record):
                run = RunId(record["job"], record["number"])
                row, known = self.rows[run]
                assert known is not None or row.so_far is not None, "record file before the commit"
                self.record_files.pop(run, None)  # one that is older is told by its row
                self.record_files |= {} if "logs" in self.full else {run: record}
            case Reply(ticket, value):
                self.replies[ticket] = command
                if "holder" in value:
                    client = LockClientId(int(value["holder"].rpartition("@")[2]))
                    self.lock_clients[client] = self.marked[client]
                    self.check_claims()
            case Say():
                self.said.append(command)
            case LookUp(account):
                self._look_up(account)
            case LookAfter(job):
                self.looked_after.append(job)

    def _look_up(self, account: Account) -> None:
        self.looked_up.append(account.name)
        if self.users is not None:
            self.happen(events.AccountKnown(account, self.users.get(account.name, "")))

    def check_claims(self) -> None:
        """Nobody is beside who is to be alone, and no more units are in use than there are: by the processes."""
        used: dict[str, list[Claim]] = {}
        given: set[tuple[str, int]] = set()
        for claims, placed in [
            *(self.holding[name] for name in self.processes),
            *((mark.claims, mark.placed) for mark in self.lock_clients.values()),
        ]:
            for claim in claims:
                used.setdefault(claim.resource, []).append(claim)
            for resource, numbers in placed:
                assert resource == CPUS or not given & {(resource, number) for number in numbers}, f"{placed} twice"
                given |= {(resource, number) for number in numbers}
        for resource, claims in used.items():
            if any(claim.exclusive for claim in claims):
                assert len(claims) == 1, f"{resource}: {claims} at a time"
            if resource.startswith(FLEET):  # units of all hosts
                continue
            there = self.limits.resources.get(resource, 1)
            if resource == SLOT:
                there = self.limits.max_running or 0
            if resource.startswith(TAG):
                there = self.limits.tags.get(resource.removeprefix(TAG), len(claims))
            assert sum(claim.units for claim in claims) <= there, f"{resource}: {claims} of {there}"

    def pass_time(self, seconds: float, *, scheduler: bool = True) -> None:
        """Let time pass, jumping from one thing to the next; without `scheduler` it is down, and only processes end."""
        until = self.now.wall + round(seconds * SECOND)
        while True:
            wake = self.scheduler.next_wakeup(self.now) if scheduler and self.is_alive else None
            end = min(self.processes.values(), default=None)
            soonest = min((t for t in (wake, end) if t is not None), default=None)
            if soonest is None or soonest > until:
                self._advance(until)
                return
            self._advance(max(soonest, self.now.wall))
            if end is not None and end <= self.now.wall:
                self._end_one(end, scheduler)
            else:
                self.happen(events.Woke())

    def _advance(self, wall: int) -> None:
        self.now = Now(wall, self.now.mono + wall - self.now.wall)

    def _end_one(self, end: int, scheduler: bool) -> None:
        name = next(name for name, time in self.processes.items() if time == end)
        del self.processes[name]
        record = self.marks.ended[name] = self._left(name)
        if scheduler:
            self.happen(events.RunEnded(*name, record))

    def _left(self, name: tuple[RunId, int]) -> Record:
        """The record that its supervisor leaves: `ends` tells how the attempts of a job end, the last one for ever."""
        run, attempt = name
        self.over.add(name)
        self.record_files.pop(run, None)  # the supervisor's takes its place
        ends = self.ends.get(run.job, ["succeeded"])
        state, _, code = ends[min(attempt, len(ends)) - 1].partition(" ")
        if name in self.killed:
            state, code = "killed", ""
        sent = self.marks.specs.get(name)
        reason = f"exit code {code}" if code else None
        one = {
            "attempt": attempt, "state": state, "output": {"bytes": 0}, "started": to_text(self.begun[name]),
            "ended": to_text(self.now.wall), "reason": reason, "failover": sent is not None and sent.run.failover,
        }  # fmt: skip
        before = [] if sent is None else sent.record["attempts"]
        code = int(code) if code else None
        reason = self.killed.get(name, reason)
        return ended(run, state, reason=reason, exit_code=code, attempts=[*before, one])

    def reboot(self, seconds: float) -> None:
        """The host goes down with all that is live, and comes up again after a time."""
        self.boot_id += "+"
        self.over |= self.processes.keys()
        for what in (self.processes, self.marks, self.lock_clients):
            what.clear()
        self.now = Now(self.now.wall + round(seconds * SECOND), 5 * SECOND)
        self.boot()

    def step_clock(self, seconds: float, *, scheduler: bool = True) -> None:
        """Somebody sets the wall clock, without `scheduler` while that is down; monotonic time and the processes'
        remaining time stay.
        """
        step = round(seconds * SECOND)
        self.now = Now(self.now.wall + step, self.now.mono)
        self.processes = {name: end + step for name, end in self.processes.items()}
        if scheduler:
            self.happen(events.ClockStepped(step))

    def write(self, file: str, *jobs: Job) -> None:
        """Somebody saves a job file."""
        self.files[file] = jobs
        self.happen(events.JobsRead(file, jobs))

    def run(self, job: str, ticket: int = 1) -> Reply:
        """Somebody asks for a run."""
        self.happen(events.RunAsked(ticket, job, "root", f"x{ticket:016x}"))
        return self.replies[ticket]

    def submit(self, job: Job, key: str = "", ticket: int = 1, failed: tuple[str, ...] = (), **turn: Any) -> Reply:
        """Somebody submits a job; its id says who: "alice/", or "host/".  `failed`: what of its `after` has failed."""
        text = f"text {len(self.texts)}"
        self.texts[text] = job
        self.replies.pop(ticket, None)
        self.happen(events.Submitted(ticket, job, text, share_in(job.id), key, failed), **turn)
        return self.replies.get(ticket, Reply(ticket, {}, "nothing"))

    def stop(self, run: str, ticket: int = 1) -> Reply:
        """Somebody asks for a run to stop."""
        self.happen(events.StopAsked(ticket, RunId.parse(run), "root"))
        return self.replies[ticket]

    def retry(self, run: str, ticket: int = 1) -> Reply:
        """Somebody asks for the next attempt of a run now."""
        self.happen(events.RetryAsked(ticket, RunId.parse(run), "root"))
        return self.replies[ticket]

    def unlock(self, client: LockClientId, die_after: int | None = None) -> None:
        """A person's command ends."""
        self.lock_clients.pop(client, None)
        self.marked.pop(client, None)
        self.happen(events.LockOver(client), die_after=die_after)

    def start(self, run: str, attempt: int = 1) -> None:
        """The news of its start arrives."""
        self.happen(events.RunStarted(RunId.parse(run), attempt, 4711, self.now.wall))

    def pause(self, job: str, *, pause: bool = True, ticket: int = 1, until: int | None = None) -> Reply:
        """Somebody pauses or resumes a job."""
        self.happen(events.PauseAsked(ticket, job, "root", pause, until))
        return self.replies[ticket]

    def why(self, run: RunId | str) -> list[str]:
        """Why a run has not started, in words."""
        name = RunId.parse(run) if isinstance(run, str) else run
        return list(self.scheduler.explain(name, self.now)["reasons"])

    def states(self) -> dict[str, str]:
        """Every run there is or was, and where it stands."""
        return {str(run.id): str(run.state) for run, _ in self.rows.values()}

    def covered(self, job: str) -> list[str]:
        """The due times of all records and live runs of a job, skips unfolded to "first…last ×count", in order."""
        runs = sorted((run for run, _ in self.rows.values() if run.id.job == job), key=lambda run: run.id)
        return [_due(run) for run in runs]


def _due(run: Run) -> str:
    first = to_text(run.due)[11:16]
    if run.state != "skipped":
        return first
    last = to_text(run.last_due or run.due)[11:16]
    return f"{first} {run.reason}" if run.count == 1 else f"{first}…{last} {run.reason} ×{run.count}"


def submission(id: str = "alice/", at: int | None = None, **fields: Any) -> Job:
    """A submission that runs `true`: of `array` runs, after others, at an instant."""
    array, after = fields.pop("array", None), tuple(fields.pop("after", ()))
    owner = None if id.startswith("host/") else Owner(1000, share_in(id))
    fields = {"concurrency": Submission(array).runs if array else 1, "max_waiting": UNBOUNDED, **fields}
    return Job(
        id=id, command="true", file=FILE, owner=owner, submission=Submission(array, after), at=at,
        triggers=() if at is None else (At(to_datetime(at)),), catch_up_window=365 * DAY, **fields,
    )  # fmt: skip


def ended(run: RunId, state: str = "succeeded", **fields: Any) -> Record:
    """The record that a supervisor leaves."""
    return {
        "job": run.job, "number": run.number, "state": state, "reason": None, "pid": 4711, "attempts": [],
        "started": None, "output": {"bytes": 0, "tail": ""}, **fields,
    }  # fmt: skip
