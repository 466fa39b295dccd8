"""The faults of a bad day, drawn from the seed: episodes one after another, each a condition with blows in it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from tests.chaos.jobs import CHANNELS
from tests.chaos.processes import LAUNCHER, NOTIFIER, SCHEDULER, SUPERVISOR

CLASSES = (
    "kill", "restart", "stop", "full", "readonly", "abort", "cut", "damage", "nofile", "files", "second", "refuse",
    "clock", "calls", "pids", "descriptors", "journald", "removed", "load", "pairs", "overwritten",
)  # fmt: skip
AWAY = 3.5
"""The longest time (s) that a job file is away or broken; 5 s are promised."""
GONE = 7.0
"""For so long (s) a job file is removed, so that its jobs are gone."""
BACK = 6.0
"""The clock is set back by so many seconds at most, and stays there."""
FAR_BACK = 10_000.0
"""By so many at most it is set back by mistake, and forward again."""
CALM = 2.0
"""Seconds at most between two episodes."""

_ROLES: list[tuple[str, ...]] = [
    (SCHEDULER,), (SCHEDULER,), (LAUNCHER,), (SUPERVISOR,), (SCHEDULER, LAUNCHER), (LAUNCHER, SUPERVISOR),
    (SCHEDULER, SUPERVISOR), (SCHEDULER, LAUNCHER, SUPERVISOR),
    (NOTIFIER,), (NOTIFIER, SCHEDULER), (NOTIFIER, LAUNCHER), (NOTIFIER, SUPERVISOR),
    (NOTIFIER, SCHEDULER, LAUNCHER, SUPERVISOR),
]  # fmt: skip
ALL = 4
_DISKS = [("state",), ("state",), ("logs",), ("run",), ("state", "logs"), ("logs", "run"), ("state", "logs", "run")]
_HURT = [("state.db",), ("state.db-wal",), ("records",), ("marks",), ("state.db", "marks"), ("records", "marks")]


@dataclass(frozen=True)
class Blow:
    """Kill these roles at `after` seconds (`term`: ask the scheduler to stop), which is back after `down`."""

    after: float
    roles: tuple[str, ...]
    down: float
    term: bool = False
    share: float = 0.5
    """The part of the supervisors that is meant."""


@dataclass(frozen=True)
class Episode:
    """A condition that lasts `seconds`, after `calm` ones; its class, what it is about, and a number for details."""

    number: int
    calm: float
    kind: str
    about: tuple[str, ...]
    seconds: float
    blows: tuple[Blow, ...]
    draw: int


def episodes(seed: int, only: frozenset[str], pace: float) -> Iterator[Episode]:
    """Draw episodes of these classes without end; each class is as likely as any other.

    Each has a generator of its own, so that it is the same by itself, and with whatever others are left out.
    """
    for number in count(1):
        rng = random.Random(f"episode {seed} {number}")
        kind, seconds = rng.choice(CLASSES), rng.uniform(0.5, 6) / pace
        about = _steps(rng) if kind == "clock" else rng.choice(_ABOUT.get(kind, [()]))
        if kind == "files":
            seconds = GONE if about == ("removed",) else min(seconds, AWAY)
        blows = tuple(blow for blow in _blows(rng, kind, seconds) if ("restart" if blow.term else "kill") in only)
        episode = Episode(number, rng.uniform(0, CALM) / pace, kind, about, seconds, blows, rng.getrandbits(32))
        if kind in only:
            yield episode


_ABOUT: dict[str, list[tuple[str, ...]]] = {
    "stop": _ROLES,
    "full": _DISKS,
    "readonly": [("state",), ("logs",), ("run",)],
    "abort": [("state", "abort"), ("state", "shutdown"), ("logs", "abort"), ("logs", "shutdown")],
    "cut": _HURT,
    "damage": _HURT,
    "overwritten": [
        *(("state.db", how) for how in ("cut", "damage", "removed")),
        ("state.db-wal", "halve"),
        ("state.db-wal", "removed"),
    ],
    "nofile": [("32",), ("48",), ("64",)],
    "files": [("away",), ("broken",), ("replaced",), ("moved",), ("removed",)],
    "refuse": [(channel,) for channel in CHANNELS],
    "calls": [("ENFILE", "30"), ("ENFILE", "300"), ("ENOMEM", "300"), ("ENOMEM", "1000"), ("EIO", "30")],
    "descriptors": [(SCHEDULER,), (LAUNCHER,), (SUPERVISOR,), (SCHEDULER, LAUNCHER, SUPERVISOR)],
    "journald": [("stopped",), ("gone",)],
    "removed": [("control socket",), ("run directory",)],
    "second": [("same",), ("other state",)],
    "pairs": [("full",), ("full",), ("abort",)],
}
"""The kinds of each class, each as likely as any other."""


def _steps(rng: random.Random) -> tuple[str, ...]:
    """One step of the clock or two; a step far back is a mistake, which is put right."""
    first = rng.choice([rng.uniform(1, 90), rng.uniform(-BACK, -0.6), rng.uniform(0.6, 5)])
    second = rng.choice([rng.uniform(-BACK, -0.6), rng.uniform(0.6, 20)])
    if rng.random() < 0.3:
        far = rng.choice([rng.uniform(BACK, 100), rng.uniform(100, FAR_BACK)])
        return f"{-far:.3f}", f"{far:.3f}"
    return tuple(f"{step:.3f}" for step in (first, second)[: rng.choice([1, 2])])


def _blows(rng: random.Random, kind: str, seconds: float) -> tuple[Blow, ...]:
    """Those inside an episode: always for kills and restarts, else as often as not; pairs have their own."""
    if kind == "pairs":
        return ()
    ordered = kind in ("kill", "restart")
    found = []
    for _ in range(rng.randint(1, 3) if ordered else rng.choice([0, 1, 1, 2])):
        term = kind == "restart" if ordered else rng.random() < 0.25
        roles = (SCHEDULER,) if term else rng.choice(_ROLES)
        down = rng.choice([0, 0, 0.3, rng.uniform(0, 3)])
        found.append(Blow(rng.uniform(0, seconds), roles, down, term, rng.choice([0.2, 0.5, 1])))
    return tuple(sorted(found, key=lambda blow: blow.after))
