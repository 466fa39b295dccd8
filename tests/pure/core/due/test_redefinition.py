"""What becomes of where a job's clock stands when another definition takes the place of one: a table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jobqueued.base.instants import HOUR, MINUTE, to_datetime
from jobqueued.core.due.redefinition import CHANGED, Redefinition, dues, put_off, redefine
from jobqueued.model.job import Job, On
from jobqueued.model.saved import SavedJob, Skip
from jobqueued.model.submission import After, Submission
from jobqueued.timing.schedule import At
from tests.support.world import MIDNIGHT, job

HOURLY, DAILY = job("a", "0 * * * *"), job("a", "0 6 * * *")
NOW = MIDNIGHT + 90 * MINUTE
AT_ONE, AT_TWO = MIDNIGHT + HOUR, MIDNIGHT + 2 * HOUR
SPREAD = replace(HOURLY, spread=50 * MINUTE, offset=40 * MINUTE)
KNOWN = SavedJob(job="a", rhythm=HOURLY.rhythm, cursor=AT_ONE, era=3, last_number=7)


def expected(saved: SavedJob, **changes: Any) -> Redefinition:
    others = {name: changes.pop(name) for name in ("forgone", "past", "ahead") if name in changes}
    return Redefinition(replace(saved, **changes), **{"forgone": [], "past": None, "ahead": 0, **others})


CASES: dict[str, tuple[SavedJob, Job | None, Job, Redefinition]] = {
    "the first ever": (
        SavedJob(job="a"), None, HOURLY,
        expected(SavedJob(job="a"), rhythm=HOURLY.rhythm, cursor=NOW),
    ),
    "the first ever, without a clock": (SavedJob(job="a"), None, job("a"), expected(SavedJob(job="a"), cursor=NOW)),
    "the same after a restart": (KNOWN, None, HOURLY, expected(KNOWN)),
    "only its command changed": (KNOWN, HOURLY, replace(HOURLY, command="x"), expected(KNOWN)),
    "another rhythm": (
        KNOWN, HOURLY, DAILY, expected(KNOWN, rhythm=DAILY.rhythm, cursor=NOW, previous=AT_ONE),
    ),
    "another rhythm after a small step back": (
        replace(KNOWN, cursor=AT_TWO), HOURLY, DAILY,
        expected(KNOWN, rhythm=DAILY.rhythm, cursor=AT_TWO, previous=AT_TWO, settled=AT_TWO),
    ),
    "another rhythm, again before it was due": (
        replace(KNOWN, previous=MIDNIGHT), HOURLY, DAILY,
        expected(KNOWN, rhythm=DAILY.rhythm, cursor=NOW, previous=MIDNIGHT),
    ),
    "disabled": (
        KNOWN, HOURLY, replace(HOURLY, enabled=False),
        expected(KNOWN, rhythm="", cursor=NOW, previous=AT_ONE),
    ),
    "spread had put one off, and the rhythm changes": (
        replace(KNOWN, cursor=MIDNIGHT), SPREAD, replace(DAILY, offset=SPREAD.offset),
        expected(KNOWN, rhythm=DAILY.rhythm, cursor=NOW, previous=AT_ONE, forgone=[AT_ONE]),
    ),
    "spread had put one off, and would not any more": (
        replace(KNOWN, cursor=MIDNIGHT), SPREAD, HOURLY, expected(KNOWN, forgone=[AT_ONE]),
    ),
    "spread had put one off, and does so for as long": (
        replace(KNOWN, cursor=MIDNIGHT), SPREAD, replace(SPREAD, command="x"),
        expected(replace(KNOWN, cursor=MIDNIGHT)),
    ),
    "skips are kept where the new rhythm has them": (
        replace(KNOWN, skips=(Skip(AT_TWO), Skip(MIDNIGHT + 6 * HOUR, "eve"))), HOURLY, DAILY,
        expected(KNOWN, rhythm=DAILY.rhythm, cursor=NOW, previous=AT_ONE, skips=(Skip(MIDNIGHT + 6 * HOUR, "eve"),)),
    ),
    "the clock was far ahead": (
        replace(KNOWN, cursor=NOW + 4 * HOUR, previous=AT_ONE), None, HOURLY,
        expected(KNOWN, cursor=NOW, previous=0, era=4, ahead=4 * HOUR),
    ),
    "an at that is over": (
        SavedJob(job="a"), None, replace(job("a"), at=AT_ONE),
        expected(SavedJob(job="a"), rhythm=f"at {AT_ONE}", cursor=NOW, past=AT_ONE),
    ),
    "an at that is now": (
        SavedJob(job="a"), None, replace(job("a"), at=NOW),
        expected(SavedJob(job="a"), rhythm=f"at {NOW}", cursor=NOW, past=NOW),
    ),
    "an at that has a record": (
        replace(KNOWN, rhythm=""), None, replace(job("a"), at=AT_ONE),
        expected(KNOWN, rhythm=f"at {AT_ONE}", cursor=NOW, previous=AT_ONE),
    ),
    "two put off": (
        replace(KNOWN, cursor=MIDNIGHT - 1), SPREAD, replace(DAILY, offset=SPREAD.offset),
        expected(KNOWN, rhythm=DAILY.rhythm, cursor=NOW, previous=AT_ONE, forgone=[MIDNIGHT, AT_ONE]),
    ),
    "spread had put one off, which would come by now with less of it": (
        replace(KNOWN, cursor=MIDNIGHT), SPREAD, replace(SPREAD, offset=30 * MINUTE), expected(KNOWN, forgone=[AT_ONE]),
    ),
    "spread had put one off, and still does with less of it": (
        replace(KNOWN, cursor=MIDNIGHT), SPREAD, replace(SPREAD, offset=31 * MINUTE),
        expected(replace(KNOWN, cursor=MIDNIGHT)),
    ),
    "spread as long as before, of what is due": (
        replace(KNOWN, cursor=MIDNIGHT - 9 * HOUR), SPREAD, replace(SPREAD, command="x"),
        expected(replace(KNOWN, cursor=MIDNIGHT - 9 * HOUR)),
    ),
    "the clock was ahead by as much as a step": (
        replace(KNOWN, cursor=NOW + 3 * HOUR), None, DAILY, expected(
            KNOWN, rhythm=DAILY.rhythm, cursor=NOW + 3 * HOUR, previous=NOW + 3 * HOUR, settled=NOW + 3 * HOUR
        ),
    ),
    "the clock was ahead by as much as a step, and elapsed time goes on": (
        replace(KNOWN, cursor=NOW + 3 * HOUR), None, HOURLY,
        expected(KNOWN, cursor=NOW, era=4, settled=NOW + 3 * HOUR, ahead=3 * HOUR),
    ),
    "spread had put off what is due after an edit": (
        replace(KNOWN, cursor=NOW - 1), None, SPREAD, expected(replace(KNOWN, cursor=NOW - 1)),
    ),
    "a disabled at that is over": (
        SavedJob(job="a"), None, replace(job("a"), at=AT_ONE, enabled=False),
        expected(SavedJob(job="a"), rhythm="", cursor=NOW),
    ),
    "a skip of what is due a nanosecond later than the rhythm has it": (
        replace(KNOWN, skips=(Skip(MIDNIGHT + 6 * HOUR + 1),)), HOURLY, DAILY,
        expected(KNOWN, rhythm=DAILY.rhythm, cursor=NOW, previous=AT_ONE, skips=()),
    ),
    "a submission that awaits others": (
        replace(KNOWN, satisfied=("b", "c")), None, replace(HOURLY, submission=Submission(None, (After("c", "any"),))),
        expected(KNOWN, satisfied=("c",)),
    ),
    "a path, for the first time": (
        KNOWN, None, replace(HOURLY, on=(On("path", "/in/*"),)), expected(KNOWN, appeared=NOW),
    ),
    "a path that was awaited before a restart": (
        replace(KNOWN, appeared=1), None, replace(HOURLY, on=(On("path", "/in/*"),)), expected(KNOWN, appeared=1),
    ),
    "another dependency": (
        replace(KNOWN, satisfied=("b", "c")), replace(HOURLY, dependencies=("b", "c", "d")),
        replace(HOURLY, dependencies=("c", "d", "e")), expected(KNOWN, satisfied=("c",)),
    ),
    "a path that is awaited from now on": (
        replace(KNOWN, appeared=1), HOURLY, replace(HOURLY, on=(On("path", "/in/*"),)), expected(KNOWN, appeared=NOW),
    ),
    "the path that was awaited": (
        replace(KNOWN, appeared=1), replace(HOURLY, on=(On("path", "/in/*"),)),
        replace(HOURLY, on=(On("path", "/in/*"),), command="x"), expected(KNOWN, appeared=1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_redefinition(case: str) -> None:
    """Each kind of change leaves the cursor, what is skipped and what is said as the table has it."""
    saved, old, new, redefinition = CASES[case]
    found = redefine(saved, old, new, NOW, completed=False)
    assert redefinition == found
    assert set(CHANGED) >= {name for name in SavedJob.__slots__ if getattr(saved, name) != getattr(found.saved, name)}


def test_a_completed_job_has_no_rhythm() -> None:
    """Once its `max_runs` have started its clock stands still, whatever its file says."""
    assert "" == redefine(KNOWN, HOURLY, HOURLY, NOW, completed=True).saved.rhythm


def test_what_a_turn_takes() -> None:
    """A thousand due times, and the one that follows them."""
    minutely = job("a", "* * * * *")
    for count in (999, 1000, 1001):
        found, following = dues(minutely, MIDNIGHT, MIDNIGHT + count * MINUTE)
        assert (min(count, 1000), MIDNIGHT + (len(found) + 1) * MINUTE) == (len(found), following)
    assert ([AT_ONE], None) == dues(replace(job("a"), at=AT_ONE, triggers=(At(to_datetime(AT_ONE)),)), MIDNIGHT, NOW)


def test_what_spread_puts_off() -> None:
    """Of a job without it, or that is disabled, nothing."""
    cases = [SPREAD, HOURLY, replace(SPREAD, enabled=False)]
    assert [[AT_ONE], [], []] == [put_off(it, replace(KNOWN, cursor=MIDNIGHT), NOW) for it in cases]
