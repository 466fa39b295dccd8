"""The real Debian cron while its clock is set, beside the rules that `tests/support/debian_cron.py` has of it.

Its clock is that of the twin (tests/system/twin/clock.c): it goes on only while cron sleeps, and is set on the way.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.realcron.daemons import DAEMONS, SETUP, CannotRun, make_home
from tests.support.debian_cron import DebianCron

CLOCK = Path(__file__).parents[1] / "system" / "twin" / "clock.c"
BEGIN = 1_772_409_600 // 60 + 5 * 60
"""A Monday, 5:00 UTC, in minutes."""
EXPRESSIONS = (
    "* * * * *", "*/7 * * * *", "5 * * * *", "*/20 3-5 * * *", "0 4 * * *", "30 3-5 * * *", "0,30 0-23/2 * * *",
    "@hourly",
)  # fmt: skip
_INTO = 20
"""Seconds of a minute that have passed when the clock is set."""


class Scene(NamedTuple):
    """The minutes that pass, and then by how many the clock is set, again and again; how many pass at last."""

    steps: tuple[tuple[int, int], ...]
    rest: int

    def minutes(self) -> Iterator[int]:
        """Yield the minutes (since 1970) of the clock in which cron wakes."""
        now = BEGIN
        for passed, step in (*self.steps, (self.rest, 0)):
            yield from range(now + 1, now + passed + 1)
            now += passed + step


SCENES = (
    Scene(((10, -118),), 140), Scene(((10, -1), (10, -2)), 20), Scene(((65, -60),), 90), Scene(((10, -179),), 200),
    Scene(((10, -181),), 30), Scene(((31, -90), (10, -60)), 170), Scene(((31, -118), (9, 118)), 40),
    Scene(((10, 4),), 20), Scene(((10, 90),), 20), Scene(((10, 190),), 20), Scene(((20, -100), (10, -100)), 30),
)  # fmt: skip


def expected(scene: Scene) -> list[tuple[int, str]]:
    """What cron starts by the rules, with the minute of its clock."""
    cron = DebianCron(EXPRESSIONS, BEGIN)
    return sorted((minute, expression) for minute in scene.minutes() for expression in cron.wakes(minute))


def live(scene: Scene, root: Path, home: Path) -> list[tuple[int, str]]:
    """What the real cron starts."""
    make_home(home, "UTC")
    library = home / "clock.so"
    subprocess.run(["cc", "-O2", f'-DDIRECTORY="{home}"', "-shared", "-fPIC", CLOCK, "-o", library], check=True)
    for number, expression in enumerate(EXPRESSIONS):
        line = f'{expression} root od -An -td8 {home}/clock >>{home}/out/{number}\nMAILTO=""\n'
        (home / f"etc/cron.d/job{number}").write_text(f'SHELL=/bin/sh\nMAILTO=""\n{line}')
    passed, steps = _INTO, list[str]()
    for minutes, step in scene.steps:
        passed += 60 * minutes
        steps.append(f"{passed}:{60 * step}")
    settings = {
        "LD_PRELOAD": str(library), "TWIN_FROM": str(60 * BEGIN), "TWIN_STEPS": " ".join(steps),
        "TWIN_FOR": str(60 * len(list(scene.minutes())) + _INTO),
    }  # fmt: skip
    cron = DAEMONS[0]
    command = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "timeout", "60"]
    command += ["/bin/sh", "-c", SETUP, "sh", str(home), *(f"{name}={value}" for name, value in settings.items())]
    done = subprocess.run(
        [*command, str(root / cron.command[0]), *cron.command[1:]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    outs = {expression: home / "out" / str(number) for number, expression in enumerate(EXPRESSIONS)}
    if not outs[EXPRESSIONS[0]].exists():
        raise CannotRun(f"{cron.name} ran nothing: {done.stdout}{done.stderr}")
    return sorted(
        (int(second) // 60, expression)
        for expression, out in outs.items()
        if out.exists()
        for second in out.read_text().split()
    )


def differences(root: Path, folder: Path) -> list[str]:
    """All that the real cron does otherwise than by the rules."""
    said = list[str]()
    for number, scene in enumerate(SCENES):
        ours, theirs = expected(scene), live(scene, root, folder / f"steps{number}")
        for what, found in (("only by the rules", set(ours) - set(theirs)), ("only by cron", set(theirs) - set(ours))):
            said += [f"{scene.steps}: {what}: {minute // 60 % 24}:{minute % 60:02} {e}" for minute, e in sorted(found)]
        if not said and ours != theirs:
            said.append(f"{scene.steps}: not as often")
    return said
