"""The fast path and separate groups: what is not asked of the scheduler comes out as it would have decided."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from jobqueued.base.instants import HOUR, MINUTE, SECOND
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.foresight.durations import DurationSample
from jobqueued.foresight.futures import HostSnapshot, play
from jobqueued.foresight.partition import groups, influencing
from jobqueued.model.job import CatchUp, Claim, Escalation, Job, On, Overlap
from jobqueued.model.run import Run, RunId
from jobqueued.model.saved import SavedJob
from tests.support.futures import a_host, chance, took
from tests.support.world import MIDNIGHT, job

TIMES = st.sampled_from(["*/5 * * * *", "*/7 * * * *", "2-59/6 * * * *", "0 * * * *", "30 1 * * *"])
LOCKS = st.sampled_from([(), (), ("a",), ("b",), ("a", "b"), ("c",)])


@st.composite
def hosts(draw: st.DrawFn) -> HostSnapshot:
    """A host with some jobs that may wait for each other, and histories in which no two runs end at one instant."""
    jobs, seconds = list[Job](), dict[str, Any]()
    for number in range(draw(st.integers(1, 6))):
        fields: dict[str, Any] = {
            "priority": draw(st.integers(0, 2)), "offset": draw(st.sampled_from([0, 0, 90 * SECOND])),
            "locks": tuple(Claim(name, exclusive=True) for name in draw(LOCKS)),
            "overlap": draw(st.sampled_from([*Overlap, Overlap.QUEUE])),
            "concurrency": draw(st.sampled_from([1, 1, 2])), "max_runs": draw(st.sampled_from([None] * 5 + [7])),
            "start_deadline": draw(st.sampled_from([None, 3 * MINUTE])),
            "exclusive": draw(st.sampled_from([False] * 9 + [True])),
            "timeout": draw(st.sampled_from([None, 20 * MINUTE])),
            "resources": draw(st.sampled_from([(), (Claim("gpu", 1),)])), "retries": draw(st.sampled_from([0, 0, 1])),
            "escalation": draw(st.sampled_from([None, Escalation(5)])),
            "tags": draw(st.sampled_from([(), (), ("night",), ("db", "night")])),
        }  # fmt: skip
        if number and draw(st.booleans()) and draw(st.booleans()):
            fields["dependencies"] = (f"j{draw(st.integers(0, number - 1))}",)
        jobs.append(job(f"j{number}", draw(TIMES), file=f"{number % 2}.yaml", **fields))
        lasts = draw(st.lists(st.integers(1, 1000) | st.integers(20000, 30000), min_size=1, max_size=3))
        ends = draw(st.sampled_from(["succeeded", "succeeded", "failed"]))
        seconds[f"j{number}"] = [
            DurationSample(n * SECOND + 7 * number + n, ends, int(ends == "failed")) for n in lasts
        ]
    limits = {
        "max_running": draw(st.sampled_from([None, None, 2])),
        "resources": {"gpu": 2, "cpu": 4000, "memory": 1},
        "tags": draw(st.sampled_from([{}, {"night": 1}, {"night": 2, "db": 1}])),
    }
    return a_host(*jobs, seconds=seconds, **limits)


@settings(max_examples=50, derandomize=True, deadline=None)
@given(hosts(), st.integers(0, 9))
def test_it_is_what_the_scheduler_decides(host: HostSnapshot, seed: int) -> None:
    """Starts, waits, causes, skips and ends are those of one scheduler that is asked from beginning to end."""
    found, decided = (
        play(host, host.begin + 8 * HOUR, [chance(seed)], keeps_starts=True, apart=apart)[0] for apart in (True, False)
    )
    for name in {*found.jobs, *decided.jobs}:
        mine, its = found.of(name), decided.of(name)
        assert its == mine, name
    assert decided.peaks(9, HOUR) == found.peaks(9, HOUR)


def test_groups() -> None:
    """Jobs are together that share a lock or a resource, or hear of each other; an exclusive job is with all."""
    lock, gpu = (Claim("tape", exclusive=True),), (Claim("gpu", 1),)
    jobs = [
        job("a", locks=lock), job("b", locks=lock, resources=gpu), job("c", resources=gpu), job("d"),
        job("e", dependencies=("d", "gone")), job("f", on=(On("job", "a"),)), job("g"),
        job("h", on=(On("jobs", "g*"),)),
    ]  # fmt: skip

    def names(*found: Job, **limits: Any) -> list[str]:
        return ["".join(job.id for job in group) for group in groups(found, HostLimits(**limits))]

    assert ["abcf", "de", "gh"] == names(*jobs)
    assert ["abcdefgh"] == names(*jobs, max_running=9)
    tagged = [job("a", tags=("night",)), job("b"), job("c", tags=("night",)), job("d", tags=("day",))]
    assert ["ac", "b", "d"] == names(*tagged, tags={"night": 1, "none": 1})
    assert ["abcdefghi"] == names(*jobs, job("i", exclusive=True))
    mine = [job("alice/a"), job("alice/b"), job("bob/a")]
    assert [3, 2] == [len(names(*mine, most_of_a_user=most)) for most in (None, 1)]


def test_jobs_that_affect_others() -> None:
    """Jobs affect others that react to them, or share a lock or a resource with them; an exclusive job affects all."""
    lock = (Claim("tape", exclusive=True),)
    jobs = [
        job("a", locks=lock), job("b", locks=lock, dependencies=("c",)), job("c"), job("d", on=(On("job", "a"),)),
        job("e", on=(On("jobs", "*"),)), job("f"),
    ]  # fmt: skip

    def names(*found: Job, of: str, **limits: Any) -> str:
        return "".join(job.id for job in influencing(found, HostLimits(**limits), [*of, "gone"]))

    assert ["abc", "abc", "c", "abcd", "abcdef", "f", "cf"] == [names(*jobs, of=of) for of in [*"abcdef", "fc"]]
    assert "abcdef" == names(*jobs, of="f", max_running=9)
    assert "abcdefg" == names(*jobs, job("g", exclusive=True), of="f")
    mine = [job("alice/a"), job("alice/b"), job("bob/a")]
    assert [1, 2] == [len(influencing(mine, HostLimits(most_of_a_user=most), ["alice/a"])) for most in (None, 1)]


@settings(max_examples=50, derandomize=True, deadline=None)
@given(hosts(), st.integers(0, 9), st.data())
def test_jobs_that_affect_nobody_are_left_out(host: HostSnapshot, seed: int, data: st.DataObject) -> None:
    """A simulation of the jobs that affect a job has the same runs of it as one of its whole group."""
    name = data.draw(st.sampled_from([job.id for job in host.jobs]))
    (group,) = (jobs for jobs in groups(host.jobs, host.limits) if name in {job.id for job in jobs})
    few = influencing(host.jobs, host.limits, [name])
    found, expected = (
        play(host.with_jobs(jobs), host.begin + 8 * HOUR, [chance(seed)], keeps_starts=True)[0].of(name)
        for jobs in (few, group)
    )
    assert expected == found


def test_it_goes_on_after_a_wait() -> None:
    """What is live when the last one that waited starts keeps its claims, and keeps others from starting."""
    lock = (Claim("tape", exclusive=True),)
    jobs = [job(f"j{n}", f"{10 * n} 2 * * *", locks=lock) for n in range(3)]
    host = a_host(*jobs, seconds={"j0": 900, "j1": 1200, "j2": 60})
    (found,) = play(host, host.begin + 24 * HOUR, [chance()])
    assert [0, 5 * MINUTE, 15 * MINUTE] == [found.of(f"j{n}").waited for n in range(3)]
    waiting = Run(id=RunId("j2", 1), key="x", due=MIDNIGHT, queued=MIDNIGHT, arrival=1, trigger="manual")
    (found,) = play(replace(host, runs=(waiting,)), host.begin + 24 * HOUR, [chance()])
    assert [2, 1, 1] == [found.of(f"j{n}").runs for n in (2, 1, 0)]


def test_it_is_known_when_what_is_live_has_ended() -> None:
    """A short run passes one that waits for what was live before anybody waited, as that has a `timeout`."""
    tape, disk = Claim("tape", exclusive=True), Claim("disk", exclusive=True)
    host = a_host(
        job("hog", "0 2 * * *", locks=(tape,), timeout=30 * MINUTE),
        job("big", "5 2 * * *", locks=(tape, disk), priority=10),
        job("small", "6 2 * * *", locks=(disk,), timeout=5 * MINUTE), seconds={"hog": 1200, "big": 60, "small": 1},
    )  # fmt: skip
    (found,) = play(host, host.begin + 24 * HOUR, [chance()])
    assert [0, 15 * MINUTE, 0] == [found.of(name).waited for name in ("hog", "big", "small")]


def test_as_many_of_a_user_as_may_be_live() -> None:
    """Of a user's jobs, which claim nothing in common, the second waits where one may be live."""
    jobs = [job("alice/a", "0 2 * * *"), job("alice/b", "1 2 * * *"), job("bob/a", "1 2 * * *")]
    host = a_host(*jobs, seconds={"alice/a": 300, "alice/b": 1, "bob/a": 1}, most_of_a_user=1)
    (found,) = play(host, host.begin + 24 * HOUR, [chance()])
    assert [0, 4 * MINUTE, 0] == [found.of(each.id).waited for each in jobs]
    assert ["user"] == [blame.lacked for blame in found.of("alice/b").blamed]


