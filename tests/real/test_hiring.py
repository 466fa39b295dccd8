"""When a launcher forks one more supervisor: while CPUs are free at once, and else only once nobody has come back."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from jobqueued.child import launcher, seat
from jobqueued.child.launcher import AT_ONCE, CPUS, CROWDED, PATIENCE, Launcher

NOW = 1000.0


@pytest.fixture
def is_short(monkeypatch: pytest.MonkeyPatch) -> Callable[..., bool]:
    """The answer of a launcher that has so many supervisors, of whom some are starting, the last freed so long ago."""

    def asked(seats: int, starting: int, freed: float, *, crowded: bool) -> bool:
        monkeypatch.setattr(launcher, "time", SimpleNamespace(monotonic=lambda: NOW))
        monkeypatch.setattr(launcher, "is_crowded", lambda: crowded)
        pool = {number: SimpleNamespace(is_starting=lambda _, it=number: it < starting) for number in range(seats)}
        return Launcher._is_short_of_supervisors(SimpleNamespace(_seats=pool, _freed=NOW - freed))  # type: ignore[arg-type]

    return asked


@pytest.mark.parametrize(
    ("seats", "starting", "freed", "crowded", "wanted"),
    [
        (AT_ONCE - 1, AT_ONCE - 1, 0, True, True),
        (AT_ONCE, 0, PATIENCE / 2, False, False),
        (AT_ONCE, 0, PATIENCE * 2, False, True),
        (AT_ONCE, CPUS, PATIENCE * 2, False, False),
        (AT_ONCE, 0, PATIENCE * 2, True, False),
        (AT_ONCE, 0, CROWDED * 2, True, True),
        (AT_ONCE, CPUS, CROWDED * 2, True, False),
    ],
)
def test_one_more(
    seats: int, starting: int, freed: float, crowded: bool, wanted: bool, is_short: Callable[..., bool]
) -> None:
    """The first few at once; then one whenever none came back for a while, longer where no CPU is free."""
    assert is_short(seats, starting, freed, crowded=crowded) is wanted


@pytest.mark.parametrize(
    ("told", "wanted"),
    [("5/300", True), ("4/300", False), ("1/300", False), ("many", False), ("", False)],
)
def test_a_crowd(told: str, wanted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """More want a CPU than there are, the launcher among them, which has one."""
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    text = f"0.50 0.40 0.30 {told} 4711\n".encode() if told else b""
    monkeypatch.setattr(seat, "open", lambda *_: io.BytesIO(text), raising=False)
    assert seat.is_crowded() is wanted


def test_a_kernel_that_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without /proc nobody is kept waiting."""

    def fails(*_: object) -> None:
        raise FileNotFoundError(2, "no /proc")

    monkeypatch.setattr(seat, "open", fails, raising=False)
    assert not seat.is_crowded()
