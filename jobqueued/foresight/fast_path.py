"""The fast path: a simulation without the scheduler, which would only start each due run while no run waits.

At the first run that must wait for a claim, a simulated host with the real scheduler takes over, until no run waits.
The simulated host gets the live runs and the positions of the jobs' clocks. Afterwards, the fast path takes the live
runs back.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush

from jobqueued.core.records.host_limits import HostLimits
from jobqueued.foresight.durations import Draws
from jobqueued.foresight.simulated_host import Beginning, LiveAttempt, SimulatedHost
from jobqueued.foresight.tally import Tally
from jobqueued.model.job import UNBOUNDED, Job
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import RunState
from jobqueued.model.saved import SavedJob
from jobqueued.queue.admission import OUTPUT_DRAIN
from jobqueued.queue.locks import Locks, places_of


class Dues:
    """The due times after an instant, for all jobs with the same triggers and the same delay within `spread`."""

    def __init__(self, job: Job, begin: int) -> None:
        self._job = job
        self._found = [begin - job.offset]

    def at(self, place: int) -> int:
        """Return the due time with this index (from 0), or UNBOUNDED if there are fewer due times."""
        found = self._found
        while len(found) <= place + 1:
            due = self._job.next_after(found[-1]) if self._job.enabled else None
            found.append(UNBOUNDED if due is None else due)
        return found[place + 1]

    def before(self, place: int) -> int:
        """Return the due time before this index; for index 0, return the instant after which the due times begin."""
        return self._found[place]


class Calendar:
    """The due times of all jobs after an instant, computed once for all futures."""

    def __init__(self, begin: int) -> None:
        self._begin = begin
        self._dues: dict[tuple[int, ...], Dues] = {}

    def of(self, job: Job) -> Dues:
        """Return a job's due times; jobs that share trigger objects share the due times."""
        key = (job.enabled, job.offset, *map(id, job.triggers))
        found = self._dues.get(key)
        if found is None:
            found = self._dues[key] = Dues(job, self._begin)
        return found


class FastPath:
    """The simulation of a group of plain jobs while no run waits."""

    def __init__(self, jobs: Sequence[Job], limits: HostLimits, draws: Draws, tally: Tally, calendar: Calendar) -> None:
        self._jobs, self._limits = jobs, limits
        self._draws, self._tally = draws, tally
        self._dues = list(map(calendar.of, jobs))
        self._claims = list(map(limits.claims_of, jobs))
        places = {name: units for job in jobs for name, units in places_of(job).items()}
        self._capacities = {**limits.units, **places}
        self._shares = len(jobs) > 1 or jobs[0].concurrency > 1 or bool(jobs[0].resources)
        self._places, self._numbers = [0] * len(jobs), [0] * len(jobs)
        self._go_on([])

    def _go_on(self, live: Sequence[LiveAttempt]) -> None:
        """Continue with these live attempts; `_places` has the positions of the jobs' clocks."""
        index = {job.id: place for place, job in enumerate(self._jobs)} if live else {}
        self._locks = Locks(self._capacities)
        self._live = [0] * len(self._jobs)
        self._ends: list[tuple[int, int, LiveAttempt]] = []
        for begun in live:
            self._let_run(index[begun.run.job], begun)
        self._starts = [self._start(place) for place in range(len(self._jobs))]
        heapify(self._starts)

    def _let_run(self, place: int, begun: LiveAttempt) -> None:
        if self._shares:
            self._locks.grant(begun.run, self._claims[place], found=True)
        self._live[place] += 1
        heappush(self._ends, (begun.end, place, begun))

    def _start(self, place: int) -> tuple[int, int, int]:
        due = self._dues[place].at(self._places[place])
        return due + self._jobs[place].offset, place, due

    def play(self, until: int) -> SimulatedHost | None:
        """Start the runs that are due before an instant. If a claim of a run is not free, stop, and return the host in
        which the run waits; otherwise return None.
        """
        starts = self._starts
        while (now := starts[0][0]) < until:
            self._end(now)
            due = [heappop(starts)]
            while starts and starts[0][0] == now:
                due.append(heappop(starts))
            if not all(self._may_start(place) for _, place, _ in due):
                return self._as_host(now)
            for _, place, nominal in due:
                self._begin(place, nominal, now)
                heappush(starts, self._start(place))
        self._end(until - 1)
        return None

    def _may_start(self, place: int) -> bool:
        """Return whether the next run of a job may start; if so, grant its claims."""
        job = self._jobs[place]
        if self._live[place] >= job.concurrency:
            return False
        return not self._shares or self._locks.grant(RunId(job.id, self._numbers[place] + 1), self._claims[place])

    def _begin(self, place: int, due: int, now: int) -> None:
        job = self._jobs[place]
        number = self._numbers[place] = self._numbers[place] + 1
        self._places[place] += 1
        self._live[place] += 1
        sample = self._draws.next(job)
        run = RunId(job.id, number)
        self._tally.started(run, due, now, now, None)
        heappush(self._ends, (now + sample.took, place, LiveAttempt(run, due, now, now + sample.took, sample)))

    def _end(self, until: int) -> None:
        ends = self._ends
        while ends and ends[0][0] <= until:
            end, place, begun = heappop(ends)
            self._live[place] -= 1
            if self._shares:
                self._locks.release(begun.run)
            self._tally.attempted(begun.run, begun.started, end)
            self._tally.ended(begun.run, begun.sample.state)

    def settle(self, until: int) -> None:
        """Count the attempts that are live at an instant, the end of the simulation."""
        for _, _, begun in self._ends:
            self._tally.attempted(begun.run, begun.started, until)

    def _as_host(self, now: int) -> SimulatedHost:
        """Return a simulated host that continues from the instant `now`."""
        saved = [
            SavedJob(job=job.id, rhythm=job.rhythm, cursor=dues.before(place), last_number=number)
            for job, dues, place, number in zip(self._jobs, self._dues, self._places, self._numbers, strict=True)
        ]
        live = [(self._run(place, begun), begun) for _, place, begun in sorted(self._ends, key=_by_start)]
        return SimulatedHost(self._jobs, self._limits, Beginning(now, saved, live=live), self._draws, self._tally)

    def _run(self, place: int, begun: LiveAttempt) -> Run:
        job = self._jobs[place]
        ends_by = None if job.timeout is None else begun.started + job.timeout + job.kill_grace + OUTPUT_DRAIN
        return Run(
            id=begun.run,
            key=str(begun.run.number),
            due=begun.due,
            queued=begun.started,
            arrival=begun.run.number,
            state=RunState.RUNNING,
            attempt=1,
            pid=1,
            started=begun.started,
            claims=self._claims[place],
            ends_by=ends_by,
        )

    def take_over(self, host: SimulatedHost) -> None:
        """Continue from a host on which no run waits."""
        for place, job in enumerate(self._jobs):
            saved = host.scheduler[job.id].saved
            self._numbers[place] = saved.last_number
            while self._dues[place].at(self._places[place]) <= saved.cursor:
                self._places[place] += 1
        self._go_on(host.live)


def _by_start(entry: tuple[int, int, LiveAttempt]) -> tuple[int, RunId]:
    return entry[2].started, entry[2].run
