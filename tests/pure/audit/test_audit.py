"""Audit: whatever happens to a host, each due time has one record; who takes one away, or adds one, is found out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jobqueued.audit.comparison import EXPIRED, UNKNOWN_FILE, Comparison, Cover, DueFinding
from jobqueued.audit.timeline import SLACK, DefinitionSpan, Down, Timeline
from jobqueued.base.instants import HOUR, MINUTE, SECOND
from jobqueued.model import events
from jobqueued.model.job import Job, Overlap, Scope
from jobqueued.model.saved import DueChange
from tests.support.audited import AuditedWorld
from tests.support.world import MIDNIGHT, job

DEFINITIONS = st.builds(
    job, st.just("a"),
    st.sampled_from(["*/7 * * * *", "*/20 * * * *", "5 * * * *", "7-56/7 0-23 * * *", "5 2-20 * * *"]),
    offset=st.sampled_from([0, 7 * MINUTE]), enabled=st.sampled_from([True, True, True, False]),
    overlap=st.sampled_from(Overlap), command=st.sampled_from(["x", "y"]),
)  # fmt: skip
MINUTES = st.integers(1, 200)
ACTIONS = st.one_of(
    st.tuples(st.just("pass"), MINUTES), st.tuples(st.just("pass"), MINUTES), st.tuples(st.just("down"), MINUTES),
    st.tuples(st.just("reboot"), MINUTES), st.tuples(st.just("step"), st.integers(-170, 170)),
    st.tuples(st.just("pause"), st.booleans()), st.tuples(st.just("edit"), DEFINITIONS),
    st.tuples(st.just("edit while down"), DEFINITIONS), st.tuples(st.just("crash"), st.integers(-1, 3)),
)  # fmt: skip


def lived(defined: Job, actions: list[tuple[str, Any]]) -> AuditedWorld:
    """A world in which all of this has happened."""
    world = AuditedWorld(defined, seconds={"a": 500})
    for what, value in actions:
        match what:
            case "pass":
                world.pass_time(value * 60)
            case "down" | "edit while down":
                world.pass_time((value if what == "down" else 90) * 60, scheduler=False)
                world.files["jobs.yaml"] = world.files["jobs.yaml"] if what == "down" else (value,)
                world.boot()
            case "reboot":
                world.reboot(value * 60)
            case "step":
                world.step_clock(value * 60)
                world.happen(events.Woke())
            case "pause":
                world.pause("a", pause=value)
            case "edit":
                world.write("jobs.yaml", value)
            case "crash":
                wake = world.scheduler.next_wakeup(world.now)
                if wake is not None and not world.processes:
                    world.pass_time(max(0, wake - world.now.wall) / SECOND - 1e-3)
                    world._advance(max(wake, world.now.wall))
                    world.happen(die_after=value)
                    world.boot()
    world.pass_time(HOUR // SECOND)
    return world


def findings(world: AuditedWorld, covers: list[Cover] | None = None) -> list[DueFinding]:
    """What an audit finds, maybe of these records."""
    return [found for verdict in world.audit(covers and {"a": covers}) for found in verdict.findings]


@settings(max_examples=60, derandomize=True)
@given(DEFINITIONS, st.lists(ACTIONS, max_size=8), st.integers(0, 99))
def test_one_record_too_few_or_too_many(defined: Job, actions: list[tuple[str, Any]], pick: int) -> None:
    """A life is clean; without one of its records, or with one of them twice, exactly that is found.

    Of times that came twice, as the clock was set back, nothing is said, nor of the last 2 s (and `spread`) before a
    file was changed while the daemon was down.  It still says too much where a job with `spread` gets another rhythm
    within minutes of a step back, so random lives are for days on which somebody looks at them.
    """
    world = lived(defined, actions)
    assert [] == findings(world)
    covers = sorted(world.covers().get("a", []))
    assume(len({cover.era for cover in covers} - {None}) < 2)
    past = world.now.wall - 7 * MINUTE  # after a step back there are records of what is due once more
    sure = [c for c in covers[1:] if c.era is not None and not c.is_pending and c.last <= past]
    edits = [change.until for change in world.due_changes if change.until < change.since]
    dim = [(until - SLACK - 7 * MINUTE, until) for until in edits]
    sure = [c for c in sure if not any(begin <= c.last and c.first <= end for begin, end in dim)]
    inside = [c for c in sure if not any(o.count > 1 and o.first < c.first < o.last for o in covers)]
    assume(inside)
    gone = inside[pick % len(inside)]
    (hole,) = findings(world, [cover for cover in covers if cover != gone])
    assert ("hole", gone.count) == (hole.what, hole.count)
    assert gone.first <= hole.first <= hole.last <= gone.last
    again = replace(gone, number=covers[-1].number + 1)
    doubles = findings(world, [*covers, again])
    assert {"double"} == {found.what for found in doubles}
    assert (gone.number, again.number) in {found.runs for found in doubles}


# the timeline

HOURLY, OTHER, FIXED = job("a", "0 * * * *"), job("a", "30 * * * *"), job("a", "0 0-23 * * *")
TEXTS = {b"hourly": (HOURLY,), b"other": (OTHER,), b"none": (), b"spread": (replace(HOURLY, offset=10 * MINUTE),),
    b"fleet": (replace(HOURLY, scope=Scope.FLEET),), b"fixed": (FIXED,)}  # fmt: skip


def at(hours: float) -> int:
    """So many hours after midnight."""
    return MIDNIGHT + round(hours * HOUR)


def file(since: float, text: bytes | None, until: float | None = None, name: str = "a.yaml") -> DueChange:
    """A change of a file, at hours after midnight."""
    return DueChange("file", name, at(since if until is None else until), at(since), "", "UTC", text)


def clock(until: float, since: float, kind: str = "clock") -> DueChange:
    """A step of the clock, or a time without a daemon."""
    return DueChange(kind, "", at(until), at(since))


def due(*changes: DueChange, until: float = 8) -> list[float]:
    """What was due of the job, in hours after midnight."""
    timeline = Timeline(lambda change: TEXTS.get(change.text or b""))
    for change in changes:
        timeline.take(change)
    spans = timeline.spans(at(until)).get("a", [])
    return [(each - MIDNIGHT) / HOUR for span in spans for each in span.dues(0, at(99))]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([file(5.5, b"hourly")], [6, 7, 8]),
        ([file(5.5, b"hourly"), file(6.2, b"other")], [6, 6.5, 7.5]),
        ([file(5.5, b"hourly"), file(6.2, b"none"), file(7.5, b"hourly")], [6, 8]),
        ([file(5.5, b"hourly"), file(6.2, None)], [6]),
        ([file(5.5, b"hourly"), file(6.1, b"?"), file(7.1, b"hourly")], [6, 8]),
        ([file(5.5, b"hourly"), file(6.2, b"hourly", name="b.yaml"), file(6.2, None)], [6, 7, 8]),
        ([file(5.5, b"hourly"), clock(5.9, 7.1, "start"), file(7.1, b"other", 5.9)], [7.5]),
        ([file(5.5, b"hourly"), clock(5.9, 7.1, "start"), file(7.1, b"spread", 5.9)], [6, 7]),
        ([file(5.5, b"hourly"), clock(6.1, 7.1)], [6, 7, 8]),
        ([file(5.5, b"hourly"), clock(7.1, 5.7)], [6, 7, 6, 7, 8]),
        ([file(5.5, b"fixed"), clock(7.1, 5.7)], [6, 7, 8]),
        ([file(5.5, b"fixed"), clock(7.1, 5.7), clock(6.2, 3.9)], [6, 7, 4, 5, 6, 7, 8]),
        ([file(5.5, b"hourly"), clock(7.1, 5.7), file(6.2, b"other")], [6, 7, 6, 6.5, 7.5]),
        ([file(2.5, b"hourly"), clock(3.1, 6.5)], [3, 7, 8]),
        ([file(5.5, b"hourly"), clock(7.1, 3.5)], [6, 7, 4, 5, 6, 7, 8]),
        ([file(5.5, b"hourly"), clock(7.1, 3.5, "start")], [6, 7, 4, 5, 6, 7, 8]),
        ([file(4.5, b"fixed"), clock(5.9, 2.1, "start")], [5, 6, 7, 8]),
        ([file(4.5, b"hourly"), clock(5.9, 2.1, "start")], [5, 3, 4, 5, 6, 7, 8]),
        ([file(5.5, b"spread"), file(7.05, b"none")], [6, 7]),
        ([file(5.5, b"hourly"), file(6.2, b"fleet"), file(7.2, b"hourly")], [6, 8]),
    ],
    ids=[
        "since it came", "another rhythm", "gone and back", "its file is gone", "a text nobody can read", "moved",
        "edited while down", "edited while down, in its rhythm", "a small step forward", "a small step back",
        "of fixed times", "of fixed times, farther than 3 h by two", "and another rhythm then", "a correction forward",
            "a correction back", "the same while down",
        "a correction over nothing", "elapsed time over that", "put off by spread", "of a fleet for a while",
    ],
)  # fmt: skip
def test_what_was_due(changes: list[DueChange], expected: list[float]) -> None:
    """The changes of files and of the clock say what was due, as docs/time.md has it."""
    assert expected == due(*changes)


# the comparison


def ran(number: int, hours: float, **more: Any) -> Cover:
    """A record of a run."""
    return Cover(number, 0, at(hours), at(hours), 1, at(hours), **more)


def skipped(number: int, first: float, last: float, count: int) -> Cover:
    """A record of skips."""
    return Cover(number, 0, at(first), at(last), count, at(first), is_skip=True)


def compared(*covers: Cover, kept: int = 100, known: float = 0, defined: Job = HOURLY, **more: Any) -> Comparison:
    """The comparison of an hourly job with these."""
    return Comparison("a", [DefinitionSpan(defined, at(known), at(9))], covers, kept, **more)


RUNS = [ran(number, number) for number in range(1, 9)]


@pytest.mark.parametrize(
    ("comparison", "since", "before"),
    [
        (lambda: compared(*RUNS), 0, UNKNOWN_FILE),
        (lambda: compared(*RUNS, known=2.5), 2.5, UNKNOWN_FILE),
        (lambda: compared(*RUNS[3:]), 4, EXPIRED),
        (lambda: compared(*RUNS, kept=3), 0, UNKNOWN_FILE),
        (lambda: compared(replace(RUNS[0], is_pending=True), *RUNS[1:]), 0, UNKNOWN_FILE),
        (lambda: compared(*RUNS[2:], kept=6), 3, EXPIRED),
        (lambda: compared(*RUNS[1:5], skipped(6, 6, 7, 2), ran(7, 8), kept=1), 6, EXPIRED),
        (lambda: compared(Cover(3, None, at(3.4), at(3.4), 1, at(3.4)), *RUNS[3:]), 3.4, EXPIRED),
    ],
    ids=[
        "all",
        "the file",
        "the first are gone",
        "more than are kept",
        "the first goes on",
        "as many as are kept",
        "of one kind",
        "by hand",
    ],
)
def test_since_when_it_is_known(comparison: Callable[[], Comparison], since: float, before: str) -> None:
    """It begins where the file is known, and behind what retention may have let go."""
    found = comparison().verdict(0, at(8))
    assert (before, []) == (found.before, found.findings)
    assert at(since) - 1 <= found.since <= at(since)


def test_a_hole_and_its_cause() -> None:
    """A number that is missing was a record; else it may have been the daemon, or the clock, or it was never due."""
    gone = [cover for cover in RUNS if cover.number not in (4, 5)]
    (hole,) = compared(*gone).verdict(0, at(8)).findings
    assert (at(4), at(5), 2, (4, 5)) == (hole.first, hole.last, hole.count, hole.runs)
    assert "the record of a@4 to @5 is missing: it was deleted or damaged" == hole.cause
    renumbered = [*RUNS[:3], *(replace(cover, number=cover.number - 1) for cover in RUNS[4:])]
    for downs, cause in (
        ([], "no run number is missing"), ([Down(at(3.5), at(4.5), step=False)], "the daemon was down"),
        ([Down(at(3.5), at(4.5), step=True)], "the clock was set"),
    ):  # fmt: skip
        (hole,) = compared(*renumbered, downs=downs).verdict(0, at(8)).findings
        assert hole.cause.startswith(cause)


def test_skips_that_share_a_record() -> None:
    """It covers all from its first to its last, but what has a record of its own, and counts them."""
    covers = [ran(1, 1), skipped(2, 2, 6, 4), ran(3, 4), ran(4, 7), ran(5, 8)]
    assert [] == compared(*covers).verdict(0, at(8)).findings
    for count, what in ((3, "hole"), (5, "double")):
        found = compared(*covers[:1], replace(covers[1], count=count), *covers[2:]).verdict(0, at(8)).findings
        assert [(what, 1, (2,))] == [(each.what, each.count, each.runs) for each in found]


def test_what_waits_is_no_hole_and_no_double() -> None:
    """A run that waits will have its record, its own or that of the skip before."""
    assert [] == compared(*RUNS[:7], ran(8, 8, is_pending=True)).verdict(0, at(8)).findings
    assert [] == compared(*RUNS, ran(9, 8, is_pending=True)).verdict(0, at(8)).findings


def test_a_job_that_is_completed() -> None:
    """Behind the last record of one that may have had its `max_runs` nothing is missed; before that all is."""
    defined = replace(HOURLY, max_runs=3)
    assert [] == compared(*RUNS[:3], defined=defined).verdict(0, at(8)).findings
    (hole,) = compared(RUNS[0], RUNS[2], defined=defined).verdict(0, at(8)).findings
    assert at(2) == hole.first


def test_a_job_without_any_record() -> None:
    """All that was due is missed, and the slack of a daemon that died is not."""
    assert [8] == [found.count for found in compared().verdict(0, at(8)).findings]
    assert SLACK < MINUTE
