"""Why a job did not run at an instant that is over, by what was kept of it."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from tests.support.remembered import RememberedWorld

LIVES, STEPS = int(os.environ.get("JOBQUEUED_LIVES", "20")), 50


@pytest.mark.parametrize("part", range(4))
def test_the_truth(part: int) -> None:
    """Of 1,000 instants of twenty lives each answer is what was true then, by the processes and by what people did."""
    for seed in range(part, LIVES, 4):
        world = RememberedWorld(seed)
        world.live(STEPS)
        assert [] == list(world.wrong()), seed


def test_the_lives_have_all_of_it() -> None:
    """All kinds of answers are asked for, or the test above would tell nothing."""
    kinds = Counter[str]()
    for seed in range(20):
        world = RememberedWorld(seed)
        world.live(STEPS)
        for seen in world.truths:
            kinds.update(world._kinds(seen))
    assert {"running", "down", "waiting", "retrying", "gone", "disabled", "paused", "skipped", "not_due"} == set(kinds)
