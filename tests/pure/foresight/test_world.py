"""The world of a future: the scheduler decides, runs take what they took, and it is counted who waits for whom."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from typing import Any

from jobqueued.base.instants import HOUR, MINUTE, SECOND, to_text
from jobqueued.base.replace import changed
from jobqueued.child.contract.documents import Record
from jobqueued.ctl.chart.chart_file import records
from jobqueued.ctl.chart.chart_runs import collected
from jobqueued.ctl.chart.chart_waits import find_holders, waits
from jobqueued.ctl.export import trace_events
from jobqueued.foresight.durations import DurationSample
from jobqueued.foresight.story import Story
from jobqueued.foresight.tally import CONCURRENCY, DEPENDENCIES, HOLD, RATE, RESERVATION, Blame, Peak
from jobqueued.model.job import Claim, Overlap, Rate, Scope
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import RunState
from jobqueued.model.saved import Hold, JobStats, SavedJob
from jobqueued.model.users import Owner
from jobqueued.queue.locks import claims_of
from tests.support.futures import a_host, future, took
from tests.support.world import MIDNIGHT, World, job

DATABASE = (Claim("database", exclusive=True),)


def test_who_waits_for_whom() -> None:
    """Of two jobs with one lock the second waits until the end of the first, and that is said of it."""
    host = a_host(
        job("backup", "0 2 * * *", locks=DATABASE), job("report", "10 2 * * *", locks=DATABASE),
        job("other", "20 2 * * *"), seconds={"backup": 1800, "report": 60, "other": 10},
    )  # fmt: skip
    found = future(host)
    assert {Blame("database", "backup"): 20 * MINUTE} == found.of("report").blamed
    assert [20 * MINUTE] == list(found.of("report").waits)
    assert ([], []) == (list(found.of("backup").waits), list(found.of("other").waits))
    assert (3, 20 * MINUTE, 0) == (found.runs, found.waited, found.missed)


def test_of_a_fleet() -> None:
    """Jobs of a fleet are foreseen as if this host were alone in it."""
    host = a_host(job("backup", "0 2 * * *", scope=Scope.FLEET), seconds={"backup": 1800}, fleet="web")
    assert 1 == future(host).runs
    shared = SavedJob(
        job="backup", rhythm=host.jobs[0].rhythm, cursor=MIDNIGHT, paused=True, shared_pause='["root", "b", null]'
    )
    assert 0 == future(replace(host, saved=(shared,))).runs, "all hosts have it paused"


def test_what_is_kept_for_a_run_that_users_do_not_see() -> None:
    """A user's run that waits for what is kept for another's waits for a reservation, whoever has that."""
    bob, alice = (Owner(uid, name) for uid, name in ((1001, "bob"), (1000, "alice")))
    host = a_host(
        job("hog", "0 2 * * *", resources=(Claim("gpu", 1),)),
        job("bob/big", "1 2 * * *", resources=(Claim("gpu", 2),), owner=bob),
        job("alice/small", "2 2 * * *", resources=(Claim("gpu", 1),), owner=alice, timeout=3 * HOUR),
        seconds={"hog": 1800, "bob/big": 60, "alice/small": 10}, resources={"gpu": 2},
    )  # fmt: skip
    assert {Blame(RESERVATION, ""): 29 * MINUTE} == future(host).of("alice/small").blamed


def test_it_is_the_scheduler() -> None:
    """The starts are those of the same jobs in the faked world of the scheduler's own tests."""
    jobs = [
        job(f"j{n}", f"{n % 3}-59/5 * * * *", locks=DATABASE if n % 2 else (), priority=n % 4, exclusive=n == 6)
        for n in range(8)
    ]
    seconds = {each.id: 20.013 + 31.0071 * n for n, each in enumerate(jobs)}
    world = World(*jobs, seconds=seconds, max_running=3)
    world.pass_time(3 * 3600 - 1)
    found = future(a_host(*jobs, seconds=dict(seconds), max_running=3), hours=3, keeps_starts=True)
    launched = sorted((name.partition("@")[0], instant) for name, instant in world.launched)
    assert launched == sorted((name, start) for name, it in found.jobs.items() for _, start in it.starts)
    assert len(launched) > 100
    assert found.waited > HOUR


