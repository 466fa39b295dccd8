"""The cause of a run, as the run is told it: it is kept until the run has ended, and no other run is told it."""

from __future__ import annotations

from typing import Any

from jobqueued.base.instants import SECOND
from jobqueued.core.records import record
from jobqueued.core.records.record import triggered_by
from jobqueued.model import events
from jobqueued.model.commands import Launch
from jobqueued.model.job import Job, On
from jobqueued.model.run import RunId
from tests.support.world import World, job


class Told(World):
    """A world that knows what each attempt was told."""

    def __init__(self, *jobs: Job, **options: Any) -> None:
        self.attempts: dict[str, list[Any]] = {}
        super().__init__(*jobs, **options)

    def _launch(self, command: Launch) -> None:
        super()._launch(command)
        self.attempts.setdefault(str(command.run.id), []).append(triggered_by(command.run))


def chain(**fields: Any) -> Told:
    """A job that fails with code 3, and one that hears of it."""
    on = (On("job", "backup", "any"),)
    world = Told(job("backup"), job("tell", on=on, **fields), seconds={"backup": 5, "tell": 5})
    world.ends["backup"] = ["failed 3"]
    return world


OF_THE_END = {"kind": "job", "run": "backup@1", "state": "failed", "exit_code": 3, "signal": None}


def test_each_kind() -> None:
    """Clock, boot and people have a kind; a file its path, an event its name, an end the run with its result."""
    on = (On("path", "/srv/*.csv"), On("event", "deployed"), On("job", "other", "any"))
    world = Told(job("a", "0 1 * * *", on=on, at_boot=True, concurrency=9), job("other"))
    world.pass_time(2)
    world.happen(events.PathAppeared("/srv/*.csv", world.now.wall, "x1", "/srv/\udcff\n.csv"))
    world.pass_time(2)
    world.happen(events.Emitted(7, "deployed", "root", "x2"))
    world.run("a", 8)
    world.run("other", 9)
    world.pass_time(2 * 3600)
    assert [
        {"kind": "boot"}, {"kind": "path", "path": "/srv/\udcff\n.csv"}, {"kind": "event", "event": "deployed"},
        {"kind": "manual"}, {"kind": "job", "run": "other@1", "state": "succeeded", "exit_code": None, "signal": None},
        {"kind": "schedule"},
    ] == [by for number in range(1, 7) for by in world.attempts[f"a@{number}"]]  # fmt: skip


def test_a_wait_over_a_restart() -> None:
    """A run that waits is told its own cause after a restart, and so is each of its attempts."""
    world = chain(exclusive=True, retries=2, retry_delay=SECOND)
    world.seconds["long"], world.ends["tell"] = 60, ["failed 1"]
    world.write("long.yaml", job("long"))
    world.run("long")
    world.run("backup", 2)
    world.pass_time(10)
    assert "waiting" == world.states()["tell@1"]
    world.boot()
    world.pass_time(60)
    world.boot()
    world.pass_time(60)
    assert [OF_THE_END] * 3 == world.attempts["tell@1"]


def test_an_attempt_that_no_commit_told_of() -> None:
    """What is found of a run by its R alone has its cause from there."""
    world = chain(retries=1, retry_delay=SECOND)
    world.ends["tell"] = ["failed 1"]
    world.run("backup")
    world.full.add("state")
    world.pass_time(6)
    world.full.clear()
    sent = world.marks.specs[RunId("tell", 1), 1].run
    world.restore()
    world.happen(events.JobsRead("jobs.yaml", world.files["jobs.yaml"]), events.Found(sent.id, 1, sent), admit=False)
    assert OF_THE_END == dict(world.scheduler.runs[sent.id].triggered_by or {}) | {"kind": "job"}


def test_a_chain_by_a_pattern() -> None:
    """Where a pattern has begun it, none goes on with it, also over restarts and by way of a dependency."""
    world = Told(
        job("backup"), job("tell", on=(On("jobs", "*", "any"),)), job("other", on=(On("jobs", "?ackup", "any"),)),
        job("tidy", dependencies=("tell",)), job("last", on=(On("job", "tidy"),)),
    )  # fmt: skip
    world.run("backup")
    for _ in range(5):
        world.pass_time(2)
        world.boot()
    assert ["backup@1", "last@1", "other@1", "tell@1", "tidy@1"] == sorted(world.states())
    assert {"tell": "*", "tidy": "*", "last": "*", "other": "?ackup"} == {
        name: world.attempts[f"{name}@1"][0]["pattern"] for name in ("tell", "tidy", "last", "other")
    }


def test_a_repeat_of_a_chain() -> None:
    """What a person repeats is a chain of its own, of which patterns hear anew."""
    told = record.repeated({"kind": "job", "run": "a@1", "pattern": "*", "traceparent": "x"})
    assert {"run": "a@1"} == told


def test_skips_that_share_a_record() -> None:
    """The first of them tells its cause, also after a restart."""
    world = Told(job("a", on=(On("event", "deployed"), On("path", "/srv/*"))))
    world.pause("a")
    for number in (1, 2):
        world.pass_time(1)
        world.happen(events.PathAppeared("/srv/*", world.now.wall, f"x{number}", f"/srv/{number}"))
        world.boot()
    assert [RunId("a", 1)] == list(world.rows)
    run, document = world.rows[RunId("a", 1)]
    assert document is not None
    assert (2, {"kind": "path", "path": "/srv/1"}) == (run.count, document["triggered_by"])
