"""A faked world of which each instant is noted as it is, to be asked about later, by what was kept alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from jobqueued.audit import past
from jobqueued.audit.known import AuditAnswer, Known
from jobqueued.base.instants import MINUTE, SECOND, to_text
from jobqueued.child.contract.documents import Record
from jobqueued.core.records import record
from jobqueued.core.runs import dependencies
from jobqueued.core.runs.dependencies import DependencyStates
from jobqueued.core.runs.eligibility import Bar, Obstacle, obstacle
from jobqueued.model import events
from jobqueued.model.commands import Command, Save, SavePast
from jobqueued.model.job import Claim, Job
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import LIVE, RunState
from jobqueued.model.saved import Hold, Past
from tests.support.world import World, job

NAMES = ("a", "b", "c", "d", "e")
LOCKS = ("db", "tape")
_FOR_EVER = 1 << 62


class Seen(NamedTuple):
    """The truth about a job at an instant, by the processes and by what was done; `pending`: the runs that waited, and
    what held each back ("": it was in the queue); `lacked`: who held what those in the queue lacked.
    """

    job: str
    at: int
    running: set[str]
    is_down: bool
    is_idle: bool
    is_gone: bool
    is_disabled: bool
    is_paused: bool
    is_held: bool
    pending: dict[str, str]
    lacked: dict[str, dict[str, set[str]]]
    last: str | None


class RememberedWorld(World):
    """A world whose records are whole, that keeps what was noted, and when its daemon gave a sign of life."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.past: list[Past] = []
        self.downs: list[tuple[int, int]] = []
        self.saved_at = 0
        self.truths: list[Seen] = []
        self.is_down = False
        self.paused: dict[str, int] = {}
        """Until when each job is paused."""
        self.held = 0
        """Until when the host is on hold."""
        self.retention = self.chance.choice([None, None, 3, 10])
        """So many runs, and so many skips, are kept of a job; None: all."""
        self.dues: dict[str, list[tuple[int, str]]] = {name: [] for name in NAMES}
        """What was due of each job, with its key."""
        jobs = [self._drawn(name) for name in NAMES]
        self.defined = {it.id: it for it in jobs}
        slots = self.chance.choice([None, None, 1, 2])
        options: dict[str, Any] = {"resources": {"gpu": 2}, "max_running": slots}
        seconds = {name: self.chance.uniform(5, 900) for name in NAMES}
        super().__init__(*jobs, seconds=seconds, **options)
        self.ends = {name: self.chance.choices(["succeeded", "failed 1"], [3, 1], k=5) for name in NAMES}

    def _drawn(self, name: str) -> Job:
        """A job with a clock, and now and then what holds back its runs."""
        draw, fields = self.chance.choice, dict[str, Any]()
        if self.chance.random() < 0.5:
            fields["locks"] = (Claim(draw(LOCKS), exclusive=self.chance.random() < 0.7),)
        if self.chance.random() < 0.3:
            fields["resources"] = (Claim("gpu", draw([1, 2])),)
        if self.chance.random() < 0.1:
            fields["exclusive"] = True
        if name > "a" and self.chance.random() < 0.3:
            fields["dependencies"] = (draw([it for it in NAMES if it < name]),)
        fields |= {"retries": draw([0, 0, 1, 2]), "retry_delay": draw([MINUTE, 5 * MINUTE])}
        fields |= {"concurrency": draw([1, 1, 2]), "max_waiting": draw([1, 3])}
        fields |= {"start_deadline": draw([None, None, 10 * MINUTE])}
        return job(name, draw(["*/7 * * * *", "*/20 * * * *", "5 * * * *"]), **fields)

    # what is kept

    def _commit(self, commands: list[Command]) -> bool:
        committed = super()._commit(commands)
        if any(isinstance(command, Save) for command in commands):
            self.saved_at = self.now.wall
        self.past += [command.past for command in commands if isinstance(command, SavePast)]
        return committed

    def _left(self, name: tuple[RunId, int]) -> Record:
        sent, left = self.marks.specs[name].record, super()._left(name)
        return {**sent, **left, "started": left["attempts"][0]["started"], "ended": left["attempts"][-1]["ended"]}

    def known(self, name: str) -> Known:
        """All that is kept of a job by now."""
        whole = self._whole(name)
        kept = [it for it in whole.runs if it["number"] not in self._expired(name)]
        return whole._replace(runs=kept, is_whole=1 not in self._expired(name))

    def _expired(self, name: str) -> set[int]:
        """The numbers of the records of a job that are not kept: of runs as of skips the oldest."""
        ended = [run for run, document in self.rows.values() if run.id.job == name and document is not None]
        kinds = [sorted(run.id.number for run in ended if (run.state == "skipped") is it) for it in (False, True)]
        return set() if self.retention is None else {number for each in kinds for number in each[: -self.retention]}

    def _whole(self, name: str) -> Known:
        """All that was ever known of a job."""
        whole = [self._told(run.id) for run, _ in self.rows.values()]
        there = self._in_files().get(name)
        standing = "gone" if there is None else "enabled" if there.enabled else "disabled"
        return Known(
            name, [it for it in whole if it["job"] == name], True, "", [it for it in whole if it["started"]], True,
            [it for it in self.past if it.job in (name, "")], self.downs, standing, self.scheduler.next_start(name),
        )  # fmt: skip

    def _told(self, name: RunId) -> Record:
        run, document = self.rows[name]
        if document is not None:
            return document
        job, begin = self.defined[name.job], self.begun.get((name, run.attempt))
        begun = record.begin(run, job, self.limits)
        if run.state in LIVE:
            return {**begun, "started": None if begin is None else to_text(begin)}
        return {**begun, "claims": list(record.claims(self.limits.claims_of(job), job, self.limits))}

    # what happens

    def live(self, steps: int) -> None:
        """So many things happen, and time passes in between, in which the truth is noted."""
        for _ in range(steps):
            self._spend(self.chance.uniform(1, 500))
            self._one()
            self._spend(self.chance.uniform(0.001, 60))
            self.truths.append(self._truth(self.chance.choice(NAMES)))
        if self.is_down:
            self._spend(1)
            self._come_back()

    def _spend(self, seconds: float) -> None:
        until = self.now.wall + round(seconds * SECOND)
        for name in NAMES:
            due = self._in_files()[name].next_after(self.now.wall) if name in self._in_files() else None
            while due is not None and due <= until:
                if self._in_files()[name].enabled:
                    self.dues[name].append((due, f".{due // SECOND}"))
                due = self._in_files()[name].next_after(due)
        self.pass_time((until - self.now.wall) / SECOND, scheduler=not self.is_down)
        self._news()

    def _news(self) -> None:
        for run, attempt in list(self.processes) if not self.is_down else ():
            if self.scheduler.runs[run].pid is None:
                self.happen(events.RunStarted(run, attempt, 4711, self.begun[run, attempt]))

    def _one(self) -> None:
        """Something that people, or a crash, do."""
        if self.is_down:
            self._come_back()
            return
        gone = sorted(set(NAMES) - self._in_files().keys())
        name = self.chance.choice(gone if gone and self.chance.random() < 0.2 else NAMES)
        number = 100 + len(self.truths)
        match self.chance.randrange(12):
            case 0:
                until, is_paused = self._until(), self._lasts(self.paused.get(name, 0))
                if self.pause(name, pause=not is_paused, ticket=number, until=until).error is None:
                    self.paused[name] = 0 if is_paused else until or _FOR_EVER
            case 1:
                until, is_held = self._until(), self._lasts(self.held)
                self.happen(events.HoldAsked(number, "root", None if is_held else Hold("root", until)))
                self.held = 0 if is_held else until or _FOR_EVER
            case 2:
                self.run(name, number)
                if any(run.key == f"x{number:016x}" for run, _ in self.rows.values()):  # maybe a skip
                    self.dues[name].append((self.now.wall, f"x{number:016x}"))
            case 3:
                if waiting := [run for run in self.scheduler.runs if run.job == name]:
                    self.stop(str(self.chance.choice(waiting)), number)
            case 4:
                self.is_down = True
            case 5 | 7 | 8 if self._is_odd(name, number):
                others = [it for it in self._in_files().values() if it.id != name]
                back = [] if name in self._in_files() else [self.defined[name]]
                self.write("jobs.yaml", *others, *back)
            case 6 if name in self._in_files():
                self.defined[name] = replace(self.defined[name], enabled=not self.defined[name].enabled)
                others = [it for it in self._in_files().values() if it.id != name]
                self.write("jobs.yaml", *others, self.defined[name])
        self._news()

    def _is_odd(self, name: str, number: int) -> bool:
        """Tell whether a job is to come or to go: of three that are gone two come back before another goes."""
        return name not in self._in_files() or number % 3 == 0

    def _until(self) -> int | None:
        """The end that a person gives to a pause or a hold; None: none."""
        return self.chance.choice([None, self.now.wall + self.chance.randrange(60, 3000) * SECOND])

    def _lasts(self, until: int) -> bool:
        return self.now.wall < until

    def _come_back(self) -> None:
        self.is_down = False
        saved_at = self.saved_at
        self.boot()
        self.downs.append((saved_at, self.now.wall))
        self._news()

    def _in_files(self) -> dict[str, Job]:
        return {it.id: it for it in self.files["jobs.yaml"]}

    # the truth

    def _truth(self, name: str) -> Seen:
        there = self._in_files().get(name)
        rows = [run for run, document in self.rows.values() if run.id.job == name and document is None]
        waiting = [run for run in rows if run.state not in LIVE]
        state = self.scheduler._state
        pending = {str(it.id): "retry" if it.so_far or it.id in state[name].delayed else "" for it in waiting}
        if not self.is_down:
            for it in waiting:
                if it.state is RunState.DUE and not it.so_far:
                    pending[str(it.id)] = "|".join(self._obstacles(it))
        due = [(at, key) for at, key in self.dues[name] if at <= self.now.wall]
        return Seen(
            name, self.now.wall, {str(run) for run, _ in self.processes if run.job == name}, self.is_down,
            self.saved_at < self.now.wall, there is None, there is not None and not there.enabled,
            self._lasts(self.paused.get(name, 0)), self._lasts(self.held), pending,
            {str(it.id): self._lacks(it.id) for it in waiting if not pending[str(it.id)]},
            max(due)[1] if due else None,
        )  # fmt: skip

    def _obstacles(self, run: Run) -> Iterator[str]:
        """Yield what holds back a run, first what it would be told now; a dependency holds it back beside a run of its
        own job, whichever came first.
        """
        state, found = self.scheduler._state, obstacle(self.scheduler._state, run, self.now)
        if found is not None:
            yield found.word
        if found is not None and found.bar is Bar.CONCURRENCY:
            verdict = dependencies.verdict(state, state.catalog[run.id.job], run, self.now)
            if verdict.state is DependencyStates.AWAITED:
                yield Obstacle(Bar.DEPENDENCY, verdict).word

    def _lacks(self, name: RunId) -> dict[str, set[str]]:
        """What a run can't have by the processes that live, and who has it."""
        job, found = self.defined[name.job], dict[str, set[str]]()
        live = {str(run): self.holding[run, attempt][0] for run, attempt in self.processes}
        for claim in (*job.locks, *job.resources):
            holders = {run: it for run, claims in live.items() for it in claims if it.resource == claim.resource}
            used = sum(it.units for it in holders.values())
            alone = claim.exclusive or any(it.exclusive for it in holders.values())
            if holders and (
                alone or (claim.units and used + claim.units > self.limits.resources.get(claim.resource, 1))
            ):
                found[claim.resource] = set(holders)
        exclusive = {run for run in live if self.defined[RunId.parse(run).job].exclusive}
        if (job.exclusive and live) or exclusive:
            found["host"] = set(live) if job.exclusive else exclusive
        if self.limits.max_running is not None and len(live) >= self.limits.max_running:
            found["max_running"] = set(live)
        return found

    def wrong(self) -> Iterator[tuple[Seen, AuditAnswer, str]]:
        """Yield the truths to which the answer by what was kept is another, and what is wrong with it."""
        for seen in self.truths:
            found = past.answer(self.known(seen.job), seen.at)
            if (trouble := self._trouble(seen, found)) is not None:
                yield seen, found, trouble

    def _trouble(self, seen: Seen, found: AuditAnswer) -> str | None:
        for run in seen.running:
            if (own := past.answer(self._whole(seen.job), seen.at, run)).kind != "running":
                return f"{run} itself is {own.kind}"
        if found.unknown and self._has_expired(seen):
            return None
        if found.kind == "unknown":
            return "all of it is kept"
        expected = self._kinds(seen)
        if found.kind not in expected:
            return f"it is {expected}"
        if found.kind == "running" and found.run not in seen.running:
            return f"{seen.running} ran"
        told = " ".join(found.reasons)
        if seen.is_held != ("on hold" in told):
            return f"on hold: {seen.is_held}"
        if seen.is_paused != (f"{seen.job} was paused" in told) and found.kind != "down":
            return f"paused: {seen.is_paused}"
        if found.kind == "waiting":
            return self._wrong_wait(seen, found, told)
        if found.kind in ("skipped", "disabled", "paused") and seen.pending and not found.unknown:
            return f"it is not told that {seen.pending} may have waited"
        return None

    def _has_expired(self, seen: Seen) -> bool:
        """Tell whether the record that has the answer, or the next, is not kept any more."""
        answer, expired = past.answer(self._whole(seen.job), seen.at), self._expired(seen.job)
        last = 0 if answer.run is None else RunId.parse(answer.run).number
        following = min((run.number for run in self.rows if run.job == seen.job and run.number > last), default=0)
        about = {RunId.parse(it).number for it in (*seen.running, *seen.pending)} | {last, following}
        return not expired.isdisjoint(about)

    def _wrong_wait(self, seen: Seen, found: AuditAnswer, told: str) -> str | None:
        assert found.run is not None
        if found.run not in seen.pending:
            return None if any(map(self._is_shared, seen.pending)) else f"{seen.pending} waited"
        words = {"paused": "was paused", "concurrency": "'s concurrency", "dependency": "its dependency"}
        obstacles = seen.pending[found.run].split("|")
        parts = [(words[kind], name) for kind, _, name in (each.partition(" ") for each in obstacles) if kind]
        if parts and not any(word in told and name in told for word, name in parts):
            return f"it waited for {' or '.join(obstacles)}"
        lacked = seen.lacked.get(found.run, {})
        for resource, holders in lacked.items():
            named = any(holder in told for holder in holders)
            if not named or (resource in LOCKS and f"lock {resource} was held" not in told):
                return f"it lacked {resource}, held by {holders}"
        if not lacked and ("was held by" in told or ("used up by" in told and "concurrency" not in obstacles)):
            return "it lacked nothing"
        return None

    def _kinds(self, seen: Seen) -> set[str]:
        """The kinds of an answer that are right."""
        if seen.running:
            return {"running"}
        unsure = {"down"} if any(begin <= seen.at < end for begin, end in self.downs) else set[str]()
        if seen.is_down:
            return {"down"}
        if seen.pending:
            waited = {"retrying" if self._was_tried(RunId.parse(run), seen.at) else "waiting" for run in seen.pending}
            others = {"skipped", "disabled", "paused"} if any(map(self._is_shared, seen.pending)) else set[str]()
            return unsure | waited | others
        if seen.is_gone:
            return unsure | {"gone"}
        if seen.is_disabled:
            return unsure | {"disabled"}
        if seen.is_paused:
            return unsure | {"paused"}
        launched = seen.last is not None and any(
            name == seen.job and key.endswith(seen.last) for name, key, _ in self.occurrences
        )
        return unsure | ({"not_due"} if launched or seen.last is None else {"skipped"})

    def _is_skipped(self, run: str) -> bool:
        name = RunId.parse(run)
        return name in self.rows and self.rows[name][0].state is RunState.SKIPPED

    def _is_shared(self, run: str) -> bool:
        """Tell whether a run was given up since like others before or after it, with which it shares a record."""
        name = RunId.parse(run)
        return name not in self.rows or self.rows[name][0].count > 1

    def _was_tried(self, run: RunId, at: int) -> bool:
        return any(begin <= at for (name, _), begin in self.begun.items() if name == run)
