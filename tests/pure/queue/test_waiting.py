"""Who goes next: by effective priority, then due time, then arrival, however often places change and time passes."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from jobqueued.base.instants import SECOND
from jobqueued.model.job import Claim, Escalation
from jobqueued.model.run import RunId
from jobqueued.queue.waiting import Terms, Waiting

SMALL = st.integers(-3, 3)
RATES = st.builds(Escalation, st.integers(0, 5), st.sampled_from([SECOND, 7 * SECOND, 60 * SECOND, 86399 * SECOND]))
ACTS = st.tuples(st.sampled_from(["add", "add", "remove", "look"]), st.integers(1, 5), SMALL, SMALL, RATES)


def terms(rate: Escalation = Escalation(), *claims: Claim) -> Terms:  # noqa: B008
    """Terms with this rate."""
    return Terms(claims, rate, None, 3600 * SECOND)


def order(waiting: Waiting, mono: int) -> list[RunId]:
    """The queue, taken head by head."""
    found = []
    while heads := waiting.heads(mono):
        found.append(heads[0][4])
        waiting.remove(heads[0][4])
    return found


def test_ties() -> None:
    """Of equal priority, however it came about, the one due earlier goes first; due together, who came first."""
    waiting = Waiting()
    minute = Escalation(1, 60 * SECOND)
    aged, flat, last = RunId("aged", 1), RunId("flat", 1), RunId("last", 1)
    waiting.add(last, terms(Escalation(0)), 1, 0, 7, 3)
    waiting.add(flat, terms(Escalation(0), Claim("x")), 1, 0, 7, 2)
    waiting.add(aged, terms(minute), 0, 0, 5, 9)
    assert [aged, flat, last] == list(waiting.ordered(60 * SECOND)) == order(waiting, 60 * SECOND)


def test_the_highest() -> None:
    """The effective priority of the first; of users' runs too, when nobody else waits."""
    waiting = Waiting()
    assert waiting.highest(0) is None
    waiting.add(RunId("a", 1), terms(Escalation(2, 60 * SECOND)), 1, 0, 0, 1)
    waiting.add(RunId("b", 1), terms(Escalation(0)), 2, 0, 0, 2)
    assert (2.0, 5.0) == (waiting.highest(0), waiting.highest(120 * SECOND))


@given(st.lists(ACTS))
def test_any_history(acts: list[tuple[str, int, int, int, Escalation]]) -> None:
    """Whoever joins, moves and leaves: the heads, and the queue, are those of the exact fractions, at any time."""
    waiting, model = Waiting(), {}

    def exactly(run: RunId, mono: int) -> tuple[Fraction, int, int, RunId]:
        priority, since, due, arrival, rate = model[run]
        return (-priority - Fraction(rate.points * (mono - since), rate.every), due, arrival, run)

    mono = 0
    for arrival, (act, number, priority, due, rate) in enumerate(acts):
        mono += number * SECOND
        run = RunId("job", number)
        if act == "add":
            waiting.add(run, terms(rate), priority, mono, due, arrival)
            model[run] = (priority, mono, due, arrival, rate)
        elif act == "remove":
            waiting.remove(run)
            model.pop(run, None)
        else:
            first = min(model, key=lambda run: exactly(run, mono), default=None)
            heads = waiting.heads(mono)
            assert first == (heads[0][4] if heads else None)
        assert len(model) == len(waiting)
        assert (run in model) == (run in waiting)
    expected = sorted(model, key=lambda run: exactly(run, mono))
    assert expected == list(waiting.ordered(mono))
    for run in model:
        assert abs(float(-exactly(run, mono)[0]) - waiting.priority(run, mono)) < 1e-9
    assert expected == order(waiting, mono)


def test_order() -> None:
    """A higher priority goes first, then the earlier due time, then who came first."""
    waiting = Waiting()
    for name, place in (("d", (0, 5, 1)), ("c", (0, 5, 2)), ("b", (0, 4, 3)), ("a", (1, 9, 4)), ("e", (-1, 1, 0))):
        priority, due, arrival = place
        waiting.add(RunId(name, 1), terms(), priority, 0, due, arrival)
    assert ["a", "b", "d", "c", "e"] == [run.job for run in waiting.ordered(0)]
    assert ["a", "b", "d", "c", "e"] == [run.job for run in order(waiting, 0)]


