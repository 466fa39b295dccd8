"""The plan of a life: all that happens on its host, drawn from its seed, one by one; a shorter plan is a part of it."""

from __future__ import annotations

import errno
from random import Random
from typing import NamedTuple

from tests.simulation.kernel import SECOND

MINUTE, HOUR = 60 * SECOND, 3600 * SECOND


class Happening(NamedTuple):
    """Something that happens at `at` (ns after the begin): its kind, on whom, and two figures."""

    at: int
    kind: str
    on: str = ""
    first: int = 0
    second: int = 0

    def __str__(self) -> str:
        words = [f"{self.at / SECOND:.3f} s", self.kind, self.on, *(str(each) for each in self[3:] if each)]
        return " ".join(filter(None, words))


ROLES = ("scheduler", "launcher", "supervisor")
FAULTS: dict[str, int] = {
    "kill": 30, "kill-all": 4, "stop": 6, "give-way": 8, "error": 10, "disk": 5, "power": 4, "shutdown": 1, "clock": 5,
    "suspend": 2, "deaf": 2,
}  # fmt: skip
"""Kinds of faults, and how often they are drawn."""
EMPTIED = 0.3
"""How many lives have somebody who empties the directory of all R's, in half of them as all are killed."""
PEOPLE: dict[str, int] = {
    "edit": 5, "run": 6, "stop-run": 5, "pause": 3, "resume": 4, "hold": 1, "release": 2, "skip": 2, "submit": 6,
}  # fmt: skip
SET_BACK = 0.3
"""How many lives have a clock that is set back by up to 3 h, in half of them over a boot, and in half forward again a
while later.
"""
BATCHES = 0.4
"""How many lives have a batch: an array of runs that fail at times, whose width is changed, and whose waits for a next
attempt are cut short.
"""
KINDS = (*FAULTS, "emptied", "set-back", *PEOPLE, "batch", "resize", "retry")
_ERRNOS = (errno.EMFILE, errno.ENOSPC, errno.EIO, errno.ENOMEM)
_DISK = (errno.ENOSPC, errno.EROFS, errno.EIO)


def drawn(seed: int, length: int, faults: int, people: int, kinds: frozenset[str]) -> list[Happening]:
    """So many faults and acts of people in a time (ns); only of these kinds."""
    random = Random(f"plan {seed}")
    found = [_drawn(random, length, FAULTS) for _ in range(faults)]
    found += [_drawn(random, length, PEOPLE) for _ in range(people)]
    found += _close_together(random, found)
    found += _emptied(Random(f"emptied {seed}"), length)
    found += _in_pairs(Random(f"pairs {seed}"), found, length) if "disk" in kinds else []
    found += _set_back(Random(f"set back {seed}"), length)
    found += _batches(Random(f"batches {seed}"), found, length)
    return sorted(it for it in found if it.kind in kinds)


def _drawn(random: Random, length: int, weights: dict[str, int]) -> Happening:
    kind = random.choices(list(weights), list(weights.values()))[0]
    at = random.randrange(length)
    if random.random() < 0.5:  # as jobs come due
        at = at // MINUTE * MINUTE + random.randrange(SECOND // 10)
    return Happening(at, kind, *_figures(random, kind))


def _figures(random: Random, kind: str) -> tuple[str, int, int]:
    role = random.choice((*ROLES, *ROLES, ""))
    steps = random.choice((0, random.randrange(10), random.randrange(60), random.randrange(300)))
    match kind:
        case "kill" | "kill-all" | "power" | "give-way":
            return role, steps, random.choice((5, 60, 3600, 5 * 3600)) * SECOND if kind == "power" else 0
        case "stop":
            return role, steps, random.choice((1, 15, 90, 600)) * SECOND
        case "error":
            return role, random.randrange(20), random.choice(_ERRNOS)
        case "disk":
            return random.choice(("var", "var", "run")), random.choice(_DISK), random.choice((5, 60, 900)) * SECOND
        case "shutdown":
            return "", 0, random.choice((20, 600, 7200)) * SECOND
        case "clock":
            step = random.choice((1, 61, 600, 7000, 4 * 3600, 30 * 3600))
            return "", random.choice((-1, 1)) * step * SECOND, 0
        case "suspend":
            return "", random.choice((30, 1000, 9 * 3600)) * SECOND, 0
        case "deaf":
            return "", random.choice((60, 1800)) * SECOND, 0
    return "", random.randrange(1 << 16), random.randrange(1 << 16)


