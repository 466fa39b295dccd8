"""Turns of hosts that wait for a lock of the fleet: whoever is not the next lets the others pass for a moment."""

from __future__ import annotations

from jobqueued.child.fleet.lock_queue import MOMENT, Turns


def line(*hosts: str) -> Turns:
    """A line in which hosts stand, and a lock that is given back at 0."""
    turns = Turns()
    for revision, host in enumerate(hosts):
        turns.joined("tape", host, revision)
    turns.freed("tape", 0)
    return turns


def test_each_in_turn() -> None:
    """The next asks at once, each further one a moment later, and whoever is in no line last."""
    turns = line("b", "a")
    assert "" == turns.lets_pass("tape", "b", 0, 0)
    assert "b, which is next in line for tape" == turns.lets_pass("tape", "a", 0, MOMENT - 1)
    assert MOMENT == turns.deadline
    assert ([], ["b, which is next in line for tape"], []) == (
        turns.over(MOMENT - 1),
        turns.over(MOMENT),
        turns.over(MOMENT),
    )
    assert "" == turns.lets_pass("tape", "a", 0, MOMENT)
    assert turns.lets_pass("tape", "c", 0, 2 * MOMENT - 1)
    assert "" == turns.lets_pass("tape", "c", 0, 2 * MOMENT)


def test_enough_for_all() -> None:
    """Nobody waits where those before leave enough."""
    turns = line("b", "a")
    assert "" == turns.lets_pass("tape", "a", 1, 0)
    assert "" == turns.lets_pass("disk", "a", 0, 0)
    assert turns.lets_pass("tape", "c", 1, 0)


def test_nobody_waits_long() -> None:
    """Of a thousand that stand before, and do not come, only ten are waited for."""
    turns = line(*(f"h{number}" for number in range(1000)))
    assert turns.lets_pass("tape", "z", 0, 10 * MOMENT - 1)
    assert "" == turns.lets_pass("tape", "z", 0, 10 * MOMENT)


def test_what_is_forgotten() -> None:
    """Of a lock for which nobody stands nothing is kept."""
    turns = line("b")
    turns.left("tape", "b")
    assert ([], "") == (turns.before("tape", "a"), turns.lets_pass("tape", "a", 0, 0))
    turns.joined("tape", "b", 7)
    assert "" == turns.lets_pass("tape", "a", -1, MOMENT), "it was free for long"
    turns.freed("tape", 5)
    turns.lets_pass("tape", "a", -1, 5)
    assert (["b, which is next in line for tape"], None, []) == (turns.clear(), turns.deadline, turns.places("b"))
