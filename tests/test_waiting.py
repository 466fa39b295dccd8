"""Who goes next: by priority, then due time, then arrival, however often places change."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jobqueued.model import RunId
from jobqueued.waiting import Waiting

SMALL = st.integers(-3, 3)
ACTS = st.tuples(st.sampled_from(["add", "add", "remove", "first"]), st.integers(1, 5), SMALL, SMALL)


@given(st.lists(ACTS))
def test_any_history(acts: list[tuple[str, int, int, int]]) -> None:
    """Whoever joins, moves and leaves: the first is that of the sorted queue, which lists each once."""
    waiting, model = Waiting(), {}
    for arrival, (act, number, priority, due) in enumerate(acts):
        run = RunId("job", number)
        if act == "add":
            waiting.add(run, priority, due, arrival)
            model[run] = (-priority, due, arrival)
        elif act == "remove":
            waiting.remove(run)
            model.pop(run, None)
        else:
            assert min(model, key=lambda run: model[run], default=None) == waiting.first()
        assert len(model) == len(waiting)
        assert (run in model) == (run in waiting)
    assert sorted(model, key=lambda run: model[run]) == list(waiting)
    order = []
    while (first := waiting.first()) is not None:
        order.append(first)
        waiting.remove(first)
    assert sorted(model, key=lambda run: model[run]) == order


def test_order() -> None:
    """A higher priority goes first, then the earlier due time, then who came first."""
    waiting = Waiting()
    for name, place in (("d", (0, 5, 2)), ("c", (0, 5, 1)), ("b", (0, 4, 3)), ("a", (1, 9, 4)), ("e", (-1, 1, 0))):
        waiting.add(RunId(name, 1), *place)
    assert ["a", "b", "c", "d", "e"] == [run.job for run in waiting]


def test_an_old_place_is_void() -> None:
    """A run that moved back does not go by its old place, nor one that left and came again."""
    waiting, moved, other = Waiting(), RunId("moved", 1), RunId("other", 1)
    waiting.add(moved, 9, 0, 0)
    waiting.add(other, 5, 0, 1)
    waiting.add(moved, 1, 0, 2)
    assert other == waiting.first()
    waiting.remove(other)
    waiting.add(other, 0, 0, 3)
    assert moved == waiting.first()
