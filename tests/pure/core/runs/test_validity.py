"""What keeps a job from running on this host: judged anew when it may have changed, and said with the remedy."""

from __future__ import annotations

import pytest

from jobqueued.core.runs.validity import NO_SLURM, amount, impossible
from jobqueued.model import events
from jobqueued.model.accounts import Account
from jobqueued.model.commands import Say
from jobqueued.model.job import Claim, Job, On
from jobqueued.model.users import Owner
from tests.support.world import World, job


def invalid(world: World) -> dict[str, str]:
    """The jobs that can't run, and why."""
    return {one.id: why for one in world.scheduler.catalog if (why := world.scheduler.invalid(one))}


@pytest.mark.parametrize(
    ("claim", "there", "words"),
    [
        (Claim("gpu", 2), {"gpu": 1}, "it needs 2 of gpu, but this host has 1; to add some: resources: {gpu: 2}"),
        (Claim("gpu", 2), {}, "it needs 2 of gpu, but this host has none; to add some: resources: {gpu: 2}"),
        (Claim("gpu", 2), {"cpu": 1000, "memory": 1}, "it needs 2 of gpu, but this host has none; to add some"),
        (Claim("gpus", 1), {"gpu": 4}, "it needs 1 of gpus, but this host has none; did you mean gpu? to add some"),
        (
            Claim("cpu", 2500), {"cpu": 2000},
            "it needs 2.5 CPUs, but jobs on this host can have at most 2 CPUs; to allow more anyway:"
            " resources: {cpu: 2.5} in",
        ),
        (Claim("cpu", 1000), {}, "it needs 1 CPU, but jobs on this host can have at most 0 CPUs; to allow"),
        (
            Claim("memory", (3 << 20) + 1), {"memory": 1 << 20},
            "it needs 3 MiB, but jobs on this host can have at most 1 MiB; to allow more anyway:"
            " resources: {memory: 4M}",
        ),
        (
            Claim(":fleet/gpu", 3), {"gpu": 4, ":fleet/gpu": 2},
            "it needs 3 of gpu, but this fleet has 2; to add some: fleet: {resources: {gpu: 3}} in",
        ),
        (
            Claim(":fleet/gpus", 2), {"gpus": 2, ":fleet/gpu": 2},
            "it needs 2 of gpus, but this fleet has none; did you mean gpu? to add some: fleet:",
        ),
    ],
)  # fmt: skip
def test_what_there_is_too_little_of(claim: Claim, there: dict[str, int], words: str) -> None:
    """How much there is, and what would be enough."""
    assert impossible(claim, there).startswith(words)
    assert impossible(claim, there).endswith(" in jobqueued.yaml")


def test_too_much_at_once() -> None:
    """A run can't have more units of the fleet than go into one transaction."""
    lock = ":fleet/gpu"
    alone, some = Claim(lock, exclusive=True), Claim(lock, 32)
    world = World(job("alone", locks=(alone,)), job("some", locks=(some,)), fleet="test", of_fleet={lock: 33})
    told = "it needs 33 units of fleet locks at once, but can have at most 32;"
    told += " to hold several units of one lock: its `units`"
    assert {"alone": told} == invalid(world)


def test_amounts() -> None:
    """CPUs in cores, memory in bytes, others as they are."""
    told = [amount("cpu", units) for units in (500, 1000, 1001)], amount("memory", 400 << 20), amount("gpu", 2)
    assert (["0.5 CPUs", "1 CPU", "1.001 CPUs"], "400 MiB", "2 of gpu") == told


@pytest.mark.parametrize(("others", "hint"), [(198, "; did you mean backup?"), (199, "")])
def test_a_job_that_there_is_not(others: int, hint: str) -> None:
    """A similar name is looked for among 200 jobs of the same owner."""
    world = World(job("backup"), job("a", dependencies=("backu",)), *(job(f"job-{number}") for number in range(others)))
    assert {"a": f"it depends on job backu, which does not exist{hint}"} == invalid(world)
    mine = job("alice/a", owner=Owner(1, "alice"), dependencies=("alice/b",), file="mine.yaml")
    world.write("mine.yaml", mine, job("bob/b", owner=Owner(2, "bob"), file="mine.yaml"))
    assert "it depends on job alice/b, which does not exist" == invalid(world)["alice/a"]


def test_when_it_is_judged_anew() -> None:
    """When what it waits for comes or goes, by a dependency or an event of it, or a cycle is opened."""
    waits = (job("a", dependencies=("x",)), job("b", on=(On("job", "x", "any"),)))
    world = World(*waits)
    assert {"a", "b"} == set(invalid(world))
    world.write("more.yaml", job("x", file="more.yaml"))
    assert {} == invalid(world)
    assert [Say("job_valid", {"job": "a"}), Say("job_valid", {"job": "b"})] == world.did[-2:]
    world.write("more.yaml")
    unknown = "it depends on job x, which does not exist"
    assert {"a": unknown, "b": unknown} == invalid(world)
    assert Say("job_invalid", {"job": "a", "reason": unknown, "file": "jobs.yaml", "line": 0}) in world.did
    world.write("jobs.yaml")
    world.write("more.yaml", job("p", dependencies=("q",), file="more.yaml"))
    world.write("yet.yaml", job("q", on=(On("job", "p", "any"),), file="yet.yaml"), job("z", file="yet.yaml"))
    cycle = "it depends on itself: "
    assert {"p", "q"} == {name for name, why in invalid(world).items() if why.startswith(cycle)}
    assert 1 == sum(each.fields.get("reason", "").startswith(cycle) for each in world.did if isinstance(each, Say))
    world.write("yet.yaml", job("z", file="yet.yaml"))
    assert {"p": "it depends on job q, which does not exist"} == invalid(world)
    world.write("more.yaml", job("p", file="more.yaml"))
    assert {} == invalid(world)


def test_a_cycle_that_a_removal_opens() -> None:
    """All that were in it, or waited for it, are judged anew."""
    world = World(job("p", dependencies=("q",)), job("q", dependencies=("r",)))
    world.write("more.yaml", job("r", dependencies=("p",), file="more.yaml"), job("s", file="more.yaml"))
    assert {"p", "q", "r"} == set(invalid(world))
    world.write("more.yaml", job("s", file="more.yaml"))
    assert {"q": "it depends on job r, which does not exist"} == invalid(world)


def test_an_account_and_what_it_asks_for() -> None:
    """What its file asks for is told first; when that is mended, what is wrong with its user is said."""
    world = World(job("a", user="eve", resources=(Claim("gpu", 1),)))
    world.happen(events.AccountKnown(Account("user", "eve"), "no user eve"))
    assert next(iter(invalid(world).values())).startswith("it needs 1 of gpu")
    mended = job("a", user="eve")
    world.write("jobs.yaml", mended)
    assert {"a": "no user eve"} == invalid(world)
    assert Say("job_invalid", {"job": "a", "reason": "no user eve", "file": "jobs.yaml", "line": 0}) in world.did
    assert Job(id="a", command="x").line == 0


def test_a_host_without_slurm() -> None:
    """A job that is to run there does not run here, and says what is missing; all others do as before."""
    jobs = job("here"), job("there", runner="slurm")
    assert {"there": NO_SLURM} == invalid(World(*jobs))
    assert {} == invalid(World(*jobs, has_slurm=True))