def _emptied(random: Random, length: int) -> list[Happening]:
    """At most one."""
    if random.random() >= EMPTIED:
        return []
    at = random.randrange(length) // MINUTE * MINUTE + random.randrange(SECOND // 10)
    steps = random.choice((random.randrange(10), random.randrange(60), random.randrange(200)))
    return [Happening(at, "emptied", random.choice(ROLES), steps, random.randrange(2))]


def _in_pairs(random: Random, found: list[Happening], length: int) -> list[Happening]:
    """As often as disks fail, one fails for longer, and the scheduler is killed before it has saved what it knows, and
    its next starts are killed in the middle.
    """
    again = []
    for _ in [it for it in found if it.kind == "disk"]:
        lasts = random.choice((150, 630, 1530)) * SECOND  # till nothing is due, and a commit is tried only in a while
        begin = (MINUTE + random.randrange(max(MINUTE, length - lasts))) // MINUTE * MINUTE  # after the first start
        kill = begin + lasts + random.randrange(-SECOND, 9 * SECOND)
        again += [Happening(begin, "disk", "var", random.choice(_DISK), lasts), Happening(kill, "kill", "scheduler")]
        for _ in range(random.randrange(1, 4)):
            again.append(Happening(kill + SECOND // 100, "kill", "scheduler", random.randrange(200)))
    return again


def _set_back(random: Random, length: int) -> list[Happening]:
    """At most one, and the end of the mistake."""
    if random.random() >= SET_BACK:
        return []
    at, step = random.randrange(length), random.choice((61, random.randrange(61, 3600), random.randrange(3600, 10_740)))
    ends = at + random.choice((30, 600, 3600)) * SECOND
    over_boot = random.randrange(2)
    found = [Happening(at, "set-back", "", -step * SECOND, over_boot), Happening(ends, "set-back", "", step * SECOND)]
    return found[: random.choice((1, 2 if ends < length else 1))]


def _batches(random: Random, found: list[Happening], length: int) -> list[Happening]:
    """At most one batch, its repetitions and the changes of its width, and early retries; often while a disk fails."""
    if random.random() >= BATCHES:
        return []
    at, failures = random.randrange(length), [it for it in found if it.kind == "disk" and it.on == "var"]
    if failures and random.random() < 0.5:
        failure = random.choice(failures)
        at = failure.at + random.randrange(failure.second)
    later = [at + random.randrange(8 * MINUTE) for _ in range(random.randrange(5))]
    retries = [random.randrange(length) for _ in range(random.randrange(6))]
    batch = Happening(at, "batch", "", random.randrange(3, 14), random.randrange(1, 4))
    again = [batch._replace(at=at + random.randrange(8 * MINUTE)) for _ in range(random.randrange(4))]
    return [
        batch,
        *again,
        *(Happening(moment, "resize", "", random.randrange(1, 6)) for moment in later),
        *(Happening(moment, "retry", "", random.randrange(20)) for moment in retries),
    ]


def _close_together(random: Random, found: list[Happening]) -> list[Happening]:
    """Some faults have another right behind them."""
    again = []
    for it in found:
        if it.kind in ("kill", "power", "error", "disk") and random.random() < 0.3:
            kind = random.choice(("kill", "kill", "power", "error"))
            at = it.at + random.choice((0, SECOND // 1000, SECOND // 9, SECOND // 7, SECOND, 20 * SECOND))
            again.append(Happening(at, kind, *_figures(random, kind)))
    return again