def test_an_old_place_is_void() -> None:
    """A run that moved back does not go by its old place, nor one that left and came again, nor on other terms."""
    waiting, moved, other = Waiting(), RunId("moved", 1), RunId("other", 1)
    waiting.add(moved, terms(), 9, 0, 0, 0)
    waiting.add(other, terms(), 5, 0, 0, 1)
    waiting.add(moved, terms(Escalation(2)), 1, 0, 0, 2)
    assert other == waiting.heads(0)[0][4]
    waiting.remove(other)
    waiting.add(other, terms(), 0, 0, 0, 3)
    assert [moved, other] == order(waiting, 0)


def test_the_dead_are_not_the_most() -> None:
    """Behind a run that waits for days thousands come and go, or get new places, and nothing of that is kept."""
    waiting = Waiting()
    for number in range(10):
        waiting.add(RunId("first", number), terms(), 100, 0, 0, number)
    for number in range(500):
        waiting.add(RunId("passes", number), terms(), 200 - number % 7, 0, 0, 100 + number)
        waiting.remove(RunId("passes", number))
        waiting.add(RunId("first", 3), terms(), 100, 0, 0, 3)
    ((*_, group),) = waiting.heads(0)
    assert len(group.heap) <= 100
    assert [RunId("first", number) for number in range(10)] == order(waiting, 0)
    assert ([], []) == (waiting.heads(0), list(waiting.all_terms()))


def test_the_living_are_looked_through_seldom() -> None:
    """A heap is looked through when it has doubled, and is a heap afterwards."""
    waiting, many = Waiting(), list[int]()
    for number in range(1000):
        waiting.add(RunId("a", number), terms(), number * 7 % 11, 0, 0, number)
        if number % 3 == 0:
            waiting.remove(RunId("a", number - 3))
        ((*_, group),) = waiting.heads(0)
        many += [group.many] * (group.many not in many)
    assert [64, 156, 304, 552, 964] == many
    assert sorted(waiting, key=lambda run: (-(run.number * 7 % 11), run.number)) == order(waiting, 0)


def test_on_other_terms() -> None:
    """A run has one place, though the old one is the same but for the claims."""
    waiting, run, other = Waiting(), RunId("a", 1), terms(Escalation(), Claim("x"))
    waiting.add(run, terms(), 0, 0, 0, 1)
    waiting.add(run, other, 0, 0, 0, 1)
    assert [other] == [group.terms for *_, group in waiting.heads(0)]


def test_some_of_a_queue() -> None:
    """A copy has these runs at their places, by what users have live, with another drain."""
    waiting, names = Waiting(), ("alice/a", "bob/b", "bob/c")
    for number, name in enumerate(names):
        waiting.add(RunId(name, 1), terms()._replace(share=name.partition("/")[0]), 0, 0, 0, number)
    waiting.live["alice"] = 1
    some = waiting.only([RunId(name, 1) for name in names[:2]], 5)
    assert ["bob/b", "alice/a"] == [run.job for run in some.ordered(0)]
    assert [5, 5] == [it.drain for it in some.all_terms()]
    assert ["bob/b", "alice/a"] == [run.job for run in order(some, 0)]
    assert ["bob/b", "bob/c", "alice/a"] == [run.job for run in waiting.ordered(0)], "nothing of the first is changed"


def test_ageing_overtakes() -> None:
    """A low run that has waited long goes before a high one that has just come, from the very nanosecond on."""
    waiting, old, new = Waiting(), RunId("old", 1), RunId("new", 1)
    waiting.add(old, terms(), 0, 0, 0, 0)
    waiting.add(new, terms(Escalation(0)), 10, 600 * SECOND, 0, 1)
    assert [new, old] == list(waiting.ordered(600 * SECOND - 1))
    assert [old, new] == list(waiting.ordered(600 * SECOND + 1))


def test_exactness() -> None:
    """Rates that differ by less than any float can tell are still told apart, after a year."""
    waiting, slow, fast = Waiting(), RunId("a", 1), RunId("b", 1)
    waiting.add(slow, terms(Escalation(1000, 86400 * SECOND)), 0, 0, 0, 0)
    waiting.add(fast, terms(Escalation(1000, 86400 * SECOND)), 0, -1, 0, 1)
    year = 365 * 86400 * SECOND
    assert [fast, slow] == list(waiting.ordered(year))
