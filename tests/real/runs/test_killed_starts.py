"""SIGKILL at each step of the start after a daemon went on from memory and was killed, and at one of the next start:
nothing runs again, nothing is left out, and what waits for two others is in step with them.

JOBQUEUED_FAULTS=1 tries all steps (make faults), JOBQUEUED_FAULTS=4 each fourth, else those between which R and
state.db change hands.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.killed_starts import Night

PARTS = 4
"""All steps are in so many tests."""
TRIED = range(0, PARTS, int(each)) if (each := os.environ.get("JOBQUEUED_FAULTS")) else ()
"""Those of them that are tried."""
SOME = [f"scheduler sql-COMMIT state/state.db {nth}" for nth in range(1, 6)] + ["scheduler unlink runs/both@1.1/spec 1"]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    """Such a night, which is had again by each test."""
    night = Night(tmp_path_factory.mktemp("night") / "night")
    yield night
    night.close()


def test_once_more(night: Night) -> None:
    """Without another kill all of it is right."""
    night.again()
    assert night.verdict() == []


@pytest.mark.parametrize("point", SOME)
def test_second_kill(night: Night, point: str) -> None:
    """One more, where it is decided."""
    night.again()
    night.killed(point)
    assert night.verdict() == []


def every(night: Night, part: int) -> None:
    """Each step of the start, and another one of the start after that."""
    points = night.points()
    wrong = []
    for number, point in enumerate(points[part::PARTS]):
        night.again()
        third = points[(number * 7 + part * 11) % len(points)]
        night.killed(point)
        night.killed(third)
        wrong += [f"{point}, {third}: {each}" for each in night.verdict()]
    assert wrong == []


if TRIED:
    test_all = pytest.mark.parametrize("part", TRIED)(every)
