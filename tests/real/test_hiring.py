"""When a launcher forks one more supervisor: if none has come back for a while, longer where it would not help."""

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

    def asked(seats: int, starting: int, freed: float, *, enough: bool) -> bool:
        monkeypatch.setattr(launcher, "time", SimpleNamespace(monotonic=lambda: NOW))
        monkeypatch.setattr(launcher, "are_enough", lambda _seats, _now: enough)
        pool = {number: SimpleNamespace(is_starting=lambda _, it=number: it < starting) for number in range(seats)}
        return Launcher._is_short_of_supervisors(SimpleNamespace(_seats=pool, _freed=NOW - freed))  # type: ignore[arg-type]

    return asked


@pytest.mark.parametrize(
    ("seats", "starting", "freed", "enough", "wanted"),
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
    seats: int, starting: int, freed: float, enough: bool, wanted: bool, is_short: Callable[..., bool]
) -> None:
    """The first few at once; then one whenever none came back for a while, longer where no CPU is free."""
    assert is_short(seats, starting, freed, enough=enough) is wanted


CROWD = "0.50 0.40 0.30 5/300 4711"
"""/proc/loadavg of a host with four CPUs of which none is free for one more, as the launcher has one of them."""


@pytest.mark.parametrize(
    ("ages", "told", "wanted"),
    [
        ([0.001] * 4, CROWD, True),
        ([0.019] * 4, CROWD, True),
        ([0.021] + [0.001] * 3, CROWD, False),
        ([0.001] * 3, CROWD, False),
        ([0.001] * 4, CROWD.replace("5/", "4/"), False),
        ([0.001] * 4, "0.50 0.40 0.30 many 4711", False),
        ([0.001] * 4, "", False),
        ([0.001] * 4, None, False),
    ],
)
def test_enough_of_them(ages: list[float], told: str | None, wanted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where four attempts came within 20 ms and no CPU is free; a kernel that does not say has free ones."""

    def opened(path: str, *_: object) -> io.BytesIO:
        assert path == "/proc/loadavg"
        if told is None:
            raise FileNotFoundError(2, "no /proc")
        return io.BytesIO(told.encode())

    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(seat, "open", opened, raising=False)
    seats = [SimpleNamespace(taken=NOW - age) for age in ages]
    assert seat.are_enough(seats, NOW) is wanted  # type: ignore[arg-type]
