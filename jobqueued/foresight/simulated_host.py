"""A simulated host: the real scheduler on a virtual host, whose clock jumps from event to event.

A run starts as soon as the scheduler launches it, and ends after its drawn duration.  Nothing is saved, no notice is
sent, and every account exists.  Users, files and events trigger no runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from heapq import heappop, heappush
from typing import Any

from jobqueued.base.instants import to_instant
from jobqueued.base.replace import changed
from jobqueued.child.contract.reasons import awaited_dependency, reserver
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.core.scheduler import Scheduler
from jobqueued.core.state.holders import ANOTHERS_RUN
from jobqueued.foresight.durations import Draws, DurationSample
from jobqueued.foresight.tally import CONCURRENCY, DEPENDENCIES, HOLD, RATE, RESERVATION, Blame, Tally
from jobqueued.model import events
from jobqueued.model.commands import Ask, Command, Launch, Say, Stop
from jobqueued.model.fleet import NO_GRANT, FleetReachability
from jobqueued.model.job import Job, Now
from jobqueued.model.notify import NOBODY
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import PENDING, RunState
from jobqueued.model.saved import Hold, SavedJob


def _at(text: str | None) -> int | None:
    return None if text is None else to_instant(datetime.fromisoformat(text))


def _planned(run: Run, job: Job) -> int:
    return run.due + (job.offset if run.trigger == "schedule" else 0)


class LiveAttempt(NamedTuple):
    """A live attempt: its run, the run's due time, its start, and its drawn end."""

    run: RunId
    due: int
    started: int
    end: int
    sample: DurationSample


def bare(job: Job) -> Job:
    """Return a job's definition without settings that do not affect the queue, such as the user and the notices."""
    return changed(
        job,
        user=None,
        group=None,
        groups=None,
        late=None,
        expect=None,
        notify=NOBODY,
        telemetry_hooks=(),
        ping=None,
    )


class Beginning(NamedTuple):
    """The instant (wall, ns) when a simulation begins, and the host's state then.

    `saved`: the state of the jobs. `waiting`: the runs that have not started. `live`: the live attempts, with their
    ends.
    """

    instant: int
    saved: Iterable[SavedJob] = ()
    waiting: Iterable[Run] = ()
    live: Iterable[tuple[Run, LiveAttempt]] = ()
    hold: Hold | None = None