def test_a_rate() -> None:
    """What a rate keeps waiting is blamed on it, also what waits at the end."""
    host = a_host(
        job("often", "*/10 * * * *", rate=Rate(2, 4 * HOUR), max_waiting=3), seconds={"often": 60},
    )  # fmt: skip
    found = future(host, hours=8, keeps_starts=True).of("often")
    assert {RATE} == {blame.lacked for blame in found.blamed}
    assert (5, {"queue_full"}) == (len(found.begun), {*found.skipped})
    assert [110, 120, 120] == [(later - start) // MINUTE for start, later in pairwise(sorted(found.begun)[1:])]


def test_a_deadline_is_missed() -> None:
    """What can't start within its `start_deadline` is missed."""
    host = a_host(
        job("backup", "0 2 * * *", locks=DATABASE),
        job("report", "10 2 * * *", locks=DATABASE, start_deadline=10 * MINUTE), seconds={"backup": 3600},
    )  # fmt: skip
    found = future(host)
    assert (0, 1, 1) == (found.of("report").runs, found.of("report").missed, found.missed)


def test_a_job_waits_for_itself() -> None:
    """A run that is due while its job is at its `concurrency` waits for that; with `overlap: skip` it is skipped."""
    slow = a_host(job("slow", "0,10 2 * * *"), seconds={"slow": 900})
    assert {Blame(CONCURRENCY, "slow"): 5 * MINUTE} == future(slow).of("slow").blamed
    skips = a_host(job("slow", "0,10 2 * * *", overlap=Overlap.SKIP), seconds={"slow": 900})
    assert {"overlap": 1} == future(skips).of("slow").skipped
    replaces = a_host(job("slow", "0,10 2 * * *", overlap=Overlap.REPLACE), seconds={"slow": 900})
    assert {"killed": 1, "succeeded": 1} == future(replaces).of("slow").ends


def test_dependencies_retries_and_the_like_are_the_scheduler_s() -> None:
    """A job waits for its dependency, which fails once and is tried again; others hear of an end; `max_runs` end."""
    fails = [DurationSample(MINUTE, "failed", 1)]
    host = a_host(
        job("dump", "0 2 * * *"), job("ship", "5 2 * * *", dependencies=("dump",)),
        job("twice", "0 * * * *", max_runs=2),
        job("bad", "0 3 * * *", retries=2, retry_delay=MINUTE), job("saved", "0 4 * * *", failover="x"),
        seconds={"dump": 600, "ship": 10, "bad": fails, "saved": fails},
    )  # fmt: skip
    found = future(host)
    assert {Blame(DEPENDENCIES, ""): 5 * MINUTE} == found.of("ship").blamed
    assert (1, 3 * MINUTE, {"failed": 1}) == (found.of("bad").runs, found.of("bad").busy, found.of("bad").ends)
    assert 2 * MINUTE == found.of("saved").busy
    assert 2 == found.of("twice").runs


def test_a_timeout_ends_a_run() -> None:
    """No run takes longer than the `timeout` that its job has by now, whatever it took before."""
    host = a_host(job("a", "0 2 * * *", timeout=MINUTE), seconds={"a": 3600})
    found = future(host)
    assert (MINUTE, {"timed_out": 1}) == (found.of("a").busy, found.of("a").ends)


def test_peaks() -> None:
    """The most runs that are live at once, one instant in each hour."""
    host = a_host(*(job(f"j{n}", f"{n} 2,5 * * *") for n in range(4)), seconds={"j0": 150, "j1": 90, "j2": 1, "j3": 1})
    found = future(host)
    assert [Peak(MIDNIGHT + hour * HOUR + 2 * MINUTE, 3) for hour in (2, 5)] == found.peaks(9, HOUR)
    assert 3 == found.most_live


def test_it_goes_on_from_what_is_live() -> None:
    """A run that is live at the beginning ends when those that took longer than it has so far did; others wait."""
    backup, report = job("backup", locks=DATABASE), job("report", locks=DATABASE)
    live = Run(
        id=RunId("backup", 7), key="x1", due=MIDNIGHT - HOUR, queued=MIDNIGHT - HOUR, arrival=1, trigger="manual",
        state=RunState.RUNNING, attempt=1, pid=1, started=MIDNIGHT - HOUR, claims=claims_of(backup, slots=False),
    )  # fmt: skip
    waits = Run(id=RunId("report", 3), key="x2", due=MIDNIGHT, queued=MIDNIGHT, arrival=2, trigger="manual")
    host = a_host(backup, report, seconds={"backup": took(600, 4000, 5000), "report": 1})
    host = replace(host, runs=(live, waits))
    waited = {future(host, seed=seed).of("report").waited for seed in range(20)}
    assert {400 * SECOND, 1400 * SECOND} == waited


def test_where_jobs_stand() -> None:
    """A pause, a hold of the host and used `max_runs` keep runs from starting."""
    host = a_host(job("a", "0 * * * *", max_runs=3), job("b", "0 * * * *"))
    paused = SavedJob(
        job="b", rhythm=host.jobs[1].rhythm, cursor=MIDNIGHT, paused=True, paused_until=MIDNIGHT + 3 * HOUR
    )
    used = SavedJob(job="a", rhythm=host.jobs[0].rhythm, cursor=MIDNIGHT, stats=JobStats(started=2))
    found = future(replace(host, saved=(paused, used)), hours=10.5)
    assert (1, 8, {"paused": 2}) == (found.of("a").runs, found.of("b").runs, found.of("b").skipped)
    held = replace(host, hold=Hold("root", MIDNIGHT + 5 * HOUR + MINUTE))
    assert 5 * HOUR + MINUTE <= min(start for _, start in future(held, keeps_starts=True).of("b").starts)


def test_nobody_s_accounts_are_asked_for() -> None:
    """A job of a user runs, though nobody looks up the user here."""
    assert 1 == future(a_host(job("a", "0 2 * * *", user="alice", group="staff"))).runs


def test_the_story() -> None:
    """Each run is told as a record of it would be: its wait with the holder, its attempts, and what is skipped."""
    host = a_host(
        job("backup", "0 2 * * *", locks=DATABASE),
        job("report", "10 2 * * *", locks=DATABASE, retries=1, retry_delay=5 * MINUTE),
        job("slow", "0,10 4 * * *"), job("often", "0-2 5 * * *", overlap=Overlap.SKIP), job("late", "0 23 * * *"),
        seconds={
            "backup": 1800, "report": [DurationSample(60 * SECOND, "failed", 1)], "slow": 900, "often": 150,
            "late": 7200,
        },
    )  # fmt: skip
    story = Story()
    found = future(host, first=story)
    runs = {f"{it['job']}@{it['number']}": it for it in story.records(MIDNIGHT + 24 * HOUR)}
    assert found is story
    assert ["backup@1", "report@1", "slow@1", "slow@2", "often@1", "often@2", "late@1"] == list(runs)
    assert (["database"], "backup@1") == (runs["report@1"]["waited_for"], runs["report@1"]["held_by"])
    times = [(it["started"][11:16], it["ended"][11:16]) for it in runs["report@1"]["attempts"]]
    assert ([("02:30", "02:31"), ("02:36", "02:37")], "failed") == (times, runs["report@1"]["state"])
    assert ("slow@1", None) == (runs["slow@2"]["held_by"], runs["slow@2"].get("waited_for"))
    skipped = runs["often@2"]
    assert ("skipped", "overlap", 2) == (skipped["state"], skipped["reason"], skipped["count"])
    assert ("05:01", "05:02") == (skipped["due"][11:16], skipped["last_due"][11:16])
    assert ("running", "2026-03-03T00:00:00.000000Z") == (runs["late@1"]["state"], runs["late@1"]["ended"])
    told = collected(_checked(it) for it in runs.values())
    assert 7 == len(told)
    assert {"report@1", "late@1", "often@2"} <= _slices(_checked(it) for it in runs.values())
    find_holders(told, {})
    assert {"report": "backup@1", "slow": "slow@1"} == {
        wait.job: wait.holder for wait in waits(told) if wait.job != "often"
    }


def test_the_story_of_a_spread() -> None:
    """Its start is the planned one, and so no wait on a chart."""
    story = Story()
    future(a_host(job("nightly", "0 1 * * *", spread=2 * HOUR, offset=HOUR), seconds={"nightly": 60}), first=story)
    (run,) = story.records(MIDNIGHT + 24 * HOUR)
    assert (True, True) == (run["due"] < run["queued"], run["queued"] == run["started"])
    assert [] == [*waits(collected([_checked(run)]))]


def _slices(found: Iterable[Record]) -> set[str]:
    """The runs that have a slice of a trace."""
    events = json.loads("\n".join(trace_events.lines(found)))["traceEvents"]
    return {it["args"]["jobqueue.run"] for it in events if it.get("cat") == "run"}


def _checked(record: dict[str, Any]) -> Record:
    (found,) = records(io.StringIO(json.dumps(record)))
    return found


def test_what_waits_in_the_end() -> None:
    """A run that waits in the end has waited until then, for who has what it lacks; what lives there is live."""
    disk = (Claim("disk", exclusive=True),)
    host = a_host(
        job("hold", "0 2 * * *", locks=DATABASE, timeout=48 * HOUR),
        job("j", "5 * * * *", locks=DATABASE, offset=MINUTE),
        job("slow", "0,5 2 * * *"), job("after", "30 2 * * *", dependencies=("slow",)),
        job("big", "10 2 * * *", locks=DATABASE + disk, priority=9), job("small", "20 2 * * *", locks=disk),
        seconds={"hold": 99999, "slow": 99999, "j": 1},
    )  # fmt: skip
    found = future(host, hours=4)
    waited = {name: (it.runs, it.waiting, it.blamed) for name, it in found.jobs.items()}
    assert {
        "hold": (1, 0, {}),
        "slow": (1, 1, {Blame(CONCURRENCY, "slow"): 115 * MINUTE}),
        "j": (2, 1, {Blame("database", "hold"): 114 * MINUTE}),
        "after": (0, 1, {Blame(DEPENDENCIES, ""): 90 * MINUTE}),
        "big": (0, 1, {Blame("database", "hold"): 110 * MINUTE}),
        "small": (0, 1, {Blame(RESERVATION, "big"): 100 * MINUTE}),
    } == waited
    assert (2, [Peak(MIDNIGHT + 2 * HOUR, 2)], 120 * MINUTE) == (
        found.most_live,
        found.peaks(1, HOUR),
        found.of("hold").busy,
    )
    for lasts, runs in ((None, 0), (MIDNIGHT + 3 * HOUR, 1)):
        held = future(replace(a_host(job("a", "0 2 * * *")), hold=Hold("root", lasts)), hours=4).of("a")
        assert (runs, 1 - runs, {Blame(HOLD, ""): (2 - runs) * HOUR}) == (held.runs, held.waiting, held.blamed)


def test_a_peak_is_in_the_time_that_is_played() -> None:
    """What is live at the beginning has begun before, and is live then."""
    slow = job("slow", concurrency=2)
    live = [
        Run(
            id=RunId("slow", n), key=f"x{n}", due=MIDNIGHT - n * HOUR, queued=MIDNIGHT - n * HOUR, arrival=n,
            trigger="manual", state=RunState.RUNNING, attempt=1, pid=1, started=MIDNIGHT - n * HOUR,
            claims=claims_of(slow, slots=False),
        )
        for n in (1, 2)
    ]  # fmt: skip
    found = future(replace(a_host(slow, seconds={"slow": 99999}), runs=tuple(live)))
    assert ([Peak(MIDNIGHT, 2)], 2) == (found.peaks(9, HOUR, MIDNIGHT), found.most_live)


def test_the_story_of_what_is_live_and_waits_all_the_time() -> None:
    """What is live from the beginning to the end is told, and what waits for it, and for its retry."""
    backup, report = job("backup", locks=DATABASE), job("report", "0 * * * *", locks=DATABASE)
    fails = job("fails", retries=3, retry_delay=HOUR)
    early = MIDNIGHT - HOUR
    live = Run(
        id=RunId("backup", 7), key="x1", due=early, queued=early, arrival=1, trigger="manual",
        state=RunState.RUNNING, attempt=1, pid=1, started=early, claims=claims_of(backup, slots=False),
    )  # fmt: skip
    attempt = {
        "attempt": 1, "state": "failed", "reason": None, "started": to_text(early), "ended": to_text(early + MINUTE),
        "output": {"bytes": 0},
    }  # fmt: skip
    retries = Run(
        id=RunId("fails", 3), key="x2", due=early, queued=early, arrival=2, trigger="manual", state=RunState.RETRYING,
        attempt=2, not_before=MIDNIGHT + MINUTE, started=early,
        so_far={"job": "fails", "number": 3, "attempts": [attempt]},  # type: ignore[typeddict-item]
    )  # fmt: skip
    host = a_host(
        backup, report, fails,
        seconds={"backup": 99999, "report": 1, "fails": [DurationSample(MINUTE, "failed", 1)]},
    )  # fmt: skip
    for hours, attempts in ((0.01, 1), (0.5, 2)):
        story = Story()
        future(replace(host, runs=(live, changed(retries, started=None))), hours=hours, first=story)
        until = MIDNIGHT + round(hours * HOUR)
        runs = {f"{it['job']}@{it['number']}": it for it in story.records(until)}
        assert ("running", to_text(early), to_text(until)) == tuple(
            runs["backup@7"][name] for name in ("state", "started", "ended")
        )
        assert ("retrying", attempts) == (runs["fails@3"]["state"], len(runs["fails@3"]["attempts"]))
        assert len(runs) == len(collected(_checked(it) for it in runs.values()))
    unstarted = {**attempt, "started": None, "ended": None}
    lacking = changed(retries, started=None, so_far={**(retries.so_far or {}), "attempts": [unstarted]})
    for hours in (0.01, 0.5):
        story = Story()
        future(replace(host, runs=(lacking,)), hours=hours, first=story)
        assert "retrying" == next(it["state"] for it in story.records(MIDNIGHT + HOUR) if it["job"] == "fails")
    story = Story()
    future(replace(host, runs=(live,)), hours=3.5, first=story)
    (waits,) = [it for it in story.records(MIDNIGHT + 3 * HOUR) if it["state"] == "waiting"]
    assert ("report", ["database"], "backup@7", to_text(MIDNIGHT + 3 * HOUR)) == tuple(
        waits[name] for name in ("job", "waited_for", "held_by", "ended")
    )
    assert waits["due"] == waits["queued"]
