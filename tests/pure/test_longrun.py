"""The verdicts of the long run: a figure that grows is told from one that only varies, and a lost run from a skip."""

from __future__ import annotations

import pytest

from tests.longrun.ledger import Account, Skip, missing_after, violations
from tests.longrun.verdict import Figure, Sample, TooShort, judge, quantile, table

MEMORY = Figure("memory", 10, "scheduler")
LINES = ["tick@1 1 2026-01-01T00:00:01Z -", "tick@2 1 2026-01-01T00:00:02Z -", "tick@3 1 2026-01-01T00:00:03Z -"]
FIRST = 1767225601
"""The first of these due times (s)."""


def samples(*values: float, life: int = 1, rest: bool = False) -> list[Sample]:
    return [Sample(100 * n, n, life, life, rest, {"memory": value}) for n, value in enumerate(values)]


@pytest.mark.parametrize(
    ("values", "grows"),
    [
        ((100, 105, 90, 100, 104, 100, 95, 108, 100), False),
        ((100, 100, 100, 100, 500, 100, 100, 300, 100), False),
        ((100, 103, 106, 109, 112, 115, 118, 121, 124), True),
        ((100, 100, 100, 100, 100, 100, 111, 111, 111), True),
        ((200, 190, 180, 170, 160, 150, 140, 130, 120), False),
    ],
)
def test_growth(values: tuple[float, ...], grows: bool) -> None:
    """Single values prove nothing, a slope or a step does."""
    (row,) = judge(samples(*values), 0, [MEMORY])
    assert grows == row.grows
    assert ("GROWS" if grows else "flat") in table([row], markdown=True)


def test_what_is_judged() -> None:
    """Only what is behind the begin, in one life of the process, and at rest or not, as the figure says."""
    begin, life, other = samples(1, 2, 3), samples(*[50] * 9), samples(*[90] * 4, life=2)
    for number, sample in enumerate([*life, *other]):
        sample.runs = 1000 + number
    (row,) = judge([*begin, *life, *other, *samples(*[99] * 20, rest=True)], 1000, [MEMORY])
    assert (50, 50, 50) == (row.first, row.last, row.most)
    with pytest.raises(TooShort, match="memory: 2 samples"):
        judge(samples(1, 1), 0, [MEMORY])


def test_a_bound() -> None:
    """What may never be more than a bound is judged by its highest value."""
    (row,) = judge(samples(0, 0, 0, 1, 0, 0), 0, [Figure("memory", 0, most=0)])
    assert row.grows


def test_quantiles() -> None:
    """Between the bounds of its bucket a value is where its rank is; above the last bound it is that bound."""
    assert 0.15 == pytest.approx(quantile({0.1: 50, 0.2: 100, float("inf"): 100}, 0.75))
    assert 0.2 == quantile({0.1: 10, 0.2: 20, float("inf"): 100}, 0.9)


def account(*lines: str) -> Account:
    found = Account()
    for line in lines:
        found.take(line)
    return found


@pytest.mark.parametrize(
    ("lines", "skips", "wrong"),
    [
        (LINES, [], []),
        ([*LINES[:2], "tick@2 2 2026-01-01T00:00:02Z -", LINES[2]], [], []),
        ([*LINES, LINES[1]], [], ["tick@2, attempt 1, was started 2 times"]),
        ([*LINES, "tick@9 1 2026-01-01T00:00:02Z -"], [], [f"tick: 2 runs were due at {FIRST + 1}"]),
        ([LINES[0], LINES[2]], [], [f"tick: nothing tells of its due time {FIRST + 1}"]),
        ([LINES[0], LINES[2]], [Skip(FIRST + 1, FIRST + 1, 1)], []),
        ([LINES[0], LINES[2]], [Skip(FIRST + 1, FIRST + 1, 2)], ["tick: 1 due times have not run, and 2 were skipped"]),
        (LINES, [Skip(FIRST + 3, FIRST + 4, 2)], []),
        ([*LINES, "tick@4 1"], [], ["the ledger has a line that makes no sense: 'tick@4 1'"]),
        ([], [], ["tick: nothing of it is known"]),
    ],
)
def test_the_account(lines: list[str], skips: list[Skip], wrong: list[str]) -> None:
    """Each due time has one run, or a skip; each attempt starts once."""
    assert wrong == list(violations(account(*lines), {"tick": 1}, {"tick": skips}))


def test_what_others_make_due() -> None:
    """Each success of a job has made the other due once, but for what was skipped."""
    found = account(*LINES, "next@1 1 2026-01-01T00:00:01Z tick@1", "next@2 1 2026-01-01T00:00:03Z tick@3")
    runs = [f"tick@{number}" for number in (1, 2, 3)]
    assert [] == list(missing_after(found, "next", "tick", runs, 1))
    lost = ["next: 1 ends of tick have not made it due, and 0 were skipped"]
    assert lost == list(missing_after(found, "next", "tick", runs, 0))
    found.take("next@3 1 2026-01-01T00:00:04Z tick@3")
    assert ["next: 1 ends of tick have made it due twice"] == list(missing_after(found, "next", "tick", runs, 1))