class SimulatedHost:
    """The simulation of one host from an instant on."""

    def __init__(
        self, jobs: Iterable[Job], limits: HostLimits, beginning: Beginning, draws: Draws, tally: Tally
    ) -> None:
        begin, saved, not_started, live, hold = beginning
        self.now = Now(begin, begin)
        self.starts = 0
        """Number of attempts that started on this host."""
        self._draws, self._tally = draws, tally
        self._live: dict[tuple[RunId, int], tuple[LiveAttempt, Mapping[str, Any]]] = {}
        self._ends: list[tuple[int, RunId, int]] = []
        self._freed: list[RunId] = []
        self._was_held = hold is not None
        self.scheduler = Scheduler(limits)
        by_file: dict[str, list[Job]] = {}
        for job in jobs:
            by_file.setdefault(job.file, []).append(bare(job))
        found, waiting, known = list(live), list(not_started), {it.job: it for it in saved}
        for of_file in by_file.values():
            for job in of_file:  # occurrences that were due before the beginning are not simulated
                known.setdefault(job.id, SavedJob(job=job.id, rhythm=job.rhythm, cursor=begin - job.offset))
        self.scheduler.restore(known.values(), [*(run for run, _ in found), *waiting], self.now, hold)
        for run in (*(run for run, _ in found), *waiting):
            told = run.so_far["attempts"] if run.so_far else []
            attempts = [(start, end) for it in told if (start := _at(it["started"])) and (end := _at(it["ended"]))]
            if run.started is not None or run.so_far is not None:
                started = attempts[0][0] if attempts else run.started or begin
                self._tally.found(run.id, run.due, run.queued, started, attempts)
        for run, begun in found:
            self._begin(run, begun, run.so_far or {"job": run.id.job, "number": run.id.number, "attempts": []})
        for file, of_file in by_file.items():
            self._happen(events.JobsRead(file, tuple(of_file)))
        self._happen(events.JobsLoaded(complete=True))
        for it in known.values():
            if it.shared_pause:
                self._happen(events.FleetPaused(it.job, it.shared_pause))
        if limits.fleet:  # simulate this host as the only live host of its fleet
            self._happen(FleetReachability(""))
        self._settle()

    @property
    def live(self) -> list[LiveAttempt]:
        """The live attempts, oldest first."""
        return [begun for begun, _ in self._live.values()]

    @property
    def is_calm(self) -> bool:
        """True if no run waits and the scheduler has nothing to do now."""
        if len(self.scheduler.runs) > len(self._live):
            return False
        wake = self.scheduler.next_wakeup(self.now)
        return wake is None or wake > self.now.wall

    def play(self, until: int, least: int | None = None) -> bool:
        """Simulate everything before an instant, and return False.

        With `least`, stop and return True as soon as at least this many attempts have started and no run waits.
        """
        while (soonest := self._soonest()) is not None and soonest < until:
            if soonest > self.now.wall:
                self.now, self._freed = Now(soonest, soonest), []
            if self._ends and self._ends[0][0] <= soonest:
                while self._ends and self._ends[0][0] <= soonest:
                    self._end(*heappop(self._ends))
            else:
                self._happen(events.Woke())
            self._settle()
            if least is not None and self.starts >= least and self.is_calm:
                return True
        return False

    def _soonest(self) -> int | None:
        wake = self.scheduler.next_wakeup(self.now)
        end = self._ends[0][0] if self._ends else None
        soonest = end if wake is None else wake if end is None else min(wake, end)
        return None if soonest is None else max(soonest, self.now.wall)

    def _happen(self, event: events.Event) -> None:
        self._do(self.scheduler.handle(event, self.now))

    def _settle(self) -> None:
        self._do(self.scheduler.admit(self.now))

    def _do(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Launch(run, job, record):
                    self._launch(run, job, record)
                case Ask(run_id, number=number):
                    self._happen(events.Granted(run_id, number, NO_GRANT))
                case Stop(run_id, attempt):
                    self._stop(run_id, attempt)
                case Say("run_skipped", fields):
                    skipped = RunId.parse(fields["run"])
                    self._tally.skipped(skipped, fields["reason"], fields["times"], fields["first"], fields["due"])
                case Say("run_ended", fields):
                    ended = fields["record"]
                    self._tally.ended(RunId(ended["job"], ended["number"]), ended["state"])

    def _launch(self, run: Run, job: Job, record: Mapping[str, Any]) -> None:
        wall, sample = self.now.wall, self._draws.next(job)
        self.starts += 1
        if run.so_far is None:
            planned = _planned(run, job)
            blame, holder = self._blame(run, record["waited_for"]) if wall > planned else (None, None)
            self._tally.started(run.id, run.due, planned, wall, blame, holder)
        self._begin(run, LiveAttempt(run.id, run.due, wall, wall + sample.took, sample), record)
        if job.max_runs is not None:
            self._happen(events.RunStarted(run.id, run.attempt, 1, wall))

    def _begin(self, run: Run, begun: LiveAttempt, record: Mapping[str, Any]) -> None:
        self._live[run.id, run.attempt] = begun, record
        heappush(self._ends, (max(begun.end, self.now.wall), run.id, run.attempt))

    def _blame(self, run: Run, waited_for: list[str]) -> tuple[Blame | None, RunId | None]:
        """Return the cause of a wait that just ended, and the run that released the missing resource; either may be
        None.
        """
        freed = self._freed[0] if self._freed else None
        if not waited_for:
            own = next((it for it in self._freed if it.job == run.id.job), None)
            if run.held:
                return Blame(DEPENDENCIES, ""), freed
            if any(word == RATE for _, word in run.waits):
                return Blame(RATE, ""), None
            if any(word == CONCURRENCY for _, word in run.waits):
                return Blame(CONCURRENCY, run.id.job), own
            return (Blame(HOLD, "") if self._was_held else None), None
        lacked = waited_for[0]
        if (holder := reserver(lacked)) is not None:
            freed = RunId.parse(holder) if holder != ANOTHERS_RUN else None
            lacked = RESERVATION
        return Blame(lacked, "" if freed is None else freed.job), freed

    def settle(self, until: int) -> None:
        """Count the live and waiting runs at the end of the simulation, which must have reached this instant."""
        for begun in self.live:
            self._tally.attempted(begun.run, begun.started, until)
        oldest: dict[str, RunId | None] = {}
        for run in self.scheduler.runs.values():
            job = self.scheduler.catalog.get(run.id.job)
            if run.so_far is not None and run.state in PENDING:
                self._tally.retries(run.id)
            elif run.state in PENDING and job is not None:
                self._tally.waits(run.id, run.due, _planned(run, job), until, *self._blame_so_far(run, oldest))

    def _blame_so_far(self, run: Run, oldest: dict[str, RunId | None]) -> tuple[Blame | None, RunId | None]:
        """Return the cause of a current wait, and the run that has held the missing resource longest; either may be
        None.

        `oldest` is a cache.
        """
        held_back = run.waits[-1][1] if run.waits else ""
        if held_back == CONCURRENCY:
            return Blame(CONCURRENCY, run.id.job), self._oldest(self.scheduler[run.id.job].live)
        if (dependency := awaited_dependency(held_back)) is not None:
            return Blame(DEPENDENCIES, ""), self._oldest(self.scheduler[dependency].live)
        if held_back or self.scheduler.hold is not None:
            return Blame(held_back or HOLD, ""), None
        lacked = self.scheduler.lacks(run.id)
        if isinstance(lacked, RunId):
            return Blame(RESERVATION, lacked.job), lacked
        resource = str(lacked)
        if resource not in oldest:
            oldest[resource] = self._oldest(it for it in self.scheduler.holders(resource) if isinstance(it, RunId))
        holder = oldest[resource]
        name = "" if holder is None else holder.job
        return (Blame(resource.removeprefix(":"), name) if resource else None), holder

    def _oldest(self, runs: Iterable[RunId]) -> RunId | None:
        """Return the live run among `runs` that started first, or None."""
        attempts = ((run, self.scheduler.runs[run].attempt) for run in runs)
        begun = [self._live[it][0] for it in attempts if it in self._live]
        return min(begun, key=lambda it: (it.started, it.run)).run if begun else None

    def _stop(self, run: RunId, attempt: int) -> None:
        """End an attempt at once, because the scheduler stops it."""
        found = self._live.get((run, attempt))
        if found is not None:
            begun = found[0]._replace(end=self.now.wall, sample=DurationSample(0, RunState.KILLED.value, None, 15))
            self._live[run, attempt] = begun, found[1]
            heappush(self._ends, (self.now.wall, run, attempt))

    def _end(self, end: int, run: RunId, attempt: int) -> None:
        found = self._live.pop((run, attempt), None)
        if found is None:  # the attempt was already stopped
            return
        (*_, started, _, sample), record = found
        self._tally.attempted(run, started, end)
        self._freed.append(run)
        told = {"attempt": attempt, "state": sample.state, "reason": None, "output": {"bytes": 0}}
        attempts = [*record["attempts"], {**told, "failover": self.scheduler.runs[run].failover}]
        ended = {
            **record,
            "state": sample.state,
            "reason": None,
            "exit_code": sample.exit_code,
            "signal": sample.signal,
            "attempts": attempts,
        }
        self._happen(events.RunEnded(run, attempt, ended))  # type: ignore[arg-type]
