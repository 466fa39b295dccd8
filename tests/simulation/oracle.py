"""The oracle: what the jobs themselves wrote down, beside what the commits say; it knows nothing of the scheduler.

While a life goes on it watches each start (promises 2 and 3, and that an intent is saved before a process exists) and
each commit (an end that is told never changes); `judge` compares all that happened with all that was kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jobqueued.base.filenames import named_by_file
from jobqueued.child.contract import reasons
from jobqueued.child.contract.reasons import Code
from jobqueued.child.launcher import IDLE
from jobqueued.runs.emptying import EMPTIED, WHOLE
from tests.simulation import rounds
from tests.simulation.kernel import SECOND, Process
from tests.simulation.workload import Work

if TYPE_CHECKING:
    from tests.simulation.host import Host

_LIVE, _PENDING = ("starting", "running", "stopping"), ("due", "waiting", "retrying")
_MINUTE, _HOUR = 60 * SECOND, 3600 * SECOND


@dataclass(slots=True)
class Execution:
    """One command, as it was.  `living` are its processes; `unsaved`: no commit had it when it began."""

    job: str
    number: int
    attempt: int
    key: str
    began: int
    unsaved: bool
    ended: int | None = None
    over: int = 0
    """When it ended by the clock that nobody sets."""
    status: int | None = None
    living: set[int] = field(default_factory=set)

    @property
    def name(self) -> str:
        """``j1@2.1``"""
        return f"{self.job}@{self.number}.{self.attempt}"


@dataclass(slots=True)
class Row:
    """A run as the last commit has it."""

    key: str
    due: int
    queued: int
    state: str
    attempt: int
    last_due: int | None
    count: int
    ends: tuple[tuple[Any, ...], ...] | None
    """Of each attempt number, state, exit code and signal; None: the run has not ended."""
    changed: int
    """When it was committed last (mono)."""
    used: tuple[str, ...] = ()
    """The runs whose ends have made it due, as the record of an ended run has them."""

    @property
    def minutes(self) -> range:
        """Those (since 1970) from its first due time to its last."""
        return range(self.due // _MINUTE, (self.due if self.last_due is None else self.last_due) // _MINUTE + 1)

    @property
    def era(self) -> str:
        """The era of its clock."""
        return self.key.partition(".")[0]


@dataclass(slots=True)
class Batch:
    """An array that was submitted: the number of its runs, and how many may be live at a time."""

    runs: int
    most: int
    earlier: list[tuple[int, int]] = field(default_factory=list)
    """Until when (mono) more of its runs could be admitted, and how many."""

    def lower(self, most: int, mono: int) -> None:
        """Take the size that a resize confirmed."""
        if most < self.most:
            self.earlier.append((mono, self.most))
        self.most = most

    def most_since(self, mono: int) -> int:
        """Count the runs that could be live at a time when a run was admitted, or later."""
        return max([self.most, *(most for until, most in self.earlier if until >= mono)])


class Oracle:
    """Watches a host.  `excuses`: what has happened by which some promises are weaker, as the documents say."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.works: dict[str, Work] = {}
        self.executions: dict[tuple[str, int, int], Execution] = {}
        self._of: dict[int, Execution] = {}
        self.rows: dict[tuple[str, int], Row] = {}
        self._numbers: dict[tuple[str, str], int] = {}
        self._unsaved: set[tuple[str, str]] = set()
        """Occurrences that were started while nothing could be saved: the power may go, and they start again."""
        self._orphaned: set[str] = set()
        self.excuses: set[str] = set()
        self.stopped: set[tuple[str, int]] = set()
        self.edited: set[str] = set()
        self.out_of_step: set[str] = set()
        """The jobs that were said to be, as those that they wait for had not all succeeded in each round."""
        self.heard_late = set[str]()
        """The jobs with a run whose supervisor stood still: others may succeed again before its end is known."""
        self.told: list[dict[str, Any]] = []
        self._passages = [[host.kernel.wall, host.kernel.wall]]
        """From when to when (wall) the clock went without being set back by a minute."""
        self._passed_over: list[tuple[int, int]] = []
        """From where to where (wall) the clock was set over minutes that it had reached before."""
        self._calm = 0
        self._submissions: dict[str, str] = {}
        self._promised: dict[str, int] = {}
        """The submissions that were confirmed, each with the number of its runs."""
        self.batches: dict[str, Batch] = {}
        self._runs_promised: list[str] = []
        self._longest_wait = 0

    def know(self, works: list[Work]) -> None:
        """The jobs that there are."""
        self.works = {work.id: work for work in works}

    # what happens

    def began(self, process: Process, order: dict[str, Any]) -> None:
        """A command has started."""
        record, attempt = order["record"], order["attempt"]
        job, number = record["job"], record["number"]
        row = self.rows.get((job, number))
        unsaved = row is None or row.attempt < attempt or row.state not in _LIVE
        it = Execution(job, number, attempt, order["run"]["key"], self._host.kernel.wall, unsaved)
        it.living.add(process.pid)
        self._host.note(f"begin {it.name} {it.key}")
        for violation in self._of_start(it, row):
            self._host.violation(violation)
        self.executions[job, number, attempt] = it
        self._numbers.setdefault((job, it.key), number)
        if unsaved:
            self._unsaved.add((job, it.key))
        self._of[process.pid] = it

    def _of_start(self, it: Execution, row: Row | None) -> Iterator[str]:
        if it.unsaved and not self.excuses & {"disk", "error"}:
            yield f"{it.name} was started before a commit had it"
        if row is not None and row.ends is not None:
            yield f"{it.name} was started after the run had ended: {row.state}"
        before = self.executions.get((it.job, it.number, it.attempt))
        if before is not None and not before.unsaved:
            yield f"{it.name} was started twice"
        yield from rounds.too_many(self, it)
        number = self._numbers.get((it.job, it.key), it.number)
        if number != it.number and (it.job, it.key) not in self._unsaved:
            yield f"occurrence {it.key} of {it.job} was started as {it.job}@{number} and as {it.name}"
        yield from self._of_claims(it, row.changed if row is not None else 0)

    def _of_claims(self, it: Execution, admitted: int) -> Iterator[str]:
        work = self.works.get(it.job)
        living = {each.name: each for each in self._of.values() if not self._is_forgotten(each)}.values()
        same = [each for each in living if each.job == it.job]
        if (batch := self.batches.get(it.job)) is not None and len(same) >= (most := batch.most_since(admitted)):
            yield f"{it.name} was started beside {same[0].name}: {most} of its batch may be live"
        if work is None:
            return
        if len(same) >= work.concurrency:
            yield f"{it.name} was started beside {same[0].name}: concurrency is {work.concurrency}"
        for other in living:
            others = self.works.get(other.job)
            if others is None:
                continue
            if work.exclusive or others.exclusive:
                yield f"{it.name} was started beside {other.name}: one is exclusive"
            modes = dict(others.locks)
            for lock, mode in work.locks:
                if lock in modes and "exclusive" in (mode, modes[lock]):
                    yield f"{it.name} was started beside {other.name}: both have the lock {lock}"

    def _is_forgotten(self, it: Execution) -> bool:
        """True if nothing knows of a command: no commit had it, its R was removed, and its supervisor was killed."""
        return it.unsaved and "emptied" in self.excuses and it.name in self._orphaned

    def ended(self, process: Process) -> None:
        """A process of a command has ended."""
        it = self._of.pop(process.pid, None)
        if it is None:
            return
        it.living.discard(process.pid)
        if it.status is None:
            it.ended, it.over, it.status = self._host.kernel.wall, self._host.kernel.mono, process.status
            self._host.note(f"end {it.name} {process.status}")

    def left(self, child: Process, process: Process) -> None:
        """A command leaves a process behind."""
        it = self._of[process.pid]
        it.living.add(child.pid)
        self._of[child.pid] = it

    def supervisor_died(self, process: Process) -> None:
        """Whoever watched an attempt is gone."""
        if process.attempt:
            self._orphaned.add(named_by_file(process.attempt))

    def power_lost(self) -> None:
        """All that is live ends with nobody to tell of it."""
        self.emptied()
        self.excuses.add("power")

    def emptied(self) -> None:
        """Nothing but its supervisor tells of what is live, and nothing of what could not be saved."""
        self.excuses.add("emptied")
        self._orphaned |= {it.name for it in self._of.values()}
        self._orphaned |= {
            f"{job}@{number}.{row.attempt}" for (job, number), row in self.rows.items() if row.state in _LIVE
        }

    def calmed(self) -> None:
        """From now on the clock is not set any more, and whoever is killed comes back."""
        self._calm = self._host.kernel.mono

    def clock_set(self, step: int) -> None:
        """Somebody sets the clock."""
        wall = self._host.kernel.wall
        self._passages[-1][1] = max(self._passages[-1][1], wall)
        if step < -_MINUTE:
            self._passages.append([wall + step, wall + step])
        reached = max((end for _, end in self._passages[:-1]), default=0)
        self._passed_over.append((wall, min(wall + step, reached)))
        self.excuses.add("clock")
        behind = max(end for _, end in self._passages) - (wall + step)
        if step > 3 * _HOUR or behind > 3 * _HOUR:
            self.excuses.add("era")

    def notified(self, notice: dict[str, Any]) -> None:
        """A notice has come."""
        self.told.append(notice["event"])

    def asked_run(self, value: dict[str, Any], error: str | None) -> None:
        """A person was told of a run."""
        if error is None and value.get("unsaved") is None:
            self._runs_promised.append(value["run"])

    def submitted(self, key: str, value: dict[str, Any], error: str | None, batch: Batch | None = None) -> None:
        """A submission was answered."""
        if error is not None:
            return
        job = value["job"]
        self._host.note(f"submitted {key} as {job}")
        if value.get("unsaved") is not None or not value.get("is_new", True):
            self._submissions.setdefault(key, job)
        elif self._submissions.get(key, job) != job and not self.excuses & {"disk", "error"}:
            self._host.violation(f"{key} was submitted as {self._submissions[key]}, and again as {job}")
        self._submissions[key] = job
        if value.get("unsaved") is None:
            self._promised[job] = 1 if batch is None else batch.runs
            if batch is not None:
                self.batches.setdefault(job, batch)

    def committed(self, rows: list[tuple[Any, ...]]) -> None:
        """A commit has succeeded."""
        for row in rows:
            job, number, state = row[0], row[1], row[9]
            record = None if row[-1] is None else json.loads(row[-1])
            ends = None if record is None else _ends(record)
            new = Row(row[3], row[4], row[5], state, row[11], row[15], row[16], ends, self._host.kernel.mono)
            if record is not None:
                new.used = tuple(record.get("triggered_by", {}).get("ends", ()))
            before = self.rows.get((job, number))
            self._host.note(f"commit {job}@{number} {state}.{new.attempt}")
            if before is not None and before.ends is not None:
                if ends is None:
                    self._host.violation(f"{job}@{number} had ended, and goes on as {state}")
                elif before.state != state or before.ends != ends:
                    self._host.violation(f"{job}@{number} had ended as {before.state}, and now as {state}")
            elif record is not None:
                for violation in self._of_record(job, number, record):
                    self._host.violation(violation)
            self.rows[job, number] = new
            if new.state in _LIVE and not self._host.is_whole:
                self._orphaned.add(f"{job}@{number}.{new.attempt}")

    # what records say

    def _of_record(self, job: str, number: int, record: dict[str, Any]) -> Iterator[str]:
        for attempt in record["attempts"]:
            it = self.executions.get((job, number, attempt["attempt"]))
            name = f"{job}@{number}.{attempt['attempt']}"
            wrong = self._of_attempt(attempt, it, name)
            if wrong:
                status = "did not run" if it is None else f"ended with {it.status}"
                yield f"the record of {name} says {attempt['state']} ({attempt['reason']}), and it {status}: {wrong}"
        for told in (record, *record["attempts"]):
            if told["reason"] is not None and not _has_its_code(told):
                yield f"a record of {job}@{number} has the code {told['reason_code']} for the reason {told['reason']!r}"
        for warning in (warning for attempt in record["attempts"] for warning in attempt.get("warnings", ())):
            if "bug" in warning:
                yield f"a record of {job}@{number} says: {warning}"

    def _of_attempt(self, attempt: dict[str, Any], it: Execution | None, name: str) -> str:
        state = attempt["state"]
        if attempt["reason_code"] == Code.START_FAILED:
            return "" if it is None else "it has started"
        if state == "lost":
            is_told = name in self._orphaned or self.excuses & {"error", "disk"}
            return "" if is_told else "nothing has happened to its supervisor"
        if it is None:
            return "it has not started"
        if it.status is None:
            return "it lives"
        code, number = attempt["exit_code"], attempt["signal"]
        known = number if code is None else code << 8
        if known != it.status:
            return f"its status is told as {known}"
        if (state == "succeeded") != (it.status == 0) and state not in ("killed", "timed_out"):
            return "the state is wrong"
        if state == "killed" and not (self.stopped or self.excuses or self._may_be_replaced(it.job)):
            return "nobody has stopped it"
        tail = attempt["output"]["tail"]
        whole = "begin\nend\n" if it.status & 0xFF == 0 else "begin\n"
        return "" if tail == whole else f"its output is told as {tail!r}"

    def _may_be_replaced(self, job: str) -> bool:
        return job in self.works and self.works[job].overlap == "replace"

    # the end

    def judge(self, calm: int) -> None:
        """Compare all that happened with all that was kept, after a calm of so long."""
        self._longest_wait = calm - 15 * _MINUTE
        ends = (
            self._of_notices,
            self._of_executions,
            self._of_rows,
            self._of_directories,
            self._of_supervisors,
            self._of_occurrences,
            lambda: rounds.unfollowed(self),
            lambda: rounds.missed(self),
            lambda: rounds.stale(self),
            self._of_promises,
        )
        for check in ends:
            for violation in check():
                self._host.violation(violation)

    def _of_executions(self) -> Iterator[str]:
        if self._host.daemon is None:
            yield "no scheduler runs at the end"
        for it in self.executions.values():
            row = self.rows.get((it.job, it.number))
            if it.unsaved and self.excuses & {"power", "emptied"}:
                continue
            if row is None:
                yield f"{it.name} has run, and nothing is kept of it"
            elif row.ends is not None and it.attempt not in (known := [attempt for attempt, *_ in row.ends]):
                yield f"{it.name} has run, and the record has only the attempts {known}"

    @property
    def starting(self) -> bool:
        """Whether a run is starting."""
        return any(row.state == "starting" for row in self.rows.values())

    def _of_rows(self) -> Iterator[str]:
        now = self._host.kernel.wall
        living = {(it.job, it.number) for it in self._of.values()}
        for (job, number), row in self.rows.items():
            if row.state in _LIVE and (job, number) not in living:
                yield f"{job}@{number} is {row.state} for ever"
            if row.state in _PENDING and job in self.works and job not in self.edited:
                waited = now - row.queued
                if waited > self._longest_wait and "clock" not in self.excuses and not self._goes_on(job, number):
                    yield f"{job}@{number} is {row.state} since {waited // SECOND} s"

    def _goes_on(self, job: str, number: int) -> bool:
        """Whether a run waits because so much has to be caught up with: those before it have started of late."""
        late = self._host.kernel.wall - 30 * _MINUTE
        return any(it.job == job and it.number < number and it.began > late for it in self.executions.values())

    def _of_directories(self) -> Iterator[str]:
        host = self._host
        living = {it.name for it in self._of.values()}
        for name in host.system.files.at(host.system.files.root, str(host.paths.run / "runs" / host.boot_id)).entries:
            if name not in living and not name.endswith(".left") and name not in (EMPTIED, WHOLE):
                yield f"the run directory of {name} is left"

    def _of_supervisors(self) -> Iterator[str]:
        """Those that have had nothing to do for a while are sent home, but for one."""
        late = self._host.kernel.wall - _MINUTE
        busy = sum(it.ended is None or it.ended > late for it in self.executions.values())
        idle = [each for each in self._host.kernel.processes.values() if each.role == "supervisor" and not each.attempt]
        if len(idle) > IDLE + busy:
            yield f"{len(idle)} supervisors wait for work"

    def _of_occurrences(self) -> Iterator[str]:
        """Each due time is covered by one record (promise 1); one that comes again, and is not fixed, by one more."""
        if "era" in self.excuses or self._host.daemon is None:
            return
        self._passages[-1][1] = self._host.kernel.wall
        of_jobs: dict[str, list[Row]] = {}
        for (job, _number), row in self.rows.items():
            if row.key.startswith("c"):
                of_jobs.setdefault(job, []).append(row)
        for work in self.works.values():
            if work.id not in self.edited and work.every:
                yield from self._of_clock(work, of_jobs.get(work.id, []))

    def _of_clock(self, work: Work, rows: list[Row]) -> Iterator[str]:
        covering: dict[int, list[Row]] = {}
        own = {(row.era, row.minutes[0]) for row in rows if row.last_due is None}
        for row in rows:
            minutes = [at for at in row.minutes if work.is_due(at)]
            if row.last_due is not None:  # skips share a record, also around a run that was found after a crash
                minutes = [at for at in minutes if (row.era, at) not in own]
            if not len(minutes) - sum(map(self._may_be_passed_over, minutes)) <= row.count <= len(minutes):
                yield f"a record of {work.id} says that it covers {row.count}, and there are {len(minutes)}"
            for at in minutes:
                covering.setdefault(at, []).append(row)
        first = self._passages[0][0] // _MINUTE + 1
        last = max(end for _, end in self._passages) // _MINUTE - 2
        for at in filter(work.is_due, range(first, last + 1)):
            if wrong := self._of_minute(work, at, covering.get(at, [])):
                yield f"{work.id} was due in minute {(at - first + 1) % (1 << 30)}, and {wrong}"
                return

    def _may_be_passed_over(self, at: int) -> bool:
        """Whether the clock was set over a minute that it had reached before: that needs no record then."""
        return any(begin < at * _MINUTE <= end for begin, end in self._passed_over)

    def _of_minute(self, work: Work, at: int, rows: list[Row]) -> str:
        """What is wrong with the records that cover a minute."""
        eras, times = {row.era for row in rows}, 1
        if not work.fixed:
            times = sum(begin // _MINUTE <= at <= end // _MINUTE + 1 for begin, end in self._passages)
        is_to_come = at * _MINUTE > self._host.kernel.wall - 2 * _MINUTE
        if not (rows or is_to_come) or len(rows) > max(1, times) or len(rows) > len(eras):
            return f"{len(rows)} records cover that"
        since = self._host.kernel.mono - (self._host.kernel.wall - at * _MINUTE)
        is_calm = not work.fixed and self._calm < since < self._host.kernel.mono - 2 * _MINUTE
        if is_calm and max(row.changed for row in rows) < since:
            return "again in the calm, and no record covers that"
        return ""

    def _of_notices(self) -> Iterator[str]:
        """Whoever is to be told of failures has been told of one at least."""
        if self.excuses & {"disk", "error"}:
            return
        told = {each["job"] for notice in self.told for each in (notice, *notice["held_back"])}
        for job in sorted(
            {job for (job, _number), row in self.rows.items() if row.state == "failed"} - told - self.edited
        ):
            if job in self.works and self.works[job].told:
                yield f"{job} has failed, and nobody was told"

    def _of_promises(self) -> Iterator[str]:
        """What people were told is so: a run that was to be, a submission that was taken."""
        for run in self._runs_promised:
            job, _, number = run.rpartition("@")
            if (job, int(number)) not in self.rows:
                yield f"{run} was promised, and nothing is kept of it"
        for job, runs in self._promised.items():
            ran = [it for it in self.executions.values() if it.job == job and it.number > runs]
            if ran:
                yield f"the submission {job} has run as {ran[0].name}, too"
            for number in range(1, runs + 1):
                if (job, number) not in self.rows or self.rows[job, number].ends is None:
                    yield f"run {number} of the submission {job} was confirmed, and has not ended"


def _ends(record: dict[str, Any]) -> tuple[tuple[Any, ...], ...]:
    attempts = record["attempts"]
    return tuple((each["attempt"], each["state"], each.get("exit_code"), each.get("signal")) for each in attempts)


def _has_its_code(told: dict[str, Any]) -> bool:
    """True if a record or an attempt has a code that is worded as its reason; `other` is a code for texts of others."""
    found = reasons.of_record(told)
    return (
        found is not None
        and found.code is not Code.OTHER
        and reasons.fields(found)["reason_code"] == told["reason_code"]
    )
