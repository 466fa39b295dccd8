"""The expected end of a submission with many runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jobqueued.control.views.views import condition
from jobqueued.model.submission import Array, Resized
from tests.support.world import World, submission


@pytest.mark.parametrize(
    ("runs", "resized", "waiting", "left"),
    [(40, 20, 0, 10), (40, 1, 0, 10), (43, 1, 3, 40), (50, 20, 10, 20), (50, 4, 10, 40), (50, 40, 0, 10)],
)
def test_the_expected_end_after_resize(runs: int, resized: int, waiting: int, left: float) -> None:
    """Live runs continue and end within their usual time; the waiting runs follow, as many at once as now allowed."""
    world = World(seconds={"alice/1": 10})
    world.submit(submission(array=Array(1, runs), concurrency=20))
    world.pass_time(14)
    world.texts["more"] = replace(world.scheduler.catalog["alice/1"], concurrency=resized)
    world.happen(Resized(1, "alice/1", resized, "more", "alice"))
    batch = condition(world.scheduler, world.scheduler.catalog["alice/1"]).batch
    assert batch is not None
    assert (waiting, left) == (batch.waiting, batch.left)