def test_what_never_starts() -> None:
    """A job without a clock, one that is disabled, and one that asks for more than there is have no runs."""
    host = a_host(
        job("a"), job("b", "* * * * *", enabled=False), job("c", "0 * * * *", resources=(Claim("gpu", 3),)),
        job("d", "0 * * * *", catch_up=CatchUp.ALL), seconds={"d": took(1)}, resources={"gpu": 2},
    )  # fmt: skip
    (found,) = play(host, host.begin + 3 * HOUR + 1, [chance()])
    assert [0, 0, 0, 3] == [found.of(name).runs for name in "abcd"]
    assert 3 == found.of("c").skipped.total()


def test_what_waits_for_a_clock_that_was_set_back() -> None:
    """Fixed times that have had their turn do not start; elapsed time goes on."""
    jobs = job("a", "0 0-23 * * *"), job("b", "0 * * * *")
    host = a_host(*jobs, seconds={"a": 1, "b": 1})
    saved = [
        SavedJob(job=it.id, rhythm=it.rhythm, cursor=host.begin, era=1, settled=host.begin + 2 * HOUR) for it in jobs
    ]
    (found,) = play(replace(host, saved=tuple(saved)), host.begin + 4 * HOUR + 1, [chance()])
    assert [2, 4] == [found.of(name).runs for name in "ab"]
