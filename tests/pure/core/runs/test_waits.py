"""What is kept for questions about the past: what people do, what job files say, what held back a run, what it held."""

from __future__ import annotations

from dataclasses import replace

from jobqueued.base.instants import HOUR, MINUTE, to_text
from jobqueued.core.runs.eligibility import UNKEPT, noted
from jobqueued.model import events
from jobqueued.model.commands import Command, SavePast
from jobqueued.model.job import Claim
from jobqueued.model.run import Run, RunId
from jobqueued.model.saved import Hold, Past
from tests.support.world import MIDNIGHT, World, job


class Noting(World):
    """A world that keeps what is noted."""

    past: list[Past]

    def boot(self) -> None:
        self.past = []
        super().boot()

    def _commit(self, commands: list[Command]) -> bool:
        self.past += [command.past for command in commands if isinstance(command, SavePast)]
        return super()._commit(commands)


def test_what_people_do() -> None:
    """A pause and a hold are noted with whose they are and until when, and their ends with what has ended them."""
    world = Noting(job("a"))
    world.pause("a", until=MIDNIGHT + HOUR)
    world.happen(events.HoldAsked(2, "alice", Hold("alice", MIDNIGHT + 2 * HOUR)))
    world.pass_time(3 * 3600)
    assert [
        Past(MIDNIGHT, "a", "paused", by="root", until=MIDNIGHT + HOUR),
        Past(MIDNIGHT, "", "held", by="alice", until=MIDNIGHT + 2 * HOUR),
        Past(MIDNIGHT + HOUR, "a", "resumed", by="its --until"),
        Past(MIDNIGHT + 2 * HOUR, "", "released", by="its --until"),
    ] == world.past


def test_what_is_said_twice() -> None:
    """What changes nothing is not noted."""
    world = Noting(job("a"))
    for ticket in (1, 2):
        world.pause("a", ticket=ticket)
    assert 1 == len(world.past)
    world.pause("a", pause=False)
    world.pause("a", pause=False, ticket=3)
    world.happen(events.HoldAsked(4, "root", None))
    assert ["paused", "resumed"] == [it.what for it in world.past]


def test_what_files_say() -> None:
    """Jobs that come, go, or are disabled are noted with what they were; at a start nothing is, nor any other edit."""
    a, b = job("a"), job("b", enabled=False)
    world = Noting(a)
    world.boot()
    assert [] == world.past
    world.write("jobs.yaml", replace(a, priority=3), b)
    world.write("jobs.yaml", replace(a, enabled=False), b)
    world.write("jobs.yaml", replace(b, enabled=True))
    assert [("b", "gone", "disabled"), ("a", "enabled", "disabled"), ("a", "disabled", "gone"),
            ("b", "disabled", "enabled")] == [(it.job, it.before, it.what) for it in world.past]  # fmt: skip


def test_a_run_that_nothing_holds_back() -> None:
    """Its record has none of it."""
    world = World(job("a"))
    world.run("a")
    assert not {"waits", "claims"} & world.marks.specs[RunId("a", 1), 1].record.keys()


def test_what_held_back_a_run() -> None:
    """The record has each wait with its begin, over a restart, and what the run held."""
    world = World(job("a", locks=(Claim("db", exclusive=True),), resources=(Claim("gpu", 1),)),
                  seconds={"a": 600}, resources={"gpu": 2}, max_running=3)  # fmt: skip
    world.run("a")
    world.run("a", 2)
    world.pass_time(60)
    world.pause("a")
    world.boot()
    world.pass_time(600)
    world.pause("a", pause=False, ticket=3)
    record = world.marks.specs[RunId("a", 2), 1].record
    begin = [MIDNIGHT, MIDNIGHT + MINUTE, MIDNIGHT + 11 * MINUTE]
    waits = zip(map(to_text, begin), ("concurrency", "paused", ""), strict=True)
    assert [{"since": since, "for": what} for since, what in waits] == record["waits"]
    assert [
        {"resource": "max_running", "mode": "units", "units": 1, "of": 3},
        {"resource": "db", "mode": "exclusive", "units": 0, "of": 1},
        {"resource": "gpu", "mode": "units", "units": 1, "of": 2},
    ] == record["claims"]


def test_many_waits() -> None:
    """Of too many the first and the newest stay, and it is told that there were others."""
    run = Run(id=RunId("a", 1), key="", due=0, queued=0, arrival=1)
    for wall in range(100):
        run = replace(run, waits=noted(run, wall, "paused" if wall % 2 else "concurrency"))
    assert (32, (0, "concurrency"), (1, UNKEPT)) == (len(run.waits), *run.waits[:2])
    assert list(range(70, 100)) == [at for at, _ in run.waits[2:]]
    assert run.waits == noted(run, 100, "paused")
    assert () == noted(replace(run, waits=()), 1, "")
