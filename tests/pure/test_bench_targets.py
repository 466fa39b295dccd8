"""bench.targets: what `make bench` says of each target."""

from __future__ import annotations

from typing import Any

import pytest

from bench.__main__ import BENCHMARKS
from bench.targets import TARGETS, Target, table


def measured(target: Target, value: float) -> dict[str, Any]:
    """Results that have this figure alone."""
    found: Any = value
    for name in reversed(target.path):
        found = {name: found}
    return dict(found)


@pytest.fixture
def one(monkeypatch: pytest.MonkeyPatch) -> Target:
    """The only target."""
    target = Target("a burst, s", 2.5, ("burst", "all", "last_s"))
    monkeypatch.setattr("bench.targets.TARGETS", (target,))
    return target


@pytest.mark.parametrize(("value", "verdict"), [(2.4, "met"), (2.5, "met"), (2.51, "not met")])
def test_a_target(one: Target, value: float, verdict: str) -> None:
    """It may be reached, and not be passed."""
    (line,) = table(measured(one, value))
    assert f"a burst, s 2.5 {value:g} {verdict}" == " ".join(line.split())


def test_what_was_not_measured() -> None:
    """Of that there is no line."""
    assert [] == list(table({"pump": {}}))


def test_each_is_of_a_benchmark() -> None:
    """Each has a benchmark that there is, and texts that fit their column."""
    assert {target.path[0] for target in TARGETS} <= BENCHMARKS.keys()
    assert max(len(target.text) for target in TARGETS) <= 52
