"""I/O that fails at any call of scheduler, launcher or supervisor: nothing starts twice, each exit status is known.

The calls are those that an ordinary life makes: a daemon starts, a run is skipped, another fails, is tried again and
fails.  Each fails in each way it can (`lives.py`); then what ails is healed, the scheduler killed and started anew, and
what became of the run is looked at from outside.  JOBQUEUED_FAULTS=1 tries all (make faults), JOBQUEUED_FAULTS=6 each
sixth; without it some are tried that decide.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.lives import RAN, Life, cases

PARTS = 24
"""All cases are in so many tests, for as many workers as there are."""
TRIED = range(0, PARTS, int(each)) if (each := os.environ.get("JOBQUEUED_FAULTS")) else ()
"""Those of them that are tried."""

NOTHING = "nothing; starts 0+0"
"""Nobody was told that the run was taken."""
FIRST = ("lost None; starts 0+0", "lost None; starts 1+0")
SECOND = ("lost None; starts 1+0", "lost None; starts 1+1")
"""The supervisor of this attempt died with what it knew; the job may have been killed before it came to its note."""
KNOWN = ("lost 7; starts 1+0", "lost 7; starts 1+1")
"""So it did, and its launcher has learnt the exit status."""

VERDICTS: list[tuple[str, tuple[str, ...]]] = [
    (r"scheduler (accept|send|\w+ logs/quiet\S*) .*dies", (RAN, NOTHING)),  # before it was told that it was taken
    (r"scheduler (open run \d+|\w+ run/control 1|socket - [12]) E", (RAN, NOTHING)),  # nobody can ask, for some seconds
    (r"scheduler sql-\w+ \S+ [1-5] dies", (RAN, NOTHING)),
    (r"scheduler read-SELECT state/state.db 2[45] E", (RAN, NOTHING)),  # within its first commit
    (r"scheduler sql-COMMIT \S+ \d+ dies", (RAN, f"{RAN}; 0 lines")),  # committed, and killed before it was said
    # what can't be read at the start is unknown until it changes, or the next start
    (r"scheduler (open|list) (run/|usr/(local/)?lib/)?jobqueue\.d", (RAN, NOTHING, f"{NOTHING}; does not recover")),
    (r"supervisor (create|open|bind|connect) R\d/(spec|control) .*dies", (RAN,)),  # nobody has claimed it
    (r"supervisor (create|write) R1/spawning .*dies", FIRST),
    (r"supervisor (create|write) R2/spawning .*dies", SECOND),
    (r"supervisor (\w+ R1/pid|posix_spawn - 1|\w+ logs/\S+ 1|send - [12]) .*dies|mkdir logs/probe .*dies",
     (RAN, *FIRST, *KNOWN)),
    (r"supervisor (\w+ R2/pid|posix_spawn - 2|\w+ logs/\S+ 2|send - [34]) .*dies", (RAN, *SECOND, *KNOWN)),
    (r"supervisor \w+ logs/probe(/1\.log)? ", (RAN, f"{RAN}; output")),  # what could not be stored is not there
    (r"logs\S* \d+ \w+…", (RAN, f"{RAN}; output")),
    (r"(unlink|rmdir) R\d.* E", (RAN, f"{RAN}; does not recover")),  # an R that can't be removed stays until the start
    # refused by a scheduler that could save nothing from its start on, or taken, and only in its memory
    (r"(state/lock|state/ballast|state/state.db [1-4]) ", (RAN, NOTHING, f"{NOTHING}; forgotten", f"{RAN}; 2 lines")),
    (r"(sql-\w+|state/ballast).*…", (RAN, f"{RAN}; 2 lines")),  # said, forgotten, found in R, and said again
]  # fmt: skip
"""What else a life may come to than RAN, by points and faults."""

SOME = [
    ("scheduler sql-COMMIT state/state.db 4", "ENOSPC"),
    ("scheduler sql-COMMIT state/state.db 5", "ENOSPC…"),
    ("scheduler sql-COMMIT state/state.db 7", "ENOSPC…"),
    ("scheduler sql-COMMIT state/state.db 8", "ENOSPC…"),
    ("scheduler sql-COMMIT state/state.db 7", "dies"),
    ("scheduler read-SELECT state/state.db 24", "EIO"),
    ("scheduler unlink R1/spawning 1", "dies"),
    ("launcher mkdir R1 1", "ENOSPC"),
    ("launcher write R1/spec 1", "torn"),
    ("launcher write R2/spec 1", "torn, dies"),
    ("launcher mkdir R2 1", "EROFS…"),
    ("supervisor create R1/spawning 1", "ENOSPC…"),
    ("supervisor write R1/pid 1", "torn"),
    ("supervisor write R2/ended 1", "torn, dies"),
    ("supervisor create R1/ended 1", "ENOSPC…"),
    ("supervisor write logs/probe/1.json.tmp 1", "torn"),
    ("supervisor rename logs/probe/1.json 2", "EROFS"),
]
"""Where it is decided whether a run starts, and what becomes of it; each with another fault."""


def expected(point: str, fault: str) -> tuple[str, ...]:
    """The verdicts that are right."""
    return next((verdicts for pattern, verdicts in VERDICTS if re.search(pattern, f"{point} {fault}")), (RAN,))


@pytest.fixture
def life(tmp_path: Path) -> Iterator[type[Life]]:
    """Lives, which are ended."""
    begun: list[Life] = []

    class Begun(Life):
        def __init__(self, *args: str) -> None:
            super().__init__(tmp_path / str(len(begun)), *args)
            begun.append(self)

    yield Begun
    for each in begun:
        each.close()


def verdict(life: Life) -> str:
    """Live it, and say what became of it."""
    life.run()
    found = life.verdict()
    if found not in (RAN, f"{RAN}; not met"):
        print(found, life.host.log())
    return found


@pytest.mark.parametrize(("point", "fault"), SOME, ids=[" ".join(case) for case in SOME])
def test_some(life: type[Life], point: str, fault: str) -> None:
    """One fault, where it decides; not met where turns join."""
    assert verdict(life(fault, point)).removesuffix("; not met") in expected(point, fault)


def every(life: type[Life], part: int) -> None:
    """Each call of an ordinary life fails in each way it can; some are not made in every life, as turns join."""
    ordinary = life()
    assert verdict(ordinary) == RAN
    wrong, missed = [], 0
    tried = cases(ordinary.met)[part::PARTS]
    for point, fault in tried:
        found = verdict(each := life(fault, point))
        each.close()
        missed += "not met" in found
        if found.removesuffix("; not met") not in expected(point, fault):
            wrong.append(f"{point}, {fault}: {found}")
    assert wrong == []
    assert missed <= len(tried) // 5


if TRIED:
    test_all = pytest.mark.parametrize("part", TRIED)(every)
