"""Lives by seed: no promise is broken, a seed is the same life everywhere, and a program that is broken is seen."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from tests.simulation.__main__ import main
from tests.simulation.files import Disk, Files
from tests.simulation.kernel import SECOND
from tests.simulation.life import Life
from tests.simulation.mutants import MUTANTS
from tests.simulation.plan import Happening
from tests.simulation.short import SHORT, digests
from tests.simulation.shrink import kind_of, shortest
from tests.support.papers import blocks

ROOT = Path(__file__).resolve().parents[2]
SEEDS = int(os.environ.get("JOBQUEUED_LIVES", "10"))
"""The night lives 10,000."""
TOLD = """
from tests.simulation.short import digests
print(*digests())
"""
NEEDS = "import yaml, croniter, structlog, psutil, sdnotify, pytest"


@pytest.mark.parametrize("first", range(1, SEEDS + 1, 10))
def test_no_life_breaks_a_promise(first: int) -> None:
    """Replay one with ``python -m tests.simulation --seed N --hours 1 --jobs 4 --faults 7 --people 4 --calm 45``."""
    for seed in range(first, first + 10):
        life = Life(seed, SHORT)
        assert life.live() == [], seed
        assert life.host.oracle.executions


def told_by(python: str, hashes: str) -> list[str]:
    """The same, by an interpreter of its own."""
    environment = {**os.environ, "PYTHONHASHSEED": hashes}
    told = subprocess.run([python, "-c", TOLD], cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    return told.stdout.split()


def pythons() -> list[str]:
    """The interpreters of this host that have the libraries."""
    found = {sys.executable, *filter(None, map(shutil.which, ("/usr/bin/python3.11", "/usr/bin/python3.13")))}
    usable = (subprocess.run([each, "-c", NEEDS], capture_output=True, check=False).returncode == 0 for each in found)
    return sorted(each for each, is_usable in zip(found, usable, strict=True) if is_usable)


def test_a_seed_is_the_same_life_for_each_interpreter_and_order_of_hashes() -> None:
    found = digests()
    assert len(set(found)) == 4
    for number, python in enumerate(pythons()):
        assert told_by(python, str(number)) == found, python


CHEAP = sorted(name for name, mutant in MUTANTS.items() if mutant.within <= 6)


@pytest.mark.parametrize("name", CHEAP)
def test_a_broken_program_is_seen(name: str) -> None:
    assert MUTANTS[name].seen()


def test_a_history_is_shortened() -> None:
    """Of all that happens in a life what shows the mutant is left: less, and it still shows it."""
    with MUTANTS["an exit status is one of others"].installed():
        life = next(life for seed in range(1, 20) if (life := Life(seed, SHORT)).live())
        short = shortest(life)
    assert kind_of(short.host.violations[0]) == kind_of(life.host.violations[0])
    assert len(short.plan) < len(life.plan)
    assert len(short.all_works) < len(life.all_works)


def test_what_is_printed_of_a_seed_that_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """docs/dev/simulation.md has it, with figures of its day."""
    shown = next(it for it in blocks((ROOT / "docs/dev/simulation.md").read_text()) if it.startswith("seed "))
    terms = "--seed 1 --hours 2 --jobs 8 --faults 24 --people 0 --only kill,kill-all,give-way"
    monkeypatch.setattr(sys, "argv", ["simulation", *terms.split()])
    with MUTANTS["launches before the commit"].installed():
        assert main() == 1
    printed, shown = (re.sub(r"trace \w+|\d+", "N", text) for text in (capsys.readouterr().out, shown))
    assert printed.startswith(shown)


def test_a_fault_strikes() -> None:
    life = Life(1, SHORT, [Happening(0, "kill", "scheduler", 500), Happening(60 * SECOND, "power", "", 3, SECOND)])
    assert life.live() == []
    assert any("fault 0.000 s kill" in line for line in life.host.trace)
    assert any("boot 2" in line for line in life.host.trace)


def written(*, synced: bool, named: bool, journals: bool, seed: int) -> bytes | None:
    """The bytes of a new file after a power loss; None: it has no name."""
    disk = Disk(lasts=True, journals=journals)
    files = Files(disk, Disk(lasts=False))
    var = files.mount("/var", disk)
    it = files.make("f", disk, 0o600, 0)
    var.entries["x"] = it
    disk.changed(0, (var, "x", it))
    it.data = b"x" * 2000
    disk.wrote(0, it)
    if synced:
        disk.sync(it)
    if named:
        disk.sync(var)
    disk.lose_power(SECOND, Random(seed), var)
    return var.entries["x"].data if "x" in var.entries else None


@pytest.mark.parametrize("journals", [True, False])
def test_what_was_synced_outlasts_power_and_what_was_not_may_not(journals: bool) -> None:
    kept = {written(synced=True, named=True, journals=journals, seed=seed) for seed in range(400)}
    assert kept == {b"x" * 2000}
    some = {written(synced=False, named=False, journals=journals, seed=seed) for seed in range(400)}
    assert some >= {None, b"", b"x" * 2000, b"x" * 512 + bytes(1488)}
    assert None not in {written(synced=False, named=True, journals=journals, seed=seed) for seed in range(400)}
