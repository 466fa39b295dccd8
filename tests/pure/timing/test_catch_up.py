"""Which occurrences run and which are missed: none is lost, none is doubled, order stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueued.model.job import CatchUp, Job
from jobqueued.timing.catch_up import sort_out

WALL = 10_000


def a_job(policy: CatchUp, grace: int = 60, window: int = 1000) -> Job:
    """A job with these rules; times here are plain numbers."""
    return Job(id="job", command="true", catch_up=policy, grace=grace, catch_up_window=window)


def sorted_out(policy: CatchUp, *ages: int, complete: bool = True) -> tuple[list[int], list[int]]:
    """The ages of those that run, and of those missed."""
    found = sort_out(a_job(policy), [WALL - age for age in ages], WALL, complete=complete)
    return [WALL - due for due in found.run], [WALL - due for due in found.missed]


AGES = st.lists(st.integers(0, 3000), unique=True).map(lambda ages: sorted(ages, reverse=True))


@given(st.sampled_from(CatchUp), AGES, st.integers(0, 500), st.integers(0, 2000), st.booleans())
def test_each_once(policy: CatchUp, ages: list[int], grace: int, window: int, complete: bool) -> None:
    """Every occurrence either runs or is missed, the missed are the older ones, and what is within grace runs."""
    dues = [WALL - age for age in ages]
    run, missed = sort_out(a_job(policy, grace, window), dues, WALL, complete=complete)
    assert dues == missed + run
    assert all(WALL - due > grace for due in missed)
    assert all(WALL - due <= max(grace, window) for due in run)
    caught = [due for due in run if WALL - due > grace]
    most = {CatchUp.NONE: 0, CatchUp.LATEST: int(complete and caught == run), CatchUp.ALL: len(dues)}
    assert len(caught) <= most[policy]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (CatchUp.NONE, ([], [2000, 900, 61])),
        (CatchUp.LATEST, ([61], [2000, 900])),
        (CatchUp.ALL, ([900, 61], [2000])),
    ],
)
def test_after_a_gap(policy: CatchUp, expected: tuple[list[int], list[int]]) -> None:
    """none: nothing; latest: one for all; all: everything inside the window."""
    assert expected == sorted_out(policy, 2000, 900, 61)


@pytest.mark.parametrize("policy", CatchUp)
def test_in_time(policy: CatchUp) -> None:
    """At most `grace` late, to the nanosecond, simply runs, also several."""
    assert ([60, 30, 0], []) == sorted_out(policy, 60, 30, 0)


def test_a_fresh_one_stands_for_the_gap() -> None:
    """`latest` catches nothing up where a fresh one runs anyway; `all` does."""
    assert ([10], [500, 61]) == sorted_out(CatchUp.LATEST, 500, 61, 10)
    assert ([500, 61, 10], []) == sorted_out(CatchUp.ALL, 500, 61, 10)


def test_the_latest_is_still_to_come() -> None:
    """While later due times follow in another call none of these is the latest."""
    assert ([], [500, 400]) == sorted_out(CatchUp.LATEST, 500, 400, complete=False)
    assert ([500, 400], []) == sorted_out(CatchUp.ALL, 500, 400, complete=False)


@pytest.mark.parametrize("policy", [CatchUp.LATEST, CatchUp.ALL])
def test_window(policy: CatchUp) -> None:
    """The window's edge is inside, one nanosecond more is not."""
    assert ([1000], [1001]) == sorted_out(policy, 1001, 1000)
    assert ([], [1001]) == sorted_out(policy, 1001)


@pytest.mark.parametrize("policy", CatchUp)
def test_nothing(policy: CatchUp) -> None:
    """Nothing due is nothing to do."""
    assert ([], []) == sorted_out(policy)
