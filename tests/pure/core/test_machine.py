"""Whatever people, clocks and crashes do in whatever order: the promises hold after each step.

Every occurrence is covered by exactly one record (1); no attempt is launched twice (2); exclusivity, locks, units and
concurrency hold at every instant, by the processes that live, over crashes between any two acts of a turn (3); nobody
who could start is left waiting (7).  `world.py` checks 2 and 3 at each launch.

JOBQUEUED_SOAK=1 runs it far longer (make soak).
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from jobqueued.base.instants import HOUR, MINUTE, SECOND
from jobqueued.model import events
from jobqueued.model.job import CatchUp, Claim, Escalation, Job, On, Overlap, Rate
from jobqueued.model.notify import Late
from jobqueued.model.run import LockClientId, Run, RunId
from jobqueued.model.run_states import RunState
from jobqueued.model.saved import Hold
from jobqueued.model.submission import After, Array, Resized
from jobqueued.runs.launcher_link import unstarted
from jobqueued.runs.run_directory import Name
from tests.support.audited import AuditedWorld
from tests.support.world import job, submission

NAMES = ["a", "b", "alice/c", "alice/d", "bob/e", "crontabs/alice:f"]
FILES = ["one.yaml", "two.yaml"]
SOAK = bool(os.environ.get("JOBQUEUED_SOAK"))

LOCK = st.builds(Claim, st.sampled_from(["db", "tape", "/run/x.lock"]), st.just(0), st.booleans())
LOCKS = st.lists(LOCK, max_size=2, unique_by=lambda claim: claim.resource).map(tuple)
GPUS = st.sampled_from([(), (), (Claim("gpu", 1),), (Claim("gpu", 2),), (Claim("gpu", 3),)])
ONS = st.lists(
    st.one_of(
        st.just(On("event", "go")),
        st.builds(On, st.just("job"), st.sampled_from(NAMES), st.sampled_from(["any", "success"])),
    ),
    max_size=1,
).map(tuple)  # fmt: skip


ENDS = st.lists(
    st.sampled_from(["succeeded", "succeeded", "failed 1", "failed 2", "timed_out", "oom_killed"]),
    min_size=1,
    max_size=4,
)
SCHEDULES = st.sampled_from(
    [
        (), ("*/7 * * * *",), ("*/7 * * * *",), ("*/20 * * * *",), ("5 * * * *",), ("3-59/7 0-23 * * *",),
        ("*/20 * * * *", "9-59/7 0-23 * * *"),
    ]
)  # fmt: skip


@st.composite
def definitions(draw: st.DrawFn, name: str) -> Job:
    """A job, mostly with few of its keys set."""
    fields: dict[str, Any] = {
        "priority": draw(st.integers(-2, 2)),
        "timeout": draw(st.sampled_from([None, 20 * MINUTE])),
        "file": draw(st.sampled_from(FILES)),
    }
    rare = {
        "locks": LOCKS,
        "resources": GPUS,
        "exclusive": st.booleans(),
        "tags": st.sampled_from([("night",), ("db", "night")]),
        "concurrency": st.integers(1, 3),
        "rate": st.sampled_from([Rate(1, 10 * MINUTE), Rate(2, HOUR)]),
        "overlap": st.sampled_from(Overlap),
        "max_waiting": st.integers(1, 3),
        "catch_up": st.sampled_from(CatchUp),
        "retries": st.integers(0, 2),
        "retry_delay": st.sampled_from([0, MINUTE, HOUR]),
        "retry_on": st.sampled_from([None, ("1", "lost")]),
        "failover": st.sampled_from([None, "y"]),
        "max_runs": st.integers(1, 4),
        "start_deadline": st.sampled_from([5 * MINUTE, HOUR]),
        "escalation": st.builds(Escalation, st.integers(0, 3), st.sampled_from([MINUTE, HOUR])),
        "drain": st.sampled_from([10 * MINUTE, HOUR]),
        "dependencies": st.lists(st.sampled_from(NAMES), max_size=2, unique=True).map(tuple),
        "on_dependency_failure": st.sampled_from(["skip", "run"]),
        "dependency_timeout": st.sampled_from([30 * MINUTE, 24 * HOUR]),
        "on": ONS,
        "at_boot": st.booleans(),
        "enabled": st.booleans(),
        "offset": st.sampled_from([0, 7 * MINUTE]),
        "late": st.sampled_from([None, Late(after=10 * MINUTE), Late(level=0.5)]),
        "expect": st.sampled_from([HOUR, 24 * HOUR]),
    }
    for key in draw(st.lists(st.sampled_from(sorted(rare)), max_size=5, unique=True)):
        fields[key] = draw(rare[key])
    return job(name, *draw(SCHEDULES), **fields)


class Machine(RuleBasedStateMachine):
    """One host, and all that can happen to it."""

    @initialize(
        slots=st.sampled_from([None, 1, 2]), of_a_user=st.sampled_from([None, 1, 2]), seconds=st.integers(1, 1500),
        tags=st.sampled_from([{}, {"night": 1}, {"night": 2, "db": 1}]),
        jobs=st.tuples(*(definitions(name) for name in NAMES[:4])),
    )  # fmt: skip
    def begin(
        self, slots: int | None, of_a_user: int | None, seconds: int, tags: dict[str, int], jobs: tuple[Job, ...]
    ) -> None:
        """A host with some jobs."""
        times = {name: seconds * (number + 1) / 3 for number, name in enumerate(NAMES)}
        self.world = AuditedWorld(
            max_running=slots,
            resources={"gpu": 2, "cpu": 2000, "memory": 1 << 30},
            seconds=times,
            most_of_a_user=of_a_user,
            tags=tags,
        )
        self.tickets = 0
        self.seen: dict[str, tuple[str, int, int, int, int]] = {}
        self.seen_kept = dict(self.seen)
        self.jump = 0, 0
        """From where to where (wall) the clock was set just now."""
        self.fell_back, self.is_corrected = 0, False
        for file in FILES:
            self.world.write(file, *(known for known in jobs if known.file == file))

    def ticket(self) -> int:
        """The next asker."""
        self.tickets += 1
        return self.tickets

    # what people do

    @rule(defined=st.sampled_from(NAMES).flatmap(definitions))
    def save(self, defined: Job) -> None:
        """A job comes, or changes, or moves to another file."""
        world = self.world
        for file, jobs in list(world.files.items()):
            if file != defined.file and any(known.id == defined.id for known in jobs):
                world.files[file] = tuple(known for known in jobs if known.id != defined.id)
        others = [known for known in world.files.get(defined.file, ()) if known.id != defined.id]
        world.write(defined.file, *others, defined)
        for file, jobs in world.files.items():
            if file != defined.file:
                world.write(file, *jobs)

    @rule(name=st.sampled_from(NAMES))
    def remove(self, name: str) -> None:
        """A job goes."""
        for file, jobs in list(self.world.files.items()):
            if any(known.id == name for known in jobs):
                self.world.write(file, *(known for known in jobs if known.id != name))

    @rule(name=st.sampled_from(NAMES), die=st.sampled_from([None, None, -1, 0, 1, 2]))
    def forget(self, name: str, die: int | None) -> None:
        """Somebody expects nothing of a job any more, which counts only where that is in no file."""
        self._happen(events.ForgetAsked(self.ticket(), name, "root"), die)

    @rule(name=st.sampled_from(NAMES), die=st.sampled_from([None, None, -1, 0, 1, 2]))
    def ask(self, name: str, die: int | None) -> None:
        """A run by hand."""
        ticket = self.ticket()
        self._happen(events.RunAsked(ticket, name, "root", f"x{ticket:016x}"), die)

    @rule(
        user=st.sampled_from(["alice/", "bob/", "host/"]), last=st.sampled_from([None, 1, 3, 9]),
        at_a_time=st.integers(1, 3), minutes=st.sampled_from([None, None, 7]), awaits=st.integers(0, 3),
        result=st.sampled_from(["success", "any"]), key=st.sampled_from(["", "k"]),
        die=st.sampled_from([None, None, -1, 0, 1, 2]),
    )  # fmt: skip
    def submit(
        self, user: str, last: int | None, at_a_time: int, minutes: int | None, awaits: int, result: str, key: str,
        die: int | None,
    ) -> None:  # fmt: skip
        """Somebody hands in a job, an array, for later, after others: taken with an id, or not at all."""
        world = self.world
        others = sorted(world.scheduler.submitted)
        after = [After(others[awaits % len(others)], result)] if awaits and others else []
        at = None if minutes is None else world.now.wall + minutes * MINUTE
        array, before = None if last is None else Array(1, last), set(world.submissions)
        concurrency = at_a_time if array else 1
        it = submission(user, at, array=array, after=after, concurrency=concurrency)
        ticket = self.ticket()
        reply = world.submit(it, key, ticket, die_after=die)
        assert len(set(world.submissions) - before) <= 1
        assert reply.error or f"{reply.value['job']}/".startswith(user)
        if die is not None:
            world.boot()

    @precondition(lambda self: self.world.submissions)
    @rule(pick=st.integers(0, 9), stop=st.booleans(), die=st.sampled_from([None, None, -1, 0, 1, 2]))
    def withdraw(self, pick: int, stop: bool, die: int | None) -> None:
        """Somebody takes a submission back, or ends it."""
        names = sorted(self.world.submissions)
        self._happen(events.WithdrawAsked(self.ticket(), names[pick % len(names)], "root", stop), die)

    @precondition(lambda self: self.world.submissions)
    @rule(pick=st.integers(0, 9), runs=st.integers(1, 9), die=st.sampled_from([None, None, -1, 0, 1, 2]))
    def resize(self, pick: int, runs: int, die: int | None) -> None:
        """Somebody wants another number of runs of a submission at a time."""
        world, names = self.world, sorted(self.world.submissions)
        if (job := world.scheduler.catalog.get(names[pick % len(names)])) is not None:
            text = f"text {len(world.texts)}"
            world.texts[text] = replace(job, concurrency=runs)
            self._happen(Resized(self.ticket(), job.id, runs, text, "root"), die)

    @rule(die=st.sampled_from([None, None, -1, 0, 1, 2]))
    def emit(self, die: int | None) -> None:
        """An event."""
        ticket = self.ticket()
        self._happen(events.Emitted(ticket, "go", "root", f"x{ticket:016x}"), die)

    @precondition(lambda self: self.world.scheduler.runs)
    @rule(pick=st.integers(0, 30), die=st.sampled_from([None, None, -1, 0, 1, 2]))
    def stop(self, pick: int, die: int | None) -> None:
        """Somebody stops a run."""
        runs = sorted(self.world.scheduler.runs)
        self._happen(events.StopAsked(self.ticket(), runs[pick % len(runs)], "root"), die)

    @precondition(lambda self: self.world.scheduler.runs)
    @rule(pick=st.integers(0, 30), die=st.sampled_from([None, None, -1, 0, 1, 2]))
    def retry(self, pick: int, die: int | None) -> None:
        """Somebody wants the next attempt of a run now, of one that waits for it if there is one."""
        runs = self.world.scheduler.runs
        names = [name for name, run in sorted(runs.items()) if run.state is RunState.RETRYING] or sorted(runs)
        self._happen(events.RetryAsked(self.ticket(), names[pick % len(names)], "root"), die)

    @rule(
        what=st.sampled_from(["pause", "resume", "resume", "skip", "hold", "release", "release"]),
        name=st.sampled_from(NAMES), minutes=st.sampled_from([None, 10, 90]),
    )  # fmt: skip
    def control(self, what: str, name: str, minutes: int | None) -> None:
        """Somebody pauses or resumes a job, skips its next occurrence, holds the host, or lets it go on."""
        until = None if minutes is None else self.world.now.wall + minutes * MINUTE
        match what:
            case "pause" | "resume":
                paused = what == "pause"
                event: events.Event = events.PauseAsked(self.ticket(), name, "root", paused, until if paused else None)
            case "skip":
                event = events.SkipAsked(self.ticket(), name, "root")
            case _:
                hold = Hold("root", until, self.world.boot_id) if what == "hold" else None
                event = events.HoldAsked(self.ticket(), "root", hold)
        self._happen(event, None)

    @rule(minutes=st.floats(0, 100), ends=ENDS, die=st.sampled_from([None, None, -1, 0, 1, 2]))
    def unsaved(self, minutes: float, ends: list[str], die: int | None) -> None:
        """A start can't save the state for some time, in which nothing new starts."""
        self._happen(events.StateUnsaved("no room"), die)
        launched = len(self.world.launched)
        if die is None:
            self.time_passes(minutes, ends)
            assert launched == len(self.world.launched)
            self._happen(events.StateUnsaved(""), None)

    @rule(
        claim=st.one_of(LOCK, st.sampled_from([Claim("gpu", 1), Claim("gpu", 2)])), at_once=st.booleans(),
        die=st.sampled_from([None, None, -1, 0, 1, 2, 3]),
    )  # fmt: skip
    def lock(self, claim: Claim, at_once: bool, die: int | None) -> None:
        """A person's command asks for a lock, or for units."""
        ticket = self.ticket()
        self._happen(events.LockAsked(ticket, LockClientId(ticket), (claim,), "alice", at_once), die)

    @precondition(lambda self: self.world.scheduler._state.lock_clients)
    @rule(pick=st.integers(0, 30), die=st.sampled_from([None, None, -1, 0, 1, 2]))
    def unlock(self, pick: int, die: int | None) -> None:
        """Such a command ends, whether it has its claims or waits."""
        clients = sorted(self.world.scheduler._state.lock_clients)
        self.world.unlock(clients[pick % len(clients)], die)
        if die is not None:
            self.world.boot()

    @precondition(lambda self: self.world.scheduler._state.lock_clients)
    @rule(pick=st.integers(0, 30), die=st.sampled_from([None, None, -1, 0, 1, 2]))
    def evict(self, pick: int, die: int | None) -> None:
        """A person takes from one what it has or waits for."""
        clients = sorted(self.world.scheduler._state.lock_clients)
        self._happen(events.EvictAsked(self.ticket(), clients[pick % len(clients)], "root"), die)

    # what the world does

    @rule(minutes=st.floats(0, 100), ends=ENDS)
    def time_passes(self, minutes: float, ends: list[str]) -> None:
        """Some time, in which attempts end so."""
        self.world.ends = {name: [ends[number % len(ends)], *ends] for number, name in enumerate(NAMES)}
        self.world.pass_time(minutes * 60)

    @rule(minutes=st.floats(60, 300), ends=ENDS)
    def much_time_passes(self, minutes: float, ends: list[str]) -> None:
        """Some hours."""
        self.time_passes(minutes, ends)

    @rule(name=st.sampled_from(NAMES), minutes=st.floats(0, 30), ends=ENDS)
    def ask_and_wait(self, name: str, minutes: float, ends: list[str]) -> None:
        """A run by hand, and some time."""
        self.ask(name, None)
        self.time_passes(minutes, ends)

    @rule(minutes=st.floats(0, 300))
    def down(self, minutes: float) -> None:
        """The daemon is down for a time."""
        self.world.pass_time(minutes * 60, scheduler=False)
        self.world.boot()

    @rule(die=st.integers(-1, 6))
    def die_when_due(self, die: int) -> None:
        """The daemon dies in the middle of the turn in which something is due."""
        wake = self.world.scheduler.next_wakeup(self.world.now)
        ends = self.world.processes.values()
        if wake is not None and all(end > wake for end in ends):
            self.world._advance(max(self.world.now.wall, wake))
        self._happen(events.Woke(), die)

    @precondition(lambda self: self.world.processes)
    @rule(pick=st.integers(0, 30), die=st.integers(-1, 6), state=st.sampled_from(["succeeded", "failed 1"]))
    def die_at_an_end(self, pick: int, die: int, state: str) -> None:
        """The daemon dies in the middle of the turn that hears of an end."""
        world = self.world
        name = sorted(world.processes)[pick % len(world.processes)]
        world.ends = {run: [state] for run in NAMES}
        del world.processes[name]
        record = world.marks.ended[name] = world._left(name)
        world.happen(events.RunEnded(*name, record), die_after=die)
        world.boot()

    @precondition(lambda self: self.world.processes)
    @rule(pick=st.integers(0, 30), die=st.sampled_from([None, None, -1, 0, 1, 2, 3]))
    def lose(self, pick: int, die: int | None) -> None:
        """A supervisor dies."""
        world = self.world
        name = sorted(world.processes)[pick % len(world.processes)]
        del world.processes[name]
        world.over.add(name)
        self._happen(events.RunLost(*name, "its supervisor died"), die)

    @precondition(lambda self: self.world.processes)
    @rule(pick=st.integers(0, 30), die=st.sampled_from([None, None, -1, 0, 1, 2]))
    def linger(self, pick: int, die: int | None) -> None:
        """A supervisor is gone, and something of its run lives, or may live."""
        name = sorted(self.world.processes)[pick % len(self.world.processes)]
        self._happen(events.RunLingers(*name, f"its supervisor is gone, and {pick} lives"), die)

    @rule(number=st.integers(1, 3), over=st.booleans(), die=st.sampled_from([None, None, -1, 0]))
    def leave_behind(self, number: int, over: bool, die: int | None) -> None:
        """Processes that a user's ended run left are alive, or have ended."""
        self._happen(events.LeftBehind(RunId("alice/left", number), 1, over), die)

    @precondition(lambda self: self.world.processes)
    @rule(pick=st.integers(0, 30), die=st.sampled_from([None, None, 0, 1, 2, 3]))
    def declare_lost(self, pick: int, die: int | None) -> None:
        """A person says that nothing of a run lives, which counts only where that may be."""
        world = self.world
        name = sorted(world.processes)[pick % len(world.processes)]
        if world.scheduler.lingers(name[0]):
            del world.processes[name]
            world.over.add(name)
        self._happen(events.LostAsked(self.ticket(), events.RunLost(*name, "released by root")), die)

    @precondition(lambda self: self.world.processes)
    @rule(pick=st.integers(0, 30), reason=st.sampled_from(["", "fork: no memory", "path busy: /run/x.lock"]))
    def never_started(self, pick: int, reason: str) -> None:
        """A launch comes to nothing."""
        world = self.world
        name = sorted(world.processes)[pick % len(world.processes)]
        if world.scheduler.runs[name[0]].state in ("starting", "stopping") and world.rows[name[0]][0].pid is None:
            del world.processes[name]
            world.marks.unclaimed.add(name)
            self._happen(unstarted(Name(*name), reason), None)

    @rule(minutes=st.one_of(st.floats(-170, 170), st.sampled_from([-30 * 60, -240, 240, 30 * 60])))
    def clock_is_set(self, minutes: float) -> None:
        """The clock is set; by more than 3 h it is a correction, and what lies between is not counted by instants."""
        self.jump = self.world.now.wall, self.world.now.wall + round(minutes * 60 * SECOND)
        self.world.step_clock(minutes * 60)
        self._happen(events.Woke(), None)
        if abs(minutes) > 180:
            self.seen, self.seen_kept, self.is_corrected = {}, {}, True

    @rule(disks=st.sets(st.sampled_from(["state", "state", "logs", "run"]), min_size=1))
    def disks_fill(self, disks: set[str]) -> None:
        """Nothing can be written to these any more."""
        self.world.full |= disks

    @precondition(lambda self: self.world.full)
    @rule()
    def disks_are_free_again(self) -> None:
        """Everything can be written."""
        self.world.free()

    @precondition(lambda self: self.world.kept is not None)
    @rule(minutes=st.floats(0, 60), free=st.booleans(), again=st.sampled_from([None, None, -1, 0, 1, 2, 5]))
    def die_while_degraded(self, minutes: float, free: bool, again: int | None) -> None:
        """The daemon dies with what it could not commit, is down for a time, in which room may come, and may die again
        as it takes in what R's tell.
        """
        self.world.pass_time(minutes * 60, scheduler=False)
        if free:
            self.world.full.clear()
        self.world.boot(again)

    @precondition(lambda self: self.world.kept is None)
    @rule(minutes=st.floats(1, 300))
    def reboot(self, minutes: float) -> None:
        """The host goes down with all that is live."""
        self.world.reboot(minutes * 60)

    def _happen(self, event: events.Event, die: int | None) -> None:
        self.world.happen(event, die_after=die)
        if die is not None:
            self.world.boot()

    # what always holds

    @invariant()
    def every_occurrence_has_its_record(self) -> None:
        """While a cursor moves on under one rhythm, as many occurrences are covered as there are instants."""
        if not hasattr(self, "world"):
            return
        fell_back = self.fell_back != self.world.fell_back
        if fell_back:
            self.seen, self.fell_back = dict(self.seen_kept), self.world.fell_back
        rows = [run for run, _ in self.world.rows.values()]
        keys = [(run.id.job, run.key) for run in rows]
        assert len(keys) == len(set(keys)), "an occurrence with two records"
        for name, memory in self.world.memories.items():
            rhythm, era, cursor, settled, before = self.seen.get(name, ("", -1, 0, 0, 0))
            defined = self.world.scheduler.catalog.get(name)
            of_clock = (run for run in rows if run.id.job == name and run.key.startswith("c"))
            covered = sum(run.count - (not _is_due(defined, run.due)) for run in of_clock)
            if (
                rhythm
                and (rhythm, era) == (memory.rhythm, memory.era)
                and defined is not None
                and cursor != memory.cursor
                and (defined.enabled or not fell_back)  # that it was enabled until then is forgotten as well
            ):
                instants = _instants(defined, cursor, memory.cursor, settled, self.jump)
                assert covered - before == instants, f"{name}: {covered - before} of {instants} covered"
            self.seen[name] = memory.rhythm, memory.era, memory.cursor, memory.settled, covered
        self.jump = 0, 0
        if self.world.kept is None:
            self.seen_kept = dict(self.seen)

    def teardown(self) -> None:
        """In a soak, who knows only the files' history and the records finds that each due time has one.

        Not where the clock was set by hours: what was due is not sure if the state could not be saved (docs/audit.md).
        """
        if SOAK and hasattr(self, "world") and not self.is_corrected:
            assert [] == [(found.job, one) for found in self.world.audit() for one in found.findings]

    @invariant()
    def nobody_waits_who_could_start(self) -> None:
        """After a turn the first of the queue lacks something, unless the host is held."""
        if not hasattr(self, "world"):
            return
        scheduler, now = self.world.scheduler, self.world.now
        admission = scheduler._state.admission
        wake = scheduler.next_wakeup(now)
        if scheduler.hold is None and (wake is None or wake > now.wall):
            for run in list(admission.waiting.ordered(now.mono))[:1]:
                terms = admission.waiting.terms(run)
                is_full = admission.is_full(terms.share)
                assert is_full or admission.locks.missing(terms.claims) is not None, f"{run} could start"

    @invariant()
    def who_is_late_is_told_of_once(self) -> None:
        """No run is told twice to be late, unless that was not saved; only unfinished runs are, and have a deadline."""
        if not hasattr(self, "world"):
            return
        state = self.world.scheduler._state
        told = [each.fields["run"] for each in self.world.said if each.event == "run_late"]
        assert self.world.fell_back or len(told) == len(set(told)), f"{told} are told twice"
        late = [RunId(name, number) for name in NAMES for number in state[name].saved.late]
        assert set(late) <= set(state.runs), f"{late} are late, and over"
        assert set(state.lateness.runs) <= set(state.runs) - set(late), "a deadline of nobody"
        assert state.lateness._within.keys() == set(state.lateness.runs)
        expected = {name: state[name].saved.expected for name in NAMES}
        waiting = {name for name, one in expected.items() if one is not None and not one.told}
        assert waiting == set(state.lateness.jobs), f"{expected} without a deadline"

    @invariant()
    def who_would_not_wait_does_not(self) -> None:
        """A command that wants its lock at once has it or is gone when the turn is over."""
        if not hasattr(self, "world"):
            return
        wake = self.world.scheduler.next_wakeup(self.world.now)
        assert not self.world.scheduler._state.impatient or (wake is not None and wake <= self.world.now.wall)

    @invariant()
    def who_waits_can_be_told_why(self) -> None:
        """Every run that has not started has a reason for it."""
        if not hasattr(self, "world"):
            return
        scheduler, now = self.world.scheduler, self.world.now
        wake = scheduler.next_wakeup(now)
        for run in list(scheduler.runs.values()):
            told = scheduler.explain(run.id, now)["reasons"]
            if _waits(run) and (wake is None or wake > now.wall):
                assert told, f"{run.id} is {run.state}, and nobody knows why"


def _waits(run: Run) -> bool:
    return run.state in ("due", "waiting", "retrying")


def _is_due(defined: Job | None, due: int) -> bool:
    """Tell whether a definition makes it due: what another one did, that is forgotten, covers nothing of this one."""
    return defined is None or defined.next_after(due - 1) == due


def _instants(defined: Job, after: int, until: int, settled: int, jump: tuple[int, int]) -> int:
    """Count the due times that need a record: not those that were settled before and that the clock jumped over."""
    count, due = 0, defined.next_after(after, settled)
    while due is not None and due <= until:
        count += not (due <= settled and jump[0] < due + defined.offset <= jump[1])
        due = defined.next_after(due, settled)
    return count


STEPS, EXAMPLES = (200, 5_000) if SOAK else (50, 60)

TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=not SOAK,
)
