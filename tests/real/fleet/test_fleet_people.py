"""Pauses as people were told: what was confirmed holds until somebody asks for the other; what was not may be made."""

from __future__ import annotations

from math import inf

import pytest

from tests.fleet.people import Act, undone

PAUSE, RESUME = Act("pause", "alpha", 1, 2), Act("resume", "beta", 5, 6)


def seen(what: str, asked: float) -> Act:
    """What somebody found, for a moment."""
    return Act(what, "etcd", asked, asked + 0.1)


@pytest.mark.parametrize(
    "acts",
    [
        [PAUSE, seen("paused", 3), RESUME, seen("resumed", 7)],
        [seen("resumed", 0)],
        [PAUSE, RESUME._replace(asked=1.5), seen("paused", 7)],
        [PAUSE, RESUME._replace(asked=1.5), seen("resumed", 7)],
        [PAUSE._replace(answered=inf), seen("resumed", 3), seen("paused", 50), seen("paused", 55)],
        [PAUSE, seen("paused", 3), RESUME._replace(answered=inf), seen("paused", 20), seen("resumed", 40)],
        [PAUSE._replace(asked=3, answered=4), seen("paused", 3.5), seen("paused", 4.5)],
    ],
)
def test_what_may_be(acts: list[Act]) -> None:
    """Acts at the same time come in any order, and what has no answer is made at some time, or not at all."""
    assert [] == undone(acts, [])


@pytest.mark.parametrize(
    "acts",
    [
        [PAUSE, seen("resumed", 3)],
        [PAUSE, seen("paused", 3), RESUME, seen("paused", 7)],
        [PAUSE, RESUME, seen("resumed", 7), seen("paused", 9)],
        [seen("paused", 0)],
        [PAUSE._replace(answered=inf), seen("paused", 3), seen("resumed", 5)],
        [PAUSE._replace(answered=inf), seen("resumed", 55), seen("paused", 100)],
        [PAUSE, RESUME._replace(answered=inf), seen("resumed", 7), seen("paused", 9)],
    ],
)
def test_what_may_not_be(acts: list[Act]) -> None:
    """What was confirmed is undone by nobody, what was made once is made again, or is made long after it was asked."""
    assert undone(acts, [])
