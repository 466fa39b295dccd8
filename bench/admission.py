"""What a turn of admission costs, by how many runs wait and in how many groups; beside sorting those runs once."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from jobqueued.base.instants import SECOND
from jobqueued.model.job import Claim, Escalation
from jobqueued.model.run import RunId
from jobqueued.queue.admission import Admission
from jobqueued.queue.locks import HOST, SLOT, Locks
from jobqueued.queue.waiting import Terms

ROUNDS = 15
_SIZES = (10_000, 100), (10_000, 1000), (100_000, 100), (100_000, 1000), (100_000, 10_000), (1_000_000, 1000)
"""Runs, and groups of them."""


def admission() -> dict[str, Any]:
    """Turns in which nothing can start: the first, in which all of a queue is new, and those that follow; and in which
    64 start.  Each group wants a lock of its own, which somebody has, or two, of which another group wants one as well:
    so these are looked at in each turn.
    """
    figures: dict[str, Any] = {}
    for runs, groups in _SIZES:
        hall, beside = _filled(runs, groups), _filled(runs, groups, locks=2)
        keys = [(-number % 97, number) for number in range(runs)]
        figures[f"{runs} runs, {groups} groups"] = {
            "first_turn_ms": _first_turn(runs, groups),
            "turn_ms": _milliseconds(lambda hall=hall: list(hall.choose(10**15, 64))),  # type: ignore[misc]
            "turn_of_pairs_ms": _milliseconds(lambda hall=beside: list(hall.choose(10**15, 64))),  # type: ignore[misc]
            "turn_of_64_ms": _milliseconds(lambda hall=hall: _turn_of_64(hall)),  # type: ignore[misc]
            "sort_ms": _milliseconds(lambda keys=keys: sorted(keys)),  # type: ignore[misc]
            "add_us": _milliseconds(lambda hall=hall: _add(hall)) * 1000,  # type: ignore[misc]
        }
    return figures


def _first_turn(runs: int, groups: int) -> float:
    """The least CPU time of some."""
    times = []
    for _ in range(3):
        hall = _filled(runs, groups)
        start = time.process_time()
        list(hall.choose(10**15, 64))
        times.append(time.process_time() - start)
    return min(times) * 1000


def _filled(runs: int, groups: int, locks: int = 1) -> Admission:
    """A queue in which each group wants a lock of its own, or that of the next one, too, and somebody has it."""
    hall = Admission(Locks({SLOT: 1000}))
    for group in range(groups):
        hall.hold(RunId("holder", group + 1), (Claim(f"lock-{group}", exclusive=True),), 10**15 + 3600 * SECOND)
    for number in range(runs):
        terms = _terms(number % groups, groups, locks)
        hall.waiting.add(RunId("job", number + 1), terms, number % 7, 10**15 - number, number, number)
    return hall


def _terms(group: int, groups: int, locks: int) -> Terms:
    wanted = sorted({f"lock-{(group + number) % groups}" for number in range(locks)})
    claims = (Claim(HOST), Claim(SLOT, 1), *(Claim(lock, exclusive=True) for lock in wanted))
    return Terms(claims, Escalation(1, 60 * SECOND), 600 * SECOND, 3600 * SECOND)


def _turn_of_64(hall: Admission) -> None:
    """64 holders end, 64 start in their place, and are put back as they were."""
    for group in range(64):
        hall.release(RunId("holder", group + 1))
    for run in hall.choose(10**15, 64):
        terms = hall.waiting.terms(run)
        hall.hold(run, terms.claims, None)
        hall.waiting.remove(run)
        hall.release(run)
        hall.waiting.add(run, terms, 0, 10**15, run.number, run.number)
    for group in range(64):
        hall.hold(RunId("holder", group + 1), (Claim(f"lock-{group}", exclusive=True),), 10**15 + 3600 * SECOND)


def _add(hall: Admission) -> None:
    hall.waiting.add(RunId("new", 1), _terms(0, 1, 1), 0, 10**15, 0, 0)
    hall.waiting.remove(RunId("new", 1))


def _milliseconds(act: Callable[[], object]) -> float:
    """The median CPU time of some rounds, after one that warms up."""
    times = []
    for _ in range(ROUNDS + 1):
        start = time.process_time()
        act()
        times.append(time.process_time() - start)
    return statistics.median(times[1:]) * 1000
